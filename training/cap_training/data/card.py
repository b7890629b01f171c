"""Data sets as Parquet, each with a card that says what is in it and how to make it again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cap_training.data.files import sha256

LICENCES = {
    "synthetic": "Apache-2.0 (made by this repository)",
    "gsm8k": "MIT (openai/grade-school-math)",
    "ape210k": "MIT (Ape210K, Zhao et al. 2020, under the licence of OpenNMT-py)",
    "sampled": "that of the questions, and of the model that was sampled",
    "refinements": "the operator's own",
}
_BATCH = 20_000


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows, a batch at a time; the file appears when it is whole.

    Returns:
        How many rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    writer: pq.ParquetWriter | None = None
    count = 0
    try:
        for batch in _batches(rows):
            table = (
                pa.Table.from_pylist(batch, schema=writer.schema)
                if writer is not None
                else pa.Table.from_pylist(batch, schema=_schema(batch))
            )
            writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
            writer.write_table(table)
            count += len(batch)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ValueError(f"{path}: no rows to write")
    unfinished.replace(path)
    return count


def _schema(batch: Sequence[Mapping[str, Any]]) -> Any:
    """The types of the columns; one that a batch leaves empty is text, or a truth value."""
    import pyarrow as pa

    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    known = {
        "prompt": message, "completion": message, "chosen": message, "rejected": message,
        "cot_right": pa.bool_(), "label": pa.bool_(),
    }  # fmt: skip
    return pa.schema([(name, known.get(name, pa.string())) for name in batch[0]])


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class Census:
    """Counts rows as they pass."""

    def __init__(self) -> None:
        self.rows = 0
        self._counts: dict[str, Counter[str]] = {}

    def counted(self, rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
        for row in rows:
            self.rows += 1
            for name in ("split", "origin", "language", "kind", "cot_right"):
                if name in row:
                    self._counts.setdefault(name, Counter())[str(row[name])] += 1
            yield row

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {name: dict(counter.most_common()) for name, counter in self._counts.items()}


def write_card(
    folder: Path,
    *,
    files: Iterable[Path],
    sources: Mapping[str, Path],
    census: Census,
    recipe: Mapping[str, object],
) -> None:
    """Write `card.json` for machines and `README.md` for people beside the data."""
    facts = {
        "rows": census.rows,
        "counts": census.counts,
        "files": {file.name: sha256(file) for file in files},
        "sources": {name: {"file": p.name, "sha256": sha256(p)} for name, p in sources.items()},
        "families": _grammar_hash(),
        "licences": {
            name: LICENCES[name] for name in census.counts.get("origin", {}) if name in LICENCES
        },
        "recipe": dict(recipe),
    }
    (folder / "card.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")
    (folder / "README.md").write_text(_told(facts), "utf-8")


def _grammar_hash() -> str:
    """One hash over all families and words: other files make other problems from the same seed."""
    digest = hashlib.sha256()
    for file in sorted((Path(__file__).parent / "families").glob("*.txt")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _told(facts: Mapping[str, Any]) -> str:
    lines = ["# Data card", "", f"{facts['rows']:,} rows.", ""]
    for name, counts in facts["counts"].items():
        told = ", ".join(f"{key} {count:,}" for key, count in counts.items())
        lines.append(f"- {name}: {told}")
    lines += ["", "| file | SHA-256 |", "|---|---|"]
    lines += [f"| {name} | `{digest}` |" for name, digest in facts["files"].items()]
    for source in facts["sources"].values():
        lines.append(f"| source {source['file']} | `{source['sha256']}` |")
    lines += [f"| families and words | `{facts['families']}` |", "", "Licences:", ""]
    lines += [f"- {name}: {licence}" for name, licence in facts["licences"].items()]
    recipe = json.dumps(facts["recipe"], ensure_ascii=False)
    return "\n".join([*lines, "", "Made with:", "", "```json", recipe, "```", ""])
