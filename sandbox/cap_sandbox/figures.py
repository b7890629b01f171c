"""What a pool tells of itself, in the text format that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        kind: a `counter` only grows, and its name does not end in `_total`: the format adds that.
        labels: pairs of name and value; neither needs escaping.
    """

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass
class Tally:
    """What a pool counts over its life.

    Attributes:
        ended: programs, by the status of their execution.
        refused: programs that found the queue full.
        handed_over: programs that a light process handed over to a heavy one.
        spawned: processes that became ready.
        spawn_s: seconds that they took, added up.
    """

    ended: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    handed_over: int = 0
    spawned: int = 0
    spawn_s: float = 0.0

    def figures(self) -> Iterator[Figure]:
        for status, count in sorted(self.ended.items()):
            labels = (("status", status),)
            yield Figure("cap_sandbox_programs", "counter", "By how they ended.", count, labels)
        yield Figure(
            "cap_sandbox_refused", "counter", "Programs that found the queue full.", self.refused
        )
        yield Figure(
            "cap_sandbox_handed_over",
            "counter",
            "Programs that needed another kind of process than their text told.",
            self.handed_over,
        )
        yield Figure("cap_sandbox_spawns", "counter", "Processes that became ready.", self.spawned)
        yield Figure(
            "cap_sandbox_spawn_seconds",
            "counter",
            "That processes took to become ready, added up.",
            self.spawn_s,
        )


def exposition(figures: Iterable[Figure]) -> str:
    """The text that `GET /metrics` answers with."""
    lines, described = [], set()
    for figure in figures:
        name = f"{figure.name}_total" if figure.kind == "counter" else figure.name
        if name not in described:
            described.add(name)
            lines += [f"# HELP {name} {figure.meaning}", f"# TYPE {name} {figure.kind}"]
        labels = ",".join(f'{label}="{value}"' for label, value in figure.labels)
        lines.append(f"{name}{{{labels}}} {figure.value}" if labels else f"{name} {figure.value}")
    return "\n".join([*lines, ""])
