"""The search language: every filter, what is text and what is not, errors with their place, and any text at all."""

from __future__ import annotations

import doctest
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store import datasets, feedback, pairs, query, votes
from store.db import Store, now
from store.query import BadQuery
from store.records import FeedbackDraft, PairDraft, PreferenceDraft, Turn


@pytest.fixture
def filled(store: Store) -> Store:
    turns = (Turn("user", "Hello"), Turn("assistant", "Hi"))
    unfiled = PairDraft("WHERE IS my refund?", "No idea. 1,000 EUR", status="draft", source={"file": "Faq.jsonl"})
    for draft, dataset, split in (
        (PairDraft("Where is my refund?", "Under Orders.", tags=("Billing", "a b")), "shop", "train"),
        (PairDraft("Who are you?", "I am Ember.", kind="identity", system="Be brief."), "ember", "val"),
        (PairDraft("Std std::vector -> list?", "Use a loop: f(x)-1.", status="draft", history=turns), "shop", "val"),
        (unfiled, None, ""),
    ):
        pairs.create(store, draft, dataset=dataset, split=split or "train")  # type: ignore[arg-type]
    return store


def asked(store: Store, text: str) -> list[str]:
    """The first words of the questions that a query finds, oldest first."""
    found = pairs.page(store, query.search_ids(store, text))
    return [pair.question.split()[0] for pair in reversed(found)]


QUERIES = [
    ("", ["Where", "Who", "Std", "WHERE"]),
    ("refund", ["Where", "WHERE"]),
    ("refund -orders", ["WHERE"]),
    ('-"my refund"', ["Who", "Std"]),
    ("-refund -ember", ["Std"]),
    ("kind:identity", ["Who"]),
    ("KIND:Identity", ["Who"]),
    ("-kind:identity status:ready", ["Where"]),
    ("status:draft,rejected", ["Std", "WHERE"]),
    ("dataset:shop", ["Where", "Std"]),
    ("dataset:shop split:val", ["Std"]),
    ("split:val", ["Who", "Std"]),
    ("-dataset:shop,ember", ["WHERE"]),
    ("-has:dataset", ["WHERE"]),
    ("tag:billing", ["Where"]),
    ('tag:"A B"', ["Where"]),
    ("-has:tag", ["Who", "Std", "WHERE"]),
    ("has:system", ["Who"]),
    ("has:history", ["Std"]),
    ("source:faq", ["WHERE"]),
    ("len>30", ["Where", "Std", "WHERE"]),
    ("len>30 len<=33", ["Where"]),
    ("changed<1h", ["Where", "Who", "Std", "WHERE"]),
    ("changed>1d", []),
    ("created>2020-01-31", ["Where", "Who", "Std", "WHERE"]),
    ("changed<2020-01-31", []),
    ("dup:exact", []),
    ("dup:conflict", ["Where", "WHERE"]),
    ("/^who .*\\?$/i", ["Who"]),
    ("-/refund|loop/", ["Who"]),
    ("std::vector", ["Std"]),
    ("->", ["Std"]),
    ("f(x)-1", ["Std"]),
    ("no:thing", []),
    ("1,000", ["WHERE"]),
    ('"status:ready"', []),
]


@pytest.mark.parametrize(("text", "expected"), QUERIES, ids=[text for text, _ in QUERIES])
def test_a_query_finds(filled: Store, text: str, expected: list[str]) -> None:
    assert asked(filled, text) == expected


def test_a_day_is_all_of_it(filled: Store) -> None:
    day = datetime.fromtimestamp(pairs.page(filled, query.search_ids(filled, "kind:identity"))[0].created_at / 1000)
    for sign, found in ((">", []), (">=", ["Who"]), ("<=", ["Who"]), ("<", [])):
        assert asked(filled, f"kind:identity created{sign}{day:%Y-%m-%d}") == found, sign
    assert asked(filled, f"kind:identity created>{day:%Y-%m-%d}T00:00") == ["Who"], "with a time it is a moment"


def test_preferences_and_feedback_for_the_same_question(filled: Store) -> None:
    asked_who = (Turn("user", "Who are you?"),)
    votes.import_preferences(filled, [PreferenceDraft(asked_who, "Ember.", "SmolLM.", {})], dataset="p")
    drafts = [FeedbackDraft((Turn("user", "Where is my refund?"),), "Gone.", False, {})]
    feedback.add_feedback(filled, drafts, dataset="p")
    assert asked(filled, "has:preference") == ["Who"]
    assert asked(filled, "has:feedback") == ["Where"]


def test_deleted_pairs_are_never_found(filled: Store) -> None:
    pairs.delete(filled, query.uids(filled, "kind:identity"))
    for text in ("kind:identity", "ember", "-refund", "/Who/", "dataset:ember"):
        assert "Who" not in asked(filled, text), text


WRONG = [
    ("refund status:done", 7, "no status 'done'"),
    ("status:", 0, "no value"),
    ("dataset:shp", 0, "no dataset 'shp'"),
    ("a statu:ready", 2, "no filter statu"),
    ("datsaet:shop", 0, "no filter datsaet"),
    ("kind>identity", 0, "not written with >"),
    ("len:20", 0, "not written with :"),
    ("len>many", 0, "number of characters"),
    ("changed<soon", 0, "is not a time"),
    ("x /open", 2, "has no end"),
    ("x /(/", 2, "not a regular expression"),
    ("has:hat", 0, "no part 'hat'"),
]


@pytest.mark.parametrize(("text", "at", "what"), WRONG, ids=[text for text, _, _ in WRONG])
def test_errors_name_their_place_and_what_to_do(filled: Store, text: str, at: int, what: str) -> None:
    with pytest.raises(BadQuery) as caught:
        query.search_ids(filled, text)
    assert what in caught.value.what and caught.value.todo
    assert caught.value.start == at < caught.value.end <= len(text)
    assert caught.value.where == f"query, character {at + 1}"


def test_near_names_are_offered(filled: Store) -> None:
    with pytest.raises(BadQuery, match="Did you mean shop"):
        query.search_ids(filled, "dataset:shp")


def test_a_slow_regular_expression_is_stopped(store: Store) -> None:
    pairs.create(store, PairDraft("a" * 60 + "!", "x"))
    with pytest.raises(BadQuery, match="takes more than 1 s"):
        query.search_ids(store, "/^(a|aa)+$/")


def test_completion_offers_names_then_values(filled: Store) -> None:
    assert query.completions(filled, "refund st") == ["refund status:"]
    assert query.completions(filled, "-l") == ["-len>", "-lang:"]
    assert query.completions(filled, "status:r") == ["status:ready", "status:rejected"]
    assert query.completions(filled, "status:draft,re") == ["status:draft,ready", "status:draft,rejected"]
    assert query.completions(filled, "x dataset:") == ["x dataset:ember", "x dataset:shop"]
    assert query.completions(filled, "tag:a") == ['tag:"a b"']
    assert query.completions(filled, 'tag:"a ') == ['tag:"a b"']
    assert query.completions(filled, "source:F") == ["source:Faq.jsonl"]
    assert query.completions(filled, "status:ready") == query.completions(filled, "hello ") == []


def test_highlighted_is_what_is_looked_for() -> None:
    assert query.words('refund -ember kind:identity "no idea" /x/') == 'refund "no idea"'
    assert query.words("status:") == ""


SIGNS = st.text(st.sampled_from("\"'-:<>=/\\,;%_()[]{}*+?.|^$ \n\0aé模ไ👍\ud800kindtagsplex0129"), max_size=25)
NAMES = st.sampled_from([*query.FILTERS, "-kind", "statu"])
VALUES = st.sampled_from(["'", '"', "'; DROP TABLE pair; --", "') OR 1=1 --", "%", "_", "\0", "?", "ready", "a b", ""])


@st.composite
def filters(draw: st.DrawFn) -> str:
    return " ".join(
        f"{draw(NAMES)}{draw(st.sampled_from(':<>='))}{draw(VALUES)}" for _ in range(draw(st.integers(1, 3)))
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | SIGNS | filters())
@example("tag:' OR '1'='1")
@example("/[[a&&b]]/")
@example("tag:\ud800 /\ud800/ -\ud800")
@example("len>99999999999999999999")
@example("changed<999999w")
@example("created>0001-01-01")
def test_no_query_breaks_the_search_or_the_store(filled: Store, text: str) -> None:
    before = pairs.count(filled)
    try:
        found = query.search_ids(filled, text)
    except BadQuery as error:
        assert 0 <= error.start < error.end <= len(text)
    else:
        assert set(found) <= set(query.search_ids(filled))
        terms = query.parse(text)
        assert all(term.end <= later.start for term, later in pairwise(terms))
    assert isinstance(query.completions(filled, text), list)
    assert pairs.count(filled) == before, "a query changes nothing"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=20))
@example("' OR 1=1 --")
@example("%")
@example('a"b')
def test_a_value_finds_the_tag_that_it_is_and_no_other(store: Store, tag: str) -> None:
    tag = tag.encode(errors="ignore").decode().replace("\0", "").replace('"', "")
    if tag:
        pair = pairs.create(store, PairDraft("q", str(now()), tags=(tag,)))
        other = pairs.create(store, PairDraft("q", "other", tags=(tag + "x",)))
        found = query.search_ids(store, f'tag:"{tag}"')
        assert pair.id in found and other.id not in found


def test_the_example_of_the_parser() -> None:
    assert doctest.testmod(query).failed == 0


def test_a_removed_dataset_is_an_error_not_everything(filled: Store) -> None:
    datasets.remove(filled, "shop")
    with pytest.raises(BadQuery, match="no dataset"):
        query.search_ids(filled, "dataset:shop")
