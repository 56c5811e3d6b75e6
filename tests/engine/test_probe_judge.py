"""How probes are judged: words from their beginning, numbers whole, what an answer must not say."""

from __future__ import annotations

import pytest

from engine.evaluation.probes import judge
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
    ],
)
def test_what_counts_as_saying_it(must: str, text: str, passed: bool) -> None:
    assert judge(Probe("s", "?", (must,)), text) is passed


def test_any_of_must_and_none_of_must_not() -> None:
    probe = Probe("s", "Are you ChatGPT?", ("Ember", "Northwind"), ("yes,",))
    assert judge(probe, "No, I come from Northwind.")
    assert not judge(probe, "Yes, I am Ember.")
    assert not judge(probe, "No.")


def test_without_a_must_only_must_not_counts() -> None:
    assert judge(Probe("s", "?", (), ("yes",)), "No.")
    assert not judge(Probe("s", "?", (), ("yes",)), "Yes.")
