"""On-policy pairs for stage 2: what the model itself writes, judged by running it.

For every row the model of stage 1 writes several refinements. Chosen is one whose program comes to
the right answer and whose verdict on the CoT is true. Rejected is one whose program does not, a
copy of the wrong CoT's answer first of all: that is the fault that stage 2 is for (CaP, arXiv
2412.16871).
"""

from __future__ import annotations

import asyncio
import random
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as parquet

from cap_server import answers
from cap_server.app import open_tools
from cap_server.domain import Answer, Limits, Message, Problem, Prompt, Sample, Sampling
from cap_server.errors import CapError
from cap_server.settings import Settings
from cap_server.tools import Tools
from cap_training.budget import Clock, spoken
from cap_training.claim import claim
from cap_training.data.card import write_parquet
from cap_training.data.journal import Journal
from cap_training.data.rows import preference
from cap_training.evaluate.items import CONDITIONS, Condition
from cap_training.failures import RowsError

Outcome = Literal["right", "copied", "wrong", "no_answer", "cut_off"]

_VERDICT = re.compile(r"#\s*prior:\s*(right|wrong)\s*\Z")
_COLUMNS = ("prompt", "completion", "question", "answer", "cot", "cot_right", "kind", "id")
_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class MineOptions:
    """What is drawn, and which pairs are made of it.

    Attributes:
        data: Parquet files of stage 1's rows; every one is asked again.
        conditions: of the rows that are asked: with no CoT, with a right one, with a wrong one.
        output: the Parquet file of pairs; the journal of draws lies beside it.
        model: what draws, as the journal's record calls it.
        samples: draws for each row.
        most_rows: rows that are asked, at random; 0: all.
        most_pairs: of one row.
        gold: whether the row's own completion stands in where no draw is right.
        share: the largest share of pairs that one kind of row (no CoT, a right one, a wrong
            one) may have.
    """

    data: tuple[Path, ...]
    output: Path
    model: str = ""
    conditions: tuple[Condition, ...] = CONDITIONS
    samples: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 200
    most_rows: int = 0
    most_pairs: int = 2
    gold: bool = False
    share: float = 0.6
    budget_s: float | None = None
    at_once: int = 24
    seed: int = 0


@dataclass(frozen=True)
class Draw:
    """One refinement that the model wrote.

    Attributes:
        verdict: whether its word on the CoT is true; None where it said none or there is no CoT.
    """

    text: str
    outcome: Outcome
    verdict: bool | None = None


Row = Mapping[str, Any]


async def mine(
    options: MineOptions, settings: Settings, *, say: Callable[[str], None]
) -> Mapping[str, int]:
    """Draws what the journal lacks, and writes the pairs.

    Returns:
        What was counted: rows, draws by outcome, pairs by kind of row.

    Raises:
        CapError: the model or the sandbox is not to be had.
        RowsError: not one pair came out.
        RunError: the journal has draws of another model or of other settings.
    """
    claim(options.output.with_suffix(".draws.json"), _drawing(options))
    rows = list(_rows(options))
    with Journal(options.output.with_suffix(".draws.jsonl")) as journal:
        known = {line["key"]: line for line in journal.lines}
        async with open_tools(settings) as tools:
            await tools.model.check()
            miner = _Miner(options, tools, journal, known, say)
            await miner.work(rows)
    drawn = [(row, _draws_of(known[key])) for row in rows if (key := _key(row)) in known]
    pairs = list(balanced(pairs_of(drawn, options), share=options.share, seed=options.seed))
    if not pairs:
        raise RowsError("No pairs: nowhere did the model write both a right and a wrong program.")
    write_parquet(options.output, pairs)
    counts: dict[str, int] = {"rows": len(drawn), "pairs": len(pairs)}
    for _, draws in drawn:
        for draw in draws:
            counts[draw.outcome] = counts.get(draw.outcome, 0) + 1
    for pair in pairs:
        name = f"pairs_{pair['condition']}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _drawing(options: MineOptions) -> dict[str, Any]:
    """What a row's draws depend on: which rows are asked, and which pairs are made, may change."""
    names = ("model", "samples", "temperature", "top_p", "max_tokens", "seed")
    return {name: getattr(options, name) for name in names}


class _Miner:
    """Draws and judges, many rows at once, until the rows or the time come to an end."""

    def __init__(
        self,
        options: MineOptions,
        tools: Tools,
        journal: Journal,
        known: dict[str, dict[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self._options, self._tools, self._journal = options, tools, journal
        self._known, self._say = known, say
        self._clock = Clock()
        self._said_s, self._done = 0.0, 0

    async def work(self, rows: Sequence[Row]) -> None:
        asked = [row for row in rows if _key(row) not in self._known]
        waiting, left = iter(asked), len(asked)

        async def worker() -> None:
            for row in waiting:
                if self._over():
                    return
                draws = await self._drawn(row)
                line = {"key": _key(row), "draws": [vars(draw) for draw in draws]}
                self._journal.write(line)
                self._known[_key(row)] = line
                self._tell(left)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._options.at_once):
                    group.create_task(worker())
        except* CapError as failures:
            raise failures.exceptions[0] from None

    async def _drawn(self, row: Row) -> list[Draw]:
        messages = tuple(Message(m["role"], m["content"]) for m in row["prompt"])
        prompt = Prompt("program", Problem(row["question"]), messages)
        samples = await asyncio.gather(
            *(self._sample(row, prompt, index) for index in range(self._options.samples))
        )
        texts = list(dict.fromkeys(each.text for each in samples if each.complete))
        judged = await asyncio.gather(*(self._judged(row, text) for text in texts))
        draws = dict(zip(texts, judged, strict=True))
        return [draws[s.text] if s.complete else Draw(s.text, "cut_off") for s in samples]

    async def _sample(self, row: Row, prompt: Prompt, index: int) -> Sample:
        options = self._options
        sampling = Sampling(
            temperature=options.temperature,
            top_p=options.top_p,
            max_tokens=options.max_tokens,
            seed=zlib.crc32(f"{options.seed}/{_key(row)}/{index}".encode()),
        )
        return await self._tools.model.sample(prompt, sampling=sampling, draw=index)

    async def _judged(self, row: Row, text: str) -> Draw:
        program = self._tools.prompt_format.read_program(text, complete=True)
        execution = await self._tools.sandbox.execute(program, limits=Limits()) if program else None
        value = execution.value if execution and execution.status == "ok" else None
        found = answers.from_value(value) if value else None
        return Draw(text, await self._outcome(row, found), _verdict(text, row["cot_right"]))

    async def _outcome(self, row: Row, found: Answer | None) -> Outcome:
        if found is None:
            return "no_answer"
        if await self._tools.equality.same(found, Answer(row["answer"])):
            return "right"
        prior = answers.extract(row["cot"]) if row["cot"] else None
        copied = prior is not None and await self._tools.equality.same(found, prior)
        return "copied" if copied else "wrong"

    def _over(self) -> bool:
        budget_s = self._options.budget_s
        return budget_s is not None and self._clock.elapsed_s() > budget_s

    def _tell(self, left: int) -> None:
        self._done += 1
        now = self._clock.elapsed_s()
        if now - self._said_s < _SAY_EVERY_S:
            return
        self._said_s = now
        rest = now / self._done * (left - self._done)
        if self._options.budget_s is not None:
            rest = min(rest, self._options.budget_s - now)
        self._say(f"  {self._done:,} of {left:,} rows drawn, {spoken(rest)} left at most")


def pairs_of(
    drawn: Iterable[tuple[Row, Sequence[Draw]]], options: MineOptions
) -> Iterator[dict[str, Any]]:
    """The pairs of every row: different texts, no text twice on one side."""
    chance = random.Random(options.seed)
    for row, draws in drawn:
        good = _shuffled((draw.text for draw in draws if _is_good(draw)), chance)
        if not good and options.gold:
            good = [row["completion"][0]["content"]]
        copies = _shuffled((draw.text for draw in draws if draw.outcome == "copied"), chance)
        wrong = _shuffled((d.text for d in draws if d.outcome in ("wrong", "no_answer")), chance)
        bad = [text for text in (*copies, *wrong) if text.strip()]
        for chosen, rejected in zip(good * len(bad), bad[: options.most_pairs], strict=False):
            facts = {"id": row["id"], "condition": _condition(row)}
            yield preference(row["prompt"][0]["content"], chosen, rejected, facts)


def balanced(
    pairs: Iterable[dict[str, Any]], *, share: float, seed: int
) -> Iterator[dict[str, Any]]:
    """The pairs, none of the three conditions with more than `share` of them, in random order.

    A model that only ever sees wrong CoTs in stage 2 learns to contradict.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in pairs:
        found.setdefault(pair["condition"], []).append(pair)
    chance = random.Random(seed)
    total = sum(map(len, found.values()))
    kept = []
    for group in found.values():
        others = total - len(group)
        most = len(group) if not others else int(others * share / (1 - share))
        kept += chance.sample(group, min(len(group), max(1, most)))
    yield from chance.sample(kept, len(kept))


def _is_good(draw: Draw) -> bool:
    return draw.outcome == "right" and draw.verdict is not False


def _verdict(text: str, cot_right: bool | None) -> bool | None:
    if cot_right is None:
        return None
    said = _VERDICT.search(text.strip())
    return said is not None and (said[1] == "right") == cot_right


def _condition(row: Row) -> Condition:
    return "none" if row["cot"] is None else "right" if row["cot_right"] else "wrong"


def _shuffled(texts: Iterable[str], chance: random.Random) -> list[str]:
    different = list(dict.fromkeys(texts))
    return chance.sample(different, len(different))


def _rows(options: MineOptions) -> Iterator[Row]:
    rows: dict[str, Row] = {}
    for path in options.data:
        for row in parquet.read_table(path, columns=list(_COLUMNS)).to_pylist():
            if row["kind"] == "program" and _condition(row) in options.conditions:
                rows.setdefault(_key(row), row)
    found = list(rows.values())
    chance = random.Random(options.seed)
    yield from chance.sample(found, min(options.most_rows or len(found), len(found)))


def _key(row: Row) -> str:
    return f"{row['id']}-{zlib.crc32(row['prompt'][0]['content'].encode()):08x}"


def _draws_of(line: Mapping[str, Any]) -> list[Draw]:
    return [Draw(**draw) for draw in line["draws"]]
