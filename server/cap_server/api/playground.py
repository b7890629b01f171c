"""`GET /`: a page to try refinements on, and the files that it is made of.

They are the same for everybody and hold nothing secret; what the page asks the server for is asked
with a key like any other request.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "web", _PACKAGE.parents[1] / "clients" / "web")
"""Where a wheel carries the files, and where the repository has them."""

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# The page shows what models and programs wrote: were any of it ever taken for markup, the browser
# still runs no script and asks no other host for anything. Trusted types forbid such markup at all.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Cache-Control": "no-cache",  # kept, and asked about each time: a new version shows at once
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_METHODS = ["GET", "HEAD"]


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@router.api_route("/", methods=_METHODS)
async def page(request: Request) -> Response:
    return _response(request, "index.html")


@router.api_route("/playground/{name}", methods=_METHODS)
async def file(name: str, request: Request) -> Response:
    return _response(request, name)


def _response(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "ETag": found.etag}
    if found.etag in _etags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)


def _etags(listed: str) -> set[str]:
    """Those that a client has. A proxy that compresses marks them as weak: `W/`."""
    return {each.strip().removeprefix("W/") for each in listed.split(",")}


@cache
def _files() -> dict[str, _File]:
    folder = next(each for each in _FOLDERS if each.is_dir())
    return {
        path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in _MEDIA_TYPES
    }


def _read(path: Path) -> _File:
    content = path.read_bytes()
    etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    return _File(content, _MEDIA_TYPES[path.suffix], etag)
