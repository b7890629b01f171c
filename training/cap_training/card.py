"""A model's card: what it is, what it was made of, what it can do, with the commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def card(*, name: str, about: str, command: str, runs: Mapping[str, Path], report: Path) -> str:
    """The card as Markdown.

    Args:
        name: of the model.
        about: a sentence.
        command: that makes it again.
        runs: the training runs that led to it, in order, by what they were.
        report: the folder of its evaluation.
    """
    head = f"# {name}\n\n{about}\n\nA CaP model: it answers a question, and the chain of thought"
    parts = [
        f"{head} that comes with it, with a short Python program. Served by vLLM as it is; "
        f"`cap up --model .` starts it with the CaP server.",
        f"Made by `{command}`.",
        "## Training",
    ]
    for what, folder in runs.items():
        parts.append(_run(what, json.loads((folder / "run.json").read_text("utf-8"))))
    figures = (report / "report.md").read_text("utf-8")
    tables = figures.partition("## ")[2].partition("![")[0]
    parts += ["## Figures", f"### {tables.strip()}".replace("\n## ", "\n### ")]
    parts += [
        "## Limits",
        "It knows the kinds of problems that its data has, and no others. Its programs can agree "
        "on a wrong answer. Run them in a sandbox only.",
    ]
    return "\n\n".join(parts) + "\n"


def _run(what: str, record: Mapping[str, Any]) -> str:
    took, options = record["finished"], record["options"]
    shown = json.dumps(options, ensure_ascii=False)
    data = "\n".join(f"- `{Path(path).name}`: SHA-256 `{digest}`" for path, digest in _data(record))
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (
        f"**{what}**: {took['steps']:,} steps, {took['tokens']:,} tokens, "
        f"{took['elapsed_s']:,.0f} s.\n\n{data}\n\n```json\n{shown}\n```\n\n{versions}"
    )


def _data(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list(record["data"].items())
