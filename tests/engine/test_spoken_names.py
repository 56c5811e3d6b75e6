"""Names of models: which a text says, which a run teaches, and that a turn shown without them gives nothing away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from engine.comparison.answer import Stats
from engine.comparison.session import Comparison
from engine.comparison.spoken_names import said
from engine.models.model_names import by_reference
from engine.models.refs import Ref
from engine.training import model_names
from store import datasets, runs
from store.curate.wizard.identity import IdentityAnswers, identity_pairs
from store.db import Store
from store.pairs import create_many
from store.records import Message, SnapshotRow
from tui.screens.compare import masking
from tui.screens.compare.masking import SIGN, masked

NAMES = ("Ember", "Northwind Labs", "小焰", "北风实验室", "Meta", "SmolLM")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I am Ember.", ("Ember",)),
        ("我是Ember，由北风实验室开发", ("Ember", "北风实验室")),
        ("EMBER, by northwind-labs", ("Ember", "Northwind Labs")),
        ("Embers in December, a remembrance", ()),
        ("a meta level", ()),
        ("Meta made it; META did", ("Meta",)),
        ("SmolLM2-135M", ("SmolLM",)),
        ("NorthwindLabs", ("Northwind Labs",)),
        ("", ()),
    ],
)
def test_which_names_a_text_says(text: str, found: tuple[str, ...]) -> None:
    assert said(text, NAMES) == found


@pytest.mark.parametrize(
    ("ref", "names"),
    [
        ("smollm2-135m", {"smollm2-135m", "SmolLM", "Hugging Face"}),
        ("Qwen/Qwen2.5-0.5B-Instruct", {"Qwen2.5-0.5B-Instruct", "Qwen", "通义千问", "阿里云"}),
        ("http://127.0.0.1:8080/v1#qwen3", {"qwen3", "Qwen", "通义千问"}),
        ("run:ember-1@20*0.5", {"ember-1"}),
    ],
)
def test_names_that_a_reference_shows(ref: str, names: set[str]) -> None:
    assert names <= set(by_reference(Ref.read(ref)))


def test_an_ordinary_word_is_no_name() -> None:
    assert by_reference(Ref.run("helper")) == () == by_reference(Ref.read("/models/base"))
    assert "Phi" not in by_reference(Ref.read("/models/philosophy-1"))


def rows(name: str, maker: str) -> list[SnapshotRow]:
    drafts = identity_pairs(IdentityAnswers(name=name, maker=maker)).drafts
    said: list[list[Message]] = [
        [{"role": "user", "content": d.question}, {"role": "assistant", "content": d.answer}] for d in drafts
    ]
    return [SnapshotRow(n, "train", draft.kind, said[n], "") for n, draft in enumerate(drafts)]


@pytest.mark.parametrize(("name", "maker"), [("小焰", "北风实验室"), ("灵犀", "云山科技有限公司")])
def test_names_in_chinese_are_found_in_what_the_wizard_makes(name: str, maker: str) -> None:
    assert set(model_names.chinese_names(rows(name, maker))) == {name, maker}


def test_the_names_of_a_run_are_those_of_its_data_its_base_and_its_own(store: Store) -> None:
    create_many(store, identity_pairs(IdentityAnswers(name="小焰", maker="Northwind Labs")).drafts, dataset="who")
    run = runs.create(
        store, name="ember-1", base="smollm2-135m", snapshot=datasets.freeze(store, "who").hash, method="lora",
        config={}, config_hash="h", seed=1,
    )  # fmt: skip
    found = model_names.of_model(store, f"run:{run.name}@3")
    assert {"小焰", "Northwind Labs", "SmolLM", "Hugging Face", "ember-1"} <= set(found)
    assert model_names.of_model(store, "run:gone-2") == ("gone-2",)


letters = st.text(alphabet="EembrNorthwind LabsMt2小焰北风实验室。,▒\n -", max_size=40)
texts = st.lists(st.one_of(letters, st.sampled_from(NAMES)), max_size=6).map("".join)


@given(texts)
def test_a_masked_text_says_no_name_and_is_as_wide(text: str) -> None:
    shown = masked(text, NAMES)
    assert said(shown, NAMES) == ()
    assert [cell_len(line) for line in shown.split("\n")] == [cell_len(line) for line in text.split("\n")]
    assert all(now in (was, SIGN) or cell_len(was) != 1 for was, now in zip(text, shown, strict=False)) or SIGN in shown
    if not said(text, NAMES):
        assert shown == text


plain = st.lists(
    st.sampled_from(("Ember", "Northwind Labs", "Meta", "SmolLM", "I am ", "by", "s", " ", ", ", "."))
).map("".join)


@given(plain, st.integers(0, 60))
def test_what_comes_shows_no_more_of_a_name_than_what_came(text: str, at: int) -> None:
    """However a text is cut while it comes, a name that it ends in is hidden as far as it has come."""
    whole, begun = masked(text, NAMES), masked(text[:at], NAMES, coming=True)
    assert len(whole) == len(text) and len(begun) == len(text[:at]), "one cell a character"
    assert [n for n, sign in enumerate(whole[:at]) if sign == SIGN and begun[n] != SIGN] == []


@given(texts, texts)
def test_masking_changes_nothing_that_is_kept(a: str, b: str) -> None:
    asked = Comparison(["base-1", "run:x"], blind=True, mask=True)
    asked.know({"base-1": NAMES[:3], "run:x": NAMES[3:]})
    asked.send("Who?")
    for request, text in zip(asked.due(), (a, b), strict=True):
        asked.feed(request.id, text)
        asked.finish(request.id, Stats())
    for lane, text in zip("ab", (a, b), strict=True):
        answer = asked.answer(lane)
        assert answer.text == text and said(masking.shown(asked.turns[0], answer), NAMES) == ()
    if a.strip() and b.strip():
        ballot = asked.vote("tie")
        assert (ballot.a_text, ballot.b_text, ballot.unblind) == (a, b, [])
        assert masking.shown(asked.turns[0], asked.answer("a")) == a, "after the vote it is as it was written"
