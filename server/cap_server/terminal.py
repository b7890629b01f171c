"""What the command line shows to a person."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table

from cap_client import Candidate, Refinement

_MARKS = {
    "confirmed": "[bold green]✔ confirmed[/]",
    "corrected": "[bold green]✎ corrected[/]",
    "answered": "[bold green]✔ answered[/]",
    "kept": "[bold yellow]• kept[/]",
    "unresolved": "[bold red]? unresolved[/]",
}

_MEANINGS = {
    "confirmed": "the programs agree with the answer",
    "corrected": "the programs agree on another answer",
    "answered": "there was no answer before",
    "kept": "the evidence against it is too weak",
    "unresolved": "no program came to an answer",
}


class Waiting:
    """One line that says what is waited for, and for how long; plain lines where no one watches."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._line = Progress(*columns, console=console, transient=True)

    def __call__(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(f"{escape(text)} … {time.monotonic() - self._started:.0f} s")
        elif self._line.tasks:
            self._line.update(self._line.tasks[0].id, description=escape(text))
        else:
            self._line.add_task(escape(text), total=None)
            self._line.start()

    def done(self) -> None:
        self._line.stop()


def waiting(console: Console, text: str) -> AbstractContextManager[object]:
    """A spinner while something is waited for; nothing where no one watches."""
    return console.status(text) if console.is_terminal else nullcontext()


def plain(text: str) -> str:
    """`text` as a terminal may show it: what models write could steer it, or forge its lines."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def safe(text: str) -> str:
    """`text` as it stands within markup, plain."""
    return escape(plain(text))


def verdict(refinement: Refinement) -> str:
    """What became of an answer, in one line of markup."""
    change = safe(str(refinement.answer))
    if refinement.decision == "corrected":
        change = f"{safe(str(refinement.original_answer))} → {change}"
    told = f"{_MARKS[refinement.decision]} {change}  confidence {refinement.confidence:.2f}"
    return f"{told}  [dim]{_spent(refinement)}[/]"


def show_refinement(console: Console, refinement: Refinement) -> None:
    decision = refinement.decision
    console.print(f"{_MARKS[decision]}  [dim]{_MEANINGS[decision]}[/]")
    console.print()
    console.print(f"  answer      [bold]{safe(str(refinement.answer))}[/]{_instead(refinement)}")
    console.print(f"  confidence  {refinement.confidence:.2f}")
    if refinement.stopped_by:
        console.print(f"  [yellow]stopped by  the limit on {refinement.stopped_by}[/]")
    for warning in refinement.warnings:
        console.print(f"  [yellow]warning     {safe(warning)}[/]")
    console.print()
    if refinement.program:
        console.print(
            Panel(Syntax(plain(refinement.program), "python"), title="program", expand=False)
        )
    if refinement.candidates:
        console.print(_candidates(refinement.candidates))
    console.print(f"[dim]{_spent(refinement)}[/]")


def _instead(refinement: Refinement) -> str:
    if refinement.decision != "corrected":
        return ""
    return f"   [dim]instead of {safe(str(refinement.original_answer))}[/]"


def _candidates(candidates: Sequence[Candidate]) -> Table:
    table = Table("", "kind", "answer", "ended", "text", box=None, header_style="dim")
    for each in candidates:
        ended = each.execution.status if each.execution else "–"
        line = " ↵ ".join(each.text.splitlines())
        row = (str(each.index), each.kind, each.answer or "–", ended, line[:60])
        table.add_row(*map(safe, row))
    return table


def _spent(refinement: Refinement) -> str:
    usage = refinement.usage
    failed = f", {usage.failed} draws failed" if usage.failed else ""
    return (
        f"{safe(refinement.strategy.name)}: {usage.programs} programs drawn, "
        f"{usage.executions} run{failed}, {usage.completion_tokens} tokens, "
        f"{usage.wall_s:.2f} s"
    )
