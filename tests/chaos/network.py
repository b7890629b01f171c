"""The way between the servers and their upstream: a proxy that misbehaves, and a lossy link.

The lossy link needs root: a network namespace of the suite's own, in which the upstream lives, and
whose firewall drops packets. Where the kernel has no `netem`, delays are the proxy's alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from tests.ports import free_port

_BLOCK = 16_384


@dataclass
class Proxy:
    """Attributes: delay_s: before each block, up to twice that; breaks: the share of connections
    that it resets, or ends in the middle of an answer.
    """

    target: tuple[str, int]
    port: int = field(default_factory=free_port)
    delay_s: float = 0.0
    breaks: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        handlers: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._carry(reader, writer))
            handlers.add(task)
            task.add_done_callback(handlers.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, backlog=1024)
        try:
            yield self
        finally:
            server.close()
            for each in handlers:
                each.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        ways = [
            asyncio.ensure_future(self._copy(reader, back, writer, answers=False)),
            asyncio.ensure_future(self._copy(there, writer, back, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, back):
                with suppress(OSError, RuntimeError):
                    end.close()

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        *,
        answers: bool,
    ) -> None:
        with suppress(OSError):
            while block := await reader.read(_BLOCK):
                await asyncio.sleep(self.delay_s * 2 * random.random())
                if answers and random.random() < self.breaks:
                    if random.random() < 0.5:  # in the middle of the answer
                        writer.write(block[: len(block) // 2])
                        await writer.drain()
                    else:
                        _reset(writer)
                        _reset(other)
                    return
                writer.write(block)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection so that its other end is told of an error."""
    with suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@dataclass(frozen=True)
class Link:
    """Attributes: inside: what starts a command there; host: its address."""

    inside: tuple[str, ...]
    host: str
    namespace: str | None = None

    def drop(self, share: float) -> None:
        """Lose so much of what goes in and out; 0 mends it."""
        _do("ip", "netns", "exec", str(self.namespace), "iptables", "-F")
        for way in ("INPUT", "OUTPUT") if share else ():
            rule = ("-p", "tcp", "-m", "statistic", "--mode", "random", "--probability")
            _do(
                "ip", "netns", "exec", str(self.namespace),
                "iptables", "-A", way, *rule, str(share), "-j", "DROP",
            )  # fmt: skip


@contextmanager
def link() -> Iterator[tuple[Link, str]]:
    """A link to where the upstream shall live, and why it cannot lose packets; empty if it can."""
    why = _unable()
    if why:
        yield Link((), "127.0.0.1"), why
        return
    name, number = f"cap-chaos-{os.getpid()}", os.getpid() % 250
    ours, theirs = f"10.213.{number}.1", f"10.213.{number}.2"
    veth = f"capc{os.getpid() % 100_000}"
    try:
        _do("ip", "netns", "add", name)
        _do("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", name)
        _do("ip", "addr", "add", f"{ours}/30", "dev", veth)
        _do("ip", "link", "set", veth, "up")
        _do("ip", "-n", name, "addr", "add", f"{theirs}/30", "dev", "eth0")
        _do("ip", "-n", name, "link", "set", "eth0", "up")
        found = Link(("ip", "netns", "exec", name), theirs, name)
        found.drop(0.5)
        found.drop(0)
        yield found, ""
    except subprocess.CalledProcessError as error:
        yield Link((), "127.0.0.1"), f"this kernel does not allow it: {error.cmd[0]}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _unable() -> str:
    if os.geteuid() != 0:
        return "needs root"
    missing = [each for each in ("ip", "iptables") if shutil.which(each) is None]
    return f"no {missing[0]} here" if missing else ""


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
