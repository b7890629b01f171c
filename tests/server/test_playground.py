"""The page at `/`: its files, their headers, and that the wheel carries them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from hatchling.builders.wheel import WheelBuilder

from cap_server.example import EXAMPLE
from cap_server.settings import Settings

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

ROOT = Path(__file__).parents[2]
WEB = ROOT / "clients" / "web"
FILES = sorted(path.name for path in WEB.iterdir())
TEXTS = {name: (WEB / name).read_text("utf-8") for name in FILES}
PATHS = ["/", *(f"/playground/{name}" for name in FILES)]


def policy(response: httpx.Response) -> dict[str, str]:
    directives = response.headers["content-security-policy"].split("; ")
    return {name: value for name, _, value in (each.partition(" ") for each in directives)}


@pytest.mark.parametrize("path", PATHS)
async def test_every_file_comes_with_headers_that_let_it_do_little(
    scripted: Scripted, path: str
) -> None:
    async with scripted(1) as client:
        response = await client.get(path)
    assert response.status_code == 200
    assert response.content == (WEB / (path.rpartition("/")[2] or "index.html")).read_bytes()
    assert policy(response) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    expected = kind.get(path.rpartition(".")[2], "text/html")
    assert response.headers["content-type"].split(";")[0] == expected


@pytest.mark.parametrize("path", ["/", "/playground/app.js"])
async def test_a_file_that_the_browser_has_is_not_sent_again(scripted: Scripted, path: str) -> None:
    async with scripted(1) as client:
        first = await client.get(path)
        etag = first.headers["etag"]
        again = [
            await client.get(path, headers={"If-None-Match": has})
            for has in (etag, f"W/{etag}", f'"other", {etag}')
        ]
        other = await client.get(path, headers={"If-None-Match": '"other"'})
        head = await client.head(path)
    assert first.headers["cache-control"] == "no-cache"
    assert [(each.status_code, each.content) for each in again] == [(304, b"")] * 3
    assert {each.headers["etag"] for each in (*again, other, head)} == {etag}
    assert (other.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == str(len(first.content))


async def test_files_have_etags_of_their_own(scripted: Scripted) -> None:
    async with scripted(1) as client:
        etags = {(await client.get(f"/playground/{name}")).headers["etag"] for name in FILES}
    assert len(etags) == len(FILES)


@pytest.mark.parametrize(
    "name",
    ["missing.js", "..%2f..%2fpyproject.toml", "%2e%2e%2fweb%2fapp.js", "app.js%00", ""],
)
async def test_nothing_else_is_served(scripted: Scripted, name: str) -> None:
    async with scripted(1) as client:
        response = await client.get(f"/playground/{name}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_the_page_needs_no_key_and_what_it_asks_for_does(scripted: Scripted) -> None:
    settings = Settings.model_validate({"api_keys": "secret-of-the-test"})
    async with scripted(1, settings=settings) as client:
        statuses = [(await client.get(path)).status_code for path in ("/", "/v1/strategies")]
    assert statuses == [200, 401]


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_host(name: str) -> None:
    text = TEXTS[name].replace("http://www.w3.org/2000/svg", "")  # a name, never asked for
    assert re.findall(r"(?:https?|wss?|ftp):|[\"'(=]//", text) == []


@pytest.mark.parametrize("name", FILES)
def test_no_file_takes_text_for_markup_or_code(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextual"
        r"|\beval\b|new Function|setTimeout\(['\"]|javascript:|localStorage|document\.cookie"
    )
    assert re.findall(forbidden, TEXTS[name]) == []


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    page = TEXTS["index.html"]
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []
    assert set(re.findall(r"<script[^>]*>(.*?)</script>", page, re.S)) == {""}


def test_what_the_files_refer_to_is_there_and_nothing_lies_about() -> None:
    page = re.findall(r"(?:src|href)=\"playground/([^\"]+)\"", TEXTS["index.html"])
    modules = {name: re.findall(r"from \"\./([^\"]+)\"", text) for name, text in TEXTS.items()}
    used = {*page, *(name for names in modules.values() for name in names)}
    assert used == set(FILES) - {"index.html"}


def test_the_first_example_is_the_readmes() -> None:
    assert f'"{EXAMPLE.question}"' in TEXTS["examples.js"]
    assert re.findall(r'cot: "(.*)"', TEXTS["examples.js"])[0] == EXAMPLE.cot


_SERVE = """
import asyncio, httpx
from fastapi import FastAPI
from cap_server.api import playground

async def main():
    app = FastAPI()
    app.include_router(playground.router)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://cap") as cap:
        page, script = [await cap.get(path) for path in ("/", "/playground/app.js")]
    print(playground.__file__, page.headers["etag"], script.status_code)

asyncio.run(main())
"""


def test_the_wheel_carries_the_files_and_serves_them(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    carried = installed / "cap_server" / "web"
    assert {each.name: each.read_text("utf-8") for each in carried.iterdir()} == TEXTS
    told = subprocess.run(
        [sys.executable, "-c", _SERVE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    assert told[0] == str(installed / "cap_server/api/playground.py")
    assert told[2] == "200"
