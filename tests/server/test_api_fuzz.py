"""The API against requests made from its own schema: answered as documented, never with a fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from pydantic import SecretStr
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from cap_server.app import create_app
from cap_server.settings import Settings
from cap_server.stores import open_stores
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_on

_KEY = "a-key"

_settings = Settings(
    api_keys=SecretStr(_KEY), api_keys_execute=True, database_url=SecretStr("sqlite://")
)
# Read while tests are collected, which pytest-xdist's processes do for files that others run too:
# nothing is opened for it.
schema = schemathesis.openapi.from_dict(create_app(_settings).openapi())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    chat = ScriptedChat(["The answer is 2."])
    given = tools(ScriptedModel(["answer=1"]), FakeSandbox({"answer=1": 1}), chats=[chat])
    with open_stores(_settings) as stores, listening_on(given, _settings, stores=stores) as url:
        yield url


@schema.parametrize()
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_request_is_answered_as_the_schema_says(
    case: schemathesis.Case[Any], url: str
) -> None:
    # A deadline of 10 ms may pass, with an honest 504, and a critic that is not there may be
    # required, with an honest 503; anything else above 499 is a fault.
    headers = {"Authorization": f"Bearer {_KEY}"}
    excluded: list[CheckFunction] = [not_a_server_error]
    response = case.call(base_url=url, headers=headers)
    if case.path == "/v1/refine/batch":
        excluded.append(negative_data_rejection)  # a malformed problem is one item's error
        if "idempotency_key_reused" in response.text:
            excluded.append(positive_data_acceptance)
    case.validate_response(response, headers=headers, excluded_checks=excluded)
    honest = response.status_code == 503 and "critic_unavailable" in response.text
    assert response.status_code < 500 or response.status_code == 504 or honest
