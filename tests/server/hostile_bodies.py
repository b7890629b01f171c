"""Bodies that nobody sends by mistake, and what the server has to make of each.

`MALFORMED` are no JSON (400), `INVALID` are JSON that no request may be (422; 400 on OpenAI's
routes), `TOO_MANY` have more parts than anybody reads (413); `TAKEN` look hostile, and are JSON
like any other.
"""

from __future__ import annotations

import pickle

_DIGITS = b"9" * 100_000


def _seed(text: bytes) -> bytes:
    return b'{"question": "x", "sampling": {"seed": ' + text + b"}}"


def _question(text: bytes) -> bytes:
    return b'{"question": "' + text + b'"}'


MALFORMED = {
    "deep arrays": b'{"question": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    "deep objects": b'{"question":' * 9_000 + b"1" + b"}" * 9_000,
    "deep and never closed": b"[" * 9_000,
    "deep in an unknown field": b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "an integer of 100,000 digits": _seed(_DIGITS),
    "an integer of 5,000 digits": _seed(b"9" * 5000),
    "an exponent beyond all floats": _seed(b"1e999"),
    "an exponent beyond all integers": _seed(b"-1e999999999999"),
    "NaN": _seed(b"NaN"),
    "Infinity": _seed(b"Infinity"),
    "-Infinity": _seed(b"-Infinity"),
    "NaN in an unknown field": b'{"question": "x", "y": [NaN]}',
    "a number that starts with a plus": _seed(b"+1"),
    "a hexadecimal number": _seed(b"0x10"),
    "a leading zero": _seed(b"007"),
    "the first half of a character": _question(rb"\ud800"),
    "the second half of a character": _question(rb"x\udc00y"),
    "two halves in the wrong order": _question(rb"\udc00\ud800"),
    "half a character in a name": rb'{"question": "x", "\ud800": 1}',
    "half a character in UTF-8": _question(b"\xed\xa0\x80"),
    "UTF-8 that is longer than it must be": _question(b"\xc0\xaf"),
    "UTF-8 that ends early": _question(b"\xe2\x82"),
    "Latin-1": _question(b"caf\xe9"),
    "UTF-16": '{"question": "x"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"question": "x"}'.encode("utf-16-le"),
    "UTF-32": '{"question": "x"}'.encode("utf-32"),
    "two byte order marks": b"\xef\xbb\xbf" * 2 + _question(b"x"),
    "two values": _question(b"x") + _question(b"y"),
    "NUL before": b"\0" + _question(b"x"),
    "NUL after": _question(b"x") + b"\0",
    "NUL within": _question(b"x\0y"),
    "a control character": _question(b"x\x1b[2Jy"),
    "an escape of another language": _question(rb"\x41"),
    "an escape that ends early": _question(rb"\u12"),
    "single quotes": b"{'question': 'x'}",
    "a comment": _question(b"x") + b" // y",
    "a comma too many": b'{"question": "x",}',
    "no end": b'{"question": "x"',
    "a pickle": pickle.dumps({"question": "x"}),
    "YAML": b"question: !!python/object/apply:os.system [ls]",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
}

INVALID = {
    "nothing": b"",
    "an array": b"[]",
    "a text": b'"question"',
    "null": b"null",
    "a number": b"1",
    "an integer of 4,000 digits": _seed(b"9" * 4000),
    "a number as text": _seed(b'"7"'),
    "true as a number": _seed(b"true"),
    "a blank question": rb'{"question": " \u00a0\u2003\u3000", "model": "", "program": "\n"}',
    "a field of the language": b'{"question": "x", "model": "cap", "messages": "", "__class__": 1}',
}

TOO_MANY = {
    "arrays in arrays": b'{"question": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "objects in objects": b'{"x":' * 60_000 + b"1" + b"}" * 60_000,
    "unknown fields": b'{"question": "x"' + b',"k":1' * 60_000 + b"}",
    "options": b'{"question": "x", "choices": [' + b",".join([b'"a"'] * 60_000) + b"]}",
    "parts of a message": b'{"model": "cap", "messages": [{"role": "user", "content": ['
    + b",".join([b"{}"] * 60_000)
    + b"]}]}",
    "what would be text if it ended": b'{"question": "' + b"," * 60_000,
}
"""A fault to tell in each: seconds of work."""

TAKEN = {
    "-0": b'{"question": "x", "sampling": {"seed": -0, "temperature": -0.0}}',
    "-0.0 for an integer": _seed(b"-0.0"),
    "a number below all floats": b'{"question": "x", "sampling": {"temperature": 1e-999}}',
    "100,000 decimal places": b'{"question": "x", "sampling": {"temperature": 0.' + _DIGITS + b"}}",
    "a byte order mark": b"\xef\xbb\xbf" + _question(b"x"),
    "the last of two equal names": b'{"question": "", "question": "x"}',
    "NUL, escape and direction": _question(rb"x\u0000\u001b[2J\u202e"),
    "both halves of a character": _question(rb"\ud83d\ude00"),
    "what is no character": _question(rb"\uffff\ufffe"),
    "100,000 commas in a text": b'{"question": "x", "cot": "' + rb"\"," * 16_000 + b'"}',
    "markup": _question(b"<script>alert(1)</script>"),
}

WRONG_TYPES = [
    "",
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/xml",
    "application/octet-stream",
]
"""Those that a page in a browser can send without asking are among them."""
