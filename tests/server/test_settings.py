"""The operator's settings: where they come from, what is refused, what is hidden."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from cap_server.cli import cli
from cap_server.engine import EngineError, about
from cap_server.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAP_"):
            monkeypatch.delenv(name)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAP_MODEL_URL", "http://models:9000/v1")
    monkeypatch.setenv("CAP_MODEL", "big")
    monkeypatch.setenv("CAP_PROMPT_FORMAT", "few_shot")
    settings = Settings()
    assert (settings.model_url, settings.model, settings.prompt_format) == (
        "http://models:9000/v1",
        "big",
        "few_shot",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CAP_MODEL_URL", "not a url"),
        ("CAP_MODEL_URL", "http://a:1/v1,"),
        ("CAP_MODEL_URL", "http://a:1/v1,http://a:1/v1"),
        ("CAP_PROMPT_FORMAT", "poetry"),
        ("CAP_PORT", "99999"),
        ("CAP_SANDBOX_WORKERS", "0"),
        ("CAP_MAX_TOKENS", "many"),
        ("CAP_API_KEYS", "one,,two"),
        ("CAP_API_KEYS", "one, two"),
        ("CAP_COT_MODEL_URL", "http://models:9000/v1"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()
    result = CliRunner().invoke(cli, ["config"])
    assert result.exit_code == 2
    assert name in result.output


def test_several_servers_may_offer_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAP_MODEL_URL", "http://a:1/v1, http://b:1/v1")
    assert Settings().model_url == "http://a:1/v1,http://b:1/v1"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAP_COT_MODEL", "")
    assert Settings().cot_model is None


def test_config_shows_every_setting_and_hides_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAP_MODEL_API_KEY", "hunter2")
    monkeypatch.setenv("CAP_API_KEYS", "hunter3")
    for arguments in (["config"], ["config", "--json"]):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0
        assert "hunter" not in result.output
    shown = json.loads(result.output)
    assert set(shown) == {f"CAP_{name.upper()}" for name in Settings.model_fields}
    assert shown["CAP_MODEL_API_KEY"]["value"] == "********"
    assert shown["CAP_MODEL_API_KEY"]["set_by"] == "environment"
    assert shown["CAP_PORT"]["set_by"] == "default"


def test_a_models_folder_says_how_reliable_it_is(tmp_path: Path) -> None:
    assert about(tmp_path).reliability is None
    (tmp_path / "cap.json").write_text('{"reliability": 0.65}')
    assert about(tmp_path).reliability == 0.65
    for wrong in ('{"reliability": 2}', '{"reliabilty": 0.5}', "{", ""):
        (tmp_path / "cap.json").write_text(wrong)
        with pytest.raises(EngineError, match=r"cap\.json"):
            about(tmp_path)


def test_the_model_that_ships_says_that_it_is_weak() -> None:
    shipped = about(Path(__file__).parents[2] / "models/cap-small").reliability
    assert shipped is not None
    assert shipped < 0.8


def test_secrets_may_lie_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one,two\n")
    (tmp_path / "database").write_text("sqlite:////tmp/trust.db")
    monkeypatch.setenv("CAP_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("CAP_DATABASE_URL_FILE", str(tmp_path / "database"))
    settings = Settings()
    assert len(settings.given_keys()) == 2
    assert settings.database() == "sqlite:////tmp/trust.db"
    result = CliRunner().invoke(cli, ["config", "--json"])
    assert "one,two" not in result.output


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secrets_file_that_is_missing_or_empty_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content)
    monkeypatch.setenv("CAP_API_KEYS_FILE", str(tmp_path / "keys"))
    result = CliRunner().invoke(cli, ["config"])
    assert result.exit_code == 2
    assert "CAP_API_KEYS_FILE" in result.output.replace("\n", "")


def test_a_secret_in_both_places_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("one")
    monkeypatch.setenv("CAP_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("CAP_API_KEYS", "two")
    result = CliRunner().invoke(cli, ["config"])
    assert result.exit_code == 2
    assert "both set" in result.output.replace("\n", " ")
