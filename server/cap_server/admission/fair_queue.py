"""Whose turn is next: tenants get equal shares, and so do small and large requests of a tenant.

Source: start-time fair queueing (Goyal, Vin & Cheng 1996). Each tenant has a clock that runs on by
the cost of what it gets; the one whose clock is furthest behind is next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

SMALL = 4
"""The highest cost that counts as small."""

Room = Literal["yes", "no", "not_for_large"]


@dataclass(eq=False)
class Waiting:
    """Attributes: patient: waits as long as it takes, and does not count as one that waits."""

    tenant: str
    cost: float
    patient: bool = False

    @property
    def small(self) -> bool:
        return self.cost <= SMALL


@dataclass
class _Line:
    """What waits, of one size."""

    waiting: deque[Waiting] = field(default_factory=deque)
    clock: float = 0.0


@dataclass
class _Share:
    """One tenant's. `lines`: of its small requests and of its large ones."""

    clock: float
    lines: dict[bool, _Line] = field(default_factory=lambda: {True: _Line(), False: _Line()})

    def __len__(self) -> int:
        return sum(len(line.waiting) for line in self.lines.values())

    def cost(self) -> float:
        return sum(each.cost for line in self.lines.values() for each in line.waiting)

    def impatient(self) -> list[Waiting]:
        """Those that are not patient, of each size in the order in which they came."""
        every = [each for line in self.lines.values() for each in line.waiting]
        return [each for each in every if not each.patient]


class FairQueue:
    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._clock = 0.0

    def __len__(self) -> int:
        return sum(len(share) for share in self._shares.values())

    def push(self, item: Waiting) -> None:
        share = self._shares.setdefault(item.tenant, _Share(self._clock))
        if not len(share):
            share.clock = max(share.clock, self._clock)
        line = share.lines[item.small]
        if not line.waiting:
            line.clock = max(line.clock, min(each.clock for each in share.lines.values()))
        line.waiting.append(item)

    def pop(self, room: Callable[[Waiting], Room]) -> Waiting | None:
        """The next for which there is room; None where nobody may have it.

        While there is no room for the next, nobody else gets it either: it would never be enough.
        """
        shares = [share for share in self._shares.values() if len(share)]
        for share in sorted(shares, key=lambda each: each.clock):
            for line in sorted(share.lines.values(), key=lambda each: each.clock):
                if not line.waiting:
                    continue
                found = room(line.waiting[0])
                if found == "yes":
                    return self._taken(share, line)
                if found == "no":
                    return None
        return None

    def remove(self, item: Waiting) -> None:
        """Forget `item`, whose turn has not come."""
        self._shares[item.tenant].lines[item.small].waiting.remove(item)

    def ahead(self, tenant: str) -> float:
        """What is served before all that `tenant` has waiting is, at most, in cost."""
        active = [share.cost() for share in self._shares.values() if len(share)]
        share = self._shares.get(tenant)
        own = share.cost() if share else 0.0
        return sum(min(each, own) for each in active)

    def newest_of_longest(self, *, than: str) -> Waiting | None:
        """The last that came of the tenant with most waiting; None where `than` has about as many.

        Those that are patient do not count.
        """
        waiting = {name: share.impatient() for name, share in self._shares.items()}
        longest = max(waiting.values(), key=len, default=[])
        return longest[-1] if len(longest) > len(waiting.get(than, [])) + 1 else None

    def _taken(self, share: _Share, line: _Line) -> Waiting:
        item = line.waiting.popleft()
        self._clock = max(self._clock, share.clock)
        share.clock += item.cost
        line.clock += item.cost
        # A tenant that waits for nothing is remembered while it is ahead of the others.
        for name, each in list(self._shares.items()):
            if not len(each) and each.clock <= self._clock:
                del self._shares[name]
        return item
