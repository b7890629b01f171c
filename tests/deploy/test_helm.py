"""The chart: linted, rendered with three sets of values, taken by Kubernetes, and shut in."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.programs import DEPLOY, TOOLS, run

VALUES = sorted((DEPLOY / "helm/values").glob("*.yaml"))
Manifest = dict[str, Any]


def render(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    python = TOOLS / "python"
    if not python.exists():
        pytest.skip("no .deploy: `make setup-deploy` makes it")
    return run([str(python), str(DEPLOY / "helm/render.py"), *arguments], check=check)


@cache
def manifests(values: str) -> dict[tuple[str, str], Manifest]:
    """By kind and name."""
    text = render(str(DEPLOY / "helm/values" / f"{values}.yaml")).stdout
    every = [each for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in every}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_chart_is_linted_and_kubernetes_takes_what_it_renders(values: Path) -> None:
    assert render("--check", str(values)).stdout == ""


def test_a_misspelt_field_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(
        "model: {url: 'http://m/v1'}\nsecrets: {open: true}\n"
        "server: {resources: {limitz: {memory: 1Gi}}}\n"
    )
    done = render("--check", str(tmp_path / "values.yaml"), check=False)
    assert done.returncode == 1
    assert "limitz" in done.stdout


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("{}", "model/url"),
        ("model: {url: 'http://m/v1'}", "secrets.existing must name a secret"),
        ("model: {url: 'http://m/v1'}\nserver: {replicaz: 1}", "replicaz"),
        ("model: {url: 'http://m/v1'}\nserver: {env: {PATH: '/'}}", "PATH"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, values: str, says: str) -> None:
    (tmp_path / "values.yaml").write_text(values)
    done = render(str(tmp_path / "values.yaml"), check=False)
    assert done.returncode == 1
    assert says in done.stdout


@pytest.mark.parametrize("values", [path.stem for path in VALUES])
def test_every_pod_is_hardened(values: str) -> None:
    deployments = [each for (kind, _), each in manifests(values).items() if kind == "Deployment"]
    assert len(deployments) == 2
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert not pod["enableServiceLinks"]
        [container] = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        probes = [
            container[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")
        ]
        assert probes == ["/health", "/ready"]


@pytest.mark.parametrize("values", [path.stem for path in VALUES])
def test_the_sandbox_is_reached_by_the_server_alone_and_reaches_nothing(values: str) -> None:
    policy = manifests(values)["NetworkPolicy", "cap-sandbox"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    [rule] = policy["ingress"]
    server, *scrapers = rule["from"]
    labels = _template(values, "cap-server")["metadata"]["labels"]
    assert server == {"podSelector": {"matchLabels": labels}}
    assert len(scrapers) == (1 if values == "production" else 0)
    own = _template(values, "cap-sandbox")["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == own


@pytest.mark.parametrize("values", [path.stem for path in VALUES])
def test_what_refers_to_something_refers_to_what_there_is(values: str) -> None:
    there = manifests(values)
    for part, port in (("server", 8000), ("sandbox", 8002)):
        service = there["Service", f"cap-{part}"]["spec"]
        assert service["selector"] == _template(values, f"cap-{part}")["metadata"]["labels"]
        assert service["ports"][0]["port"] == port
        budget = there["PodDisruptionBudget", f"cap-{part}"]["spec"]
        assert budget["selector"]["matchLabels"] == service["selector"]
    variables = _variables(values)
    assert variables["CAP_SANDBOX_URL"] == "http://cap-sandbox:8002"


def test_without_keys_the_server_is_open_only_where_it_is_asked_for() -> None:
    assert _variables("small")["CAP_OPEN"] == "1"
    assert "CAP_OPEN" not in _variables("production")


def test_secrets_are_files() -> None:
    variables = _variables("production")
    files = {name: value for name, value in variables.items() if name.endswith("_FILE")}
    assert files == {
        "CAP_API_KEYS_FILE": "/run/secrets/cap/api-keys",
        "CAP_MODEL_API_KEY_FILE": "/run/secrets/cap/model-api-key",
        "CAP_DATABASE_URL_FILE": "/run/secrets/cap/database-url",
    }
    pod = _template("production", "cap-server")["spec"]
    [volume] = [each for each in pod["volumes"] if each["name"] == "secrets"]
    assert volume["secret"]["secretName"] == "cap"


def test_production_scales_on_requests_in_flight_and_hides_its_metrics() -> None:
    there = manifests("production")
    scaler = there["HorizontalPodAutoscaler", "cap-server"]["spec"]
    assert scaler["metrics"][0]["pods"]["metric"]["name"] == "cap_requests_in_flight"
    assert "replicas" not in there["Deployment", "cap-server"]["spec"]
    [rule] = there["Ingress", "cap-server"]["spec"]["rules"]
    paths = {each["path"] for each in rule["http"]["paths"]}
    assert "/v1" in paths
    assert not paths & {"/", "/metrics"}


def test_a_kernel_of_their_own_for_programs_where_it_is_asked_for() -> None:
    assert _template("isolated", "cap-sandbox")["spec"]["runtimeClassName"] == "gvisor"
    assert "runtimeClassName" not in _template("isolated", "cap-server")["spec"]


def test_the_chart_has_the_rules_and_the_dashboard_that_are_tested() -> None:
    there, monitoring = manifests("production"), DEPLOY / "monitoring"
    for name in ("rules", "alerts"):
        tested = yaml.safe_load((monitoring / f"{name}.yml").read_text("utf-8"))
        assert there["PrometheusRule", f"cap-cap-{name}"]["spec"] == tested
    dashboard = there["ConfigMap", "cap-cap-dashboard"]["data"]["cap.json"]
    tested = (monitoring / "grafana/dashboards/cap.json").read_text("utf-8")
    assert dashboard.strip() == tested.strip()


def test_scrapes_are_called_what_the_alerts_call_them() -> None:
    called = {
        each["spec"]["endpoints"][0]["relabelings"][0]["replacement"]
        for (kind, _), each in manifests("production").items()
        if kind == "ServiceMonitor"
    }
    assert called == {"cap-server", "cap-sandbox"}


def _template(values: str, name: str) -> Manifest:
    return dict(manifests(values)["Deployment", name]["spec"]["template"])


def _variables(values: str) -> dict[str, str]:
    [container] = _template(values, "cap-server")["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}
