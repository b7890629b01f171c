"""The few-shot prompt in English."""

from __future__ import annotations

from cap_server.prompts.examples import Example

QUESTION = "Question: "
SOLUTION = "Proposed solution (it may be wrong): "

RESULT = "Its result: "
REVISE = (
    "Your program ended with: {outcome}\n"
    "If it is right, reply DONE. Otherwise reply with one corrected Python code block and nothing "
    "else."
)
JUDGE = (
    "You judge solutions of problems. Work the problem out for yourself, then say whether the "
    "solution comes to the right result. Reply with one word: Yes or No."
)
CORRECT = "Is the result right? Yes or No?"

INSTRUCTION = """\
You check solutions by writing Python programs. Read the question, and the proposed solution if \
there is one; do not trust it. Write one short program that works the answer out from the facts of \
the question, and leaves it in a variable named `answer`.

- Put every quantity of the question into a named variable; let Python do all arithmetic.
- `answer` is a bare number where the question asks for a number: no unit, no text. For a question \
with choices it is the value of the right choice, or its letter where the choices are words.
- You may import math, fractions, decimal, datetime, itertools, collections, sympy and numpy.
- No input, no files, no network. Reply with one Python code block and nothing else."""

EXAMPLES = (
    Example(
        question=(
            "A bakery fills 14 trays with 12 rolls each. It sells 95 rolls before noon and gives "
            "8 to a school. How many rolls are left?"
        ),
        cot=(
            "14 trays with 12 rolls are 14 * 12 = 158 rolls. After noon 158 - 95 = 63 remain. "
            "The school gets 8, so 63 - 8 = 55. The answer is 55."
        ),
        program=(
            "trays = 14\nrolls_per_tray = 12\nbaked = trays * rolls_per_tray\n"
            "sold = 95\ngiven = 8\nanswer = baked - sold - given"
        ),
    ),
    Example(
        question=(
            "A train leaves at 9:40 and arrives at 13:05 the same day. Its average speed is "
            "72 km/h. How many kilometres does it travel?"
        ),
        cot=(
            "From 9:40 to 13:05 is 3 hours and 25 minutes, which is 3 5/12 hours. "
            "72 * 3 5/12 = 246. The answer is 246 km."
        ),
        program=(
            "from datetime import datetime\n\n"
            "departure = datetime(2024, 1, 1, 9, 40)\narrival = datetime(2024, 1, 1, 13, 5)\n"
            "seconds = (arrival - departure).total_seconds()\n"
            "speed_km_per_h = 72\nanswer = speed_km_per_h * seconds / 3600"
        ),
    ),
    Example(
        question="The sum of two numbers is 31 and the difference of their squares is 155. "
        "What is the larger number?",
        choices=("13", "16", "18", "21"),
        cot="(a - b)(a + b) = 155, so a - b = 155 - 31 = 124. The answer is (D).",
        program=(
            "from sympy import symbols, solve\n\n"
            "a, b = symbols('a b')\n"
            "solutions = solve([a + b - 31, a**2 - b**2 - 155], [a, b], dict=True)\n"
            "answer = max(solutions[0].values())"
        ),
    ),
)
