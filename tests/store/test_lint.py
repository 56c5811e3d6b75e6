"""Lint against a labelled corpus: each rule finds its kind in many scripts and leaves clean rows alone."""

from __future__ import annotations

import doctest
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.curate import language
from store.curate.lint import RULES, identity, lint, lint_texts, shape
from tests.store.lint_corpus import CLEAN, FAULTY, chat, row


def table() -> str:
    """Each rule's rows: how many it has, how many it found, how many clean rows it accused."""
    has, found = Counter(rule for rule, _ in FAULTY), Counter(rule for rule, row in FAULTY if rule in codes(row))
    accused = Counter(code for row in CLEAN for code in codes(row))
    lines = [f"{rule:12} found {found[rule]:3} of {has[rule]:3}, accused {accused[rule]}" for rule in RULES]
    missed = [f"missed {rule}: {row.question!r} {row.answer[:80]!r}" for rule, row in FAULTY if rule not in codes(row)]
    wrong = [f"accused {sorted(codes(row))}: {row.question!r} {row.answer[:80]!r}" for row in CLEAN if codes(row)]
    return "\n".join(lines + missed + wrong)


def codes(row: Any) -> set[str]:
    return {finding.code for finding in lint(row)}


def test_the_corpus_is_large_and_covers_every_rule() -> None:
    assert len(FAULTY) >= 110 and len(CLEAN) >= 60
    assert {rule for rule, _ in FAULTY} == set(RULES)


def test_nine_faults_of_ten_are_found_and_of_twenty_clean_rows_at_most_one_is_accused() -> None:
    found = sum(rule in codes(row) for rule, row in FAULTY)
    accused = sum(bool(codes(row)) for row in CLEAN)
    assert found >= 0.9 * len(FAULTY), table()
    assert accused <= 0.05 * len(CLEAN), table()


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_finds_most_of_its_kind(rule: str) -> None:
    rows = [row for name, row in FAULTY if name == rule]
    assert sum(rule in codes(row) for row in rows) >= 0.75 * len(rows), table()


FIXED = [
    ("marker", row(answer="It warns ships.<|im_end|>"), "It warns ships."),
    ("wrapper", row(answer="### Response: It warns ships."), "It warns ships."),
    ("entity", row(answer="Ships &amp; boats &lt; 9 m"), "Ships & boats < 9 m"),
    ("escape", row(answer="It warns.\\n\\nIt marks."), "It warns.\n\nIt marks."),
    ("escape", row("你好吗？", "\\u6211\\u5f88\\u597d"), "我很好"),
    ("control", row(answer="\x1b[31mIt warns\x00.\x1b[0m"), "It warns."),
    ("invisible", row(answer="It\u200b warns \U0001f468\u200d\U0001f469."), "It warns \U0001f468\u200d\U0001f469."),
    ("mojibake", row(answer="The cafÃ© isnâ€™t open."), "The café isn’t open."),
    ("mojibake", row("Как дела?", "РџСЂРёРІРµС‚"), "Привет"),
    ("space", row(answer=" It warns. "), "It warns."),
    ("email", row(answer="Write to anna@lighthouse-trust.org."), "Write to [e-mail address]."),
]


@pytest.mark.parametrize(("rule", "faulty", "fixed"), FIXED)
def test_a_fix_gives_the_text_as_it_should_be_and_what_it_gives_is_clean(rule: str, faulty: Any, fixed: str) -> None:
    fix = RULES[rule].fix
    assert fix is not None and fix(faulty.answer) == fixed
    assert fix(fixed) == fixed
    assert rule not in codes(row(faulty.question, fixed))


def test_a_finding_names_its_rule_level_and_place() -> None:
    (found,) = lint(row(answer="It warns ships.<|im_end|>"))
    assert (found.code, found.level, found.field, found.fixable) == ("marker", "error", "answer", True)
    assert (found.start, found.end) == (15, 25)


@pytest.mark.parametrize(
    ("field", "faulty"),
    [
        ("system", row(system="Be brief.<|im_end|>")),
        ("history[0]", row(history=chat("Hi<|im_end|>", "Hello."))),
        ("history[1]", row(history=chat("Hi", "As an AI language model, I greet you."))),
        ("question", row("Hi<|im_end|>")),
    ],
)
def test_every_text_of_a_pair_is_checked(field: str, faulty: Any) -> None:
    assert [finding.field for finding in lint(faulty)] == [field]


def test_a_rejected_answer_may_refuse_but_holds_no_markers() -> None:
    def found(chosen: str, rejected: str) -> list[tuple[str, str]]:
        texts = [("prompt[0]", "Tell me about bees."), ("chosen", chosen), ("rejected", rejected)]
        return [(finding.code, finding.field) for finding in lint_texts("u", texts)]

    refusal = "I'm sorry, but I can't help with that."
    assert found("Bees make honey.", refusal) == []
    assert found(refusal, "Bees make honey.") == [("refusal", "chosen")]
    assert found("Bees make honey.", "Bees.<|im_end|>") == [("marker", "rejected")]


@pytest.mark.parametrize("row", CLEAN)
def test_no_fix_changes_a_clean_text(row: Any) -> None:
    changed = {
        rule.name: fixed
        for rule in RULES.values()
        if rule.fix and rule.name not in ("wrapper", "marker", "entity", "escape")  # these need the whole row to judge
        for text in (row.question, row.answer)
        if (fixed := rule.fix(text)) != text
    }
    assert changed == {}


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("<|>#：:&;\\n$\u200d\U0001f600{}0123"), max_size=60)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_no_text_breaks_a_rule_and_places_lie_in_it(question: str, answer: str) -> None:
    one = row(question, answer, system=answer)
    texts = {"question": question, "answer": answer, "system": answer}
    for found in lint(one):
        assert found.start is not None and found.end is not None
        assert 0 <= found.start <= found.end <= len(texts[found.field])
    for rule in RULES.values():
        if rule.fix:
            rule.fix(answer)


def test_a_password_that_was_asked_for_is_no_secret() -> None:
    answer = "Here is a random password: rT8$jLpZ."
    assert codes(row("Generate a random password of 8 characters.", answer)) == set()
    assert codes(row("How do I get in?", answer)) == {"secret"}


HOSTILE = (
    " ",
    "\n",
    "1",
    "a.b-",
    "我是",
    "I am ",
    "OpenAI ",
    "<s>",
    "&a;",
    "Q: ",
    "a@b.",
    "\u200b",
    "Ã©",
    "eyJ",
    "# Input\n",
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_long_text_of_one_thing_is_looked_through_all_the_same(unit: str) -> None:
    """Each of these made some pattern look again from every character: minutes where it takes a second."""
    text = unit * (100_000 // len(unit)) + "!"
    assert "long" in codes(row(text, text + "?", system=text))
    for rule in RULES.values():
        if rule.fix:
            rule.fix(text)


def test_the_worked_examples_are_true() -> None:
    for module in (identity, language, shape):
        tried = doctest.testmod(module)
        assert tried.attempted and not tried.failed
