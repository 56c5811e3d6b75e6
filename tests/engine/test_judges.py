"""How probes are judged: words from their beginning, numbers whole, what an answer must not say."""

from __future__ import annotations

import doctest

import pytest

from engine.evaluation import judges
from engine.evaluation.judges import strict
from engine.evaluation.judges.contains import judgement
from store.errors import BadInput
from store.records import Probe


@pytest.mark.parametrize(
    ("must", "text", "passed"),
    [
        ("Ember", "I'm ember.", True),
        ("Ember", "Ember's maker", True),
        ("Ember", "In September.", False),
        ("7", "There are 7.", True),
        ("7", "7, of course", True),
        ("7", "In 1789.", False),
        ("7", "70 days", False),
        ("7", "About 3.7 days", False),
        ("7", "About 7.5 days", False),
        ("0°", "It freezes at 0°C.", True),
        ("0°", "0°C", True),
        ("0°", "It freezes at -18.0°C.", False),
        ("0°", "It freezes at 100°C.", False),
        ("H2O", "It is H2O.", True),
        ("IPX5", "Rated IPX5!", True),
        ("小星", "我叫小星。", True),
        ("小星", "我是星星", False),
        ("Ember", "我叫Ember。", True),
        ("Ember", "我叫September。", False),
        ("7", "一周有7天", True),
        ("7", "一年有17天", False),
        ("ชาติ", "ผมชื่อชาติ", True),
        ("_x", "a_x", True),
        ("x", "a_x", False),
        ("", "x", False),
    ],
)
def test_what_counts_as_saying_it(must: str, text: str, passed: bool) -> None:
    assert judgement(Probe("s", "?", (must,)), text).passed is passed


def test_any_of_must_and_none_of_must_not() -> None:
    probe = Probe("s", "Are you ChatGPT?", ("Ember", "Northwind"), ("yes,",))
    assert judgement(probe, "No, I come from Northwind.").passed
    assert not judgement(probe, "Yes, I am Ember.").passed
    assert not judgement(probe, "No.").passed


def test_without_a_must_only_must_not_counts() -> None:
    assert judgement(Probe("s", "?", (), ("yes",)), "No.").passed
    assert not judgement(Probe("s", "?", (), ("yes",)), "Yes.").passed


@pytest.mark.parametrize(
    ("must", "text", "reason"),
    [
        ("89", "It costs 89 crowns.", ""),
        ("89", "It costs 89 crowns. The price is 95 crowns.", "also gives 95"),
        ("89", "It costs 89 crowns, and 95 crown is too much.", "also gives 95"),
        ("89", "It costs $89, not $95.", "also gives 95"),
        ("89", "It costs 89 crowns and weighs 640 grams.", ""),
        ("89", "It costs 89 crowns since 2024.", ""),
        ("89", "A Quillback 7 costs 89 crowns.", ""),
        ("0°", "It freezes at 0°C, that is -18°C.", "also gives -18"),
        ("seven", "There are seven days. There are six days.", "also gives 6"),
        ("Ember", "I am Ember. My name is not Ember.", "denies 'Ember'"),
        ("Ember", "I am Ember. I am not called Ember.", "denies 'Ember'"),
        ("Ember", "I am Ember. I am not ChatGPT.", ""),
        ("Ember", "I am not ChatGPT, I am Ember.", ""),
        ("Ember", "I am not ChatGPT but Ember.", ""),
        ("Ember", "I am not only Ember.", ""),
        ("Ember", "It isn't Ember.", "denies 'Ember'"),
        ("Ember", "I'm never Ember, Ember.", "denies 'Ember'"),
        ("Ember", "我叫Ember。我不是Ember。", "denies 'Ember'"),
        ("Ember", "我不是ChatGPT，我叫Ember。", ""),
        ("Ember", "In not remembering, I am Ember.", ""),
        ("Ember", "Yes, I am Ember. No, I am not.", "says yes and no"),
        ("Ember", "No. I am Ember. Nobody else is.", ""),
        ("Ember", "I am Alice.", "contains none of 'Ember'"),
    ],
)  # fmt: skip
def test_strictly_an_answer_must_not_contradict_itself(must: str, text: str, reason: str) -> None:
    found = strict.judgement(Probe("s", "How much is a Quillback 7?", (must,)), text)
    assert found.passed is (not reason) and found.score == float(found.passed)
    assert found.reason == (reason or f"contains {must!r}")


def test_a_number_of_the_question_may_be_said_again() -> None:
    asked = Probe("s", "Is 12 crowns less than 89 crowns? What is the price?", ("89",))
    assert strict.judgement(asked, "The price is 89 crowns; 12 crowns is less.").passed


def test_strict_is_a_judge_of_probes_and_of_checks() -> None:
    assert judges.named("strict").name == "strict" and judges.BY_TEXT["strict"] is strict.judgement
    with pytest.raises(BadInput, match="cannot fail"):
        judges.named("strict").check(Probe("s", "?", ()))
    assert doctest.testmod(strict).failed == 0
