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
        """The request as a command for a shell."""
        body = json.dumps({"question": self.question, "cot": self.cot}, indent=1)
        return f"curl -s {url}/v1/refine -H 'Content-Type: application/json' -d {shlex.quote(body)}"


EXAMPLE = Example(
    question=(
        "A farmer picks 6 baskets of apples with 14 apples in each basket. He sells 29 apples. "
        "How many apples does he have left?"
    ),
    cot="6 * 14 = 74 apples. 74 - 29 = 45. The answer is 45.",
    answer="55",
)
