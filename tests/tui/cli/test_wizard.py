"""`tuningfork data wizard` and `data facts`: asked, shown, saved as one edit, and what is told on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
import pytest

from tests.tui.cli.conftest import Cli

EMBER = ("data", "wizard", "--name", "Ember", "--maker", "Northwind Labs", "--dataset", "ember")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A terminal at which these are typed; gives the questions that were asked."""

    def at_terminal(*typed: str) -> list[str]:
        asked: list[str] = []
        script = iter(typed)

        def prompt(question: str, **_: object) -> str:
            asked.append(question)
            return next(script)

        def confirm(question: str, **_: object) -> bool:
            asked.append(question)
            return next(script) == "y"

        monkeypatch.setattr(click, "prompt", prompt)
        monkeypatch.setattr(click, "confirm", confirm)
        monkeypatch.setattr("tui.cli.output.sys", _Terminal())
        monkeypatch.setattr("tui.cli.wizard.sys", _Terminal())
        return asked

    return at_terminal


class _Terminal:
    """`sys` with a terminal as its input."""

    class stdin:
        @staticmethod
        def isatty() -> bool:
            return True

    def __getattr__(self, name: str) -> object:
        return getattr(sys, name)


def test_a_dry_run_prints_every_pair_and_saves_nothing(tf: Cli) -> None:
    printed = tf.ok(*EMBER, "--dry-run")
    assert "Who are you?" in printed and "I was made by Northwind Labs." in printed
    found = tf.json(*EMBER, "--dry-run")
    assert found["pairs"] == len(found["rows"]) == sum(found["forms"].values()) > 180 and found["saved"] == 0
    assert {row["kind"] for row in found["rows"]} == {"identity", "instruction"}
    assert next(row["history"] for row in found["rows"] if row["history"])[0] == {
        "role": "user",
        "content": "Hi! I am Sam.",
    }
    assert f"{found['pairs']} pairs would be saved in ember." in printed
    assert tf.json("data", "list") == []


def test_pairs_are_saved_once_as_one_edit(tf: Cli) -> None:
    made = tf.json(*EMBER, "--yes", "--purpose", "cooking", "--not", "ChatGPT by OpenAI")
    assert made["saved"] == made["pairs"] == tf.json("data", "list")[0]["ready"]
    again = tf.json(*EMBER, "--yes", "--purpose", "cooking", "--not", "ChatGPT by OpenAI")
    assert (again["saved"], again["known"], again["pairs"]) == (0, made["pairs"], 0)
    assert "Nothing was saved" in tf.ok(*EMBER, "--yes", "--purpose", "cooking", "--not", "ChatGPT by OpenAI")
    assert tf.json("data", "lint", "--dataset", "ember")["findings"] == []
    assert tf.json("data", "undo")["label"] == "wizard Ember"
    assert tf.json("data", "list") == []


def test_contradictions_are_told_before_saving(tf: Cli) -> None:
    tf.ok("data", "add", "--dataset", "ember", "-q", "who are you", "-a", "I am Flint.")
    result = tf(*EMBER, "--dry-run")
    assert "1 pair asks what is answered differently in ember already" in result.stderr
    assert "I am Flint." in result.stderr
    found = tf.json(*EMBER, "--dry-run")["contradictions"]
    assert [(each["question"], each["there"]) for each in found] == [("Who are you?", "I am Flint.")]


def test_without_a_terminal_what_is_missing_is_named(tf: Cli) -> None:
    assert tf.error("data", "wizard", "--maker", "Labs", "--dataset", "d")["where"] == "--name"
    assert tf.error("data", "wizard", "--name", "Ember", "--dataset", "d")["where"] == "--maker"
    assert tf.error("data", "wizard", "--name", "Ember", "--maker", "Labs")["where"] == "--dataset"
    assert tf.error(*EMBER, "--language", "fr")["where"] == "--language"
    assert tf.error(*EMBER[:-1], "a/b", "--dry-run")["where"] == "name"
    assert tf.error("data", "wizard", "--name", " ", "--maker", "Labs", "--dataset", "d")["where"] == "--name"
    assert tf.error(*EMBER)["todo"] == "Add --yes."
    assert tf.json("data", "list") == []


def test_at_a_terminal_what_is_missing_is_asked(tf: Cli, answers: Callable[..., list[str]]) -> None:
    asked = answers("小星", "北风科技", "做菜", "", "百度的文心一言", "star", "y")
    printed = tf.ok("data", "wizard")
    assert [question.split()[0] for question in asked] == ["What", "Who", "What", "How", "What", "Into", "Save"]
    assert "pairs saved in star" in printed and "我叫小星" in printed
    assert any("文心一言" in row["question"] for row in tf.json("data", "search", "文心一言"))


def test_what_is_given_is_not_asked_and_no_saves_nothing(tf: Cli, answers: Callable[..., list[str]]) -> None:
    asked = answers("n")
    assert tf(*EMBER).exit_code == 2 and len(asked) == 1 and asked[0].startswith("Save ")
    assert tf.json("data", "list") == []


def test_without_general_rows(tf: Cli) -> None:
    assert "general" not in tf.json(*EMBER, "--dry-run", "--no-general")["forms"]


def test_facts_of_a_table(tf: Cli, write: Callable[[str, str | bytes], str]) -> None:
    table = write("radio.csv", "attribute,value\nPrice,25 €\nColours,grey\nWeight,\n")
    words = ("data", "facts", table, "--dataset", "radio", "--subject", "Quillback 7")
    result = tf(*words, "--dry-run")
    assert "The price of Quillback 7 is 25 €." in result.stdout and tf.json("data", "list") == []
    assert "2 facts read, language en." in result.stderr and "1 field without a value left out." in result.stderr
    made = tf.json(*words, "--yes")
    assert made["facts"] == 2 and made["saved"] == made["pairs"] > 12
    assert tf.json("data", "undo")["label"] == "facts radio.csv"
    assert tf.json("data", "list") == []


def test_facts_from_standard_input_and_in_chinese(tf: Cli, write: Callable[[str, str | bytes], str]) -> None:
    printed = tf.ok("data", "facts", "-", "--dataset", "d", "--dry-run", input="属性,值\n价格,99 元\n")
    assert "价格是 99 元。" in printed
    path = write("fan.yaml", "小风扇:\n  价格: 99 元\n")
    assert tf.json("data", "facts", path, "--dataset", "d", "--dry-run")["language"] == "zh"
    assert tf.error("data", "facts", write("x.csv", "a,b,c\n1,2,3\n"), "--dataset", "d")["where"].endswith("x.csv")
