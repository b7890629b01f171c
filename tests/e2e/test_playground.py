"""The playground in a real Chromium, against a live server with scripted models."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Route, expect
from starlette.types import ASGIApp, Receive, Scope, Send

from cap_server.app import create_app
from cap_server.domain import Execution, Prompt, Sample, Sampling, Value
from cap_server.errors import CapError, ModelUnavailableError, SandboxUnavailableError
from cap_server.example import EXAMPLE
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.e2e.browsers import asked, chromium, loaves, needs_chromium, opened, playing, refine
from tests.e2e.live import live
from tests.server.benches import tools

pytestmark = [pytest.mark.timeout(180), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Held(ScriptedModel):
    """The first draws come at once, the others never."""

    def __init__(self, script: list[str | Sample | CapError], *, first: int) -> None:
        super().__init__(script)
        self._first = first
        self.held = 0
        self.let_go = 0

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        if draw >= self._first:
            self.held += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.let_go += 1
        return await super().sample(prompt, sampling=sampling, draw=draw)


def test_an_example_is_corrected_and_shown_whole(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        body = asked(page)
        expect(page.locator("#answer")).to_have_text("40")
        assert body == {
            "question": EXAMPLE.question,
            "cot": EXAMPLE.cot,
            "strategy": "majority",
            "stream": True,
        }
        expect(page.locator(".decision")).to_contain_text("Programs agree on another answer.")
        expect(page.locator(".decision del")).to_have_text("50")
        expect(page.get_by_role("status")).to_have_text(
            "Corrected: 40 instead of 50, confidence 80 %."
        )
        program = page.get_by_role("region", name="The program")
        expect(program).to_have_text("a=25*6\nanswer=a-110")
        expect(program.locator(".py-number")).to_have_text(["25", "6", "110"])
        expect(page.locator(".came-to")).to_have_text("It comes to 40 (int) in 12 ms.")
        expect(page.locator("dl")).to_contain_text("8 programs (8 finished)")
        cards = page.locator("#candidates li")
        expect(cards).to_have_count(8)
        expect(cards.first.locator(".badge")).to_have_text("chosen")
        expect(cards.nth(3).locator(".outcome")).to_have_text("→ 30")
        picture = page.get_by_role("img", name="Votes after 8 programs. 40: 7, 30: 1.")
        expect(picture.locator("polyline")).to_have_count(2)
        expect(page.locator("#bars li")).to_have_text(["407", "301"])


class Under:
    """ASGI middleware: a proxy that serves the app under a path and takes the path off."""

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            within = str(scope["path"]).removeprefix(self._path)
            found = within != scope["path"]
            scope = {**scope, "path": within if found else "/elsewhere"}
        await self._app(scope, receive, send)


def test_it_works_under_a_path_of_a_proxy(browser: Browser) -> None:
    model, executions = loaves()
    app = create_app(Settings(), tools=nullcontext(tools(model, FakeSandbox(executions))))
    app.add_middleware(Under, path="/cap")
    with live(app) as url, opened(browser, f"{url}/cap/") as page:
        refine(page)
        expect(page.locator("#answer")).to_have_text("40")
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.locator("#copied-text")).to_have_value(re.compile(f"^curl -s {url}/cap/v1/"))


def test_probabilities_are_drawn_as_they_grow(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        page.get_by_label("Strategy").select_option("adaptive")
        refine(page)
        expect(page.locator("#answer")).to_have_text("40")
        expect(page.locator("#picture-title")).to_have_text("Probabilities")
        picture = page.locator("#chart svg")
        expect(picture).to_have_attribute("aria-label", re.compile(r"40: \d+ %, 50: \d+ %, none"))
        expect(page.locator("#why")).to_contain_text("an answer has probability 0.")
        points = picture.locator("polyline").last.get_attribute("points") or ""
        heights = [float(point.split(",")[1]) for point in points.split()]
        assert len(heights) >= 2
        assert heights == sorted(heights, reverse=True), "40 grows with every program"


def test_what_happens_is_shown_while_it_happens_and_stop_ends_it(browser: Browser) -> None:
    (_, executions), right = loaves(), "a=25*6\nanswer=a-110"
    model = Held([right], first=3)
    with playing(browser, model, executions) as page:
        stop = page.get_by_role("button", name="Stop")
        expect(stop).to_be_disabled()
        refine(page)
        expect(page.locator("#candidates .answered")).to_have_count(3)
        expect(page.get_by_role("img")).to_have_attribute(
            "aria-label", "Votes after 3 programs. 40: 3."
        )
        expect(page.locator("#result")).to_have_attribute("aria-busy", "true")
        expect(page.locator("#decision")).to_be_empty()
        stop.click()
        expect(page.get_by_role("status")).to_have_text("Stopped. Nothing more is drawn.")
        expect(stop).to_be_disabled()
        expect(page.locator("#candidates li")).to_have_count(3)
        until = time.monotonic() + 30
        while model.let_go < 5 and time.monotonic() < until:
            page.wait_for_timeout(5)
        assert (model.held, model.let_go) == (5, 5), "the server let go of the model's calls"


HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    "</code></pre><style>body{display:none}</style>&lt;b&gt;"
)


def test_markup_in_anything_that_is_shown_is_only_text(browser: Browser) -> None:
    program = f"# {HOSTILE}\nanswer = '{HOSTILE}'"
    failing = f'x = """{HOSTILE}'
    execution = Execution("ok", Value("text", HOSTILE), stdout=HOSTILE)
    executions = {program: execution, failing: Execution("error", stderr=HOSTILE)}
    model = ScriptedModel([program, program, program, program, failing], name=HOSTILE)
    with playing(browser, model, executions) as page:
        title = page.title()
        page.get_by_label("Question").fill(HOSTILE)
        page.get_by_label("Chain of thought").fill(f"{HOSTILE} The answer is 50.")
        page.get_by_label("Source").fill(HOSTILE)
        page.get_by_text("Parameters", exact=True).click()
        page.get_by_label("overrule").fill("0.5")
        refine(page)
        expect(page.locator("#answer")).to_contain_text("onerror")
        expect(page.get_by_role("region", name="The program")).to_have_text(program)
        expect(page.get_by_role("region", name="It prints")).to_have_text(HOSTILE)
        expect(page.locator("dl")).to_contain_text(HOSTILE)
        expect(page.locator("#candidates .fault")).to_contain_text("<img")
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.locator("#copied")).to_be_visible()
        assert page.locator("main :is(img, script, style, b)").count() == 0
        assert page.title() == title


def test_the_page_could_not_read_text_as_markup_if_it_tried(browser: Browser) -> None:
    with playing(browser, *loaves(), tried=("TrustedHTML",)) as page:
        with pytest.raises(Error, match="TrustedHTML"):
            page.evaluate("document.getElementById('status').innerHTML = '<b>no</b>'")
        assert page.locator("#status b").count() == 0


def test_errors_are_told_in_the_servers_words(browser: Browser) -> None:
    down = ModelUnavailableError("The model is down for <b>repairs</b>.", retry_after_s=7)
    with playing(browser, ScriptedModel([down]), {}) as page:
        refine(page)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The model is down for <b>repairs</b>.")
        expect(alert).to_contain_text(re.compile(r"status 503 · \w+ · req_\w+ · try again in 7 s"))
        page.get_by_label("Question").fill("   ")
        refine(page)
        expect(alert).to_contain_text("status 422")
        expect(page.get_by_label("Question")).to_be_focused()
        expect(page.get_by_label("Question")).to_have_attribute("aria-invalid", "true")


def test_an_error_in_the_middle_keeps_what_came_before(browser: Browser) -> None:
    failure = SandboxUnavailableError("The sandbox is gone.")
    with playing(browser, ScriptedModel(["answer=1"]), {}, failure=failure) as page:
        refine(page)
        expect(page.get_by_role("alert")).to_contain_text("The sandbox is gone.")
        expect(page.locator("#candidates li").first).to_contain_text("answer=1")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": 502, "content_type": "text/html", "body": "<h1>Bad gateway"}, "status 502"),
        ({"content_type": "text/event-stream", "body": ": heartbeat\n\n"}, "broke off"),
        (None, "cannot be reached"),
    ],
    ids=["a proxy's page", "a stream cut short", "no answer"],
)
def test_what_is_between_page_and_server_may_fail(
    browser: Browser, answer: dict[str, Any] | None, told: str
) -> None:
    def instead(route: Route) -> None:
        route.fulfill(**answer) if answer else route.abort()

    with playing(browser, *loaves()) as page:
        page.route("**/v1/refine", instead)
        refine(page)
        expect(page.get_by_role("alert")).to_contain_text(told)
        page.unroute("**/v1/refine")
        refine(page)
        expect(page.locator("#answer")).to_have_text("40")
        expect(page.get_by_role("alert")).to_be_empty()


def test_a_key_is_asked_for_where_one_is_needed_and_kept_in_the_tab_alone(browser: Browser) -> None:
    settings = Settings.model_validate({"api_keys": "right-key"})
    with playing(browser, *loaves(), settings=settings) as page:
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        key.fill("wrong-key")
        page.get_by_role("button", name="Use this key").click()
        expect(page.get_by_role("alert")).to_contain_text("not known here")
        key.fill("right-key")
        key.press("Enter")
        expect(page.get_by_role("status")).to_have_text("The key is accepted.")
        expect(page.get_by_role("alert")).to_be_empty()
        with page.expect_request("**/v1/refine") as sent:
            refine(page)
        assert sent.value.headers["authorization"] == "Bearer right-key"
        expect(page.locator("#answer")).to_have_text("40")
        page.get_by_role("button", name="Copy as curl").click()
        copied = page.locator("#copied-text")
        expect(copied).to_have_value(re.compile(r'-H "Authorization: Bearer \$CAP_API_KEY"'))
        kept = (
            "[sessionStorage.length, localStorage.length, document.cookie, document.body.outerHTML]"
        )
        in_tab, beyond, cookie, markup = page.evaluate(kept)
        assert (in_tab, beyond, cookie) == (1, 0, "")
        assert "right-key" not in markup + copied.input_value() + page.url
        page.reload()
        expect(page.get_by_label("Strategy")).to_have_value("majority")
