"""The playground by keyboard, on a phone, in the dark, and for those who listen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from cap_server.domain import Execution, Value
from cap_server.settings import Settings
from cap_server.testing import ScriptedModel
from tests.e2e.browsers import chromium, loaves, needs_chromium, playing

pytestmark = [pytest.mark.timeout(180), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def everything_shown(page: Page) -> None:
    """Parameters open, a refinement done, a command copied."""
    page.locator("#more summary").click()
    page.get_by_role("button", name="Refine").click()
    expect(page.locator("#answer")).not_to_be_empty()
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.locator("#copied")).to_be_visible()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def test_a_refinement_by_keyboard_alone(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        stops: list[str] = []
        while not stops or stops[-1] != "run":
            page.keyboard.press("Tab")
            stops.append(focused(page))
            assert len(stops) < 20, stops
            if stops[-1] == "question":
                page.keyboard.press("Control+A")
                page.keyboard.type("What is 25 * 6 - 110?")
        fields = ["examples", "question", "cot", "source", "strategy", "SUMMARY"]
        assert stops == ["A", "A", *fields, "run"]
        expect(page.get_by_label("Example")).to_have_value("own")
        page.keyboard.press("Enter")
        expect(page.locator("#answer")).to_have_text("40")
        expect(page.get_by_role("button", name="Refine")).to_be_focused()


def test_the_focus_is_where_it_can_be_seen_and_never_lost(browser: Browser) -> None:
    slow, executions = ScriptedModel(["answer=40"], delay_s=3600), {"answer=40": 40}
    with playing(browser, slow, executions) as page:
        page.get_by_label("Question").press("Control+Enter")
        expect(page.get_by_role("status")).to_have_text("Refining…")
        page.get_by_label("Question").press("Escape")
        expect(page.get_by_role("status")).to_contain_text("Stopped")
        page.get_by_role("button", name="Refine").press("Enter")
        stop = page.get_by_role("button", name="Stop")
        expect(stop).to_be_enabled()
        page.keyboard.press("Tab")
        expect(stop).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Refine")).to_be_focused()


def test_the_first_stop_skips_to_the_result(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert focused(page) == "result"


WIDE = "9" * 3000


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    program = f"answer='{WIDE}'"
    executions = {program: Execution("ok", Value("text", WIDE), stdout=WIDE, stderr=WIDE)}
    model = ScriptedModel([program], name=WIDE)
    phone = {"width": width, "height": 700}
    with playing(browser, model, executions, viewport=phone, has_touch=True) as page:
        page.get_by_label("Question").fill(WIDE)
        everything_shown(page)
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) == width
        expect(page.get_by_role("button", name="Refine")).to_be_in_viewport()
        page.get_by_label("Question").fill("  ")
        page.get_by_role("button", name="Refine").click()
        expect(page.get_by_role("alert")).not_to_be_empty()
        assert page.evaluate(wide) == width


_FAULTS = """() => {
  const faults = [], say = (what, at) => faults.push(`${what}: ${at.outerHTML.slice(0, 80)}`);
  const text = (at) => (at?.textContent ?? "").trim();
  const all = (selector) => [...document.querySelectorAll(selector)];
  const interactive = "a, button, input, select, textarea, summary, [role=img], [role=region], nav";
  for (const at of all(interactive)) {
    const byId = text(document.getElementById(at.getAttribute("aria-labelledby")));
    const labels = [...(at.labels ?? [])].map(text).join("");
    const own = at.matches("a, button, summary") ? text(at) : "";
    if (!(at.getAttribute("aria-label") || byId || labels || own)) say("no name", at);
  }
  for (const at of all("[aria-describedby], [aria-labelledby], label[for]")) {
    for (const name of ["aria-describedby", "aria-labelledby", "for"]) {
      const id = at.getAttribute(name);
      if (id && !document.getElementById(id)) say(`no #${id}`, at);
    }
  }
  const ids = all("[id]").map((at) => at.id);
  for (const id of ids.filter((id, at) => ids.indexOf(id) !== at)) faults.push(`#${id} twice`);
  const levels = all("h1, h2, h3, h4").map((at) => Number(at.tagName[1]));
  const skips = levels.some((level, at) => at && level > levels[at - 1] + 1);
  if (levels[0] !== 1 || skips) faults.push(`headings ${levels}`);
  if (all("main").length !== 1) faults.push("no one main");
  if (!document.documentElement.lang || !document.title) faults.push("no language, or no title");
  for (const at of all("[tabindex]")) if (at.tabIndex > 0) say("order", at);
  for (const at of all("button, input:not([type=checkbox]), select, summary")) {
    const { width, height } = at.getBoundingClientRect();
    if (at.checkVisibility() && (width < 24 || height < 24)) say("small", at);
  }
  return faults;
}"""

_PALE = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3)
      .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (at) => {
    const colour = at ? getComputedStyle(at).backgroundColor : "rgb(255, 255, 255)";
    return at && channels(colour)[3] === 0 ? paper(at.parentElement) : colour;
  };
  const pale = [];
  for (const at of document.querySelectorAll("body *")) {
    const shown = at.matches("input, textarea, select")
      || [...at.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!shown || !at.checkVisibility() || at.closest("option, :disabled, #status.heard")) continue;
    const style = getComputedStyle(at);
    const ink = light(at instanceof SVGElement ? style.fill : style.color), on = light(paper(at));
    const ratio = (Math.max(ink, on) + 0.05) / (Math.min(ink, on) + 0.05);
    if (ratio < 4.5) pale.push(`${ratio.toFixed(2)} ${at.outerHTML.slice(0, 80)}`);
  }
  return pale;
}"""


def test_every_control_has_a_name_and_the_page_an_order(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        assert page.evaluate(_FAULTS) == []
        everything_shown(page)
        assert page.evaluate(_FAULTS) == []
    asks = Settings.model_validate({"api_keys": "a-key"})
    with playing(browser, *loaves(), settings=asks) as page:
        assert page.evaluate(_FAULTS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(browser: Browser, scheme: Literal["light", "dark"]) -> None:
    with playing(browser, *loaves(), color_scheme=scheme, reduced_motion="reduce") as page:
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 29)"
        assert dark == (scheme == "dark")
        everything_shown(page)
        assert page.evaluate(_PALE) == []
        page.get_by_label("Question").fill("  ")
        page.get_by_role("button", name="Refine").click()
        expect(page.get_by_role("alert")).not_to_be_empty()
        assert page.evaluate(_PALE) == []


@pytest.mark.parametrize(("motion", "name"), [("reduce", "none"), ("no-preference", "come")])
def test_nothing_moves_for_those_who_asked_for_that(
    browser: Browser, motion: Literal["reduce", "no-preference"], name: str
) -> None:
    with playing(browser, *loaves(), reduced_motion=motion) as page:
        everything_shown(page)
        card = page.locator("#candidates li").first
        assert card.evaluate("(at) => getComputedStyle(at).animationName") == name
