"""Dates and times of day, in English, Chinese and ISO form."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

_MONTHS = "january february march april may june july august september october november december"
_MONTH = {name[:3]: number for number, name in enumerate(_MONTHS.split(), start=1)}
_NAME = r"(?P<month>[A-Za-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_NUMERIC = r"(?P<month>\d{1,2})"
_WEEKDAY = re.compile(r"^(?:on\s+)?(?:mon|tues|wednes|thurs|fri|satur|sun)day\s*,?\s+(?=\S)", re.I)
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_YEAR}[-/.]{_NUMERIC}[-/.]{_DAY}",
        rf"{_YEAR}\s*年\s*{_NUMERIC}\s*月\s*{_DAY}\s*[日号]?",
        rf"{_NUMERIC}\s*月\s*{_DAY}\s*[日号]",
        rf"{_NAME}\s+(?:the\s+)?{_DAY}(?:\s*,?\s+{_YEAR})?",
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_NAME}(?:\s*,?\s+{_YEAR})?",
        rf"{_NUMERIC}[-/]{_DAY}[-/]{_YEAR}",
    )
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.0+)?)?)?"
    r"\s*(?P<half>[ap]\.?\s?m\b\.?|o'clock)?",
    re.IGNORECASE,
)
_CHINESE_TIME = re.compile(
    r"(?P<half>上午|早上|凌晨|下午|晚上|中午)?\s*(?P<hour>\d{1,2})\s*(?:点|时(?=\s*\d))"
    r"\s*(?:(?P<minute>\d{1,2})\s*分?|(?P<thirty>半)|整|钟)?"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, a time of day, or both; what is None was not said.

    Attributes:
        half: 0 for am, 12 for pm, None where neither was said and the hour leaves it open.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None
    minutes: int | None = None
    half: int | None = None


def read_moment(text: str) -> Moment | None:
    """Return the moment that all of `text`, in plain notation, names."""
    if len(text) > 60:
        return None
    text = _WEEKDAY.sub("", text).strip(" .")
    return _date(text) or _time(text) or _both(text)


def _both(text: str) -> Moment | None:
    """A date with a time after it; midnight is what programs add to a bare date."""
    day, _, hour = text.replace("T", " ", 1).rpartition(" ")
    date, time = _date(day.strip(" ,")), _time(hour)
    if date is None or time is None:
        return None
    minutes = time.minutes or None
    return Moment(date.year, date.month, date.day, minutes, time.half if minutes else None)


def _date(text: str) -> Moment | None:
    for pattern in _DATES:
        if found := pattern.fullmatch(text):
            return _checked(found.groupdict())
    return None


def _checked(parts: dict[str, str | None]) -> Moment | None:
    month, day = _month(parts["month"] or ""), int(parts["day"] or 0)
    year = int(parts.get("year") or 0) or None
    if month > 12 >= day:
        month, day = day, month
    try:
        datetime.date(year or 2000, month, day)
    except ValueError:
        return None
    return Moment(year, month, day)


def _month(written: str) -> int:
    """Return the month of that number or name; 0 for any other word, like Maybe."""
    if written.isdigit():
        return int(written)
    name = written.casefold()
    known = name in _MONTHS.split() or len(name) == 3 or name == "sept"
    return _MONTH.get(name[:3], 0) if known else 0


def _time(text: str) -> Moment | None:
    found = _TIME.fullmatch(text)
    if found is None or not (found["minute"] or found["half"]):
        found = _CHINESE_TIME.fullmatch(text)
    if found is None:
        return None
    thirty = found.groupdict().get("thirty")
    hour, minute = int(found["hour"]), 30 if thirty else int(found["minute"] or 0)
    return _clock(hour, minute, half=_half(found["half"]))


def _half(written: str | None) -> int | None:
    first = (written or "").casefold()[:1]
    return {"a": 0, "上": 0, "早": 0, "凌": 0, "p": 12, "下": 12, "晚": 12, "中": 12}.get(first)


def _clock(hour: int, minute: int, *, half: int | None) -> Moment | None:
    if hour > 24 or minute > 59:
        return None
    if half is None and (hour > 12 or hour == 0):
        return Moment(minutes=60 * (hour % 12) + minute, half=12 if 12 <= hour < 24 else 0)
    if half is not None and hour > 12 and half == 0:
        return None
    return Moment(minutes=60 * (hour % 12) + minute, half=half)


def same_moment(a: Moment, b: Moment) -> bool:
    """Return whether two moments agree in everything that both say, and say one thing in common."""
    if (a.day is None) != (b.day is None):
        return False
    dates = all(x is None or y is None or x == y for x, y in ((a.year, b.year), (a.half, b.half)))
    return dates and (a.month, a.day) == (b.month, b.day) and a.minutes == b.minutes
