"""The request that `cap up`, the README and the tests try: a real one, with a wrong CoT."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    question: str
    cot: str
    answer: str

    def curl(self, url: str) -> str:
        """The request as a command for a shell.

        It asks for a vote: the default knows that the small model is weak, and nothing of the CoT's
        source yet, and would keep the answer.
        """
        request = {"question": self.question, "cot": self.cot, "strategy": "majority"}
        body = json.dumps(request, indent=1)
        return f"curl -s {url}/v1/refine -H 'Content-Type: application/json' -d {shlex.quote(body)}"


EXAMPLE = Example(
    question=(
        "A baker makes 25 loaves every day for 6 days and then sells 110 of them. "
        "How many loaves are left?"
    ),
    cot="25 * 6 = 160 loaves. 160 - 110 = 50. The answer is 50.",
    answer="40",
)
