"""`cap sandbox check` tells an operator what holds, and does not claim what it did not see."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cap_sandbox import Pool, WeakIsolationError
from cap_sandbox.check import PROBES, check
from cap_server.cli import cli


def test_every_probe_is_refused_on_a_machine_with_seccomp() -> None:
    result = CliRunner().invoke(cli, ["sandbox", "check", "--json"])
    report = json.loads(result.stdout)
    assert [finding["probe"] for finding in report["findings"]] == list(PROBES)
    assert all(finding["refused"] for finding in report["findings"])
    assert (report["holds"], result.exit_code) == (True, 0)
    assert report["layers"]["seccomp"]


async def test_the_least_of_the_jail_holds_every_probe() -> None:
    report = await check(without=("namespaces", "landlock"))
    assert report.holds, report.as_text()
    assert "The sandbox holds here." in report.as_text()


async def test_probes_reach_what_no_layer_keeps_from_them() -> None:
    report = await check(without=("namespaces", "landlock", "seccomp"))
    reached = {finding.probe for finding in report.findings if not finding.refused}
    assert {"see that a file exists", "see other processes"} <= reached
    assert (report.tier, report.holds) == ("weak", False)
    assert "REACHED" in report.as_text()
    assert "CAP_SANDBOX_ALLOW_WEAK=1" in report.as_text()


async def test_the_refusal_to_start_without_seccomp_says_what_to_do() -> None:
    with pytest.raises(WeakIsolationError, match="CAP_SANDBOX_ALLOW_WEAK=1"):
        async with Pool(workers=1, without=["seccomp"]):
            raise AssertionError("it started")
