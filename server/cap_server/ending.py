"""How a server that was told to end goes: it says so, takes no more, and in the end cuts off."""

from __future__ import annotations

import asyncio

from cap_server.errors import EndingError


class Ending:
    """Made where the loop runs.

    Attributes:
        announced: whether the server was told to end; `/ready` says so.
        cut: done when requests under way are to end at once, with `EndingError`.
    """

    def __init__(self) -> None:
        self.announced = False
        self.cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def announce(self) -> None:
        self.announced = True

    def cut_off(self) -> None:
        """The grace is over: whoever still waits is told so."""
        if not self.cut.done():
            self.cut.set_result(None)


def cut_off_error() -> EndingError:
    return EndingError("This server ends; ask again.", retry_after_s=1)
