"""A job on Ray Data: its parts spread over machines, done again where one is lost.

The data set that Ray sees is the list of parts, not their rows. A process reads its part, has it
refined and writes it by itself: a part that Ray does again writes the same file, and no rows wait
in Ray's memory.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from cap_client import CapError
from cap_server.bulk.job import Part
from cap_server.bulk.rows import BulkError
from cap_server.bulk.run import Tally
from cap_server.bulk.worker import Done, Work, work_on
from cap_server.cli_client import REFUSED, told

_CPUS = 0.1
"""Of a process that waits for the server most of its time."""

_STRETCHES = 8
"""Pieces of the job for each process: more of them spread better, and read a table's large row
groups more often."""

_STORE_BYTES = 128 * 1024**2
"""Ray's memory for objects, which are a few bytes for each part."""


class Stopped(Exception):
    """A process could not go on. Args: code: the command's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def ray_at(address: str | None) -> Iterator[None]:
    """Ray while the job runs. Args: address: a cluster's; None: one of this process's own.

    Raises:
        BulkError: there is none.
        Stopped: it failed.
    """
    if address is not None:
        _check_answers(address)
    # Both are read when Ray is imported, which is why that happens here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # By its name for other systems, this is what keeps Ray's ports on loopback.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(
            address or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **({} if address else own),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise BulkError(f"Ray does not start at {address or 'this machine'}: {reason}") from error
    try:
        yield
    except ray.exceptions.RayError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise Stopped(f"Ray failed ({type(error).__name__}): {reason}", REFUSED) from error
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises BulkError where nobody listens: Ray itself would try for a minute, and exit."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=10).close()
    except OSError as error:
        raise BulkError(f"No Ray cluster answers at {address}: {error.strerror}.") from error


def refined(parts: Sequence[Part], work: Work, *, at_once: int) -> Iterator[Done]:
    """Do `parts`, so many at once; each is told as it is done.

    Raises:
        Stopped: a process could not go on.
    """
    import ray.data

    _keep_quiet()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A part is told when it is done, not when others have filled a block.
    context.target_max_block_size = 1
    # The patience with a server is ours, and ends by itself.
    context.execution_no_progress_timeout_s = -1
    stretches = min(len(parts), _STRETCHES * at_once)
    listed = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=stretches)
    spread = listed.map_batches(
        partial(_stretch, work=work),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=_CPUS,
        compute=ray.data.TaskPoolStrategy(size=at_once),
    )
    for row in spread.iter_rows():
        if row["fault"] is not None:
            raise Stopped(row["fault"], row["code"])
        yield Done(row["number"], _tally_of(json.loads(row["tally"])))


def _stretch(parts: pa.Table, work: Work) -> Iterator[pa.Table]:
    """What Ray runs. Faults are told as rows: Ray would try them again, and hide why."""
    try:
        for done in work_on([Part(**row) for row in parts.to_pylist()], work):
            yield _row(number=done.number, tally=json.dumps(_told(done.tally)))
    except BulkError as error:
        yield _row(fault=str(error), code=REFUSED)
    except CapError as error:
        message, code = told(error, url=work.url)
        yield _row(fault=f"{message} [asked from {socket.gethostname()}]", code=code)


def _told(tally: Tally) -> dict[str, Any]:
    return {name: getattr(tally, name) for name in Tally.__dataclass_fields__}


def _tally_of(told: dict[str, Any]) -> Tally:
    return Tally(**{**told, "decisions": Counter(told["decisions"])})


def _keep_quiet() -> None:
    """What Ray Data says goes to its file, and what matters of it is told by us."""
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler) and "File" not in type(handler).__name__:
            handler.setLevel(logging.CRITICAL + 1)


def _row(**values: object) -> pa.Table:
    kinds = {"number": pa.int64(), "tally": pa.string(), "fault": pa.string(), "code": pa.int64()}
    return pa.Table.from_pylist([values], schema=pa.schema(list(kinds.items())))
