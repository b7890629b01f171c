"""Runs programs one after another: a line for each, one log for all, seconds that count."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TAIL_LINES = 15
HEARTBEAT_S = 15.0
# How pip's lines begin that tell how far it is.
MILESTONES = ("Collecting ", "Downloading ", "Processing ", "Building ", "Installing ")


class SetupError(Exception):
    """Setting up cannot go on; the message says why and what to do."""


@dataclass
class Work:
    """Runs the steps, one log for all, one line for each.

    Attributes:
        log: takes what the programs print.
        lock: a locked file that every program inherits, so that a pip that outlives a killed
            setup keeps the next one waiting.
    """

    log: Path
    lock: IO[str]

    def step(self, title: str, argv: Sequence[str]) -> None:
        """Runs a program to its end.

        Raises:
            SetupError: it failed; the message has the log's last lines.
        """
        if status := self._run(title, argv, outcomes=("done", "failed")):
            raise SetupError(f"{title} failed ({status}). {_tail(self.log)}")

    def succeeds(self, title: str, argv: Sequence[str]) -> bool:
        """Asks a question whose answer is a program's exit status."""
        return self._run(title, argv, outcomes=("yes", "no")) == 0

    def _run(self, title: str, argv: Sequence[str], *, outcomes: tuple[str, str]) -> int:
        with self.log.open("a", encoding="utf-8") as output:
            output.write(f"\n=== {title}: {' '.join(argv)}\n")
            output.flush()
            progress = Progress(title)
            status = self._watched(self._start(argv, output), progress)
            progress.end(outcomes[status != 0])
        return status

    def _watched(self, process: subprocess.Popen[bytes], progress: Progress) -> int:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(0.5)
                progress.beat(_doing(self.log))
        finally:
            if process.poll() is None:  # we are interrupted
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()

    def _start(self, argv: Sequence[str], output: IO[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            stdout=output,
            stderr=output,
            # A "user install" configured for the account would miss the environment.
            env=os.environ | {"PIP_USER": "0", "PIP_NO_INPUT": "1"},
            pass_fds=(self.lock.fileno(),),
            start_new_session=True,  # pip has children, which are to end with it
        )


class Progress:
    """One line that counts seconds on a terminal, a line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = self._said = time.monotonic()
        self._terminal = sys.stdout.isatty()
        if self._terminal:
            self.beat("")

    def beat(self, detail: str) -> None:
        now = time.monotonic()
        line = f"  {self._title} … {now - self._started:.0f} s  {detail}"
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            write(f"\r\033[K{line[:width]}")
        elif now - self._said > HEARTBEAT_S:
            self._said = now
            write(f"{line[:110]}\n")

    def end(self, outcome: str) -> None:
        seconds = time.monotonic() - self._started
        start = "\r\033[K" if self._terminal else ""
        write(f"{start}  {self._title}: {outcome} ({seconds:.1f} s)\n")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join([f"Its log is {log}; the last lines:", *(f"  {line}" for line in lines)])


def _doing(log: Path) -> str:
    """What pip said last that tells how far it is."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").splitlines()
    return next(
        (line.strip() for line in reversed(lines) if line.strip().startswith(MILESTONES)), ""
    )


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
