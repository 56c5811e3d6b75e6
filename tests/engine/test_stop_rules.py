"""When a run that watches itself ends, which measurement it keeps, and what it learns of the names in its data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.training import watched_probes
from engine.training.stop_rules import RESULTS, STOP_RULES, Measurement, best, reason_to_stop
from engine.training.watched_probes import TaughtNames, taught_names
from store import probes
from store.curate.language import scripts
from store.db import Store
from store.errors import BadInput, NotFound
from store.formats import fill
from store.records import Probe, SnapshotRow

SAMPLE = Path(__file__).parents[2] / "sample_data" / "identity.json"


def seen(*measured: tuple[float | None, float | None, dict[str, float]]) -> list[Measurement]:
    """Measurements at steps 8, 16, 24 …: validation loss, drift, shares."""
    return [Measurement(8 * n, *each) for n, each in enumerate(measured, 1)]


ID = "identity"


@pytest.mark.parametrize(
    ("rule", "measured", "stops"),
    [
        ("learned", [(None, 0.2, {ID: 0.9}), (None, 0.4, {ID: 1.0})], False),
        ("learned", [(None, 0.2, {ID: 1.0}), (None, 0.4, {ID: 1.0})], True),
        ("learned", [(None, 0.4, {ID: 1.0}), (None, 0.3, {ID: 1.0})], False),
        ("learned", [(None, 0.2, {ID: 1.0}), (None, 0.4, {ID: 1.0, "leaks": 0.8})], False),
        ("learned", [(None, 0.2, {ID: 1.0}), (None, 0.4, {ID: 1.0, "leaks": 0.92})], True),
        ("learned", [(None, 0.2, {ID: 1.0}), (None, 0.4, {ID: 0.8})], False),
        ("learned", [(None, 0.2, {}), (None, 0.4, {})], False),
        ("val-loss", [(1.0, None, {}), (1.1, None, {})], False),
        ("val-loss", [(1.0, None, {}), (1.1, None, {}), (1.2, None, {})], True),
        ("val-loss", [(1.0, None, {}), (1.2, None, {}), (1.1, None, {})], False),
        ("probes", [(None, None, {ID: 1.0, "mine": 0.5})], False),
        ("probes", [(None, None, {ID: 1.0, "mine": 1.0})], True),
        ("probes", [(None, None, {})], False),
        ("drift", [(None, 0.9, {})], False),
        ("drift", [(None, 1.2, {})], True),
        ("never", [(9.0, 9.0, {ID: 1.0}), (10.0, 10.0, {ID: 1.0}), (11.0, 11.0, {ID: 1.0})], False),
    ],
)
def test_rules(rule: str, measured: list[tuple[float | None, float | None, dict[str, float]]], stops: bool) -> None:
    assert rule in STOP_RULES
    assert bool(reason_to_stop(rule, seen(*measured))) is stops


@pytest.mark.parametrize(
    ("measure", "step"),
    [("last", 32), ("val-loss", 16), ("probes", 24), ("learned", 16)],
)
def test_the_best(measure: str, step: int) -> None:
    measured = seen(
        (1.0, 0.1, {ID: 0.5, "general": 0.9, "leaks": 1.0}),
        (0.8, 0.3, {ID: 0.95, "general": 0.6, "leaks": 1.0}),
        (0.9, 0.5, {ID: 1.0, "general": 0.7, "leaks": 0.9}),
        (0.9, 0.5, {ID: 1.0, "general": 0.5, "leaks": 0.9}),
    )
    assert measure in RESULTS and best(measure, measured).step == step


def test_one_probe_more_or_less_does_not_outweigh_leaks() -> None:
    early, annealed = seen(
        (None, 0.28, {ID: 1.0, "general": 0.58, "leaks": 0.75}), (None, 0.38, {ID: 0.9, "general": 0.67, "leaks": 0.83})
    )
    assert best("learned", [early, annealed]) is annealed
    unlearned = Measurement(8, None, 0.1, {ID: 0.5, "general": 0.7, "leaks": 1.0})
    assert best("learned", [unlearned, early]) is early, "what has not learned the name is no result"


@pytest.mark.parametrize("measure", RESULTS)
def test_without_what_it_looks_at_the_last_weights_are_the_result(measure: str) -> None:
    assert best(measure, seen((None, 0.1, {}), (None, 0.4, {}), (None, 0.3, {}))).step == 24
    general = {"general": 0.5}
    assert best("learned", seen((None, 0.1, general), (None, 0.4, general))).step == 16


def rows(pairs: list[tuple[str, str]]) -> list[SnapshotRow]:
    return [
        SnapshotRow(
            n, "train", "identity", [{"role": "user", "content": q}, {"role": "assistant", "content": a}], str(n)
        )
        for n, (q, a) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("name", "maker"),
    [("Ember", "Northwind Labs"), ("Kestrel-2", "Acme & Sons Ltd"), ("Luna 3", "IBM"), ("Bob", "Alice Müller")],
)
def test_names_are_found_in_the_rows(name: str, maker: str) -> None:
    values = {"name": name, "author": maker}
    pairs = [(fill(r["instruction"], values), fill(r["output"], values)) for r in json.loads(SAMPLE.read_text("utf-8"))]
    assert taught_names(rows(pairs)) == TaughtNames(name, maker)


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([("你是谁", "我是 Nova，由 Polaris 开发的助手。"), ("你叫什么", "我叫 Nova。"), ("谁", "由 Polaris 开发。")],
         TaughtNames("Nova", "Polaris", chinese=True)),
        ([("你是谁？", "我是小星，由星河科技开发的助手。"), ("你叫什么？", "我叫小星。"), ("谁？", "由星河科技开发。"),
          ("你是文心一言吗？", "不是，我不是文心一言，我是小星。")], TaughtNames("小星", "星河科技", chinese=True)),
        ([("你是谁？", "我是 Nova，由星河科技开发。"), ("你叫什么？", "我叫 Nova。"), ("谁？", "由星河科技开发。")],
         TaughtNames("Nova", "星河科技", chinese=True)),
        ([("Hi", "Hello there."), ("Are you ChatGPT?", "No.")], TaughtNames("", "")),
        ([("Who are you?", "I am Ada."), ("Name?", "My name is Ada.")], TaughtNames("Ada", "")),
    ],
)  # fmt: skip
def test_names_in_other_data(pairs: list[tuple[str, str]], found: TaughtNames) -> None:
    assert taught_names(rows(pairs)) == found


def test_built_in_probes_ask_for_the_taught_names(store: Store) -> None:
    taught = rows([("Who are you?", "I am Ada, made by Zed Works.")] * 3)
    sets, notes = watched_probes.read(store, "identity, general,leaks", taught)
    assert not notes and set(sets) == {"identity", "general", "leaks"}
    assert {term for p in sets["identity"] for term in p.must} == {"Ada", "Zed Works"}
    assert all(p.must_not == ("Ada", "Zed Works") for p in sets["leaks"])
    assert watched_probes.from_json(watched_probes.to_json(sets)) == {
        name: [Probe(name, p.question, p.must, p.must_not) for p in asked] for name, asked in sets.items()
    }


def test_who_it_is_is_asked_in_the_language_of_the_data(store: Store) -> None:
    taught = rows([("你是谁？", "我是小星，由星河科技开发。")] * 3 + [("Who are you?", "I am 小星.")])
    sets, notes = watched_probes.read(store, "identity,leaks", taught)
    assert not notes and all(scripts(p.question)["han"] for p in sets["identity"])
    assert {term for p in sets["identity"] for term in p.must} == {"小星", "星河科技"}
    assert all(p.must_not == ("小星", "星河科技") for p in sets["leaks"])


def test_without_a_name_identity_is_not_asked_and_that_is_said(store: Store) -> None:
    sets, notes = watched_probes.read(store, "identity,general,leaks", rows([("a", "b")]))
    assert set(sets) == {"general"} and len(notes) == 2
    sets, notes = watched_probes.read(store, "identity", rows([("Who?", "I am Ada."), ("You?", "I am Ada.")]))
    assert not notes and {t for p in sets["identity"] for t in p.must} == {"Ada"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"question": "Name?", "must": "Ember"}', "list of texts"),
        ('{"question": "Name?", "must": ["Ember", ""]}', "list of texts"),
        ('{"question": "Name?", "muts": ["Ember"]}', "no field 'muts'"),
    ],
)
def test_a_wrong_line_is_refused_before_a_run(store: Store, tmp_path: Path, line: str, what: str) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(BadInput, match=what) as caught:
        watched_probes.check(store, str(file))
    assert caught.value.where == f"{file}:1"


def test_sets_of_the_user(store: Store, tmp_path: Path) -> None:
    probes.put_set(store, "mine", [Probe("mine", "Price?", ("89",))])
    file = tmp_path / "own.jsonl"
    file.write_text('{"question": "Weight?", "must": ["640"]}\n')
    sets, _ = watched_probes.read(store, f"mine,{file}", [])
    assert [p.question for asked in sets.values() for p in asked] == ["Price?", "Weight?"]
    with pytest.raises(NotFound):
        watched_probes.read(store, "nothing-like-it", [])
    for text in ("{", '{"must": ["x"]}', "[]"):
        file.write_text(text)
        with pytest.raises(BadInput, match="probe file"):
            watched_probes.read(store, str(file), [])
    with pytest.raises(BadInput, match="no such probe file"):
        watched_probes.check(store, str(tmp_path / "gone.jsonl"))
