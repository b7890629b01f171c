"""What a number counts: measures and moneys that are known, and nouns that are not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_LENGTH = {
    "mm millimeter millimetre 毫米": "0.001", "cm centimeter centimetre 厘米 公分": "0.01",
    "dm decimeter decimetre 分米": "0.1", "m meter metre 米": "1",
    "km kilometer kilometre 千米 公里": "1000", "inch inches in": "0.0254",
    "ft foot feet 英尺": "0.3048", "yd yard": "0.9144", "mi mile 英里": "1609.344",
}  # fmt: skip
_MASS = {
    "mg milligram 毫克": "0.001", "g gram 克": "1", "kg kilogram kilo 千克 公斤": "1000",
    "斤": "500", "ton tonne 吨": "1000000", "lb pound 磅": "453.59237", "oz ounce": "28.349523125",
}  # fmt: skip
_VOLUME = {
    "ml milliliter millilitre 毫升": "0.000001", "l liter litre 升": "0.001",
    "gal gallon": "0.003785411784", "qt quart": "0.000946352946", "pint": "0.000473176473",
    "cup": "0.0002365882365",
}  # fmt: skip
_TIME = {
    "s sec second 秒 秒钟": "1", "min minute 分钟 分": "60", "h hr hour 小时 个小时 时": "3600",
    "day 天 日": "86400", "week 周 星期": "604800",
}  # fmt: skip
_CALENDAR = {"month 个月 月": "1", "yr year 年 岁": "12"}
_DOLLAR = {"$ us$ usd dollar buck 美元": "1", "cent ¢ penny pennies 美分": "0.01"}
_YUAN = {"¥ yuan rmb cny 元 块 人民币 元钱": "1", "角 毛": "0.1", "分": "0.01"}
_OTHERS = {
    "area": {"acre": "4046.8564224", "hectare ha 公顷": "10000", "亩": "666.67"},
    "euro": {"€ eur euro 欧元": "1"},
    "sterling": {"£ gbp pound 英镑": "1", "pence": "0.01"},
    "yen": {"¥ jpy yen 日元 円": "1"},
    "rupee": {"₹ rs inr rupee": "1"},
    "hkd": {"hk$ hkd 港元": "1"},
    "count": {"dozen 打": "12"},
    "celsius": {"°c °celsius celsius 摄氏度": "1"},
    "fahrenheit": {"°f °fahrenheit fahrenheit": "1"},
}

CURRENCIES = ("US$", "HK$", "$", "€", "£", "¥", "₹", "USD", "RMB", "CNY", "EUR", "GBP")
"""Signs that stand before a number."""


@dataclass(frozen=True, slots=True)
class Sense:
    """One meaning of a unit's name; `factor` is its size in the dimension's own unit."""

    dimension: str
    factor: Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """What stands after a number: `measure` per `rate`; either is empty where it is not known."""

    measure: tuple[Sense, ...] = ()
    rate: tuple[Sense, ...] = ()


UNKNOWN = Unit()


def _table() -> dict[str, tuple[Sense, ...]]:
    named: dict[str, tuple[Sense, ...]] = {}
    dimensions = {
        "length": _LENGTH, "mass": _MASS, "volume": _VOLUME, "time": _TIME,
        "calendar": _CALENDAR, "dollar": _DOLLAR, "yuan": _YUAN,
    }  # fmt: skip
    for dimension, sizes in [*dimensions.items(), *_OTHERS.items()]:
        for names, size in sizes.items():
            for name in names.split():
                named[name] = (*named.get(name, ()), Sense(dimension, Fraction(size)))
    return named


_NAMED = _table()
_ALONE = frozenset(("m", "g", "s", "h", "l", "in", "min", "mi", "sec", "ft", "oz", "ha", "rs"))
"""Abbreviations that are English words or variables elsewhere: units only with nothing after."""

_POWER = re.compile(r"^(square|sq\.?|平方|cubic|cu\.?|立方)\s*(.+)$")
_EXPONENT = re.compile(r"^([a-z]+)\s?\^?\(?([23])\)?$")
_PER = re.compile(r"\s*(?:/|\bper\b|\ba(?=\s)|\ban(?=\s)|\beach\b|每)\s*")
_SPEEDS = {"mph": ("mile", "hour"), "kph": ("km", "hour"), "kmh": ("km", "hour")}


def unit(phrase: str, *, currency: str | None = None) -> Unit:
    """Return what a number measures.

    Args:
        phrase: the words after it; a noun measures nothing known.
        currency: the sign before it, which goes before any noun: `$5 tickets` are dollars.
    """
    words = phrase.casefold().strip(" .-")
    if currency:
        return Unit(_NAMED[currency.casefold()], unit(phrase).rate)
    if words in _SPEEDS:
        length, time = _SPEEDS[words]
        return Unit(_NAMED[length], _NAMED[time])
    above, *below = _PER.split(words, maxsplit=1)
    return Unit(_senses(above), _senses(below[0]) if below else ())


def is_measure(phrase: str) -> bool:
    """Return whether `phrase` is a known unit's name and nothing more."""
    name = phrase.casefold().strip(" .-")
    return name in _NAMED or name.removesuffix("s") in _NAMED


def _senses(name: str) -> tuple[Sense, ...]:
    name = name.strip(" .")
    if found := _POWER.match(name):
        return _raised(_lookup(found[2]), 2 if found[1][0] in "s平" else 3)
    if found := _EXPONENT.match(name):
        return _raised(_lookup(found[1]), int(found[2]))
    return _lookup(name.replace("degrees ", "°"))


def _raised(senses: tuple[Sense, ...], power: int) -> tuple[Sense, ...]:
    dimension = {2: "area", 3: "volume"}[power]
    return tuple(Sense(dimension, s.factor**power) for s in senses if s.dimension == "length")


def _lookup(name: str) -> tuple[Sense, ...]:
    if found := _NAMED.get(name) or _NAMED.get(name.removesuffix("s")):
        return found
    first = name.split(" ", 1)[0].rstrip(".,")
    if first != name:
        known = _NAMED.get(first) or _NAMED.get(first.removesuffix("s"))
        return known if known and first not in _ALONE else ()
    return next((_NAMED[name[:n]] for n in (3, 2, 1) if _is_chinese(name[:n])), ())


def _is_chinese(name: str) -> bool:
    return name in _NAMED and not name.isascii()


def shared(a: tuple[Sense, ...], b: tuple[Sense, ...]) -> Fraction | None:
    """Return how many `b` one `a` is; 1 where either is unknown, None where they conflict."""
    if not a or not b:
        return Fraction(1)
    factors = (x.factor / y.factor for x in a for y in b if x.dimension == y.dimension)
    return next(factors, None)
