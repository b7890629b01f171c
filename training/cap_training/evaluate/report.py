"""The report: the same tables as Markdown beside its pictures, and as one HTML page."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cap_training.evaluate import plots
from cap_training.evaluate.results import Against, Critic, Line, plain
from cap_training.watch import write_whole

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:13px}td,th{border:1px solid #ccc;padding:3px 8px;"
    "text-align:left}img{max-width:100%}code{background:#f3f3f3}"
)
_MEANING = (
    "Shares with 95 % bootstrap intervals. right: answers of right CoTs that stayed right; "
    "wrong: wrong CoTs whose answer was corrected; broken: right CoTs whose answer was changed to "
    "a wrong one; copied: wrong CoTs whose answer a program came to again (non-correcting)."
)

_ANSWERS = ("set", "strategy", "no CoT", "right", "wrong", "broken", "copied", "n", "programs")
_COMPARED = ("set", "strategy", "condition", "difference", "better", "worse", "n", "p")


@dataclass(frozen=True)
class Report:
    """All that an evaluation found.

    Attributes:
        facts: what was evaluated, how, when it was cut short.
        other: what `against` compares with.
    """

    title: str
    facts: Mapping[str, str]
    lines: Sequence[Line]
    critic: Critic | None
    against: Sequence[Against] = ()
    other: str = ""


@dataclass(frozen=True)
class _Table:
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def write_report(report: Report, folder: Path) -> None:
    """Writes `report.json`, `report.md` with its pictures, and `report.html`."""
    pictures = {"accuracy.png": plots.accuracy(report.lines)} if report.lines else {}
    if report.critic and report.critic.bins:
        pictures["critic.png"] = plots.calibration(report.critic.bins)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    tables = list(_tables(report))
    write_whole(folder / "report.json", json.dumps(_as_json(report), indent=1, ensure_ascii=False))
    write_whole(folder / "report.md", _markdown(report, tables, list(pictures)))
    write_whole(folder / "report.html", _html(report, tables, pictures))


def _as_json(report: Report) -> dict[str, Any]:
    return dict(plain(report))


def _tables(report: Report) -> list[_Table]:
    rows = [_line_row(line) for line in report.lines]
    tables = [_Table("Answers", _ANSWERS, rows, _MEANING)]
    if report.critic:
        found = report.critic
        row = (str(found.auc or "-"), f"{found.calibration_error:.3f}", str(found.n))
        note = "P(yes) of the question `Correct?` about right and wrong CoTs."
        tables.append(_Table("Critic", ("AUC", "calibration error", "n"), [row], note))
    if report.against:
        note = f"The same items, pair by pair, against {report.other}; p of McNemar's exact test."
        rows = [_against_row(each) for each in report.against]
        tables.append(_Table("Compared", _COMPARED, rows, note))
    return tables


def _line_row(line: Line) -> list[str]:
    shown = (line.none, line.right, line.wrong, line.broken, line.copied)
    asked = "/".join(str(each.n if each else 0) for each in (line.none, line.right, line.wrong))
    figures = ["-" if each is None else str(each) for each in shown]
    return [line.dataset, line.system, *figures, asked, f"{line.programs:.1f}"]


def _against_row(each: Against) -> list[str]:
    found = each.comparison
    counts = (str(found.better), str(found.worse), str(found.n))
    p = f"{found.p:.2g}"
    return [each.dataset, each.system, each.condition, f"{found.difference:+.3f}", *counts, p]


def _markdown(report: Report, tables: Sequence[_Table], pictures: Sequence[str]) -> str:
    parts = [f"# {report.title}", "\n".join(f"- {k}: {v}" for k, v in report.facts.items())]
    for table in tables:
        rows = [table.head, ["---"] * len(table.head), *table.rows]
        grid = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        parts += [f"## {table.title}", *([table.note] if table.note else []), grid]
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"


def _html(report: Report, tables: Sequence[_Table], pictures: Mapping[str, bytes]) -> str:
    say = html.escape
    facts = "".join(f"<li>{say(k)}: {say(v)}</li>" for k, v in report.facts.items())
    parts = [f"<h1>{say(report.title)}</h1><ul>{facts}</ul>"]
    for table in tables:
        head = "".join(f"<th>{say(cell)}</th>" for cell in table.head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{say(cell)}</td>" for cell in row) + "</tr>"
            for row in table.rows
        )
        parts.append(f"<h2>{say(table.title)}</h2><p>{say(table.note)}</p>")
        parts.append(f"<table><tr>{head}</tr>{rows}</table>")
    for name, picture in pictures.items():
        data = base64.b64encode(picture).decode("ascii")
        parts.append(f'<p><img alt="{say(name)}" src="data:image/png;base64,{data}"></p>')
    top = f'<!doctype html><meta charset="utf-8"><title>{say(report.title)}</title>'
    return f"{top}<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n"
