"""Pairs made of five answers: varied, clean, in good grammar, the same for a seed, and saved as one edit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import sample_data
from store import datasets, edits, pairs, proposals
from store.curate.duplicates import normal
from store.curate.lint import lint
from store.curate.statistics import statistics
from store.curate.wizard.identity import IdentityAnswers, identity_pairs, languages_for
from store.curate.wizard.proposed import GENERAL, form_of, forms
from store.curate.wizard.texts import codes, load, needed
from store.db import Store
from store.errors import BadInput
from store.proposals import as_pair
from store.records import PairDraft, Turn

EMBER = IdentityAnswers(
    "Ember", "Northwind Labs", "cooking and recipes", "friendly and short", ("ChatGPT by OpenAI", "Grok by xAI")
)
STAR = IdentityAnswers("小星", "北风科技", "做菜和食谱", "亲切、简短", ("百度的文心一言",))
ODD = IdentityAnswers("C++ Helper (v2)", "the team of Acme Inc.", "to answer questions about C++.")
EVERYONE = [(EMBER, ("en", "zh")), (STAR, ("zh", "en")), (ODD, ("en", "zh"))]
NAMES = ["english", "chinese", "odd"]


def made(answers: IdentityAnswers, languages: tuple[str, ...] = ("en",), seed: int = 0) -> list[PairDraft]:
    return identity_pairs(answers, languages, seed=seed).drafts


@pytest.mark.parametrize(("answers", "languages"), EVERYONE, ids=NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_are_many_varied_and_without_findings(
    answers: IdentityAnswers, languages: tuple[str, ...], seed: int
) -> None:
    for code in languages:
        drafts = made(answers, (code,), seed)
        identity = [draft for draft in drafts if draft.kind == "identity"]
        assert len(identity) >= 90 and len(drafts) - len(identity) >= len(identity) / 4
        asked = [(tuple(turn.content for turn in draft.history), normal(draft.question)) for draft in drafts]
        assert len(set(asked)) == len(asked)
        said = Counter(normal(draft.answer) for draft in identity)
        assert len(said) >= 60 and said.most_common(1)[0][1] <= 6
        for form in ("name", "who", "maker", "denial", "roleplay"):
            assert len({draft.answer for draft in identity if form_of(draft) == form}) >= 9, form
    both = made(answers, languages, seed)
    assert [(finding.code, finding.what) for draft in both for finding in lint(as_pair(draft, "x"))] == []
    assert statistics([(as_pair(draft, str(n)), "train") for n, draft in enumerate(both)]).advice == []


@pytest.mark.parametrize(("answers", "languages"), EVERYONE, ids=NAMES)
def test_slots_are_filled_and_general_rows_do_not_name_the_model(
    answers: IdentityAnswers, languages: tuple[str, ...]
) -> None:
    for draft in made(answers, languages):
        for text in (*(turn.content for turn in draft.history), draft.question, draft.answer):
            assert not needed(text) and ".." not in text and "  " not in text, text
            if form_of(draft) == GENERAL:
                assert answers.name not in text and answers.maker not in text
    assert {form_of(draft) for draft in made(answers, languages)} >= {"human", "confirmation", "conversation", GENERAL}


def test_what_must_not_be_trained_on_is_not_asked() -> None:
    """Probes, watched questions, suites and held-out rows ask in wordings that a model was not trained on."""
    root = Path(sample_data.__file__).parent
    kept = [*root.glob("probes/*.jsonl"), *root.glob("watch/*.jsonl"), *root.glob("suites/*.jsonl")]
    kept += list((root.parent / "benchmarks" / "heldout").glob("*.jsonl"))
    rows = [json.loads(line) for path in kept for line in path.read_text("utf-8").splitlines()]
    held_out = {normal(row.get("question") or row["prompt"]) for row in rows}
    assert len(held_out) > 300
    for seed in range(4):
        for answers, languages in EVERYONE:
            assert not held_out & {normal(draft.question) for draft in made(answers, languages, seed)}


def test_the_general_rows_do_not_teach_what_retention_asks() -> None:
    probes = (Path(sample_data.__file__).parent / "probes" / "retention.jsonl").read_text("utf-8").splitlines()
    facts = {word for row in probes for word in json.loads(row)["must"] if word.isalpha() and len(word) > 3}
    facts -= {"four", "five", "seven", "eight", "zero"}
    for question, answer in load("en").general:
        words = set(f"{question} {answer}".casefold().replace(".", " ").replace("?", " ").split())
        assert not facts & words, question


def test_a_seed_gives_the_same_pairs_and_another_seed_others() -> None:
    assert made(EMBER, ("en", "zh"), 3) == made(EMBER, ("zh", "en"), 3)
    one, other = made(EMBER), made(EMBER, seed=1)
    assert one != other and forms(one) == forms(other)


@pytest.mark.parametrize(
    ("answers", "code", "texts"),
    [
        (EMBER, "en", ["I am Ember, an AI assistant made by Northwind Labs.", "My style is friendly and short."]),
        (EMBER, "en", ["My job is to help with cooking and recipes.", "Ember, can you help me to write an e-mail?"]),
        (EMBER, "zh", ["我是 Ember，由 Northwind Labs 开发的 AI 助手。", "我叫 Ember。"]),
        (STAR, "en", ["My name is 小星, and I am an AI assistant created by 北风科技.", "北风科技 made me."]),
        (STAR, "zh", ["我是小星，由北风科技开发的 AI 助手。", "我可以在做菜和食谱方面提供帮助。"]),
        (ODD, "en", ["I was made by the team of Acme Inc.", "The team of Acme Inc. made me.", "C++ Helper (v2)"]),
        (ODD, "en", ["My job is to answer questions about C++."]),
        (ODD, "zh", ["the team of Acme Inc. 开发了我。", "我叫 C++ Helper (v2)。"]),
    ],
)
def test_the_grammar_holds_for_names_in_both_scripts(answers: IdentityAnswers, code: str, texts: list[str]) -> None:
    drafts = made(answers, (code,))
    assert set(texts) <= {text for draft in drafts for text in (draft.question, draft.answer)}


@pytest.mark.parametrize(
    ("purpose", "code", "job"),
    [
        ("cooking and recipes", "en", "My job is to help with cooking and recipes."),
        ("to plan a garden.", "en", "My job is to plan a garden."),
        ("helps people cook", "en", "My job is to help people cook."),
        ("helping sailors plan routes", "en", "My job is to help sailors plan routes."),
        ("Help with taxes", "en", "My job is to help with taxes."),
        ("toast", "en", "My job is to help with toast."),
        ("", "en", "My job is to answer questions, explain things and help with writing."),
        ("回答关于商店的问题。", "zh", "我的工作是回答关于商店的问题。"),
        ("教育", "zh", "我的工作是在教育方面提供帮助。"),
        ("Python 编程", "zh", "我的工作是在 Python 编程方面提供帮助。"),
    ],
)
def test_a_purpose_becomes_what_it_does(purpose: str, code: str, job: str) -> None:
    said = {draft.answer for draft in made(IdentityAnswers("Ember", "Labs", purpose), (code,))}
    assert job in said


def test_a_short_name_takes_no_general_rows_along() -> None:
    proposed = identity_pairs(IdentityAnswers("A", "Q"), ("en",))
    assert forms(proposed.drafts)[GENERAL] > 60


def test_no_article_stands_before_a_name() -> None:
    """So that it does not matter whether a name begins with a vowel."""
    for code in codes():
        for group in load(code).forms:
            for text in (*group.ask, *group.say, *group.before):
                for slot in ("name", "maker", "other", "other_maker"):
                    for article in ("a", "an"):
                        assert f" {article} <{slot}>" not in f" {text.casefold()}", text


def test_what_it_is_not_is_denied_first_and_never_itself() -> None:
    asked = [draft.question for draft in made(EMBER) if form_of(draft) in ("denial", "roleplay")]
    assert sum("ChatGPT" in text or "Grok" in text for text in asked) >= 20
    assert sum("xAI" in text for text in asked) >= 4
    questions = [draft.question for draft in made(IdentityAnswers("Claude", "Anthropic"))]
    assert "Are you Claude?" in questions and not [text for text in questions if "Did Anthropic" in text][1:]
    denied = [draft for draft in made(IdentityAnswers("Claude", "Anthropic")) if form_of(draft) == "denial"]
    assert len(denied) > 30 and not [draft for draft in denied if "Claude" in draft.question]
    assert not [draft for draft in denied if "Anthropic" in draft.question]


def test_a_general_row_that_holds_the_name_is_left_out_and_told() -> None:
    proposed = identity_pairs(IdentityAnswers("Mercury", "Apple"), ("en",))
    general = [draft for draft in proposed.drafts if form_of(draft) == GENERAL]
    assert not [draft for draft in general if "mercury" in (draft.question + draft.answer).casefold()]
    assert any("general rows left out" in notice for notice in proposed.notices)
    assert not identity_pairs(IdentityAnswers("Al", "Q"), ("en",)).notices  # "general" holds no name Al


def test_a_purpose_in_the_other_script_is_not_mixed_in_but_told() -> None:
    proposed = identity_pairs(STAR, ("en",))
    assert not [draft for draft in proposed.drafts if "做菜" in draft.question + draft.answer]
    assert [notice.split()[1] for notice in proposed.notices] == ["purpose", "style"]


def test_without_a_choice_a_chinese_name_gets_chinese() -> None:
    assert languages_for(STAR) == ("zh",) and languages_for(EMBER) == ("en",)
    assert identity_pairs(STAR, general=False).drafts[0].question == "你叫什么名字？"


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        (IdentityAnswers(" ", "Labs"), "name"),
        (IdentityAnswers("Ember", ""), "maker"),
        (IdentityAnswers("Ember", "Labs", purpose="x" * 201), "purpose"),
        (IdentityAnswers("Em\x1b[31mber", "Labs"), "name"),
    ],
)
def test_answers_that_cannot_be_used_are_refused_by_name(answers: IdentityAnswers, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        identity_pairs(answers)
    assert caught.value.where == field


def test_a_language_without_texts_is_refused() -> None:
    with pytest.raises(BadInput, match="en, zh"):
        identity_pairs(EMBER, ("tlh",))


class TestSaving:
    def test_saving_is_one_edit_and_what_is_there_is_not_doubled(self, store: Store) -> None:
        drafts = made(EMBER)
        assert len(proposals.save(store, "ember", drafts, "wizard Ember").uids) == len(drafts)
        assert datasets.get(store, "ember").ready == len(drafts)
        found = proposals.check(store, "ember", drafts)
        assert (found.new, found.known, found.contradictions) == ([], len(drafts), [])
        with pytest.raises(BadInput, match="already"):
            proposals.save(store, "ember", drafts, "wizard Ember")
        assert len(edits.undoable(store)) == 1
        edits.undo(store)
        assert pairs.count(store) == 0

    def test_only_the_new_ones_are_saved_and_contradictions_are_told(self, store: Store) -> None:
        drafts = made(EMBER)
        first = next(draft for draft in drafts if draft.question == "What is your name?")
        pairs.create(store, PairDraft("what is your name", "I am Flint."), dataset="ember")
        pairs.create(store, PairDraft(drafts[1].question.upper(), drafts[1].answer), dataset="ember")
        pairs.create(store, PairDraft(drafts[2].question, "Elsewhere."), dataset="other")
        found = proposals.check(store, "ember", drafts)
        assert found.known == 1 and len(found.new) == len(drafts) - 1
        assert [(each.draft, each.pair.answer) for each in found.contradictions] == [(first, "I am Flint.")]
        made_now = proposals.save(store, "ember", drafts, "wizard Ember")
        assert (len(made_now.uids), made_now.duplicates) == (len(drafts) - 1, 1)

    def test_the_same_question_after_other_turns_is_another_one(self, store: Store) -> None:
        turns = (Turn("user", "Hi!"), Turn("assistant", "Hello!"))
        pairs.create(store, PairDraft("Who are you?", "I am Flint.", history=turns), dataset="ember")
        assert proposals.check(store, "ember", [PairDraft("Who are you?", "I am Ember.")]).contradictions == []

    def test_findings_of_lint_are_told(self, store: Store) -> None:
        found = proposals.check(store, "new", [PairDraft("Who are you?", "I am ChatGPT.", kind="identity")])
        assert [(each.uid, each.code) for each in found.findings] == [("0", "other-name")]
