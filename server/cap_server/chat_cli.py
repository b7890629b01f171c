"""`cap chat`: a conversation whose answers are corrected on the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console

from cap_client import CapError as ClientError
from cap_client import ChatOptions, Client, Message, Refinement
from cap_server.cli_client import REFUSED, UNREACHABLE, client_of, told
from cap_server.cli_options import ApiKey, StrategyText, Url, parsed_strategy, settings_of
from cap_server.terminal import plain, safe, verdict

CHAT_EXIT_CODES = """\
Exit codes: 0 every message was answered, or it was a terminal's; 1 some were not; 2 wrong usage;
5 the server cannot be reached."""

_HELP = """\
[dim]A line is a message; one that ends with a backslash goes on in the next.
/program shows the program behind the last answer, /new begins a new conversation, /quit ends.[/]"""

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


@dataclass(slots=True)
class _Chat:
    """A conversation. Attributes: opening: what it begins with; failure: the last exit code."""

    client: Client
    model: str
    cap: ChatOptions | None
    reasoning: bool
    opening: list[Message]
    messages: list[Message] = field(default_factory=list)
    refinement: Refinement | None = None
    failure: int = 0


def chat_(
    strategy: StrategyText = None,
    model: Annotated[str, typer.Option(help="`cap`, or a model that `/v1/models` lists.")] = "cap",
    system: Annotated[str | None, typer.Option(help="How the model is to behave.")] = None,
    reasoning: Annotated[
        bool | None,
        typer.Option(help="Show CoTs, programs and results; on a terminal, unless told not to."),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Talk to a running server; every answer that can be checked is checked.

    Where stdin is no terminal its lines are the messages, answers go to stdout, and what was
    corrected to stderr.
    """
    parsed = parsed_strategy(strategy)
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    shown = sys.stdin.isatty() if reasoning is None else reasoning
    with client_of(url, api_key, settings_of()) as client:
        cap: ChatOptions | None = {"strategy": parsed} if parsed else None
        chat = _Chat(client, model, cap, shown, opening)
        if sys.stdin.isatty():
            _err.print(_HELP)
        for line in _lines():
            if line.startswith("/"):
                if not _command(chat, line):
                    break
            elif line.strip():
                _turn(chat, line)
    # Whoever sits at a terminal has seen what failed, and went on.
    raise typer.Exit(0 if sys.stdin.isatty() else chat.failure)


def _lines() -> Iterator[str]:
    """Messages, until the end of stdin or Ctrl-C."""
    if not sys.stdin.isatty():
        yield from _joined(line.rstrip("\n") for line in sys.stdin)
        return
    with suppress(ImportError):
        import readline  # noqa: F401  lets `input` edit lines and remember them

    with suppress(KeyboardInterrupt, EOFError):
        yield from _joined(iter(lambda: input("> "), None))
    sys.stdout.write("\n")


def _joined(lines: Iterator[str]) -> Iterator[str]:
    begun: list[str] = []
    for line in lines:
        begun.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield "\n".join(begun)
            begun = []
    if begun:
        yield "\n".join(begun)


def _command(chat: _Chat, line: str) -> bool:
    """Do what a line with a slash says; False where the conversation is to end."""
    name = line.strip()
    if name == "/new":
        chat.messages, chat.refinement = [], None
    elif name == "/program":
        program = chat.refinement.program if chat.refinement else None
        _out.print(plain(program or "There is no program behind the last answer."), markup=False)
    elif name != "/quit":
        _err.print(_HELP)
    return name != "/quit"


def _turn(chat: _Chat, text: str) -> None:
    """Ask, show the answer as it comes, and keep both; what fails is told and forgotten."""
    asked: list[Message] = [*chat.messages, {"role": "user", "content": text}]
    try:
        answer = _streamed(chat, asked)
    except ClientError as error:
        message, chat.failure = told(error, url=chat.client.base_url)
        _err.print(f"[red]{safe(message)}[/]", soft_wrap=True)
        if chat.failure == UNREACHABLE and not sys.stdin.isatty():
            raise typer.Exit(UNREACHABLE) from None
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
        chat.failure = REFUSED
        _err.print("\n[yellow]interrupted[/]")
    else:
        chat.messages = [*asked, {"role": "assistant", "content": answer}]


def _streamed(chat: _Chat, messages: list[Message]) -> str:
    answer: list[str] = []
    chat.refinement = None
    with chat.client.chat_stream(
        [*chat.opening, *messages], model=chat.model, cap=chat.cap
    ) as chunks:
        for choice in (choice for chunk in chunks for choice in chunk.choices):
            if chat.reasoning and choice.delta.reasoning_content:
                thought = plain(choice.delta.reasoning_content)
                _err.print(thought, style="dim", end="", markup=False, soft_wrap=True)
            if choice.delta.content:
                answer.append(choice.delta.content)
                _out.print(plain(answer[-1]), end="", markup=False, soft_wrap=True)
            chat.refinement = choice.cap or chat.refinement
    _out.print()
    if chat.refinement is not None:
        _err.print(verdict(chat.refinement), soft_wrap=True)
    return "".join(answer)
