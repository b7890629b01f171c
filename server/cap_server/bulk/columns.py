"""Which column of a table, or which field of its JSON, is which field of a row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from cap_server.bulk.rows import BulkError, Written

FIELDS = tuple(Written.model_fields)


@dataclass(frozen=True, slots=True)
class Columns:
    """Attributes: named: columns by the fields that they hold; ignore_others: of the file's."""

    named: Mapping[str, str]
    ignore_others: bool = False

    @classmethod
    def of(cls, given: Sequence[str], *, ignore_others: bool) -> Self:
        """Columns as the command line names them: `cot=response`.

        Raises:
            BulkError: one names no field, or no column.
        """
        pairs = [text.partition("=") for text in given]
        for field, _, column in pairs:
            if field not in FIELDS or not column:
                told = f"{field}={column}" if column else field
                raise BulkError(
                    f"--column {told}: expected FIELD=COLUMN, where FIELD is one of "
                    f"{', '.join(FIELDS)}."
                )
        named = {field: column for field, _, column in pairs}
        taken = set(named.values())
        rest = {field: field for field in FIELDS if field not in named and field not in taken}
        return cls(rest | named, ignore_others)

    def read(self, present: Collection[str], *, name: str) -> dict[str, str]:
        """Fields by the columns of a file that hold them.

        Args:
            present: the file's columns.
            name: the file's, for messages.

        Raises:
            BulkError: one that is needed is not there, or one that is there is not known.
        """
        shown = ", ".join(sorted(present)) or "none"
        for field, column in self.named.items():
            if column not in present and (field != column or field == "question"):
                raise BulkError(f"{name} has no column `{column}` for {field}; it has {shown}.")
        known = {column: field for field, column in self.named.items() if column in present}
        others = sorted(set(present) - set(known))
        if others and not self.ignore_others:
            raise BulkError(
                f"{name}: `{others[0]}` is none of {', '.join(FIELDS)}. Say what it holds "
                f"(--column FIELD={others[0]}), or --ignore-others."
            )
        return known

    def fields(self, row: Mapping[str, object]) -> dict[str, object]:
        """A row's fields; others keep their names, so that they are refused, or are left out."""
        known = {column: field for field, column in self.named.items()}
        # A column that has another's name gives way to it.
        taken = set(FIELDS) - set(known)
        return {
            known.get(name, f"column {name}" if name in taken else name): value
            for name, value in row.items()
            if name in known or not self.ignore_others
        }
