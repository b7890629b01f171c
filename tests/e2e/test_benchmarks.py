"""The benchmarks run, on small data, as their users run them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared/recorded/gsm8k_even.jsonl.gz"

COT_SOURCES = ("code002_COT", "text003_COT", "gpt3-175b_verification", "gpt-3.5-turbo_COT",
               "gpt4_COT")  # fmt: skip


def table_of(file: Path, *arguments: str) -> dict[tuple[str, str], list[str]]:
    """The benchmark's rows by CoT source and strategy."""
    script = ROOT / "benchmarks/recorded_gsm8k.py"
    command = [sys.executable, str(script), str(file), *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    rows = [line.strip("| ").split(" | ") for line in printed.stdout.splitlines() if "|" in line]
    return {(row[0], row[1]): row[2:] for row in rows[2:]}


def test_the_recorded_benchmark_counts_what_is_corrected_broken_and_kept(tmp_path: Path) -> None:
    right, wrong = "answer = 18", "answer = 17"
    outcomes = {"fixed": (right, 26), "broken": (wrong, 18), "split": (None, 26)}
    rows = []
    for question, (text, prior) in outcomes.items():
        texts = {f"code002_{i}": text or f"answer = {i}" for i in range(12)}
        cots = dict.fromkeys(COT_SOURCES, f"The answer is {prior}.")
        rows.append({"question": question, "answer": 18, "cots": cots, "programs": texts})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = table_of(file)
    assert {cot for cot, _ in table} == set(COT_SOURCES)
    cot, refined, corrected, broken, kept, programs = table["gpt4_COT", "majority 12"]
    assert (cot, refined) == ("0.333", "0.333")
    assert (corrected, broken, kept, programs) == ("1", "1", "1", "12.00")


@pytest.mark.skipif(not RECORDED.exists(), reason="needs shared/recorded beside the project")
@pytest.mark.timeout(400)
def test_real_recorded_answers_are_refined(tmp_path: Path) -> None:
    rows = gzip.decompress(RECORDED.read_bytes()).splitlines(keepends=True)[:40]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(rows))
    table = table_of(tmp_path / "rows.jsonl")
    cot, refined, *_ = table["gpt3-175b_verification", "majority 12, overrule 0"]
    assert float(refined) > float(cot)


@pytest.mark.timeout(240)
def test_this_server_beside_its_upstream_in_miniature(tmp_path: Path) -> None:
    script, file = ROOT / "benchmarks/peers.py", tmp_path / "figures.json"
    options = ["--no-peers", "--rounds", "1", "--per-turn", "2", "--delay", "0.01"]
    fewer = ["--votes", "4", "--in-flight", "8", "--state", str(tmp_path / "state")]
    command = [sys.executable, str(script), *options, *fewer]
    subprocess.run([*command, "--json", str(file)], timeout=230, check=True)
    figures = json.loads(file.read_text())
    asked = {
        (row["asked"], row["server"], row["at_once"], row["coming"]): row for row in figures["rows"]
    }
    together = [(at_once, "together") for at_once in (1, 4, 8, 64)]
    assert {key[2:] for key in asked} == {*together, (8, "spread"), (64, "spread")}
    assert not any(row["failed"] for row in asked.values())
    assert asked["vote", "CaP server", 4, "together"]["requests"] == 4
    facts = figures["facts"]["CaP server"]
    assert facts["client leaves"] == "8 of 8 model calls ended"
    assert facts["upstream says 429"].startswith("503, Retry-After 7")
    assert "after" in facts["upstream hangs"]


@pytest.mark.timeout(240)
def test_costs_and_plots_in_miniature(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/performance.py"), "--requests", "1"]
    options = ["--points", "1", "--plots", str(tmp_path), "--state", str(tmp_path / "state")]
    printed = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=200, check=True
    ).stdout
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| `/v1/refine`")]
    assert [float(row[4]) > 0 for row in rows] == [True, True]
    assert len(list(tmp_path.glob("performance-*.png"))) == 3
