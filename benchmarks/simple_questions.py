"""How often a running server corrects, keeps and breaks answers to twenty simple questions.

Each question comes with a wrong and with a right chain of thought: what a model is worth shows in
both. Run it against `cap up` to see the small model as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

_QUESTIONS = Path(__file__).with_suffix(".jsonl")
_CAP = Path(sys.prefix) / "bin" / "cap"
_AN_ANSWER = (0, 3, 4)
"""The exit codes of `cap refine` that come with a refinement."""

_out = Console()


def main(
    url: Annotated[str, typer.Option(help="The CaP server.")] = "http://127.0.0.1:8000",
    strategy: Annotated[str, typer.Option(help="As `cap refine` takes it.")] = "majority",
    seed: Annotated[int, typer.Option(help="Of every request.")] = 1,
) -> None:
    """Print what `cap refine` makes of each question, then the counts."""
    rows = [json.loads(line) for line in _QUESTIONS.read_text("utf-8").splitlines()]
    table = Table("question", "true", "CoT", "prior", "decision", "answer", "confidence")
    counts: dict[str, Counter[str]] = {"wrong": Counter(), "right": Counter()}
    for row in track(rows, description="refining", console=Console(stderr=True)):
        for kind, outcomes in counts.items():
            refinement = _refine(row["question"], row[kind], url, strategy, seed)
            outcomes[_outcome(refinement, row["answer"])] += 1
            table.add_row(row["question"][:48], row["answer"], kind, *_shown(refinement))
    _out.print(table)
    for kind, outcomes in counts.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        _out.print(f"{kind} CoTs: {told}")


def _refine(question: str, cot: str, url: str, strategy: str, seed: int) -> dict[str, Any]:
    command = [str(_CAP), "refine", question, "--cot", "-", "--strategy", strategy]
    asked = subprocess.run(  # our own command, no shell
        [*command, "--seed", str(seed), "--url", url, "--json"],
        input=cot,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode not in _AN_ANSWER:
        sys.exit(asked.stderr)
    refinement: dict[str, Any] = json.loads(asked.stdout)
    return refinement


def _outcome(refinement: dict[str, Any], truth: str) -> str:
    changed = refinement["decision"] == "corrected"
    if refinement["answer"] == truth:
        return "corrected" if changed else f"{refinement['decision']} (right)"
    return "changed to another wrong answer" if changed else f"{refinement['decision']} (wrong)"


def _shown(refinement: dict[str, Any]) -> list[str]:
    fields = ("original_answer", "decision", "answer")
    return [*(str(refinement[name]) for name in fields), f"{refinement['confidence']:.2f}"]


if __name__ == "__main__":
    typer.run(main)
