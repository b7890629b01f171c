"""What a server does when its client leaves, and when its model refuses or does not answer."""

from __future__ import annotations

import asyncio
import json
import time

from peers_load import Ask, Connection, ask
from peers_servers import Running, behave, seen

_LONG_S = 30.0


async def left(server: Running, upstream: Running, *, wait_s: float = 3.0) -> str:
    """A client asks for a vote and leaves: how many of the model's calls end with it."""
    assert server.contestant.votes is not None
    await behave(upstream, delay_s=_LONG_S)
    await seen(upstream)
    asking = asyncio.ensure_future(ask(server.port, server.contestant.votes))
    await asyncio.sleep(1.0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.sleep(wait_s)
    counts = await seen(upstream)
    return f"{counts['left']} of {counts['asked']} model calls ended"


async def refused(server: Running, upstream: Running) -> str:
    """The model's server answers 429 with Retry-After."""
    await behave(upstream, delay_s=0, status=429)
    await seen(upstream)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_LONG_S):
            got = await ask(server.port, server.contestant.passes)
    except TimeoutError:
        return f"nothing within {_LONG_S:.0f} s, {(await seen(upstream))['asked']} calls"
    after = got.headers.get("retry-after")
    told = f"{got.status}, {f'Retry-After {after}' if after else 'no Retry-After'}"
    calls = (await seen(upstream))["asked"]
    return f"{told}; {time.perf_counter() - started:.1f} s, {calls} calls"


async def late(server: Running, upstream: Running, *, wait_s: float = 8.0) -> str:
    """The model's server does not answer; the client gives 2 s, where it can say so."""
    request = server.contestant.deadline or server.contestant.votes
    assert request is not None
    await behave(upstream, delay_s=_LONG_S)
    connection, started = Connection(server.port), time.perf_counter()
    try:
        async with asyncio.timeout(wait_s):
            got = await connection.ask(request)
    except TimeoutError:
        return f"nothing within {wait_s:.0f} s; takes no deadline"
    finally:
        connection.close()
    told = json.loads(got.content)
    what = told.get("decision") or told["error"]["code"]
    return f"{got.status} `{what}` after {time.perf_counter() - started:.1f} s"


async def resident(server: Running, request: Ask, *, at_once: int) -> float:
    """MiB of the server's process while it has `at_once` requests under way, at most."""
    asking = [asyncio.ensure_future(ask(server.port, request)) for _ in range(at_once)]
    most = server.resident_mib()
    while not all(each.done() for each in asking):
        most = max(most, server.resident_mib())
        await asyncio.sleep(0.05)
    await asyncio.gather(*asking, return_exceptions=True)
    return most
