"""Requests byte for byte, as no client writes them; what RFC 9112 has servers make of each.

`REFUSED` get 400 or nothing, and end their connection: what follows in it is never answered.
`ANSWERED` are odd and right, with the status of their one answer.
"""

from __future__ import annotations

import json

BODY = json.dumps({"question": "x"}).encode()
SMUGGLED = b"GET /v1/sources HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""Its answer would be a list."""

_SIZE = len(BODY)
_GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_END = b"0\r\n\r\n"


def _coded(coding: bytes) -> bytes:
    return _POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + _chunks() + SMUGGLED


def _sized(*sizes: bytes) -> bytes:
    lengths = b"".join(b"Content-Length: " + size + b"\r\n" for size in sizes)
    return _POST + lengths + b"\r\n" + BODY + SMUGGLED


def _chunks(size: bytes = b"%x" % _SIZE, *, end: bytes = b"\r\n", last: bytes = _END) -> bytes:
    return size + end + BODY + end + last


def _chunked(size: bytes, *, end: bytes = b"\r\n", last: bytes = _END) -> bytes:
    return _POST + _CHUNKED + b"\r\n" + _chunks(size, end=end, last=last) + SMUGGLED


REFUSED = {
    "two lengths": _sized(b"2", b"17"),
    "the same length twice": _sized(b"%d" % _SIZE, b"%d" % _SIZE),
    "a list of lengths": _sized(b"%d, %d" % (_SIZE, _SIZE)),
    "a negative length": _sized(b"-1"),
    "a length with a plus": _sized(b"+17"),
    "a hexadecimal length": _sized(b"0x11"),
    "a length with a space": _sized(b"1 7"),
    "a length as Python writes it": _sized(b"1_7"),
    "an empty length": _sized(b""),
    "a length beyond all numbers": _sized(b"99999999999999999999"),
    "length, then chunks": _POST + b"Content-Length: 5\r\n" + _CHUNKED + b"\r\n" + _END + SMUGGLED,
    "chunks, then length": _POST + _CHUNKED + b"Content-Length: 5\r\n\r\n" + _END + SMUGGLED,
    "two codings": _POST + _CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + _END + SMUGGLED,
    "a folded coding": _coded(b"\r\n chunked"),
    "a coding behind a vertical tab": _coded(b"\x0bchunked"),
    "a quoted coding": _coded(b'"chunked"'),
    "an unknown coding": _coded(b"xchunked"),
    "chunked twice": _coded(b"chunked, chunked"),
    "packed and chunked": _coded(b"gzip, chunked"),
    "chunked and packed": _coded(b"chunked, gzip"),
    "a space before the colon": _POST + b"Transfer-Encoding : chunked\r\n\r\n" + _END + SMUGGLED,
    "a chunk beyond all numbers": _chunked(b"FFFFFFFFFFFFFFFFF"),
    "a chunk with 0x": _chunked(b"0x%x" % _SIZE),
    "a chunk with a plus": _chunked(b"+%x" % _SIZE),
    "a negative chunk": _chunked(b"-%x" % _SIZE),
    "a space before a chunk's size": _chunked(b" %x" % _SIZE),
    "a space after a chunk's size": _chunked(b"%x " % _SIZE),
    "a chunk without a size": _chunked(b""),
    "a chunk longer than it says": _chunked(b"5"),
    "chunks that end their lines with LF": _chunked(b"%x" % _SIZE, end=b"\n", last=b"0\n\n"),
    "an extension that ends with LF": _chunked(b"%x;\n" % _SIZE, end=b""),
    "a length among the trailers": _chunked(b"%x" % _SIZE, last=b"0\r\nContent-Length: 3\r\n\r\n"),
    "a flood of extensions": _chunked(b"%x" % _SIZE + b";a=b" * 2_000_000),
    "a flood of zeros": _chunked(b"0" * 3_000_000 + b"%x" % _SIZE),
    "a flood of trailers": _chunked(b"%x" % _SIZE, last=b"0\r\n" + b"X: y\r\n" * 1_000_000 + _END),
    "a flood of headers": _GET + b"X: y\r\n" * 200_000 + b"\r\n",
    "a header of megabytes": _GET + b"X: " + b"y" * 5_000_000 + b"\r\n\r\n",
    "a head of 66 KiB in one piece": _GET + b"X: " + b"y" * 66 * 1024 + b"\r\n\r\n",
    "a path of 66 KiB in one piece": b"GET /"
    + b"a" * 66 * 1024
    + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path of megabytes": b"GET /" + b"a" * 5_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "lines that end with LF": b"GET /health HTTP/1.1\nHost: cap\n\n",
    "a header that ends with LF": _GET + b"X: y\nY: z\r\n\r\n",
    "a header that ends with CR": _GET + b"X: y\rY: z\r\n\r\n",
    "NUL in a header": _GET + b"X: a\0b\r\n\r\n",
    "a space in a header's name": _GET + b"X y: b\r\n\r\n",
    "a header without a name": _GET + b": b\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": _GET + b"Host: other\r\n\r\n",
    "a method in small letters": b"get /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method that nobody knows": b"BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the path": b"GET /health /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the path": b"GET /hea\0lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "UTF-8 in the path": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another host's connection": b"CONNECT other:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
    "line ends, then a letter": b"\r\n" * 10_000 + b"x",
}

ANSWERED = {
    "a head of 60 KiB": (_GET + b"X: " + b"y" * 60 * 1024 + b"\r\n\r\n", 200),
    "a host in the path": (b"GET http://other/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    "another service's path": (
        b"GET http://169.254.169.254/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        404,
    ),
    "two slashes": (b"GET //other/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "a way up": (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "a hidden way up": (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "an escaped NUL": (b"GET /health%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "escaped bytes that are no UTF-8": (b"GET /%c0%af HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "the server itself": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "a WebSocket": (
        b"GET /v1/refine HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        405,
    ),
    "an upgrade to HTTP/2": (
        _GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        200,
    ),
    "bytes in a header": (_GET + b"X: \xff\xfe\r\n\r\n", 200),
    "a coding in capitals": (_POST + b"Transfer-Encoding: CHUNKED\r\n\r\n" + _chunks(), 200),
    "an extension": (_POST + _CHUNKED + b"\r\n" + _chunks(b"%x;a=b" % _SIZE), 200),
    "a trailer": (_POST + _CHUNKED + b"\r\n" + _chunks(last=b"0\r\nX: y\r\n\r\n"), 200),
    "a body in chunks of one byte": (
        _POST + _CHUNKED + b"\r\n" + b"".join(b"1\r\n%c\r\n" % each for each in BODY) + _END,
        200,
    ),
    "more chunks than a body may have": (
        _POST + _CHUNKED + b"\r\n" + b"1\r\n \r\n" * 600_000 + _END,
        413,
    ),
}
