"""How probes are judged: words from their beginning, numbers whole, what an answer must not say."""

from __future__ import annotations

import pytest

from engine.evaluation.judges.contains import judgement
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
