"""One plain notation for what people, LaTeX, Markdown and Chinese keyboards write."""

from __future__ import annotations

import re

READABLE = 4000
"""Characters above which a text is no formula: its LaTeX stays as it is, and costs nothing."""

_COMMANDS = 200
"""Structured LaTeX commands above which a text is taken for garbage."""

_SIGNS = {
    "-": "−–—﹣", "*": "×✕·⋅∙", "/": "÷⁄", ":": "∶", ",": "，", ", ": "、", ";": "；", ".": "。",
    "!": "！", "?": "？", "(": "（", ")": "）", "[": "【", "]": "】", "¥": "￥", "sqrt": "√",
    " degrees ": "°", " pi ": "π", "oo": "∞", "<=": "≤", ">=": "≥", "!=": "≠", '"': "“”",
    "'": "‘’", " ": "\u3000\u00a0\u2009\u202f", "": "\u200b\u200c\u200d\u2060\ufeff",
    "(1/2)": "½", "(1/3)": "⅓", "(2/3)": "⅔", "(1/4)": "¼", "(3/4)": "¾", "(1/5)": "⅕",
    "(1/8)": "⅛", "^2": "²", "^3": "³", "^4": "⁴",
}  # fmt: skip
_CHARACTERS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **{ord(old): new for new, signs in _SIGNS.items() for old in signs},
}

_DEGREES = re.compile(r"\^\s*(?:\{\s*)?\\(?:circ|degree)\b(?:\s*\})?|\\degree\b")
_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox|hbox|bf|rm"
    r"|boxed|fbox|underline|emph)\s*\{([^{}]*)\}"
)
_MATHS = re.compile(r"\\[()\[\]]|\$\$|(?<!\\)\$(?=\S)([^$\n]*[^$\s\\])\$(?!\d)")
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_BOLD = re.compile(r"(?<![\w)*])(\*\*|__)(?=\S)([^*_\n]{1,400})\1(?![\w(*])")
_SPACE = re.compile(r"\s+")
_LOOSE_POWER = re.compile(r"\s+\^")

_WORDS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "pi": " pi ", "infty": "oo", "le": "<=",
    "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "ne": "!=",
    "neq": "!=", "lt": "<", "gt": ">", "left": "", "right": "", "big": "", "Big": "", "bigl": "",
    "bigr": "", "displaystyle": "", "quad": " ", "qquad": " ", "dfrac": "\\frac",
    "tfrac": "\\frac", "cfrac": "\\frac", "approx": " ", "euro": "€", "pounds": "£",
    ",": "", "!": "", ";": " ", ":": " ", " ": " ", "\n": " ", "%": "%", "$": "$", "{": "⦃",
    "}": "⦄", "&": "&", "#": "#", "_": "_", "\\": " ", "(": "", ")": "", "[": "", "]": "",
}  # fmt: skip


def plain(text: str) -> str:
    """Return `text` in one notation: ASCII signs, no Markdown, LaTeX as `(1/2)` and `sqrt(3)`.

    LaTeX that has no plain form stays, so that the reader sees it is mathematics. Set braces come
    out as `⦃⦄`, since LaTeX's own braces only group.
    """
    folded = _unmarked(text.translate(_CHARACTERS))
    if len(folded) <= READABLE and ("\\" in folded or "$" in folded or "{" in folded):
        folded = _without_latex(folded)
    return _SPACE.sub(" ", folded).strip()


def _unmarked(text: str) -> str:
    stripped = _BOLD.sub(r"\2", text.strip()).strip("`").strip()
    if stripped.startswith("**") and "**" not in stripped[2:]:
        return stripped[2:]
    return stripped.removesuffix("**") if stripped.count("**") == 1 else stripped


def _without_latex(text: str) -> str:
    text = _MATHS.sub(lambda found: found[1] or " ", text)
    text = _DEGREES.sub(" degrees ", text)
    for _ in range(4):
        text, count = _WRAPPER.subn(r" \1 ", text)
        if not count:
            break
    text = _COMMAND.sub(lambda found: _WORDS.get(found[1], found[0]), text)
    text = _LOOSE_POWER.sub("^", text.replace("{,}", ","))
    text = _structured(text) if "\\" in text else text
    return _set_braces(text).replace("{", "(").replace("}", ")")


def _set_braces(text: str) -> str:
    """A text that is one group from end to end is a set written without LaTeX."""
    if text.startswith("{") and text.endswith("}") and text.find("}") == len(text) - 1:
        return "⦃" + text[1:-1] + "⦄"
    return text


def _structured(text: str) -> str:
    """Write fractions and roots in plain form, the last first: it has none within itself."""
    for _ in range(_COMMANDS):
        at = max(text.rfind("\\frac"), text.rfind("\\sqrt"))
        if at < 0:
            break
        rewritten = _fraction(text, at) if text.startswith("\\frac", at) else _root(text, at)
        if rewritten is None:
            break
        text = rewritten
    return text


def _fraction(text: str, at: int) -> str | None:
    above = _argument(text, at + 5)
    below = _argument(text, above[1]) if above else None
    if above is None or below is None:
        return None
    written = f"({_bracketed(above[0])}/{_bracketed(below[0])})"
    return text[:at] + written + text[below[1] :]


def _root(text: str, at: int) -> str | None:
    start, degree = at + 5, ""
    if text.startswith("[", start) and (end := text.find("]", start)) > 0:
        degree, start = text[start + 1 : end], end + 1
    inner = _argument(text, start)
    if inner is None:
        return None
    written = f"({inner[0]})^(1/({degree}))" if degree else f"sqrt({inner[0]})"
    return f"{text[:at]} {written}{text[inner[1] :]}"


def _bracketed(term: str) -> str:
    return term if term.isalnum() else f"({term})"


def _argument(text: str, start: int) -> tuple[str, int] | None:
    """The braced group, or the single character, at `start`, and where it ends."""
    while start < len(text) and text[start] == " ":
        start += 1
    if start >= len(text) or text[start] in "}\\":
        return None
    if text[start] != "{":
        return text[start], start + 1
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 1 : at].strip(), at + 1
    return None
