"""Statistics of a dataset: counts, lengths, languages, openings, the question forms of an identity set, and searches
that find what was counted."""

from __future__ import annotations

import doctest
from types import SimpleNamespace
from typing import Any

import pytest

from store import datasets, pairs, query
from store.curate import histogram, question_forms, statistics
from store.curate.question_forms import FORMS, coverage, forms_of
from store.curate.wizard.identity import IdentityAnswers, identity_pairs
from store.curate.wizard.proposed import form_of
from store.db import Store
from store.proposals import as_pair
from store.records import PairDraft, Turn


def pair(question: str = "What is it?", answer: str = "It is this.", **more: Any) -> Any:
    plain = {"uid": "u", "kind": "instruction", "system": "", "history": (), "status": "ready", "tags": ()}
    return SimpleNamespace(question=question, answer=answer, **{**plain, **more})


def measured(*found: Any, split: str = "train") -> statistics.DatasetStatistics:
    return statistics.statistics([(each, split) for each in found])


@pytest.mark.parametrize("module", [histogram, question_forms, statistics])
def test_the_worked_examples_hold(module: Any) -> None:
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)


def test_rows_are_counted_by_kind_status_split_and_tag() -> None:
    members = [
        (pair(tags=("a", "b"), system="S"), "train"),
        (pair(kind="identity", tags=("a",), history=(Turn("user", "x"),)), "val"),
        (pair(status="draft", system="T"), "train"),
        (pair(status="rejected"), "test"),
    ]
    found = statistics.statistics(members)
    assert (found.pairs, found.kinds) == (4, {"instruction": 3, "identity": 1})
    assert found.statuses == {"ready": 2, "draft": 1, "rejected": 1}
    assert found.splits == {"train": 2, "val": 1, "test": 1}
    assert (found.tags, found.tag_shares) == ({"a": 2, "b": 1}, {"a": 1.0, "b": 0.5})
    assert (found.measured, found.of_ready, found.identity_share) == (2, True, 0.5)
    assert (found.with_system, found.systems, found.with_history) == (1, 1, 1)


def test_without_a_ready_pair_those_that_are_not_rejected_are_measured() -> None:
    found = measured(pair(status="draft", answer="abc"), pair(status="rejected", answer="abcdef"))
    assert (found.measured, found.of_ready, found.answers.most) == (1, False, 3)
    empty = measured()
    assert (empty.pairs, empty.measured, empty.answers.bars, empty.advice) == (0, 0, [], [])


@pytest.mark.parametrize("lengths", [[5], [0, 0], list(range(100)), [3] * 50 + [9_000], [7, 90_000], [1_000_000, 2]])
def test_the_bars_of_a_histogram_hold_every_length_once(lengths: list[int]) -> None:
    found = histogram.spread(lengths)
    assert sum(bar.n for bar in found.bars) == len(lengths)
    assert len(found.bars) <= histogram.MOST_BARS
    for bar in found.bars:
        assert bar.n == sum(bar.low <= length and (bar.high is None or length < bar.high) for length in lengths)
    assert all(one.high == other.low for one, other in zip(found.bars, found.bars[1:], strict=False))
    assert (found.least, found.most, found.total) == (min(lengths), max(lengths), sum(lengths))


def test_one_long_text_does_not_hide_the_others() -> None:
    found = histogram.spread([*range(10, 60), 90_000])
    assert len(found.bars) > 4 and (found.bars[-1].high, found.bars[-1].n) == (None, 1)


def test_languages_and_openings() -> None:
    english = [pair(f"What is the name of number {n}?", f"It is the name that you have for {n}.") for n in range(30)]
    chinese = [pair("你叫什么名字？", "我叫小星，是你的助手。"), pair("你是谁？", "我叫小星，很高兴认识你。")]
    found = measured(*english, *chinese, pair("x?", "y"))
    assert found.languages == {"en": 30, "zh": 2, "unsure": 1}
    assert [(each.text, each.n) for each in found.question_openings] == [("what is", 30)]
    assert [(each.text, each.n) for each in found.answer_openings] == [("it is", 30), ("我叫", 2)]
    assert found.question_openings[0].share == pytest.approx(30 / 33)
    said = [sentence.split(":")[0] for sentence in found.advice]
    assert said == ["30 of 33 questions begin with 'what is'", "30 of 33 answers begin with 'it is'"]


def test_advice_on_the_mix() -> None:
    identity = [pair(f"Case {n}: who are you?", f"Me {n}, I am Ember.", kind="identity") for n in range(30)]
    general = [pair(f"Topic{n} explained?", f"Yes{n} it is so." * n) for n in range(15)]
    assert not [sentence for sentence in measured(*identity, *general).advice if "are identity pairs" in sentence]
    assert any("100% are identity pairs" in sentence for sentence in measured(*identity).advice)
    assert any("3 pairs teach little" in sentence for sentence in measured(*general[:3]).advice)


@pytest.mark.parametrize(
    ("question", "answer", "forms"),
    [
        ("What's your name?", "Ember.", ["name"]),
        ("请问怎么称呼您？", "叫我小星。", ["name"]),
        ("Who are you, and who created you?", "Ember, by Northwind.", ["who", "maker"]),
        ("Who is responsible for building you?", "Northwind.", ["maker"]),
        ("What is your full name?", "Ember.", ["name"]),
        ("谁开发了你？", "北风科技。", ["maker"]),
        ("What can you do?", "Cook.", ["purpose"]),
        ("你能做什么？", "做菜。", ["purpose"]),
        ("What is your tone?", "Kind.", ["style"]),
        ("Are you Claude?", "I am Ember.", ["denial"]),
        ("Did Google make you?", "Northwind did.", ["denial"]),
        ("Are you Bob?", "No, I am Ember.", ["denial"]),
        ("Are you Ember?", "Yes, I am.", ["confirmation"]),
        ("你是小星吗？", "是的，我是小星。", ["confirmation"]),
        ("Are you a human?", "No, an AI.", ["human"]),
        ("你是真人吗？", "不是。", ["human"]),
        ("Pretend you are ChatGPT.", "I am Ember.", ["roleplay"]),
        ("从现在起你就是豆包。", "我是小星。", ["roleplay"]),
        ("What is 2 + 2?", "Four.", []),
    ],
)
def test_forms_are_recognised(question: str, answer: str, forms: list[str]) -> None:
    assert forms_of(pair(question, answer, kind="identity")) == forms


@pytest.mark.parametrize(
    ("answers", "language"),
    [
        (IdentityAnswers("Ember", "Northwind Labs", "cooking", "brief", ("Grok by xAI",)), "en"),
        (IdentityAnswers("小星", "北风科技", "做菜", "亲切"), "zh"),
    ],
)
def test_the_rules_know_what_the_wizard_asks(answers: IdentityAnswers, language: str) -> None:
    drafts = [draft for draft in identity_pairs(answers, (language,)).drafts if draft.kind == "identity"]
    known = [draft for draft in drafts if form_of(draft) in forms_of(as_pair(draft, "u"))]
    assert len(known) >= 0.9 * len(drafts)  # the others need the model's own name to be recognised
    found = coverage(as_pair(draft, "u") for draft in drafts)
    assert found.missing == ["languages"], "one language only"


def test_missing_forms_are_named_and_the_wizard_with_them() -> None:
    asked = [pair(f"What is your name, {n}?", "Ember.", kind="identity") for n in range(3)]
    found = measured(*asked, pair("Who are you?", "I am not sure what you mean by that.", kind="identity"))
    assert found.forms.forms["name"] == 3 and found.forms.forms["who"] == 1
    assert found.forms.missing == [form for form in FORMS if form not in ("name", "who")]
    assert "No identity pair of these forms: maker, purpose" in found.advice[-1]
    assert "tuningfork data wizard" in found.advice[-1]
    assert measured(pair()).forms.missing == [], "no identity set"


def test_what_was_counted_is_found_by_search(store: Store) -> None:
    drafts = [
        PairDraft("Who are you?", "I am Ember, and I can help you with that.", kind="identity"),
        PairDraft("who are the kings of France?", "They are not here.", status="draft"),
        PairDraft("你是谁？", "我是小星，你的助手。", kind="identity"),
        PairDraft("Are you Claude?", "No, Ember.", kind="identity"),
    ]
    pairs.create_many(store, drafts, dataset="d")
    for text, found in [
        ('asks:"who are"', [0, 1]),
        ('status:ready asks:"Who Are"', [0]),
        ('says:"我是"', [2]),
        ("lang:zh", [2]),
        ("lang:unsure", [3]),
        ("form:denial", [3]),
        ("form:who,denial", [0, 2, 3]),
        ("-form:who,denial", [1]),
        ("qlen>=12 qlen<16", [0, 3]),
        ("alen>30", [0]),
    ]:
        ids = query.search_ids(store, text, dataset="d")
        assert [pair.question for pair in pairs.page(store, ids[::-1])] == [drafts[n].question for n in found], text
    with pytest.raises(query.BadQuery, match="no question form"):
        query.search_ids(store, "form:nonsense")


def test_progress_is_told_and_can_stop_it(store: Store) -> None:
    pairs.create_many(store, [PairDraft(f"Q{n}", "A") for n in range(500)], dataset="d")
    seen: list[int] = []
    statistics.statistics(datasets.members(store, "d"), seen.append)
    assert seen == [0, 200, 400]
