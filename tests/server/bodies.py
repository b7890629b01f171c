"""Requests' bodies made from the JSON Schema of their models, as hypothesis draws them.

Only what those schemas use is understood; whatever else they come to use is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

JSON = dict[str, Any]
Path = tuple[str | int, ...]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
"""Any text but halves of characters; NUL among it."""

values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Whatever JSON can hold."""


@dataclass(frozen=True)
class Schema:
    """A model's schema, and the definitions that it refers to."""

    whole: JSON
    models: tuple[str, ...] = ()

    def bodies(self) -> st.SearchStrategy[JSON]:
        """Whole requests that the schema allows."""
        return self._of(self.whole)

    def types(self, schema: JSON) -> frozenset[str]:
        """JSON's types that a value may have."""
        return frozenset(str(each["type"]) for each in self.branches(schema))

    def branches(self, schema: JSON) -> Iterator[JSON]:
        """The alternatives that it comes to, each of one type."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield from self.branches(self.whole["$defs"][name])
        elif found := schema.get("anyOf", schema.get("oneOf")):
            for each in found:
                yield from self.branches(each)
        else:
            yield schema

    def fields(self, body: object, schema: JSON, at: Path = ()) -> Iterator[tuple[Path, JSON]]:
        """Every place in `body` that the schema speaks of, with what it says."""
        yield at, schema
        for branch in self.branches(schema):
            if isinstance(body, dict) and branch["type"] == "object" and _is(branch, body):
                for name in branch.get("properties", {}).keys() & body.keys():
                    yield from self.fields(body[name], branch["properties"][name], (*at, name))
            if isinstance(body, list) and branch["type"] == "array":
                for i, item in enumerate(body):
                    yield from self.fields(item, branch["items"], (*at, i))

    def _of(self, schema: JSON) -> st.SearchStrategy[Any]:
        return st.one_of([self._of_type(each) for each in self.branches(schema)])

    def _of_type(self, schema: JSON) -> st.SearchStrategy[Any]:
        if "const" in schema or "enum" in schema:
            return st.sampled_from(schema.get("enum", [schema.get("const")]))
        match schema["type"]:
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "string":
                return _texts(schema)
            case "integer":
                return _whole(schema)
            case "number":
                return _numbers(schema)
            case "array":
                return st.lists(
                    self._of(schema["items"]),
                    min_size=schema.get("minItems", 0),
                    max_size=min(schema.get("maxItems", 4), 4),
                )
        return self._objects(schema)

    def _objects(self, schema: JSON) -> st.SearchStrategy[JSON]:
        fields = {name: self._of(each) for name, each in schema.get("properties", {}).items()}
        if self.models and "model" in fields:
            fields["model"] = st.sampled_from(self.models)
        needed = {name: fields.pop(name) for name in schema.get("required", ())}
        named = st.fixed_dictionaries(needed, optional=fields)
        more = schema.get("additionalProperties", True)
        if not more:
            return named
        others = self._of(more) if isinstance(more, dict) else values
        # Longer than any field of ours.
        names = st.text(min_size=30, max_size=40)
        added = st.dictionaries(names, others, max_size=2)
        return st.builds(lambda known, new: {**new, **known}, named, added)


def at(body: Any, path: Path) -> Any:  # noqa: ANN401  # JSON
    """What stands there."""
    for step in path:
        body = body[step]
    return body


def replaced(body: Any, path: Path, value: object) -> Any:  # noqa: ANN401  # JSON
    """The same with `value` there."""
    if not path:
        return value
    changed = dict(body) if isinstance(body, Mapping) else list(body)
    changed[path[0]] = replaced(body[path[0]], path[1:], value)  # type: ignore[index]  # either
    return changed


def type_of(value: object) -> str:
    """JSON's name for its type; whole numbers are integers however they are written."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _is(branch: JSON, body: JSON) -> bool:
    """Whether an object is of this kind, where kinds are told by a name."""
    name: JSON = branch.get("properties", {}).get("name", {})
    return "const" not in name or body.get("name") == name["const"]


def _texts(schema: JSON) -> st.SearchStrategy[str]:
    most = min(schema.get("maxLength", 40), 40)
    texts = st.text(min_size=schema.get("minLength", 0), max_size=most)
    pattern = re.compile(schema.get("pattern", "").replace("$", r"\Z"))
    return texts.filter(lambda text: pattern.search(text) is not None)


def _whole(schema: JSON) -> st.SearchStrategy[int | float]:
    numbers = st.integers(schema.get("minimum", -(2**60)), schema.get("maximum", 2**60))
    written = numbers.filter(lambda each: abs(each) <= 2**53).map(float)
    return numbers | written


def _numbers(schema: JSON) -> st.SearchStrategy[int | float]:
    lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
    highest = schema.get("maximum", schema.get("exclusiveMaximum"))
    return st.floats(
        lowest,
        highest,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )
