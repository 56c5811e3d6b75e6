"""How many rows per second lint checks: 50,000 short rows without a fault, a quarter of them Chinese.
`python -m benchmarks.lint [--json]`, on an idle machine; CPU time, which other processes disturb less than a clock."""

from __future__ import annotations

import argparse
import random
import time
from statistics import median
from types import SimpleNamespace
from typing import Any

from benchmarks import report
from benchmarks.report import Row
from store.curate.lint import lint_all

ROWS = 50_000
TEXT = "the of how what reset password account please answer model river capital is in can you to a for explain water"
WORDS = TEXT.split()
SIGNS = "请问怎么重置我的账户密码首都是哪里水的温度模型解释一下谢谢你们可以"


def rows(seed: int = 1) -> list[Any]:
    """Questions of 7 words and answers of 5 to 25, or 10 and 8 to 40 Chinese characters; a tenth holds a number."""
    pick = random.Random(seed)
    found = []
    for n in range(ROWS):
        if n % 4 == 0:
            question = "".join(pick.choices(SIGNS, k=10)) + "？"
            answer = "".join(pick.choices(SIGNS, k=pick.randint(8, 40))) + "。"
        else:
            question = " ".join(pick.choices(WORDS, k=7)).capitalize() + "?"
            answer = " ".join(pick.choices(WORDS, k=pick.randint(5, 25))).capitalize() + "."
        if n % 10 == 0:
            answer += f" It costs {n} dollars."
        found.append(
            SimpleNamespace(uid=str(n), kind="instruction", system="", history=(), question=question, answer=answer)
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    listed = rows()
    speeds = []
    for _ in range(5):
        begun = time.process_time()
        lint_all(listed)
        speeds.append(ROWS / (time.process_time() - begun))
    note = f"({min(speeds):,.0f} to {max(speeds):,.0f})"
    found = [Row("pairs looked through", median(speeds), "rows/s", (">=", 20_000), note)]
    remark = f"{ROWS:,} short rows without a fault, a quarter of them Chinese; five rounds, CPU time."
    report.show("benchmarks/lint.py", found, [remark], json_only=options.json)


if __name__ == "__main__":
    main()
