"""The Chinese README says the same as the English one: every command, key, file and link of it is there."""

from __future__ import annotations

import re

from tests.house import ROOT

ENGLISH, CHINESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))


def spans(text: str) -> set[str]:
    """What stands in back quotes, without blocks of code."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


def commands(text: str) -> set[str]:
    """The lines of blocks of code that are commands."""
    return {line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
            if line.startswith("tuningfork ")}  # fmt: skip


def links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", text))


def test_the_chinese_readme_names_all_that_the_english_one_does() -> None:
    assert spans(ENGLISH) - spans(CHINESE) == set()
    assert commands(ENGLISH) - commands(CHINESE) == set()
    assert links(ENGLISH) - {"README.zh-CN.md"} <= links(CHINESE)
