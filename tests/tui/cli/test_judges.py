"""Judges at the command line: one that is registered is all that `probe` needs, and what it says is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.evaluation import judges
from engine.evaluation.client import CompletionClient
from engine.evaluation.judges import Judgement
from engine.inference.sampling import Sampling
from store import evals, probes
from store.db import Store
from store.errors import BadInput
from store.records import Probe
from tests.tui.cli.conftest import BASE, Cli, FakeClient

Write = Callable[[str, str | bytes], str]


class EchoJudge:
    """A toy: asks the model again, and scores how many of the answer's words are in the second answer."""

    name = "echo"
    help = "how much of the answer the model says again"

    def check(self, probe: Probe) -> None:
        if probe.system:
            raise BadInput("This judge takes no system text.", todo="Remove it.")

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        again = await client.complete(BASE, [{"role": "user", "content": probe.question}], Sampling())
        words = answer.split()
        score = sum(word in again.text.split() for word in words) / len(words)
        return Judgement(score >= 0.5, score, f"{score:.0%} said again")


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(judges.JUDGES, "echo", EchoJudge())


@pytest.mark.usefixtures("echo")
def test_a_registered_judge_scores_the_answers_of_probe(tf: Cli, client: FakeClient, write: Write) -> None:
    file = write("p.jsonl", '{"question": "Who?"}\n{"question": "Where?"}\n')
    found = tf.json("probe", "--model", BASE, "--probes", file, "--judge", "echo")
    assert found["judge"] == "echo" and found["model"]["passed"] == 2
    assert [(i["passed"], i["score"], i["reason"]) for i in found["model"]["items"]] == [
        (True, 1.0, "100% said again")
    ] * 2
    assert len(client.asked) == 4, "the judge asked the model too"
    with Store.open(tf.home) as store:
        (kept,) = evals.all_evals(store)
        assert kept.judge == "echo"
        assert [(item.score, item.reason) for item in evals.items(store, kept.id)] == [(1.0, "100% said again")] * 2


@pytest.mark.usefixtures("echo")
def test_a_judge_refuses_probes_before_any_model_is_asked(tf: Cli, client: FakeClient, write: Write) -> None:
    file = write("p.jsonl", '{"question": "Who?"}\n{"question": "Where?", "system": "Be brief."}\n')
    error = tf.error("probe", "--model", BASE, "--probes", file, "--judge", "echo")
    assert error["where"].endswith("p.jsonl:2") and "no system text" in error["what"]
    assert not client.asked and not client.loaded


def test_a_kept_set_without_anything_to_contain_is_refused_and_not_passed(tf: Cli, client: FakeClient) -> None:
    with Store.open(tf.home) as store:
        probes.put_set(store, "asked", [Probe("asked", "Who?", ("me",)), Probe("asked", "Where?", ())])
    error = tf.error("probe", "--model", BASE, "--probes", "asked")
    assert error["where"] == "probe set asked, probe 2" and "cannot fail" in error["what"]
    assert not client.asked


def test_an_unknown_judge_is_named_with_those_there_are(tf: Cli, client: FakeClient) -> None:
    error = tf.error("probe", "--model", BASE, "--judge", "nobody")
    assert "'nobody'" in error["what"] and "contains" in error["todo"]
    assert not client.asked


def test_the_reason_says_which_words_were_found(tf: Cli, client: FakeClient, write: Write) -> None:
    rows = ['{"question": "Ember?", "must": ["Ember"]}', '{"question": "Who?", "must": ["Ember", "Northwind"]}',
            '{"question": "Are you SmolLM2?", "must_not": ["smollm2"]}']  # fmt: skip
    found: Any = tf.json("probe", "--model", BASE, "--probes", write("p.jsonl", "\n".join(rows)))
    assert [(i["passed"], i["score"], i["reason"]) for i in found["model"]["items"]] == [
        (True, 1.0, "contains 'Ember'"),
        (False, 0.0, "contains none of 'Ember', 'Northwind'"),
        (False, 0.0, "contains 'smollm2'"),
    ]


def test_consistency_is_a_figure_of_its_own(tf: Cli, client: FakeClient, write: Write, store: Store) -> None:
    rows = [
        {"question": "Price of it?", "must": ["price"], "same": "cost"},
        {"question": "Its cost?", "must": ["price"], "same": "cost"},
        {"question": "Who?", "must": ["who"]},
    ]
    file = write("p.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    words = ("probe", "--model", BASE, "--probes", file)
    found = tf.json(*words, "--seeds", "3", "--temperature", "0.7")
    same = found["model"]["consistency"]
    assert found["seeds"] == 3 and found["of"] == 3 and found["model"]["of"] == 9 and found["model"]["passed"] == 6
    assert [(g["name"], g["answers"], g["passed"]) for g in same["groups"]] == [("cost", 6, 3), ("Who?", 3, 3)]
    assert same["groups"][0]["agreement"] == pytest.approx(3 * 2 / (6 * 5)), "each wrong answer has words of its own"
    assert same["share"] == pytest.approx((0.2 + 1) / 2) and same["always"] == 1
    kept = evals.all_evals(store)[0]
    assert kept.summary["seeds"] == 3 and kept.summary["consistency"] == same["share"] and kept.of == 9
    text = tf.ok(*words, "--seeds", "3", "--temperature", "0.7", "--against", f"{BASE}")
    assert "3 of 3" in text and "0 of 3" in text
    assert f"{BASE}: consistency 0.60 (2 groups of answers, 1 always the same)" in text


def test_groups_of_a_file_need_no_seeds(tf: Cli, client: FakeClient, write: Write) -> None:
    rows = [{"question": f"Price {n}?", "must": ["price"], "same": "cost"} for n in range(2)]
    file = write("p.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    found = tf.json("probe", "--model", BASE, "--probes", file, "--judge", "strict")
    assert found["model"]["consistency"]["share"] == 1 and found["judge"] == "strict"
    alone = tf.json(
        "probe", "--model", BASE, "--probes", write("q.jsonl", json.dumps({"question": "Q", "must": ["q"]}))
    )
    assert alone["model"]["consistency"] is None


def test_seeds_without_a_temperature_are_refused(tf: Cli, client: FakeClient) -> None:
    error = tf.error("probe", "--model", BASE, "--seeds", "3")
    assert error["where"] == "--seeds" and "--temperature" in error["todo"] and not client.asked
