"""A real Chromium, and pages in it that must not do what pages should not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

from cap_server.app import create_app
from cap_server.domain import Execution, Value
from cap_server.errors import CapError
from cap_server.ports import Model
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.e2e.live import live
from tests.server.benches import tools

CHROMIUM = shutil.which("chromium")

_LONGEST_WAIT_MS = 60_000
"""For what takes a moment on a machine with nothing else to do."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """While it is open this thread cannot run an event loop of its own."""
    expect.set_options(timeout=_LONGEST_WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    tried: Sequence[str] = (),
    **options: Any,  # noqa: ANN401  theirs
) -> Iterator[Page]:
    """The page at `url` in a fresh profile, once it knows the server's strategies or lacks a key.

    Whatever is done with it, no script may fail, nothing may be against its policy, and no other
    host may be asked for anything.

    Args:
        browser: it has one of its own.
        url: the server's root.
        tried: what the test does against the policy itself: words of what the browser says of it.
        options: of the context.
    """
    asked: list[str] = []
    faults: list[Error] = []
    against: list[str] = []

    def read(message: ConsoleMessage) -> None:
        refused = "Content Security Policy" in message.text
        if refused and not any(each in message.text for each in tried):
            against.append(message.text)

    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(_LONGEST_WAIT_MS)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(error))
    page.on("console", read)
    try:
        page.goto(url)
        page.wait_for_selector("#strategy option, #key-section:not([hidden])", state="attached")
        yield page
        assert (faults, against) == ([], [])
        assert {
            each for each in asked if not each.startswith((f"{url.rstrip('/')}/", "data:"))
        } == set()
    finally:
        context.close()


@contextmanager
def playing(
    browser: Browser,
    model: Model,
    executions: Mapping[str, Execution | int],
    *,
    settings: Settings | None = None,
    failure: CapError | None = None,
    **options: Any,  # noqa: ANN401  theirs
) -> Iterator[Page]:
    """The page of a live server that runs on `model` and a sandbox that knows `executions`."""
    given = tools(model, FakeSandbox(executions, failure=failure))
    app = create_app(settings or Settings(), tools=nullcontext(given))
    with live(app) as url, opened(browser, url, **options) as page:
        yield page


def loaves() -> tuple[ScriptedModel, dict[str, Execution | int]]:
    """Programs for the first example: seven of eight are right."""
    right, wrong = "a=25*6\nanswer=a-110", "a=25*6-10\nanswer=a-110"
    script = [right, right, right, wrong, right, right, right, right]
    value = Value("int", "40")
    return ScriptedModel(script), {right: Execution("ok", value, wall_s=0.012), wrong: 30}


def refine(page: Page) -> None:
    page.get_by_role("button", name="Refine").click()


def asked(page: Page) -> dict[str, Any]:
    """What the page sends when told to refine."""
    with page.expect_request("**/v1/refine") as sent:
        refine(page)
    body: dict[str, Any] = json.loads(sent.value.post_data or "")
    return body
