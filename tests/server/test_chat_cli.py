"""`cap chat` against a server that really listens, by a pipe and at a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner, Result

from cap_server.cli import cli
from cap_server.domain import ChatReply
from cap_server.errors import CapError, ModelResponseError
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_on

WRONG = "6 * 3 = 26. The answer is 26."


@contextmanager
def chatting(*script: str | ChatReply | CapError) -> Iterator[tuple[str, ScriptedChat]]:
    """A server whose chat model answers by `script`, and whose programs come to 18."""
    chat = ScriptedChat(script or [WRONG])
    sandbox = FakeSandbox({"answer=18": 18})
    given = tools(ScriptedModel(["answer=18"]), sandbox, chats=[chat])
    with listening_on(given) as url:
        yield url, chat


def cap(url: str, stdin: str, *arguments: str) -> Result:
    command = ["chat", "--url", url, "--strategy", "majority", *arguments]
    return CliRunner().invoke(cli, command, input=stdin)


def test_a_piped_question_is_answered_and_what_was_corrected_is_told_apart() -> None:
    with chatting() as (url, _):
        result = cap(url, "What is 6 times 3?\n")
    assert (result.exit_code, result.stdout) == (0, "The answer is 18.\n")
    assert "corrected 26 → 18" in result.stderr
    assert "answer=18" not in result.stderr


def test_reasoning_is_shown_where_it_is_asked_for() -> None:
    with chatting() as (url, _):
        result = cap(url, "What is 6 times 3?\n", "--reasoning")
    assert result.stdout == "The answer is 18.\n"
    assert result.stderr.index(WRONG) < result.stderr.index("answer=18")


def test_each_line_is_a_turn_of_one_conversation_until_a_new_one_begins() -> None:
    with chatting("Hello!", WRONG) as (url, chat):
        result = cap(url, "Hi\\\nthere\nWhat is 6 times 3?\n\n/program\n/new\nAgain\n/quit\nNo\n",
                     "--system", "Be brief.")  # fmt: skip
    assert result.stdout.splitlines() == ["Hello!", "The answer is 18.", "answer=18", "Hello!"]
    system = {"role": "system", "content": "Be brief."}
    first = [system, {"role": "user", "content": "Hi\nthere"}]
    second = [
        *first,
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What is 6 times 3?"},
    ]
    assert [body["messages"] for body in chat.bodies] == [
        first,
        second,
        [system, {"role": "user", "content": "Again"}],
    ]


def test_what_fails_is_told_and_forgotten() -> None:
    with chatting(ModelResponseError("The model errs."), "Hello!") as (url, chat):
        result = cap(url, "First\nSecond\n")
    assert (result.exit_code, result.stdout) == (1, "Hello!\n")
    assert "The model errs." in result.stderr
    assert len(chat.bodies[-1]["messages"]) == 1


@pytest.mark.parametrize("hostile", ["\x1b]0;title\x07", "\x1b[2J", "a\rb", "\u202eabc"])
def test_a_model_cannot_steer_the_terminal(hostile: str) -> None:
    with chatting(f"{hostile}[bold]x[/]") as (url, _):
        result = cap(url, "Hi\n", "--reasoning")
    assert hostile not in result.output
    assert "[bold]x[/]" in result.stdout


def test_an_absent_server_and_wrong_usage_have_their_own_exit_codes() -> None:
    assert cap("http://127.0.0.1:9", "Hi\n").exit_code == 5
    assert cap("ftp://host", "Hi\n").exit_code == 2


def test_a_person_at_a_terminal_sees_the_answer_the_way_to_it_and_what_changed() -> None:
    with chatting() as (url, _):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from cap_server.cli import main; main()", "chat"]
        running = subprocess.Popen(
            [*command, "--url", url, "--strategy", "majority"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "dumb", "COLUMNS": "200"},
        )
        os.close(theirs)
        try:
            read_until(ours, b"> ")
            os.write(ours, b"What is 6 times 3?\n")
            shown = read_until(ours, b"confidence", b"> ")
            os.write(ours, b"\x04")
            assert running.wait(timeout=60) == 0
        finally:
            running.kill()
            os.close(ours)
    for each in (WRONG, "answer=18", "The answer is 18.", "26 → 18"):
        assert each in shown


def read_until(terminal: int, *marks: bytes) -> str:
    """What is shown until the last of `marks`, each after the one before."""
    shown, at = b"", 0
    for mark in marks:
        while (found := shown.find(mark, at)) < 0:
            shown += os.read(terminal, 4096)
        at = found + len(mark)
    return shown.decode()
