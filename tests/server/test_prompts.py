"""What models are asked, and how their replies are read."""

from __future__ import annotations

import pytest

from cap_server.domain import Answer, Prior, Problem
from cap_server.prompts import PROMPT_FORMATS, PromptFormatName, chinese, cot_prompt, english
from cap_server.prompts.examples import Example
from cap_server.prompts.format import PromptFormat

QUESTION = "How much is 6 times 3?"


def test_the_trained_format_is_one_message_with_question_and_answer() -> None:
    problem = Problem(QUESTION, prior=Prior(cot="6 * 3 = 26"))
    (message,) = PROMPT_FORMATS["trained"].program_prompt(problem).messages
    assert (message.role, message.content) == (
        "user",
        "Question: How much is 6 times 3?\nAnswer: 6 * 3 = 26",
    )


def test_the_trained_format_leaves_the_answer_line_out_without_a_prior() -> None:
    (message,) = PROMPT_FORMATS["trained"].program_prompt(Problem(QUESTION)).messages
    assert message.content == f"Question: {QUESTION}"


@pytest.mark.parametrize("name", ["trained", "few_shot"])
def test_a_bare_answer_and_choices_are_shown(name: PromptFormatName) -> None:
    problem = Problem(QUESTION, ("16", "18"), Prior(answer=Answer("26")))
    content = PROMPT_FORMATS[name].program_prompt(problem).messages[-1].content
    assert "26" in content
    assert "(A) 16\n(B) 18" in content


@pytest.mark.parametrize(
    ("question", "language"), [(QUESTION, english), ("6 乘 3 是多少？", chinese)]
)
def test_few_shot_and_cot_prompts_speak_the_questions_language(
    question: str, language: object
) -> None:
    instruction = PROMPT_FORMATS["few_shot"].program_prompt(Problem(question)).messages[0].content
    assert instruction == getattr(language, "INSTRUCTION", None)
    asked = cot_prompt(Problem(question)).messages
    assert asked[-1].content == question
    assert ("step by step" in asked[0].content) is (language is english)


def test_few_shot_turns_alternate_and_end_with_the_question() -> None:
    problem = Problem(QUESTION, prior=Prior(cot="It is 26."))
    messages = PROMPT_FORMATS["few_shot"].program_prompt(problem).messages
    roles = [message.role for message in messages]
    assert roles == ["system", *["user", "assistant"] * len(english.EXAMPLES), "user"]
    assert "It is 26." in messages[-1].content


@pytest.mark.parametrize("example", [*english.EXAMPLES, *chinese.EXAMPLES])
def test_the_examples_replies_read_as_their_own_programs(example: Example) -> None:
    reply = f"Sure:\n```python\n{example.program}\n```\nThat is it."
    assert PROMPT_FORMATS["few_shot"].read_program(reply, complete=True) == example.program


@pytest.mark.parametrize(
    ("name", "reply", "complete", "program"),
    [
        ("trained", "a=16-3\nanswer=a*2\n# prior: wrong", True, "a=16-3\nanswer=a*2"),
        ("trained", "answer=2", True, "answer=2"),
        ("trained", "answer=2", False, ""),
        ("trained", "# prior: right", True, ""),
        ("trained", "```python\nanswer=2\n```", True, "answer=2"),
        ("few_shot", "```\nx = 1\n```\nBetter:\n```py\nanswer = 2\n```", True, "answer = 2"),
        ("few_shot", "```python\nanswer = 12", False, ""),
        ("few_shot", "```python\nanswer = 12\n```\nThis is because", False, "answer = 12"),
        ("few_shot", "```python\nanswer = 12\n```\n```python\nans", False, "answer = 12"),
        ("few_shot", "answer = 2", True, "answer = 2"),
        ("few_shot", "", True, ""),
    ],
)
def test_a_program_is_read_from_the_reply(
    name: PromptFormatName, reply: str, complete: bool, program: str
) -> None:
    format_: PromptFormat = PROMPT_FORMATS[name]
    assert format_.read_program(reply, complete=complete) == program
