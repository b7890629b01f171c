"""Keys: how many requests they let pass, and what becomes of them when the database goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from cap_server.domain import Key
from cap_server.errors import RateLimitedError, StoreUnavailableError, TooManyAtOnceError
from cap_server.keys import (
    Keyring,
    Turnstile,
    access_of,
    digest_of,
    given_key,
    is_loopback,
    new_secret,
)
from cap_server.keys.bucket import Bucket


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """A database of keys that can be switched off."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.ever = bool(keys)
        self.answers = True

    async def live(self) -> tuple[bool, Sequence[Key]]:
        if not self.answers:
            raise StoreUnavailableError("no")
        return self.ever, list(self.keys)

    async def add(self, key: Key) -> None:
        raise NotImplementedError

    async def all(self) -> Sequence[Key]:
        raise NotImplementedError

    async def revoke(self, name_or_id: str) -> Key | None:
        raise NotImplementedError


def key(name: str = "a", *, per_minute: int | None = None, at_once: int | None = None) -> Key:
    return Key(name, name, digest_of(name), per_minute=per_minute, at_once=at_once)


def passes(turnstile: Turnstile, of: Key) -> int:
    """How many requests, one after the other, get through before one is refused."""
    for n in range(10_000):
        try:
            with turnstile.passing(of):
                pass
        except RateLimitedError:
            return n
    return 10_000


def test_secrets_are_long_random_and_ours() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(each.startswith("cap_") and len(each) == 47 for each in secrets)


def test_a_bucket_lets_through_its_rate_over_any_long_time() -> None:
    clock = Clock()
    bucket = Bucket(60, clock=clock)
    through = 0
    for _ in range(6000):  # ten minutes, ten tries a second
        through += bucket.take()
        clock.now += 0.1
    assert 60 + 600 - 1 <= through <= 60 + 600


def test_over_the_rate_the_time_to_wait_is_true() -> None:
    clock = Clock()
    turnstile = Turnstile(per_minute=10, clock=clock)
    assert passes(turnstile, key()) == 10
    with pytest.raises(RateLimitedError) as refused, turnstile.passing(key()):
        pass
    assert refused.value.retry_after_s == 6
    clock.now += 5.9
    assert passes(turnstile, key()) == 0
    clock.now += 0.2
    assert passes(turnstile, key()) == 1


def test_a_keys_own_limits_come_before_the_defaults_and_zero_lifts_them() -> None:
    turnstile = Turnstile(per_minute=10, at_once=2, clock=Clock())
    assert passes(turnstile, key("more", per_minute=30)) == 30
    assert passes(turnstile, key("any", per_minute=0)) == 10_000
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(turnstile.passing(key("crowd", per_minute=0, at_once=0)))


def test_requests_under_way_are_bounded_and_leave_their_place() -> None:
    turnstile = Turnstile(at_once=2, clock=Clock())
    with turnstile.passing(key()):
        with turnstile.passing(key()):
            with turnstile.passing(key("another")):
                pass
            with pytest.raises(TooManyAtOnceError) as refused, turnstile.passing(key()):
                pass
        with turnstile.passing(key()):
            pass
    assert refused.value.retry_after_s == 1


def test_how_long_to_wait_for_a_place_follows_how_long_requests_last() -> None:
    clock = Clock()
    turnstile = Turnstile(at_once=1, clock=clock)
    for _ in range(30):
        with turnstile.passing(key()):
            clock.now += 20
    with ExitStack() as stack:
        stack.enter_context(turnstile.passing(key()))
        with pytest.raises(TooManyAtOnceError) as refused:
            stack.enter_context(turnstile.passing(key()))
    assert refused.value.retry_after_s == 20


def test_a_refusal_takes_no_token() -> None:
    turnstile = Turnstile(per_minute=2, at_once=1, clock=Clock())
    with turnstile.passing(key()):
        for _ in range(5):
            with pytest.raises(TooManyAtOnceError), turnstile.passing(key()):
                pass
    with turnstile.passing(key()):
        pass


async def test_items_of_a_batch_wait_for_their_turn_instead() -> None:
    turnstile = Turnstile(at_once=2)
    of, most, running = key(), 0, 0
    with turnstile.passing(of):

        async def item(*, covered: bool) -> None:
            nonlocal most, running
            async with turnstile.turn(of, covered=covered):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(item(covered=n == 0) for n in range(20)))
    assert most == 2


async def test_items_of_a_batch_keep_to_the_rate() -> None:
    clock = Clock()
    turnstile = Turnstile(per_minute=6000, clock=clock)  # a token every 10 ms
    assert passes(turnstile, key()) == 6000

    async def item() -> None:
        async with turnstile.turn(key(), covered=True):
            pass

    waiting = asyncio.ensure_future(item())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    clock.now += 0.1
    await waiting


async def test_a_key_is_found_by_its_secret_alone() -> None:
    keyring = Keyring([given_key("one", rights=frozenset())], Keys(key("two")))
    await keyring.refresh()
    assert keyring.find("two") == key("two")
    found = keyring.find("one")
    assert found is not None
    assert keyring.holds(found)
    assert keyring.find("on") is keyring.find("") is keyring.find(digest_of("two")) is None


async def test_a_hash_in_the_settings_stands_for_the_key() -> None:
    keyring = Keyring([given_key(f"sha256:{digest_of('one').upper()}", rights=frozenset())], None)
    assert keyring.find("one") is not None
    assert keyring.find(f"sha256:{digest_of('one')}") is None


async def test_what_the_database_told_last_stays_while_it_is_away() -> None:
    store = Keys(key("two"))
    async with Keyring([], store).running() as keyring:
        store.answers = False
        await keyring.refresh()
        assert keyring.find("two") == key("two")
        store.answers, store.keys = True, []
        await keyring.refresh()
        assert keyring.find("two") is None


async def test_a_server_whose_keys_are_all_revoked_does_not_open() -> None:
    store = Keys(key("two"))
    keyring = Keyring([], store)
    await keyring.refresh()
    store.keys = []
    await keyring.refresh()
    assert access_of(keyring, host="127.0.0.1", open_=True) == "keys"
    assert access_of(Keyring([], None), host="127.0.0.1", open_=True) == "loopback"


async def test_nobody_comes_in_before_it_is_known_whether_there_are_keys() -> None:
    store = Keys()
    store.answers = False
    keyring = Keyring([], store)
    await keyring.refresh()
    assert access_of(keyring, host="127.0.0.1", open_=True) == "unknown"
    store.answers = True
    await keyring.refresh()
    assert access_of(keyring, host="127.0.0.1", open_=False) == "loopback"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_what_counts_as_this_machine(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    none = Keyring([], None)
    assert access_of(none, host=host, open_=False) == ("loopback" if loopback else None)
    assert access_of(none, host=host, open_=True) == ("loopback" if loopback else "open")
