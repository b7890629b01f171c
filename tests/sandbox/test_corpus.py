"""Programs as language models write them end as they do in plain Python."""

from __future__ import annotations

import pytest

from cap_sandbox import Limits, Pool, Value
from tests.sandbox.plain import Outcome, run_plainly
from tests.sandbox.sections import read_sections

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORPUS = read_sections("corpus.txt")


@pytest.fixture(scope="module")
def plain() -> dict[str, Outcome]:
    return run_plainly(CORPUS)


@pytest.mark.parametrize("title", CORPUS)
async def test_a_program_that(title: str, pool: Pool, plain: dict[str, Outcome]) -> None:
    execution = await pool.execute(CORPUS[title], limits=Limits(wall_s=20))
    raised, answer, output = plain[title]
    assert raised is None
    assert (execution.status, execution.stderr) == ("ok", "")
    assert execution.stdout == output
    if answer != "None":
        assert execution.value is not None
        assert _as_str(execution.value) == answer


def _as_str(value: Value) -> str:
    """Write `value` as `str` does: only complex numbers stand in brackets there."""
    return f"({value.text})" if value.type == "complex" else value.text
