"""Tables of facts: every shape of a file, and the pairs that are made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.curate.duplicates import normal
from store.curate.lint import lint
from store.curate.wizard.facts import Fact, fact_pairs, language_of
from store.curate.wizard.proposed import form_of, forms
from store.errors import BadInput
from store.fact_tables import read_facts
from store.proposals import as_pair

RADIO = [
    Fact("Price", "25 €", "Quillback 7"),
    Fact("Colours", "saffron and grey", "Quillback 7"),
    Fact("IP rating", "IPX5", "Quillback 7"),
    Fact("Waterproof", "yes", "Quillback 7"),
    Fact("Warranty", "Six years. It is longer if you register.", "Quillback 7"),
    Fact("How do I reset it?", "Hold the amber button", "Quillback 7"),
]
FANS = [
    Fact("价格", "99 元", "小风扇"),
    Fact("颜色", "白色", "小风扇"),
    Fact("价格", "199 元", "大风扇"),
    Fact("颜色", "黑色", "大风扇"),
    Fact("蓝牙", "否", "小风扇"),
]


def said(facts: list[Fact], **how: int) -> dict[str, str]:
    return {draft.question: draft.answer for draft in fact_pairs(facts, **how).drafts}


@pytest.mark.parametrize("facts", [RADIO, FANS], ids=["english", "chinese"])
def test_pairs_are_distinct_and_without_findings(facts: list[Fact]) -> None:
    drafts = fact_pairs(facts).drafts
    assert len({normal(draft.question) for draft in drafts}) == len(drafts) > 25
    assert [(finding.code, finding.what) for draft in drafts for finding in lint(as_pair(draft, "x"))] == []
    assert {"value", "confirm", "correct", "flag", "unknown"} <= forms(drafts).keys()
    assert all(draft.kind == "instruction" and draft.tags[0] == "facts" for draft in drafts)
    assert fact_pairs(facts).drafts == drafts and fact_pairs(facts, seed=1).drafts != drafts


def test_a_fact_is_asked_checked_and_corrected() -> None:
    pairs = said(RADIO)
    assert pairs["What is the price of Quillback 7?"] == "The price of Quillback 7 is 25 €."
    assert pairs["Is the price of Quillback 7 25 €?"].startswith("Yes, ")
    (wrong,) = [question for question in pairs if question.startswith("Is the price") and "25 €" not in question]
    assert wrong.endswith(" €?") and pairs[wrong] == "No, it is 25 €."
    assert pairs["What are the colours of Quillback 7?"].startswith("The colours of Quillback 7")
    assert pairs["Can you tell me? How do I reset it?"] == "Hold the amber button."
    assert pairs["Tell me about the warranty of Quillback 7."].endswith("It is longer if you register.")
    assert any("IP rating" in question for question in pairs)


def test_what_the_table_does_not_say_is_not_known() -> None:
    drafts = [draft for draft in fact_pairs(RADIO).drafts if form_of(draft) == "unknown"]
    assert len(drafts) >= 3
    for draft in drafts:
        assert "not know" in draft.answer or "no information" in draft.answer
        assert not [word for word in ("price", "colour", "warranty", "guarantee") if word in draft.question]
    known = [Fact("Released", "2021"), Fact("Cost", "9 €"), Fact("Where is it made in?", "Osterby")]
    for seed in range(20):
        asked = " ".join(draft.question for draft in fact_pairs(known, seed=seed).drafts if form_of(draft) == "unknown")
        assert "release" not in asked and "price" not in asked and "origin" not in asked


def test_a_false_value_is_that_of_another_subject_before_another_number() -> None:
    assert [question for question in said(FANS) if "小风扇的价格是 199 元" in question]
    corrected = [draft.answer for draft in fact_pairs(FANS).drafts if form_of(draft) == "correct"]
    assert len(corrected) == 4 and any("是白色" in answer for answer in corrected)


@pytest.mark.parametrize("value", ["25 €", "1,200", "2021", "0.5 kg", "9", "99.9 %", "007"])
def test_another_number_has_the_look_of_the_true_one(value: str) -> None:
    for seed in range(10):
        (draft,) = [d for d in fact_pairs([Fact("Mark", value)], seed=seed).drafts if form_of(d) == "correct"]
        false = next(part for part in (draft.question,) if value not in part)
        digits = sum(char.isdigit() for char in value)
        assert sum(char.isdigit() for char in false) == digits, false


def test_a_value_that_has_no_number_is_denied_and_corrected() -> None:
    proposed = fact_pairs([Fact("Material", "oak", "the table"), Fact("Mail", "care@oak7.com", "the table")])
    assert forms(proposed.drafts)["deny"] == 2 and "correct" not in forms(proposed.drafts)
    assert any("2 facts have no number" in notice for notice in proposed.notices)


def test_notices_on_facts_that_make_odd_sentences() -> None:
    notices = " ".join(fact_pairs([Fact("Released", "2021")]).notices)
    assert "--subject" in notices and "Not a noun: released" in notices


def test_the_language_is_that_of_the_table() -> None:
    assert language_of(RADIO) == "en" and language_of(FANS) == "zh"
    assert language_of([Fact("价格", "USB 99", "Fan X")]) == "en" and language_of([Fact("续航时间", "10 h")]) == "zh"
    assert "What is the 价格 of 小风扇?" in [draft.question for draft in fact_pairs(FANS, "en").drafts]


@pytest.mark.parametrize(
    ("name", "text", "facts"),
    [
        ("a.csv", "attribute,value\nPrice,25 €\n", [("Price", "25 €", "X")]),
        ("a.csv", "Fact;Value;Product\nPrice;25 €;Y\n", [("Price", "25 €", "Y")]),
        ("a.tsv", "属性\t值\n价格\t99 元\n", [("价格", "99 元", "X")]),
        ("a.csv", "name,value\nPrice,25\n", [("Price", "25", "X")]),
        ("a.csv", 'Price,25\nNote,"small, light"\n', [("Price", "25", "X"), ("Note", "small, light", "X")]),
        ("a.csv", "product,price,weight\nA,1,2\nB,3,\n",
         [("price", "1", "A"), ("weight", "2", "A"), ("price", "3", "B")]),
        ("a.json", '{"Price": 1.50, "New": true, "Colours": ["red", "blue"]}',
         [("Price", "1.50", "X"), ("New", "yes", "X"), ("Colours", "red, blue", "X")]),
        ("a.json", '{"A": {"Price": 1}, "B": {"Price": 2}}', [("Price", "1", "A"), ("Price", "2", "B")]),
        ("a.json", '[{"fact": "Price", "value": 3}, ["Weight", "4 kg"]]',
         [("Price", "3", "X"), ("Weight", "4 kg", "X")]),
        ("a.json", '[{"name": "A", "price": 3}]', [("price", "3", "A")]),
        ("a.yaml", "Price: 1.50\nNew: yes\nColours: [red, blue]\n",
         [("Price", "1.50", "X"), ("New", "yes", "X"), ("Colours", "red, blue", "X")]),
        ("a.yml", "小风扇:\n  颜色: [白色, 粉色]\n", [("颜色", "白色、粉色", "小风扇")]),
        ("a.yaml", "- What is it?: A radio\n", [("What is it?", "A radio", "X")]),
    ],
)  # fmt: skip
def test_every_shape_of_a_table(tmp_path: Path, name: str, text: str, facts: list[tuple[str, str, str]]) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    read = read_facts(path, "X").facts
    assert [(fact.attribute, fact.value, fact.subject) for fact in read] == facts


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("attribute,value\nPrice,1\nPrice,1\nWeight,\n")
    read = read_facts(path)
    assert (len(read.facts), read.twice, read.empty) == (1, 1, 1)
    path.write_text("Price,1\nWeight,2\n")
    assert read_facts(path).notices == ["No column is called value, so the first line is a fact like the others."]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.csv", "attribute,value\nPrice,1\nprice,2\n", "two values"),
        ("a.csv", "attribute,value\nPrice,1,2\n", "Row 2 has 3 fields"),
        ("a.csv", "one,two,three\n1,2,3\n", "none is called value"),
        ("a.csv", "attribute,value\n", "no facts"),
        ("a.json", '{"Price": 1, "Price": 2}', "two values"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", '["Price"]', "not a fact"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.yaml", "a: [1", "not valid YAML"),
        ("a.yaml", "just text", "not a fact"),
        ("a.csv", "", "empty"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, text: str, what: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(BadInput) as caught:
        read_facts(path)
    assert what in caught.value.what and caught.value.todo


def test_no_facts_no_pairs() -> None:
    with pytest.raises(BadInput, match="no facts"):
        fact_pairs([])
