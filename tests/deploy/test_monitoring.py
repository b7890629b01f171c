"""Rules, alerts and dashboard: they parse, fire when they should, and ask what there is."""

from __future__ import annotations

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry

from cap_sandbox import Pool
from cap_server.observing import Metrics
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.deploy.conftest import ASKED, until
from tests.deploy.programs import DEPLOY, ROOT, program, run
from tests.ports import free_port
from tests.server.benches import tools
from tests.server.conftest import listening_on

MONITORING = DEPLOY / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/cap.json").read_text("utf-8"))


def rules(name: str) -> list[dict[str, Any]]:
    [group] = yaml.safe_load((MONITORING / name).read_text("utf-8"))["groups"]
    return list(group["rules"])


def expressions() -> list[str]:
    """What the dashboard asks, with Grafana's variables filled in."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return [expression.replace("$__rate_interval", "5m") for expression in asked]


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    run([program("promtool"), "check", "config", str(MONITORING / "prometheus.yml")])


def test_alerts_fire_when_they_should_and_not_before() -> None:
    run([program("promtool"), "test", "rules", str(MONITORING / "alerts_test.yml")])


def test_the_tests_of_the_alerts_can_fail(tmp_path: Path) -> None:
    for name in ("rules.yml", "alerts.yml", "alerts_test.yml"):
        text = (MONITORING / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("error_ratio5m > 0.2", "error_ratio5m > 0.6"))
    argv = [program("promtool"), "test", "rules", str(tmp_path / "alerts_test.yml")]
    assert run(argv, check=False).returncode != 0


def test_every_alert_is_tested_and_in_the_run_book() -> None:
    tests = (MONITORING / "alerts_test.yml").read_text("utf-8")
    book = (ROOT / "docs/operations.md").read_text("utf-8")
    for rule in rules("alerts.yml"):
        assert f"alertname: {rule['alert']}\n" in tests
        assert f"### {rule['alert']}\n" in book
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_the_dashboards_queries_are_queries(tmp_path: Path) -> None:
    asked = [{"record": f"asked:{i}", "expr": each} for i, each in enumerate(expressions())]
    assert len(asked) >= 30
    file = tmp_path / "asked.yml"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": asked}]}))
    run([program("promtool"), "check", "rules", str(file)])


@pytest.mark.parametrize("where", ["rules.yml", "alerts.yml", "dashboard"])
def test_only_metrics_that_there_are_are_asked_for(where: str) -> None:
    asked = expressions() if where == "dashboard" else [each["expr"] for each in rules(where)]
    recorded = {each["record"] for each in rules("rules.yml")}
    names = set(re.findall(r"\bcap[_:][a-z0-9_:]+", " ".join(asked)))
    assert names
    assert names - recorded - _known() == set()


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.skipif(not ASKED, reason="`make test-deploy` runs this: it starts Prometheus")
def test_a_real_prometheus_scrapes_and_its_rules_answer(tmp_path: Path) -> None:
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    port = free_port()
    with listening_on(given) as url:
        body = {"question": "What is 6 times 3?", "strategy": "single"}
        assert httpx.post(f"{url}/v1/refine", json=body).status_code == 200
        configuration = (MONITORING / "prometheus.yml").read_text("utf-8")
        configuration = configuration.replace("server:8000", url.removeprefix("http://"))
        (tmp_path / "prometheus.yml").write_text(configuration.replace(": 15s", ": 1s"))
        for name in ("rules.yml", "alerts.yml"):
            (tmp_path / name).write_text((MONITORING / name).read_text("utf-8"))
        argv = [
            program("prometheus"),
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            asked = partial(_asked, f"http://127.0.0.1:{port}/api/v1/query")
            say = (tmp_path / "log").read_text
            until(lambda: asked('up{job="cap-server"}') == "1", within_s=60, else_say=say)
            until(lambda: asked("cap_build_info") == "1", within_s=60, else_say=say)
            assert asked('cap_refinements_total{decision="answered"}') == "1"
            # A rule has been computed: of two scrapes at least, hence the wait.
            rate = 'cap:refinements:rate5m{strategy="single"}'
            until(lambda: asked(rate) is not None, within_s=60, else_say=say)
        finally:
            process.terminate()
            process.wait()


def _asked(url: str, query: str) -> str | None:
    """The value of the first series that `query` finds."""
    try:
        found = httpx.get(url, params={"query": query}).json()["data"]["result"]
    except (httpx.HTTPError, KeyError, ValueError):
        return None
    return str(found[0]["value"][1]) if found else None


def _known() -> set[str]:
    """The names of all samples that a server and a sandbox can have."""
    metrics = Metrics(CollectorRegistry())
    names = set[str]()
    for family in metrics.registry.collect():
        suffixes = {"counter": ["_total"], "gauge": [""]}
        names |= {
            family.name + suffix
            for suffix in suffixes.get(family.type, ["_bucket", "_sum", "_count"])
        }
    for figure in Pool(workers=1).figures():
        names.add(figure.name + ("_total" if figure.kind == "counter" else ""))
    return names
