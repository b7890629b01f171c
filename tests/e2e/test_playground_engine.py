"""The playground with everything real: Chromium, server, sandbox, vLLM and the small model."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from cap_server.app import create_app
from cap_server.example import EXAMPLE
from cap_server.settings import Settings
from tests.e2e.browsers import chromium, needs_chromium, opened
from tests.e2e.live import live

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300), needs_chromium]


# The engine's fixture runs a loop in this thread, which it could not with a browser open.
def test_the_examples_are_corrected_before_the_readers_eyes(engine_url: str) -> None:
    app = create_app(Settings.model_validate({"model_url": engine_url}))
    with live(app) as url, chromium() as browser, opened(browser, url) as page:
        expect(page.get_by_label("Question")).to_have_value(EXAMPLE.question)
        page.get_by_text("Parameters", exact=True).click()
        page.get_by_label("Seed").fill("1")
        answer, decision = page.locator("#answer"), page.locator(".decision .badge")
        refine = page.get_by_role("button", name="Refine")
        refine.click()
        expect(answer).to_have_text(EXAMPLE.answer)
        expect(decision).to_have_text("corrected")
        expect(page.get_by_role("status")).to_contain_text("Corrected: 40 instead of 50")
        expect(page.locator("#candidates li").first).to_contain_text("answer")
        votes = re.compile(r"^Votes after \d programs\. 40: \d")
        expect(page.locator("#chart svg")).to_have_attribute("aria-label", votes)
        expect(page.locator("dl")).to_contain_text("cap-small")
        for example, right, said in (
            ("Rope", "14", "corrected"),
            ("Pencils", "84", "corrected"),
            ("Marbles", "42", "confirmed"),
        ):
            expect(page.locator("#result")).to_have_attribute("aria-busy", "false")
            title = page.locator("#examples option", has_text=example).inner_text()
            page.get_by_label("Example").select_option(title)
            refine.click()
            expect(answer).to_have_text(right)
            expect(decision).to_have_text(said)
