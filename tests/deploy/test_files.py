"""Dockerfiles and compose files: linted, and as hardened as they say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from cap_server.serving import KEEP_ALIVE_S
from cap_server.settings import Settings
from tests.deploy.containers import base_of
from tests.deploy.programs import DEPLOY, ROOT, program, run

DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
OWN = ("server", "sandbox", "engine")


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfiles_are_linted(file: Path) -> None:
    assert run([program("hadolint"), "--no-color", str(file)]).stdout == ""


@pytest.mark.parametrize("name", ["server", "sandbox", "engine-cpu"])
def test_dockerfiles_start_from_debian_and_run_as_nobody(name: str) -> None:
    file = DEPLOY / "docker" / f"{name}.Dockerfile"
    text = file.read_text("utf-8")
    assert base_of(file)
    assert "\nUSER 65532:65532\n" in text
    assert "\nHEALTHCHECK " in text


@pytest.mark.parametrize("name", ["server", "sandbox"])
def test_what_images_compile_ahead_can_be_imported(name: str) -> None:
    text = (DEPLOY / "docker" / f"{name}.Dockerfile").read_text("utf-8")
    code = re.findall(r'/opt/cap/bin/python (?:-P )?-c "(.*)"', text)
    assert len(code) == 1
    run([sys.executable, "-c", *code])


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_compose_files_are_whole_and_have_no_unknown_keys(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one")
    named = [argument for file in files for argument in ("-f", str(DEPLOY / file))]
    environment = {"CAP_API_KEYS_FILE": str(tmp_path / "keys")}
    text = run([program("docker-compose"), *named, "config"], env=environment).stdout
    services = yaml.safe_load(text)["services"]
    assert {*OWN} <= services.keys()
    assert list(services["sandbox"]["networks"]) == ["programs"]
    assert "ports" not in services["sandbox"]


def test_what_runs_is_hardened_and_the_sandbox_has_no_way_out() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    for name in OWN:
        service = compose["services"][name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] == "65532:65532"
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"].startswith("on-failure:")
    assert compose["networks"]["programs"]["internal"]
    assert compose["services"]["sandbox"]["networks"] == ["programs"]
    published = compose["services"]["server"]["ports"]
    assert all(each.startswith("127.0.0.1:") for each in published)


def test_compose_and_chart_set_only_what_there_is() -> None:
    known = {f"CAP_{name.upper()}" for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    gpu = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text("utf-8"))
    for each in (compose, gpu):
        assert set(each["services"]["server"]["environment"]) <= known


def test_the_proxy_gives_idle_connections_up_before_the_server_does() -> None:
    text = (DEPLOY / "proxy/nginx.conf").read_text("utf-8")
    kept = re.search(r"^  keepalive_timeout (\d+)s;$", text, re.MULTILINE)
    assert kept is not None
    assert int(kept[1]) < KEEP_ALIVE_S


def test_images_take_nothing_from_the_repository_that_is_not_named() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    assert {line for line in ignored if line.startswith("!")} == {
        "!clients/python", "!clients/web", "!constraints.txt", "!LICENSE", "!models/cap-small",
        "!pyproject.toml", "!README.md", "!sandbox", "!server",
    }  # fmt: skip
