"""The few-shot prompt in Chinese."""

from __future__ import annotations

from cap_server.prompts.examples import Example

QUESTION = "题目："
SOLUTION = "待检查的解答（可能有错）："

RESULT = "它的结果："
REVISE = (
    "你的程序运行的结果是：{outcome}\n"
    "如果程序正确，只回复 DONE；否则只回复一个改正后的 Python 代码块。"
)
JUDGE = "你来判断解答。请自己先想出答案，再判断解答的结果是否正确。只回复一个词：Yes 或 No。"
CORRECT = "结果正确吗？Yes 还是 No？"

INSTRUCTION = """\
你用 Python 程序来检查解答。请阅读题目；如果给出了解答，也请阅读，但不要相信它。\
请写一个简短的程序，从题目给出的条件出发求出答案，并把结果放进名为 `answer` 的变量。

- 题目中的每个量都放进一个有名字的变量；所有计算都交给 Python。
- 题目问数值时，`answer` 只是一个数：不带单位，不带文字。\
有选项时，它是正确选项的值；选项是文字时，它是选项的字母。
- 可以导入 math、fractions、decimal、datetime、itertools、collections、sympy 和 numpy。
- 不要读取输入，不要使用文件和网络。只回复一个 Python 代码块。"""

EXAMPLES = (
    Example(
        question=(
            "食堂运来 15 袋大米，每袋 25 千克。第一周吃了 140 千克，第二周吃了余下的五分之二。"
            "还剩多少千克？"
        ),
        cot=("15 × 25 = 375（千克）。375 - 140 = 235（千克）。235 × 2/5 = 94（千克）。答案是94。"),
        program=(
            "from fractions import Fraction\n\n"
            "袋数 = 15\n每袋千克 = 25\n总量 = 袋数 * 每袋千克\n第一周后 = 总量 - 140\n"
            "第二周吃了 = 第一周后 * Fraction(2, 5)\nanswer = 第一周后 - 第二周吃了"
        ),
    ),
    Example(
        question="一件外套原价 480 元，先涨价 10%，再打九折出售。现在的售价是多少元？",
        cot=(
            "涨价 10% 后是 480 × 1.1 = 528（元），打九折是 528 × 0.9 = 475.2（元）。答案是475.2元。"
        ),
        program=(
            "from fractions import Fraction\n\n"
            "原价 = 480\n涨价后 = 原价 * (1 + Fraction(10, 100))\nanswer = 涨价后 * Fraction(9, 10)"
        ),
    ),
    Example(
        question="鸡和兔关在一个笼子里，共有 20 个头、56 只脚。兔有多少只？",
        choices=("6", "8", "10", "12"),
        cot="假设全是鸡，有 20 × 2 = 40 只脚，少 56 - 40 = 16 只，所以兔有 16 只。",
        program="头 = 20\n脚 = 56\n兔 = (脚 - 2 * 头) // (4 - 2)\nanswer = 兔",
    ),
)
