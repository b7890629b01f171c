"""What the playground's form asks the server for, and how it is copied."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from cap_server.strategies import STRATEGIES
from tests.e2e.browsers import asked, chromium, loaves, needs_chromium, playing, refine

pytestmark = [pytest.mark.timeout(180), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_every_strategys_parameters_become_fields(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        page.get_by_text("Parameters", exact=True).click()
        for name in STRATEGIES:
            page.get_by_label("Strategy").select_option(name)
            listed = page.request.get(f"{page.url}v1/strategies").json()["data"]
            parameters = next(each for each in listed if each["name"] == name)["parameters"]
            labels = page.locator("#parameters label").all_inner_texts()
            assert labels == [each.replace("_", " ") for each in parameters]
            assert asked(page)["strategy"] == name, "the defaults need not be said"
            expect(page.locator("#result")).to_have_attribute("aria-busy", "false")


def test_changed_parameters_are_sent_as_what_they_are(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        page.get_by_text("Parameters", exact=True).click()
        page.get_by_label("programs").fill("3")
        page.get_by_label("overrule").fill("0.5")
        page.get_by_label("weights").select_option("generative")
        page.get_by_label("critic required").check()
        page.get_by_label("Seed").fill("7")
        page.get_by_label("Source").fill("gpt-4o-mini")
        changed = asked(page)
        expect(page.locator("#result")).to_have_attribute("aria-busy", "false")
        page.get_by_label("weights").select_option("none")
        page.get_by_label("critic required").uncheck()
        mended = asked(page)
    assert (changed["source"], changed["sampling"]) == ("gpt-4o-mini", {"seed": 7})
    assert changed["strategy"] == {
        "name": "majority",
        "programs": 3,
        "overrule": 0.5,
        "weights": "generative",
        "critic_required": True,
    }
    assert mended["strategy"] == {"name": "majority", "programs": 3, "overrule": 0.5}


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("programs", "65"),
        ("programs", "1.5"),
        ("programs", ""),
        ("overrule", "1"),
        ("Question", ""),
    ],
)
def test_what_is_out_of_range_is_not_sent(browser: Browser, label: str, value: str) -> None:
    with playing(browser, *loaves()) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.method))
        page.locator("#more summary").click()
        control = page.get_by_label(label, exact=True)
        control.fill(value)
        page.locator("#more summary").click()
        refine(page)
        expect(control).to_have_attribute("aria-invalid", "true")
        expect(control).to_be_focused()
        assert sent == []


AWKWARD = "It's 5 o'clock: \"$HOME\" `x` \\ \u2028 for 25 * 6 - 110?\nWhat is it? 多少 🥖"


def test_the_request_is_copied_as_curl_and_as_python(browser: Browser) -> None:
    with playing(browser, *loaves()) as page:
        page.get_by_label("Question").fill(AWKWARD)
        page.get_by_text("Parameters", exact=True).click()
        page.get_by_label("critic required").check()
        sent = asked(page)
        del sent["stream"]
        copied = page.locator("#copied-text")
        page.get_by_role("button", name="Copy as curl").click()
        expect(copied).to_have_value(re.compile("^curl"))
        command = shlex.split(copied.input_value())
        assert json.loads(command[-1]) == sent
        if curl := shutil.which(command[0]):
            ran = subprocess.run([curl, *command[1:]], capture_output=True, timeout=60, check=True)
            assert json.loads(ran.stdout)["answer"] == "40"
        page.get_by_role("button", name="Copy as Python").click()
        expect(copied).to_have_value(re.compile("^from cap_client import Client"))
        ran = subprocess.run(
            [sys.executable, "-"],
            input=copied.input_value().encode(),
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert ran.stdout.decode().splitlines()[0] == "corrected 40"
        call = next(
            each
            for each in ast.walk(ast.parse(copied.input_value()))
            if isinstance(each, ast.Call) and ast.unparse(each.func) == "cap.refine"
        )
        given = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        assert {"question": ast.literal_eval(call.args[0]), **given} == sent
