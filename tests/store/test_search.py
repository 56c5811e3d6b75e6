"""Searching and paging: as you type, filtered, with any text a keyboard can make, and fast with very many pairs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store import chats, datasets, pairs, query, search, search_text
from store.db import Store
from store.errors import NotFound
from store.records import PairDraft, Turn


def questions(store: Store, text: str = "", **filters: str) -> list[str]:
    found = pairs.page(store, pairs.search_ids(store, text, **filters))  # type: ignore[arg-type]
    return [pair.question for pair in found]


@pytest.fixture
def filled(store: Store) -> Store:
    pairs.create(store, PairDraft("Where is the café?", "Round the corner."), dataset="d")
    pairs.create(store, PairDraft("Who are you?", "I am Ember.", kind="identity"), dataset="d", split="val")
    pairs.create(store, PairDraft("What is NOT AND OR NEAR(x)?", "Words of a query language.", status="draft"))
    return store


def test_every_word_begins_a_word(filled: Store) -> None:
    assert questions(filled, "CAFE") == ["Where is the café?"], "case and accents do not matter"
    assert questions(filled, "caf corn") == ["Where is the café?"]
    assert questions(filled, "afe") == []
    assert questions(filled, "w") == ["What is NOT AND OR NEAR(x)?", "Who are you?", "Where is the café?"], (
        "newest first"
    )
    assert questions(filled, "ember") == ["Who are you?"], "answers are searched too"


def test_a_phrase_in_quotes_stays_together(filled: Store) -> None:
    assert questions(filled, '"the corner"') == ["Where is the café?"]
    assert questions(filled, '"corner the"') == []
    assert questions(filled, '"the cor') == [], "an open quote is a phrase too"


def test_query_words_are_words(filled: Store) -> None:
    assert questions(filled, "NOT AND OR") == ["What is NOT AND OR NEAR(x)?"]
    assert questions(filled, "NEAR(x)") == ["What is NOT AND OR NEAR(x)?"]


@pytest.mark.parametrize(
    "text", ["", "   ", '"', '""', "*", "(", ")", "' OR 1=1 --", "a:b", "^", "-", "🦊", "\x00", "^*"]
)
def test_any_text_can_be_searched(filled: Store, text: str) -> None:
    assert isinstance(pairs.search_ids(filled, text), list)


signs = st.text(st.sampled_from("\"'*^:(){}-+ \n\x1b\0aé模ไ้का👍\ud800\u200d"), max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | signs)
@example('0"\x1b0\n')
@example('"\x00"')
@example('a"b"c" "')
@example("\ud800")
def test_no_text_breaks_a_search(filled: Store, text: str) -> None:
    found = pairs.search_ids(filled, text)
    assert set(found) <= set(pairs.search_ids(filled))
    assert isinstance(chats.search(filled, text), list)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=12) | signs, st.text(max_size=12) | signs)
@example('0"\x1b0\n', "x")
@example("a\u0301b", "ไม้")
def test_a_text_is_found_by_itself(store: Store, before: str, text: str) -> None:
    """Whatever a pair says is found by typing it, except that a typed quote begins a phrase."""
    before, text = (each.encode(errors="ignore").decode().replace("\0", "") for each in (before, text))
    said = f"{before} {text}"
    if said.strip():
        pair = pairs.create(store, PairDraft(said, "."))
        assert pair.id in pairs.search_ids(store, text.replace('"', " "))


LANGUAGES = [
    ("大语言模型微调", ["模型", "大", "调", "语言模型微"], ["型模", "模微"]),
    ("東京タワーへ行きたい", ["京タ", "行きたい", "ﾀﾜｰ"], ["東行"]),
    ("ต้นไม้สวย ไม่ใช่", ["ไม้", "ไม่", "สวย"], ["ไม๊"]),
    ("한국어 모델을 미세 조정", ["모델", "한국"], ["국어"]),
    ("क्या कि यह", ["कि", "क"], ["की"]),
    ("C++ or C# or a*b == 1.5", ["C++", "C#", "a*b", "==", "1.5", "C"], ["C--", "a+b", "===", "1-5", "++C"]),
    ("I like it 👍🏽", ["👍", "👍🏽"], ["👎"]),
    ("Straße Café ＡＢＣ İstanbul", ["STRASSE", "cafe\u0301", "abc", "istanbul"], ["afe"]),
    ("don't use foo_bar() -> f(x)", ["don't", "foo_b", "bar()", "->", "f(x"], ["<-", "f[x"]),
]


@pytest.mark.parametrize(("said", "found", "missed"), LANGUAGES, ids=[row[1][0] for row in LANGUAGES])
@pytest.mark.parametrize("field", ["question", "answer", "system", "history"])
def test_every_language_and_field(store: Store, field: str, said: str, found: list[str], missed: list[str]) -> None:
    texts: dict[str, Any] = {"question": "x", "answer": "y"} | {field: said}
    if field == "history":
        texts["history"] = (Turn("user", said), Turn("assistant", "z"))
    pairs.create(store, PairDraft(**texts))
    chat = chats.create(store)
    chats.append(store, chat.id, "user", said)
    for text in found:
        assert len(pairs.search_ids(store, text)) == len(chats.search(store, text)) == 1, text
    for text in missed:
        assert len(pairs.search_ids(store, text)) == len(chats.search(store, text)) == 0, text
    assert pairs.search_ids(store, "role content") == [], "the names of JSON fields are no text"


@pytest.mark.parametrize(
    ("typed", "said", "shown"),
    [
        ("mod", "Models remodel", ["Mod"]),
        ("模型 C++", "大模型 C++, C", ["模型", "C++"]),
        ('"the corner" 👍', "round the corner 👍", ["the corner", "👍"]),
        ('"the cor', "the corner", ["the cor"]),
        ("(x", "f(x)", ["(x"]),
        ("", "anything", []),
    ],
)
def test_what_was_typed_is_highlighted(typed: str, said: str, shown: list[str]) -> None:
    found = search_text.pattern(typed)
    assert ([match[0] for match in found.finditer(said)] if found else []) == shown


@given(st.text(max_size=20) | signs)
@example('0"\x1b0\n')
def test_no_text_breaks_highlighting(typed: str) -> None:
    if found := search_text.pattern(typed):
        list(found.finditer("some text, " + typed))


def test_a_phrase_does_not_reach_from_one_field_into_the_next(store: Store) -> None:
    pairs.create(store, PairDraft("大语言", "模型"))
    assert (questions(store, "言模"), questions(store, "语言")) == ([], ["大语言"])


def test_changes_of_system_and_history_are_found_at_once(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "a", system="as Ember", history=(Turn("user", "旧话"),)))
    pairs.edit(store, pair.uid, system="as Cinder", history=(Turn("user", "新话"),))
    assert [len(questions(store, text)) for text in ("Ember", "Cinder", "旧", "新")] == [0, 1, 0, 1]
    pairs.undo(store)
    assert [len(questions(store, text)) for text in ("Ember", "Cinder", "旧", "新")] == [1, 0, 1, 0]
    assert store.integrity() == []


def test_filters_join(filled: Store) -> None:
    assert questions(filled, status="draft") == ["What is NOT AND OR NEAR(x)?"]
    assert questions(filled, kind="identity") == ["Who are you?"]
    assert questions(filled, dataset="d") == ["Who are you?", "Where is the café?"]
    assert questions(filled, dataset="d", split="train") == ["Where is the café?"]
    assert questions(filled, split="val") == ["Who are you?"]
    assert questions(filled, "w", dataset="d", kind="instruction", status="ready") == ["Where is the café?"]
    with pytest.raises(NotFound, match="no dataset"):
        pairs.search_ids(filled, dataset="missing")


def test_changes_are_found_at_once(filled: Store) -> None:
    pair = pairs.page(filled, pairs.search_ids(filled, "ember"))[0]
    pairs.edit(filled, pair.uid, answer="I am Cinder.")
    assert (questions(filled, "ember"), questions(filled, "cinder")) == ([], ["Who are you?"])
    pairs.delete(filled, [pair.uid])
    assert questions(filled, "cinder") == questions(filled, "cinder", dataset="d") == []
    pairs.undo(filled)
    pairs.undo(filled)
    assert (questions(filled, "ember"), questions(filled, "cinder")) == (["Who are you?"], [])
    assert filled.integrity() == []


def test_a_page_keeps_the_order_and_shows_what_was_deleted_meanwhile(filled: Store) -> None:
    ids = pairs.search_ids(filled)
    gone = pairs.page(filled, ids)[1]
    pairs.delete(filled, [gone.uid])
    page = pairs.page(filled, [ids[2], ids[1], 999_999, ids[0]])
    assert [pair.id for pair in page] == [ids[2], ids[1], ids[0]]
    assert [pair.deleted_at is not None for pair in page] == [False, True, False]
    assert pairs.page(filled, []) == []


def quickest(what, times: int = 3) -> float:  # type: ignore[no-untyped-def]
    """Milliseconds of the best of a few calls: the machine may be busy, the code may not."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        what()
        taken.append(time.perf_counter() - start)
    return min(taken) * 1e3


@pytest.mark.slow
def test_many_pairs_stay_fast(store: Store) -> None:
    """120,000 pairs. The limits are several times what a quiet machine takes: they catch a lost index, no more."""
    count = 120_000
    start = time.process_time()
    made = pairs.create_many(
        store,
        (
            PairDraft(
                f"How do I reset widget {n} in {['red', 'green', 'blue'][n % 3]}?", f"Hold it for {n % 97} seconds."
            )
            for n in range(count)
        ),
        dataset="big",
    )
    assert len(made.uids) == count
    assert time.process_time() - start < 40
    ids = pairs.search_ids(store)
    limits = {
        "all": (lambda: pairs.search_ids(store), 250),
        "one letter": (lambda: pairs.search_ids(store, "w"), 400),
        "two words": (lambda: pairs.search_ids(store, "widget 1199"), 60),
        "dataset": (lambda: pairs.search_ids(store, dataset="big", split="train"), 500),
        "page in the middle": (lambda: pairs.page(store, ids[60_000:60_064]), 10),
        "count": (lambda: pairs.count(store), 80),
        "datasets": (lambda: datasets.all_datasets(store), 600),
    }
    slow = {name: took for name, (what, limit) in limits.items() if (took := quickest(what)) > limit}
    assert slow == {}
    start = time.process_time()
    undone = pairs.undo(store)
    assert undone is not None and undone.pairs == count
    assert (pairs.count(store), pairs.search_ids(store, "widget")) == (0, [])
    assert pairs.redo(store) is not None
    assert len(pairs.search_ids(store, "widget")) == count
    assert time.process_time() - start < 30


typed_texts = st.lists(
    st.sampled_from(["a", "ab", "abc", '"ab a"', "b", "模", "模型", "型模", "C++", "+", "-a", "-模", "kind:identity"]),
    min_size=1,
    max_size=4,
).map(" ".join)
said_texts = st.text(st.sampled_from("ab c+模型.\n"), min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(said_texts, max_size=8, unique=True), typed_texts, st.integers(1, 4), st.integers(1, 3))
def test_the_first_are_the_first_of_all(
    store: Store, monkeypatch: pytest.MonkeyPatch, said: list[str], typed: str, limit: int, look: int
) -> None:
    """Whether a pair is found among the newest or by the index makes no difference."""
    monkeypatch.setattr("store.search._LOOK", look)
    pairs.create_many(
        store,
        [PairDraft(text, "ab 模", kind="identity" if n % 2 else "instruction") for n, text in enumerate(said)],
        dataset="d",
    )
    if said:
        pairs.delete(store, search.uids(store, query.search_ids(store)[1:2]))
    everything = query.search_ids(store, typed)
    assert query.first_ids(store, typed, limit=limit) == everything[:limit]
    inside = query.search_ids(store, typed, dataset="d", kind="instruction") if said else []
    if said:
        assert query.first_ids(store, typed, limit=limit, dataset="d", kind="instruction") == inside[:limit]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=12) | signs, st.text(max_size=8) | signs)
@example("a\x01b", "b")
@example("a\ue000b", "\ue000")
def test_looking_through_a_text_finds_what_the_index_finds(store: Store, said: str, typed: str) -> None:
    said = said.encode(errors="ignore").decode().replace("\0", "")
    if said.strip() and search_text.phrases(typed):
        pair = pairs.create(store, PairDraft(said, "."))
        body = search_text.indexed(said, ".")
        wanted = search_text.phrases(typed)
        assert all(search_text.holds(body, wanted)) == (pair.id in pairs.search_ids(store, typed))


def test_the_first_of_a_filter_and_a_pattern(filled: Store) -> None:
    for typed in ("/W/", "-/W/", "split:val", "dataset:d -split:val", "has:dataset w", ""):
        assert query.first_ids(filled, typed, limit=2) == query.search_ids(filled, typed)[:2], typed
