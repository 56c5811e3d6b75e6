"""Splits by count and by stratum: as many as were asked for, in the same shares, with near-equal questions together."""

from __future__ import annotations

import doctest
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import datasets, edits, pairs, search_text
from store.curate.split import assign_by_quota
from store.db import Store
from store.errors import BadInput
from store.records import PairDraft

WORDS = ["apple", "river", "stone", "cloud", "candle", "bridge", "paper", "garden", "window", "silver", "forest", "oak"]


def question(n: int) -> str:
    """Questions that are not nearly equal to each other."""
    return " ".join(WORDS[(n * 5 + k * (n % 7 + 1)) % 12] + str(n) for k in range(4))


@pytest.fixture
def filled(store: Store) -> Store:
    drafts = [
        PairDraft(question(n), "A", kind="identity" if n < 20 else "instruction", tags=("a",) if n % 2 else ())
        for n in range(100)
    ]
    pairs.create_many(store, drafts, dataset="d")
    return store


def test_counts_and_strata_are_kept(filled: Store) -> None:
    plan = datasets.plan_split(filled, "d", val=10, test=5, by=("kind",))
    assert plan.counts == {"train": 85, "val": 10, "test": 5}
    assert plan.strata["identity"] == {"train": 17, "val": 2, "test": 1}
    assert datasets.get(filled, "d").train == 100, "a plan changes nothing"
    datasets.do_split(filled, plan)
    assert (datasets.get(filled, "d").val, datasets.get(filled, "d").test) == (10, 5)
    edits.undo(filled)
    assert datasets.get(filled, "d").train == 100


def test_fractions_by_tag_and_script(filled: Store) -> None:
    plan = datasets.plan_split(filled, "d", val=0.1, by=("tag", "script"))
    assert plan.strata == {
        "(no tag) latin": {"train": 45, "val": 5, "test": 0},
        "a latin": {"train": 45, "val": 5, "test": 0},
    }


def test_pinned_pairs_stay_and_near_ones_follow(filled: Store) -> None:
    uid = pairs.page(filled, pairs.search_ids(filled, question(50)))[0].uid
    datasets.set_split(filled, "d", [uid], "test")
    pairs.create(filled, PairDraft(question(50) + "?", "B"), dataset="d")
    plan = datasets.plan_split(filled, "d", val=10)
    near = pairs.search_ids(filled, f'"{question(50)}"')
    assert {plan.splits[pair_id] for pair_id in near} == {"test"} and len(near) == 2


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"val": 100}, "leave nothing to train on"),
        ({"val": 0.6, "test": 0.5}, "leave nothing to train on"),
        ({"val": 1.5}, "is not a number of pairs"),
        ({"by": ("colour",)}, "cannot go by 'colour'"),
    ],
)
def test_what_cannot_be_is_refused(filled: Store, how: dict[str, object], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        datasets.plan_split(filled, "d", **how)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), min_size=3, max_size=60),
    st.integers(0, 9), st.integers(0, 9), st.integers(0, 3),
)  # fmt: skip
def test_never_more_than_asked_and_never_astride(rows: list[tuple[int, str]], val: int, test: int, seed: int) -> None:
    questions = [question(n) for n, _ in rows]
    splits = assign_by_quota(questions, val=val, test=test, seed=seed, strata=[name for _, name in rows])
    again = assign_by_quota(questions, val=val, test=test, seed=seed, strata=[name for _, name in rows])
    counts = Counter(splits)
    assert splits == again and counts["val"] <= val and counts["test"] <= test
    sides: dict[str, set[str]] = {}
    for asked, split in zip(questions, splits, strict=True):
        sides.setdefault(asked, set()).add(split)
    assert all(len(each) == 1 for each in sides.values())


def test_the_examples_of_scripts() -> None:
    assert doctest.testmod(search_text).failed == 0
