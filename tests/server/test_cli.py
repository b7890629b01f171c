"""`cap refine` against a server that really listens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cap_server.cli import cli
from cap_server.domain import Execution
from cap_server.strategies import STRATEGIES
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_on

QUESTION = "What is 6 times 3?"


@contextmanager
def listening(*answers: int | None) -> Iterator[tuple[str, ScriptedModel]]:
    """A server whose programs come to `answers`, and the model that writes them."""
    script = [f"answer={answer}" for answer in answers]
    executions: dict[str, Execution | int] = {
        text: Execution("error") if answer is None else answer
        for text, answer in zip(script, answers, strict=True)
    }
    model = ScriptedModel(script)
    with listening_on(tools(model, FakeSandbox(executions))) as url:
        yield url, model


def cap(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["refine", QUESTION, *arguments], input=stdin)


def test_refine_shows_the_corrected_answer_and_the_program(tmp_path: Path) -> None:
    cot = tmp_path / "cot.txt"
    cot.write_text("6 * 3 = 26. The answer is 26.")
    with listening(18) as (url, model):
        result = cap("--cot", str(cot), "--url", url)
    assert result.exit_code == 0
    for shown in ("corrected", "18", "instead of 26", "answer=18", "programs drawn"):
        assert shown in result.output
    assert model.prompts[0].problem.prior.cot == "6 * 3 = 26. The answer is 26."


def test_refine_reads_the_cot_from_stdin() -> None:
    with listening(18) as (url, model):
        cap("--cot", "-", "--url", url, stdin="The answer is 26.")
    assert model.prompts[0].problem.prior.cot == "The answer is 26."


def test_refine_finds_the_server_where_the_settings_put_it() -> None:
    with listening(18) as (url, _):
        environment = {"CAP_PORT": url.rpartition(":")[2]}
        result = CliRunner().invoke(cli, ["refine", QUESTION], env=environment)
    assert "18" in result.stdout
    assert result.exit_code == 0


def test_config_shows_whole_names_on_a_narrow_terminal() -> None:
    shown = CliRunner().invoke(cli, ["config"], env={"COLUMNS": "80"}).stdout
    assert "CAP_SANDBOX_MEMORY_BYTES" in shown
    assert "…" not in shown


def test_json_is_the_servers_answer() -> None:
    with listening(18, 17) as (url, _):
        arguments = ["--strategy", "pot:programs=2,overrule=0.25", "--answer", "17", "--candidates"]
        result = cap(*arguments, "--url", url, "--json")
    refinement = json.loads(result.stdout)
    assert refinement["strategy"] == {"name": "pot", "programs": 2, "overrule": 0.25}
    assert [each["answer"] for each in refinement["candidates"]] == ["18", "17"]
    assert (refinement["decision"], result.exit_code) == ("kept", 3)


@pytest.mark.parametrize(
    ("answer", "prior", "decision", "exit_code"),
    [(18, "18", "confirmed", 0), (18, None, "answered", 0), (None, "26", "unresolved", 4)],
)
def test_exit_codes_tell_the_decision(
    answer: int | None, prior: str | None, decision: str, exit_code: int
) -> None:
    with listening(answer) as (url, _):
        result = cap(*(["--answer", prior] if prior else []), "--url", url)
    assert (decision in result.output, result.exit_code) == (True, exit_code)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "wisdom"], "must be one of adaptive, single, pot"),
        (["--strategy", "majority:programs=0"], "greater than or equal to 1"),
        (["--deadline", "-1"], "greater than or equal to 0.01"),
    ],
)
def test_a_refusal_is_shown_as_the_server_words_it(arguments: list[str], message: str) -> None:
    with listening(18) as (url, _):
        result = cap(*arguments, "--url", url)
    assert message in " ".join(result.output.split())
    assert result.exit_code == 1


def test_wrong_usage_and_an_absent_server_have_their_own_exit_codes() -> None:
    absent = cap("--url", "http://127.0.0.1:9")
    assert (absent.exit_code, "cap up" in absent.output) == (5, True)
    missing = cap("--cot", "/nowhere/cot.txt")
    assert (missing.exit_code, "/nowhere/cot.txt" in missing.output) == (2, True)
    assert cap("--strategy", "majority:programs").exit_code == 2


def test_strategies_are_listed_and_told_with_their_parameters() -> None:
    with listening(18) as (url, _):

        def strategies(*arguments: str) -> Result:
            command = ["strategies", *arguments, "--url", url]
            return CliRunner().invoke(cli, command, env={"COLUMNS": "200"})

        listed, one = strategies(), strategies("majority")
        listed_json, one_json = strategies("--json"), strategies("majority", "--json")
        missing = strategies("wisdom")
    assert all(name in listed.stdout for name in STRATEGIES)
    assert "adaptive (default)" in listed.stdout
    for shown in ("overrule", "0 to 1", "arXiv 2203.11171", "How many programs to draw"):
        assert shown in one.stdout
    assert json.loads(listed_json.stdout)["default"] == "adaptive"
    assert json.loads(one_json.stdout)["parameters"]["programs"]["maximum"] == 64
    assert (missing.exit_code, "there are adaptive" in missing.output) == (2, True)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cap re", {"refine"}),
        ("cap refine --strategy ma", {"majority"}),
        ("cap strategies b", {"best_of_n", "bonbon"}),
        ("cap refine --inp", {"--input"}),
    ],
)
def test_the_shell_completes_commands_options_and_strategies(line: str, offered: set[str]) -> None:
    environment = {
        "_CAP_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    shown = CliRunner().invoke(cli, [], env=environment, prog_name="cap")
    assert set(shown.stdout.split()) == offered


def test_a_program_that_would_steer_the_terminal_is_shown_plain() -> None:
    program = "answer=18  # \x1b]0;title\x07\x1b[2J"
    model = ScriptedModel([program])
    with listening_on(tools(model, FakeSandbox({program: 18}))) as url:
        result = cap("--strategy", "single", "--candidates", "--url", url)
    assert "answer=18" in result.output
    assert "\x1b]0" not in result.output
    assert "\x1b[2J" not in result.output


def test_a_server_that_is_not_ours_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        result = cap("--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert (result.exit_code, "not as a CaP server" in result.output) == (1, True)
