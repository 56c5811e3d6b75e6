"""The voice of our errors: what happened is a whole sentence, with a capital and a full stop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import errors

ROOT = Path(__file__).parents[1]
KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
PACKAGES = ("store", "engine", "tui")


def sentences() -> Iterator[tuple[str, str, str]]:
    """Place, beginning and end of every error text that is written where the error is made; "" where it is computed."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in KINDS
                    and node.args
                ):
                    found = ends(node.args[0])
                    if found is not None:
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", *found


def ends(text: ast.expr) -> tuple[str, str] | None:
    """The first and the last literal piece of a string or f-string."""
    if isinstance(text, ast.Constant):
        return str(text.value), str(text.value)
    if isinstance(text, ast.JoinedStr) and text.values:
        first, last = text.values[0], text.values[-1]
        return (
            str(first.value) if isinstance(first, ast.Constant) else "",
            str(last.value) if isinstance(last, ast.Constant) else "",
        )
    return None


def is_sentence(begin: str, end: str) -> bool:
    """Whether a text could be a sentence. A name such as top_logprobs or llama.cpp may begin it as it is."""
    first = begin.split()[0] if begin.split() else ""
    named = "_" in first or "." in first or first in NAMES or begin != begin.lstrip()
    return (not first or not first[0].islower() or named) and (not end or end[-1] in ".?")


NAMES = {"messages", "stop", "stream", "lane", "lanes", "prompt", "logprobs", "system", "transformers"}
"""Fields and programs that are written in lower case."""


@pytest.mark.parametrize(
    ("begin", "end", "good"),
    [
        ("There is no run.", "There is no run.", True),
        ("there is no run.", "there is no run.", False),
        ("There is no run", "There is no run", False),
        ("llama.cpp failed.", "llama.cpp failed.", True),
        ("", " is not a role.", True),
        ("", " is not a role", False),
    ],
)
def test_what_counts_as_a_sentence(begin: str, end: str, good: bool) -> None:
    assert is_sentence(begin, end) is good


def test_errors_are_whole_sentences() -> None:
    found = list(sentences())
    assert len(found) > 250
    assert [(place, begin, end) for place, begin, end in found if not is_sentence(begin, end)] == []
