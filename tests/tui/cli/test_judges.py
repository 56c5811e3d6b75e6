"""Judges at the command line: one that is registered is all that `probe` needs, and what it says is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation import judges, prompt_sets
from engine.evaluation.client import CompletionClient
from engine.evaluation.judges import Judgement
from engine.evaluation.prompt_sets import PromptEntry
from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store import evals, probe_sets, probes
from store.db import Store
from store.errors import BadInput, Conflict
from store.records import Probe, Run
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


# ---------------------------------------------------------------- a model as judge


def judging(client: FakeClient, monkeypatch: pytest.MonkeyPatch, rule: Callable[[str], str]) -> None:
    """Make the client's model `BASE` a judge that replies by rule; every other model answers as always."""
    plain = client.complete

    async def complete(model: str, messages: Any, sampling: Sampling, lane: str | None = None) -> Done:
        done = await plain(model, messages, sampling, lane)
        return replace(done, text=rule(messages[-1]["content"])) if model == BASE else done

    monkeypatch.setattr(client, "complete", complete)


def graded(score: int) -> str:
    return json.dumps({"reason": "Because of the rubric.", "score": score})


@pytest.fixture
def other(tmp_path: Path, base: str) -> str:
    """A second model to ask."""
    return str(shutil.copytree(base, tmp_path / "other-base"))


QUESTIONS = '{"judge": "model", "pass_at": 6}\n{"question": "Who?"}\n{"question": "Where?"}\n{"question": "Why?"}\n'


def test_a_model_grades_the_answers_of_both_sides(
    tf: Cli, client: FakeClient, write: Write, monkeypatch: pytest.MonkeyPatch, base: str, other: str, store: Store
) -> None:
    judging(client, monkeypatch, lambda text: "well" if "Why?" in text and "other-base" in text else graded(6))
    file = write("p.jsonl", QUESTIONS)
    words = ("probe", "--model", base, "--probes", file, "--judge-model", BASE)
    found = tf.json(*words, "--against", other)
    assert found["judge"] == "model" and found["judge_model"] == BASE and found["of"] == 3
    mine, theirs = found["model"], found["against"]
    assert (mine["passed"], mine["of"], mine["not_judged"]) == (3, 3, 0)
    assert (theirs["passed"], theirs["of"], theirs["not_judged"]) == (2, 2, 1)
    assert mine["items"][0]["score"] == 0.6 and "Because" in mine["items"][0]["reason"]
    assert theirs["items"][2] | {"text": ""} == {
        "question": "Why?", "text": "", "passed": None, "score": None, "reason": "the judge's reply cannot be read",
    }  # fmt: skip
    assert found["both"] == {"of": 2, "model": 2, "against": 2}
    kept = evals.all_evals(store)[0]
    assert (kept.passed, kept.of, kept.not_judged, kept.summary["judge_model"]) == (2, 2, 1, BASE)
    assert [item.passed for item in evals.items(store, kept.id)] == [True, True, None]
    assert BASE in client.loaded and len(kept.summary["rubric"]) == 16
    text = tf.ok(*words, "--against", other)
    assert "not judged" in text and f"{other}: 2 of 2, 1 not judged" in text and f"{base}: 3 of 3\n" in text
    assert "not judged: the judge's reply cannot be read (1 answer)" in text and "yes (6)" in text
    assert f"Judged on both sides: 2, of which {base} 2, {other} 2" in text
    assert "6 of 10: Because of the rubric." in tf.ok(*words), "one model leaves space for the reasons"


def test_seeds_show_what_was_not_judged(
    tf: Cli, client: FakeClient, write: Write, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    turns = iter([graded(9), "well", graded(9), graded(1)] * 2)
    judging(client, monkeypatch, lambda _: next(turns))
    file = write("p.jsonl", '{"question": "Who?", "judge": "model"}\n')
    words = ("probe", "--model", base, "--probes", file, "--judge-model", BASE, "--seeds", "4", "--temperature", "0.7")
    assert "2 of 3, 1 not judged" in tf.ok(*words)
    found = tf.json(*words)["model"]["consistency"]
    assert found["not_judged"] == 1 and found["groups"][0]["answers"] == 3


def test_a_set_that_needs_a_judges_model_says_so_before_anything_is_asked(
    tf: Cli, client: FakeClient, write: Write
) -> None:
    file = write("p.jsonl", QUESTIONS)
    error = tf.error("probe", "--model", BASE, "--probes", file)
    assert error["where"] == f"{file}:2" and "--judge-model REF" in error["todo"]
    assert "no model was named" in tf.error("probe", "--model", BASE, "--judge", "model")["what"]
    assert "'gone'" in tf.error("probe", "--model", BASE, "--probes", file, "--judge-model", "run:gone")["what"]
    assert not client.asked and not client.loaded


def test_a_rubric_of_ones_own(
    tf: Cli, client: FakeClient, write: Write, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    judging(client, monkeypatch, lambda text: graded(9 if "My own rubric for Ember." in text else 0))
    printed = tf.ok("probe", "--print-rubric")
    assert "10: correct and complete" in printed
    rubric = write("rubric.md", "My own rubric for {{name}}.\n")
    words = ("probe", "--model", base, "--judge", "model", "--judge-model", BASE)
    assert "--set name=VALUE" in tf.error(*words, "--rubric", rubric)["todo"]
    found = tf.json(*words, "--rubric", rubric, "--set", "name=Ember")
    assert found["model"]["passed"] == 20, "sample:retention, by a model"
    assert tf.json(*words)["model"]["passed"] == 0
    own = write("p.jsonl", '{"rubric": "The set has one."}\n{"question": "Who?"}\n')
    error = tf.error(*words, "--rubric", rubric, "--set", "name=Ember", "--probes", own)
    assert error["where"] == "--rubric" and "of its own" in error["what"]
    assert tf.error("probe", "--model", base, "--rubric", rubric, "--set", "name=Ember")["where"] == "--rubric"
    assert tf.error("probe", "--model", base, "--judge-model", BASE)["where"] == "--judge-model"
    for name in (write("empty.md", " \n"), write("binary.md", b"\xff\xfe\x00"), "gone.md"):
        assert "--print-rubric" in tf.error(*words, "--rubric", name)["todo"]


def test_texts_leave_the_machine_only_after_it_was_said(
    tf: Cli, client: FakeClient, write: Write, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("probe", "--model", base, "--probes", write("p.jsonl", QUESTIONS), "--judge-model")
    refused = tf(*words, "http://far.invalid/v1#m")
    said = "The questions, answers and rubrics of 3 probes leave this machine for http://far.invalid/v1#m."
    assert refused.exit_code == 2 and said in refused.stderr and not client.asked and not client.loaded
    told = tf(*words, "http://far.invalid/v1#m", "--yes")
    assert told.exit_code == 0 and said in told.stderr and "0 of 0, 3 not judged" in told.stdout
    assert "leave this machine" not in tf(*words, "http://127.0.0.1:9/v1#m").stderr


def test_what_asks_no_model_to_judge_refuses_such_a_set_beforehand(
    tf: Cli, client: FakeClient, write: Write, facts: str, trained: Run, base: str
) -> None:
    file = write("p.jsonl", QUESTIONS)
    for words in (
        ("forecast", "--dataset", facts, "--probes", file),
        ("train", "--dataset", "cities", "--model", base, "--watch", file),
    ):
        error = tf.error(*words)
        assert error["where"] == f"{file}:2" and "here only 'contains' can judge" in error["what"]
    error = tf.error("export", "ember", "--to", "gguf-adapter", "--probes", file)
    assert error["where"] == f"{file}:2" and "no model was named" in error["what"]
    assert not client.asked


def test_a_set_of_the_home_is_found_by_its_name(tf: Cli, client: FakeClient, store: Store) -> None:
    store.home.probes.mkdir()
    own = probe_sets.path_of(store.home, "own")
    own.write_text('{"question": "Price?", "must": ["price"], "same": "cost"}\n')
    assert tf.json("probe", "--model", BASE, "--probes", "own")["model"]["passed"] == 1
    assert "own" in tf.error("probe", "--model", BASE, "--probes", "owm")["todo"]
    assert tf.error("probe", "--model", BASE, "--probes", "owm.jsonl")["what"] == "There is no such probe file."
    with pytest.raises(Conflict, match="in a file"):
        prompt_sets.keep(store, "own", [PromptEntry("Who?")])
    probes.put_set(store, "own", [Probe("own", "Who?", ("me",))])  # by an older version
    error = tf.error("probe", "--model", BASE, "--probes", "own")
    assert "Two probe sets" in error["what"] and str(own) in error["todo"]
