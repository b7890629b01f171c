"""The schema's own words: a number is no truth value, and what is blank is blank for everybody."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cap_server.api.chat_in import ChatIn
from cap_server.api.responses_in import ResponsesIn
from cap_server.api.wire import Text

CHAT = {"model": "cap", "messages": [{"role": "user", "content": "6 * 3?"}]}
RESPONSE = {"model": "cap", "input": "6 * 3?"}


@pytest.mark.parametrize(
    "odd", [{"temperature": False}, {"stream": 0.0}, {"stream": 1}, {"top_p": "1"}, {"user": 3}]
)
def test_a_value_of_another_type_is_not_turned_into_one(odd: dict[str, Any]) -> None:
    for model, body in ((ChatIn, CHAT), (ResponsesIn, RESPONSE)):
        with pytest.raises(ValidationError):
            model.model_validate({**body, **odd})


def test_numbers_are_taken_however_they_are_written() -> None:
    assert ChatIn.model_validate({**CHAT, "temperature": 1, "n": 2.0}).temperature == 1
    assert ResponsesIn.model_validate({**RESPONSE, "temperature": 1}).temperature == 1


@pytest.mark.parametrize("blank", [" \n", "\u0085", "\ufeff", "\u3000\u0085"])
def test_blank_text_is_refused(blank: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Text).validate_python(blank)
    assert TypeAdapter(Text).validate_python(f"{blank}x") == f"{blank}x"
