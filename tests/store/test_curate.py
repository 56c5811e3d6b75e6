"""The judges of data: each rule finds what it is for, and leaves plain text alone."""

from __future__ import annotations

import doctest
import random
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.curate import duplicates, secrets
from store.curate.lint import lint, lint_all
from store.records import Turn


def pair(question: str = "What is it?", answer: str = "It is this.", uid: str = "u", **more: Any) -> Any:
    return SimpleNamespace(
        uid=uid, question=question, answer=answer, **{"kind": "instruction", "system": "", "history": (), **more}
    )


def test_plain_pairs_are_left_alone() -> None:
    assert lint(pair()) == []
    assert lint(pair("¿Qué es «esto»?", "Isso é bom — naïve façade, 日本語, 🦊.\n\tIndented.")) == []


@pytest.mark.parametrize(
    ("found", "code", "field"),
    [
        (pair(answer="I am {{name}}."), "placeholder", "answer"),
        (pair(question="Hi<|im_end|>"), "marker", "question"),
        (pair(system="[INST] x"), "marker", "system"),
        (pair(answer="a\x1b[0m"), "control", "answer"),
        (pair(answer="a\u202eb"), "control", "answer"),
        (pair(answer="cafÃ©"), "mojibake", "answer"),
        (pair(answer="it\ufffds"), "mojibake", "answer"),
        (pair(question=" What?"), "space", "question"),
        (pair(answer="x" * 9_000 + "."), "long", "answer"),
        (pair(answer="The very same sentence. " * 5 + "."), "repeats", "answer"),
        (pair(answer="word " * 60 + "and then"), "open-end", "answer"),
        (pair(answer="As an AI language model, I cannot."), "boilerplate", "answer"),
        (pair(answer=""), "empty", "answer"),
        (pair("Say hello", "say hello "), "echo", "answer"),
        (pair(answer="I am ChatGPT.", kind="identity"), "other-name", "answer"),
    ],
)
def test_each_rule_finds_its_kind(found: Any, code: str, field: str) -> None:
    findings = [finding for finding in lint(found) if finding.code == code]
    assert [finding.field for finding in findings] == [field]
    assert findings[0].what


def test_other_names_are_fine_where_identity_is_not_the_matter() -> None:
    assert lint(pair(answer="ChatGPT is a product of OpenAI.")) == []


def test_many_pairs_are_judged_in_order() -> None:
    found = lint_all([pair(answer="", uid="1"), pair(uid="2"), pair(question=" x", uid="3")])
    assert [(finding.uid, finding.code) for finding in found] == [("1", "empty"), ("3", "space")]


def test_exact_duplicates_differ_in_case_spaces_and_sentence_marks_only() -> None:
    pairs = [pair("What?", "This.", "1"), pair("what", "THIS", "2"), pair("What?", "That.", "3"), pair("x", "y", "4")]
    assert duplicates.exact(pairs) == [["1", "2"]]
    assert duplicates.conflicts(pairs) == [["1", "2", "3"]]
    assert duplicates.conflicts(pairs[:2]) == []


SIGNS = [
    ("What is C++?", "What is C#?", "What is C?"),
    ("a == b", "a === b", "a = b"),
    ("a*b", "a+b", "a b"),
    ("1.5", "1-5", "1 5", "15"),
    ("👍", "👎", "👍🏽"),
    ("$3", "€3"),
]
WORDS = [
    ("कि", "की", "क"),
    ("ไม้", "ไม่", "ไม"),
    ("má", "ma", "mà"),
    ("x²", "x2"),
    ("is(null)", "is[null]"),
    (":)", ":("),
    ("5!", "5"),
    ("for x in y:\n    a\n    b", "for x in y:\n    a\nb"),
]
EQUAL = [
    ("Café", "Cafe\u0301"),
    ("ＡＢＣ１２３", "abc123"),
    ("ﾊﾟｰﾃｨｰ", "パーティー"),
    ("你好。", "你好"),
    ("What  is\tit ?", "what is it ?"),
    ("Hello, world!", "hello world"),
    ("한국어", "한국어".encode().decode()),
    ("यह क्या है।".replace("।", "."), "यह क्या है"),
]


def each_with(field: str, texts: tuple[str, ...], around: str = "{}") -> list[Any]:
    """One pair for each text, which stands in `field`; all else is the same."""
    values: list[Any] = [around.replace("{}", text) for text in texts]
    if field == "history":
        values = [(Turn("user", value), Turn("assistant", "Yes.")) for value in values]
    return [pair(uid=str(n), **{field: value}) for n, value in enumerate(values)]


@pytest.mark.parametrize("texts", SIGNS + WORDS, ids=[row[0] for row in SIGNS + WORDS])
@pytest.mark.parametrize("field", ["question", "answer", "system", "history"])
def test_different_pairs_are_never_duplicates(texts: tuple[str, ...], field: str) -> None:
    assert duplicates.exact(each_with(field, texts)) == []
    assert duplicates.exact(each_with(field, texts, "So {} it is.")) == []


@pytest.mark.parametrize("texts", SIGNS, ids=[row[0] for row in SIGNS])
@pytest.mark.parametrize("field", ["question", "answer", "system", "history"])
def test_other_signs_and_numbers_are_not_nearly_equal_however_long_the_text(texts: tuple[str, ...], field: str) -> None:
    assert duplicates.near(each_with(field, texts, "one two three four five six seven {} " * 9)) == []


@pytest.mark.parametrize("texts", EQUAL, ids=[row[1] for row in EQUAL])
@pytest.mark.parametrize("field", ["question", "answer", "system"])
def test_equal_texts_are_duplicates_in_every_form(texts: tuple[str, ...], field: str) -> None:
    assert duplicates.exact([pair(uid=str(n), **{field: text}) for n, text in enumerate(texts)]) == [["0", "1"]]


NEARLY = [
    ("请问怎么才能重置我的账户密码然后再登录系统呢谢谢", "请问怎么才能重置我的账户密码然后再登录系统呢"),
    (
        "パスワードを忘れた場合はどのようにリセットすればよいですか",
        "パスワードを忘れた場合はどのようにリセットすればよいですか教えて",
    ),
    ("ฉันจะเปลี่ยนรหัสผ่านของบัญชีได้อย่างไรคะ", "ฉันจะเปลี่ยนรหัสผ่านของบัญชีได้อย่างไรครับ"),
    (
        "How can I reset the password of my account when I forgot it",
        "How can I reset the password of my account when I forgot it please",
    ),
]


@pytest.mark.parametrize("texts", NEARLY, ids=[row[0][:6] for row in NEARLY])
def test_nearly_equal_questions_are_found_in_every_language(texts: tuple[str, str]) -> None:
    other = pair("完全不同的问题是什么", "x", "other")
    pairs = [pair(text, "", str(n)) for n, text in enumerate(texts)]
    assert duplicates.near([*pairs, other]) == [["0", "1"]]
    assert duplicates.near([pairs[0], pair(texts[1], "", "s", system="Be brief.")]) == [], "system text counts"


def test_the_worked_examples_are_true() -> None:
    assert doctest.testmod(duplicates).failed == 0
    assert doctest.testmod(duplicates).attempted >= 4


words = st.lists(st.sampled_from("abcdef模型"), min_size=1, max_size=14).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(st.lists(words, max_size=14), st.sampled_from([0.5, 0.7, 0.8, 1.0]))
def test_near_duplicates_are_those_of_the_plain_definition(texts: list[str], threshold: float) -> None:
    """Against every two compared: what the shortcut finds is what the definition says."""
    pairs = [pair(text, "", str(n)) for n, text in enumerate(texts)]
    sets = [duplicates.shingles(f"{one.question} {one.answer}") for one in pairs]
    group = {one.uid: {one.uid} for one in pairs}
    for one, other in combinations(range(len(pairs)), 2):
        if len(sets[one] & sets[other]) >= threshold * len(sets[one] | sets[other]):
            joined = group[str(one)] | group[str(other)]
            for uid in joined:
                group[uid] = joined
    expected = {tuple(sorted(found, key=int)) for found in group.values() if len(found) > 1}
    assert {tuple(found) for found in duplicates.near(pairs, threshold)} == expected


def test_near_duplicates_among_many() -> None:
    pick = random.Random(1)
    vocabulary = [f"w{n}" for n in range(5_000)]
    pairs = [
        pair(" ".join(pick.choices(vocabulary, k=12)), " ".join(pick.choices(vocabulary, k=30)), str(n))
        for n in range(3_000)
    ]
    pairs.append(pair(pairs[17].question, pairs[17].answer + " indeed", "twin"))
    assert duplicates.near(pairs) == [["17", "twin"]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("AKIA" + "A1B2C3D4E5F6G7H8", "AWS key"),
        ("ghp_" + "a1" * 20, "GitHub token"),
        ("hf_" + "aB" * 17, "Hugging Face token"),
        ("sk-proj-" + "aB3" * 10, "API key"),
        ("AIza" + "x" * 35, "Google key"),
        ("xoxb-1234567890-abc", "Slack token"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "web token"),
        ("postgres://joe:hunter2@db.internal/x", "address with a password"),
        ('password = "hunter2hunter2"', "password"),
        ("4111 1111 1111 1111", "card number"),
        ("DE89 3704 0044 0532 0130 00", "bank account"),
        ("joe@corp.org", "e-mail address"),
    ],
)
def test_secrets_are_found_and_masked(text: str, kind: str) -> None:
    sentence = f"Look: {text} there."
    assert [secret.kind for secret in secrets.find(sentence)] == [kind]
    masked = secrets.mask(sentence)
    assert f"[{kind}]" in masked and text not in masked
    (finding,) = secrets.scan([pair(answer=sentence)])
    assert text not in finding.what, "a finding never repeats the secret"


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "DE00 3704 0044 0532 0130 00",
        "user@example.com",
        "The password: ask your administrator.",
        "sk-learn and eyJ are words; see https://example.org/a:b@c",
        "Call 020 7946 0958 before 2024-01-31.",
    ],
)
def test_what_only_looks_like_a_secret(text: str) -> None:
    assert secrets.find(text) == []
