"""How a problem is put to a model in words, and how its program is read from the reply."""

from __future__ import annotations

from typing import Literal

from cap_server.prompts.cot import cot_prompt
from cap_server.prompts.few_shot import FewShot
from cap_server.prompts.format import PromptFormat, with_choices
from cap_server.prompts.trained import Trained

__all__ = ["PROMPT_FORMATS", "PromptFormat", "PromptFormatName", "cot_prompt", "with_choices"]

PromptFormatName = Literal["trained", "few_shot"]

PROMPT_FORMATS: dict[PromptFormatName, PromptFormat] = {
    "trained": Trained(),
    "few_shot": FewShot(),
}
