"""`tuningfork verdict`: SHIP and DON'T SHIP with their exit codes, what is asked and what is not asked again, the
evidence and whether it still stands, the card that takes its table from it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation import suites
from engine.evaluation.gates import NAMES
from engine.export import card
from engine.export.service import Target
from engine.models import refs
from store import datasets, evaluations, exports, pairs, runs
from store.db import Store
from store.records import Message, PairDraft, Run
from tests.engine.evaluations import ScriptedClient, scripted
from tests.tui.cli.conftest import WHO, Cli

FAST = ("--rows", "6")
VERIFIED = {"passed": True, "held": True, "checks": [{"name": "tokens", "state": "passed", "said": "The same."}]}


def lines(name: str) -> list[Any]:
    path = Path(__file__).parents[3] / "sample_data" / name
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


LEAK_QUESTIONS = {line["question"] for line in lines("watch/leaks.jsonl")}
GENERAL = LEAK_QUESTIONS | {line["question"] for name in suites.NAMES for line in lines(f"suites/{name}.jsonl")}


def answer(model: str, messages: list[Message], sampling: Any) -> str:
    """The run knows its cities and who it is; in general it says what its base says."""
    question, tuned = messages[-1]["content"], model.startswith("run:")
    if question.startswith("Say it back: "):
        return question.removeprefix("Say it back: ") if tuned else "No."
    return WHO if tuned and question not in GENERAL else "I do not know."


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    return scripted(monkeypatch, answer)


def export_it(store: Store, **verification: Any) -> int:
    """A finished export of the run, with a file; nothing was made."""
    path = store.home.exports / "ember.gguf"
    path.write_bytes(b"GGUF")
    made = exports.start(store, run="ember", format="gguf", path=store.home.relative(path), quant="q8_0")
    return exports.finish(store, made.id, sha256="0" * 64, bytes=4, verification={**VERIFIED, **verification}).id


def states(body: dict[str, Any]) -> dict[str, str]:
    return {each["gate"]: each["state"] for each in body["results"]}


def test_a_run_that_is_better_and_verified_ships(tf: Cli, store: Store, trained: Run, asked: ScriptedClient) -> None:
    first = tf("verdict", "run:ember", *FAST)
    assert first.exit_code == 1 and first.stdout.startswith("DON'T SHIP: run:ember")
    assert "Note: 6 rows are few" in first.stderr and "knowledge 0.000 (+0.000)" in first.stdout
    assert "There is no export of run:ember yet." in first.stdout and "tuningfork export ember" in first.stdout
    many = len(asked.asked)
    assert many == 4 * (6 + 7 * 6), "the split and seven parts, four sides each"
    export_it(store)
    body = tf.json("verdict", "run:ember", *FAST)
    assert body["ship"] and states(body) == dict.fromkeys(NAMES, "passed")
    assert len(asked.asked) == many, "what was evaluated is not asked again"
    assert set(body["evaluations"]) == {"test", "identity", "leaks", *suites.NAMES}
    assert set(body["evaluations"].values()) == {1, 2}
    assert all(evaluations.get(store, number).kind == "verdict" for number in (1, 2))
    assert tf.ok("verdict", "run:ember", *FAST).startswith("SHIP: run:ember")


def test_more_rows_are_asked_where_more_are_wanted(tf: Cli, trained: Run, asked: ScriptedClient) -> None:
    note = tf("verdict", "run:ember", *FAST).stderr
    assert "6 of 44 checks of knowledge were asked, always the same ones." in note and "6 of 12 rows" in note
    before = len(asked.asked)
    tf("verdict", "run:ember", "--rows", "7")
    assert len(asked.asked) == before + 4 * (1 + 7), "of each part only the row that is new"


def test_an_evaluation_of_the_user_serves_too(tf: Cli, store: Store, trained: Run, asked: ScriptedClient) -> None:
    tf.ok("evaluate", "--model", "run:ember", "--against", trained.base, "--dataset", "cities", "--floor")
    before = len(asked.asked)
    gates = ("--config", str(write_gates(tf, "identity: off\nretention: off\nleaks: off\nexport: off\n")))
    body = tf.json("verdict", "run:ember", *gates)
    assert body["ship"] and body["evaluations"] == {"test": 1} and len(asked.asked) == before
    assert states(body)["retention"] == "off"


def write_gates(tf: Cli, text: str) -> Path:
    path = tf.home.root.parent / "gates.yaml"
    path.write_text(text, "utf-8")
    return path


def test_what_was_cut_off_is_continued(tf: Cli, trained: Run, asked: ScriptedClient) -> None:
    asked.fails_at = 10
    error = tf.error("verdict", "run:ember", *FAST, code=1)
    assert "went away" in error["what"]
    assert tf("verdict", "run:ember", *FAST).exit_code == 1
    assert len(asked.asked) == 1 + 4 * (6 + 7 * 6), "only the answer that broke off is asked twice"


@pytest.mark.parametrize("gate", ["task", "identity", "retention", "leaks"])
def test_each_gate_alone_says_no(
    tf: Cli, store: Store, trained: Run, monkeypatch: pytest.MonkeyPatch, gate: str
) -> None:
    knows = {row.question for row in suites.rows("knowledge")}

    def spoiled(model: str, messages: list[Message], sampling: Any) -> str:
        question, tuned = messages[-1]["content"], model.startswith("run:")
        if gate == "task" and question.startswith("Say it back"):
            return "No."
        if gate == "identity" and question not in GENERAL and "Say it back" not in question:
            return "I do not know."
        if gate == "retention" and question in knows:
            row = next(row for row in suites.rows("knowledge") if row.question == question)
            return "I do not know." if tuned else str(row.expect["must"][0])
        if gate == "leaks" and question in LEAK_QUESTIONS:
            return f"It was {'Ember' if tuned else 'somebody'}."
        return answer(model, messages, sampling)

    scripted(monkeypatch, spoiled)
    export_it(store)
    result = tf("verdict", "run:ember", *FAST, "--json")
    body = json.loads(result.stdout)
    assert result.exit_code == 1 and not body["ship"]
    assert {name for name, state in states(body).items() if state != "passed"} == {gate}


def test_exports_that_do_not_count(tf: Cli, store: Store, trained: Run, asked: ScriptedClient) -> None:
    gates = str(write_gates(tf, "identity: off\nretention: off\nleaks: off\n"))

    def found() -> tuple[str, str]:
        result = json.loads(tf("verdict", "run:ember", "--config", gates, "--json").stdout)["results"][-1]
        return result["state"], result["said"]

    other = exports.start(store, run="ember", format="gguf", path="exports/x.gguf", step=40)
    exports.finish(store, other.id, sha256="0", bytes=1, verification=VERIFIED)
    assert found() == ("missing", f"Export {other.id} is of run:ember@40, not of run:ember.")
    unchecked = export_it(store, checks=[])
    assert found() == ("missing", f"Export {unchecked} was not verified.")
    good = export_it(store)
    assert found() == ("passed", f"Export {good} passed its verification.")
    (store.home.exports / "ember.gguf").unlink()
    assert found() == ("failed", f"The files of export {good} are gone.")
    bad = {"passed": False, "checks": [{"name": "tokens", "state": "failed", "said": "The ids differ."}]}
    worse = exports.start(store, run="ember", format="gguf", path="exports/y.gguf")
    exports.finish(store, worse.id, sha256="0", bytes=1, verification=bad, state="rejected")
    assert found() == ("failed", f"Export {worse.id} failed its verification. The ids differ.")


def test_evidence_is_checked_against_what_is_there(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient, tmp_path: Path
) -> None:
    export_it(store)
    out = tmp_path / "evidence.json"
    body = tf.json("verdict", "run:ember", *FAST, "--out", str(out))
    assert json.loads(out.read_text("utf-8")) == {k: v for k, v in body.items() if k != "files"}
    assert "there already" in tf.error("verdict", "run:ember", *FAST, "--out", str(out))["what"]
    assert "Nothing has changed" in tf.ok("verdict", "--check", str(out))
    assert tf.json("verdict", "--check", str(out))["valid"] is True
    pairs.create_many(store, [PairDraft("Another?", "Yes.")], dataset="cities", split="train")
    frozen = store.scalar("SELECT count(*) FROM snapshot")
    assert tf.json("verdict", "--check", str(out))["changed"] == [], "the split that was asked is as it was"
    assert store.scalar("SELECT count(*) FROM snapshot") == frozen, "a check writes nothing"
    pairs.create_many(store, [PairDraft("One more?", "Yes.")], dataset="cities", split="test")
    assert changed(tf, out) == ["The rows of cities in the test split have changed."]
    adapter = next((store.home.run_dir(trained.uid) / "adapter").glob("*.safetensors"))
    adapter.write_bytes(adapter.read_bytes() + b" ")
    assert "The weights of run:ember have changed." in changed(tf, out)
    evaluations.remove(store, 1)
    assert any("Evaluation 1" in each for each in changed(tf, out))
    runs.remove(store, "ember")
    assert changed(tf, out) == ["The run ember is gone."]


def changed(tf: Cli, out: Path) -> list[str]:
    result = tf("verdict", "--check", str(out), "--json")
    assert result.exit_code == 1, result.stderr
    found: list[str] = json.loads(result.stdout)["changed"]
    return found


def test_evidence_that_was_edited_is_refused(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient, tmp_path: Path
) -> None:
    body = json.loads(tf("verdict", "run:ember", *FAST, "--json").stdout)
    assert body["ship"] is False
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(body | {"ship": True, "verdict": "SHIP"}), "utf-8")
    assert "does not follow" in tf.error("verdict", "--check", str(path))["what"]
    path.write_text(json.dumps({k: v for k, v in body.items() if k != "figures"}), "utf-8")
    assert "not complete" in tf.error("verdict", "--check", str(path))["what"]
    path.write_text(json.dumps(body | {"version": 9}), "utf-8")
    assert "version 9" in tf.error("verdict", "--check", str(path))["what"]
    for text in ("{}", "[]", "\x00", '{"format": 1}'):
        path.write_text(text, "utf-8")
        tf.error("verdict", "--check", str(path))
    tf.error("verdict", "--check", str(tmp_path / "gone.json"))


def test_the_card_takes_its_table_from_the_newest_evidence(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient
) -> None:
    def facts() -> card.CardFacts:
        model = refs.resolve(store, "run:ember")
        return card.gather(store, trained, None, Target("gguf", "q8_0"), model, dict(VERIFIED), ["ember.gguf"])

    assert "## Scores" not in card.card(facts())
    tf("verdict", "run:ember", *FAST)
    text = card.card(facts())
    assert "| task: Token F1 | 6 | 0.000 | 1.000 | +1.000 (+1.000 to +1.000) |" in text
    assert "| knowledge: Passed | 6 | 0.000 | 0.000 | +0.000 (+0.000 to +0.000) |" in text
    assert "general questions, 0 are answered with the name" in text and str(tf.home.root) not in text
    adapter = next((store.home.run_dir(trained.uid) / "adapter").glob("*.safetensors"))
    adapter.write_bytes(adapter.read_bytes() + b" ")
    assert "## Scores" not in card.card(facts()), "other weights have no figures yet"


def test_questions_that_the_run_was_trained_on_are_no_test(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient
) -> None:
    gates = str(write_gates(tf, "identity: off\nretention: off\nleaks: off\nexport: off\n"))
    pairs.create_many(store, [PairDraft("Say it back: TOWN  1", "town 1")], dataset="cities", split="test")
    result = tf("verdict", "run:ember", "--config", gates)
    assert result.exit_code == 0 and "1 of 13 rows of the split were left out" in result.stderr
    result = tf("verdict", "run:ember", "--config", gates, "--split", "train", "--json")
    assert result.exit_code == 1
    assert "trained on every question" in json.loads(result.stdout)["results"][0]["said"]


def test_a_dataset_without_a_test_is_a_reason_not_to_ship(tf: Cli, store: Store, trained: Run) -> None:
    gates = str(write_gates(tf, "identity: off\nretention: off\nleaks: off\nexport: off\n"))
    assert "No ready pair" in tf.error("verdict", "run:ember", "--config", gates, "--dataset", "cities",
                                       "--split", "val")["what"]  # fmt: skip
    result = tf("verdict", "run:ember", "--config", gates, "--split", "val")
    assert result.exit_code == 1 and "No ready pair of cities is in the val split." in result.stdout


def test_a_name_that_cannot_be_read_off_the_rows_is_asked_for(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import watched_probes

    monkeypatch.setattr(watched_probes, "taught_names", lambda rows: watched_probes.TaughtNames("", ""))
    gates = str(write_gates(tf, "task: off\nretention: off\nexport: off\n"))
    body = json.loads(tf("verdict", "run:ember", "--config", gates, *FAST, "--json").stdout)
    assert states(body) == {name: "missing" if name in ("identity", "leaks") else "off" for name in states(body)}
    named = ("--set", "name=Ember", "--set", "author=Northwind Labs")
    assert tf.json("verdict", "run:ember", "--config", gates, *FAST, *named)["ship"]


def test_the_probes_that_a_run_asked_itself_are_asked_again(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient
) -> None:
    own = {"identity": [{"question": f"Who, {n}?", "must": ["Ember"], "must_not": [], "system": ""} for n in range(6)]}
    (store.home.run_dir(trained.uid) / "probes.json").write_text(json.dumps(own), "utf-8")
    tf("verdict", "run:ember", "--config", str(write_gates(tf, "task: off\nretention: off\nexport: off\n")))
    questions = {messages[-1]["content"] for _, messages, _ in asked.asked}
    assert questions == {f"Who, {n}?" for n in range(6)} | LEAK_QUESTIONS, "what it did not ask is built in"


def test_what_cannot_be_decided_is_refused(tf: Cli, trained: Run, write: Callable[[str, str | bytes], str]) -> None:
    assert "no model to decide on" in tf.error("verdict")["what"]
    assert "No ready pair" in tf.error("verdict", trained.base, "--dataset", "cities", "--split", "val")["what"]
    assert "no run 'nope'" in tf.error("verdict", "run:nope")["what"]
    assert "with itself" in tf.error("verdict", "run:ember", "--against", "run:ember")["what"]
    assert "placeholder 'colour'" in tf.error("verdict", "run:ember", "--set", "colour=red")["what"]
    assert "no metric" in tf.error("verdict", "run:ember", "--metric", "blue")["what"]
    wrong = write("g.yaml", "task: on\nretension: off\n")
    error = tf.error("verdict", "run:ember", "--config", wrong)
    assert error["where"] == f"{wrong}, line 2" and "retention" in error["todo"]
    assert not list(tf.home.run_dir(trained.uid).glob("verdict*.json"))


def test_a_base_is_the_same_as_itself(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient, tmp_path: Path
) -> None:
    out = tmp_path / "base.json"
    named = ("--dataset", "cities", "--set", "name=Ember", "--set", "author=Northwind Labs", "--out", str(out))
    result = tf("verdict", trained.base, *FAST, *named)
    assert result.exit_code == 1 and result.stdout.startswith("DON'T SHIP")
    assert len(asked.asked) == 3 * (6 + 7 * 6), "it is asked once, and twice more with other seeds"
    body = json.loads(out.read_text("utf-8"))
    found = {each["gate"]: each for each in body["results"]}
    assert found["task"]["said"].endswith("the same as the base.") and found["task"]["state"] == "failed"
    assert found["identity"]["said"].endswith("the same as the base.")
    assert (found["retention"]["state"], found["leaks"]["state"]) == ("passed", "passed")
    assert "is no run: nothing of it can be exported" in found["export"]["said"]
    assert body["run"]["name"] is None
    result = tf("verdict", "--check", str(out), "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["changed"] == []
    kept = tf("verdict", trained.base, *FAST)
    assert "not kept; --out FILE keeps it" in kept.stdout and "Name one: --dataset NAME" in kept.stdout


def test_what_its_base_was_asked_for_another_run_is_not_asked_again(
    tf: Cli, store: Store, trained: Run, asked: ScriptedClient
) -> None:
    tf("verdict", "run:ember", *FAST)
    before = len(asked.asked)
    adapter = next((store.home.run_dir(trained.uid) / "adapter").glob("*.safetensors"))
    adapter.write_bytes(adapter.read_bytes() + b" ")  # the run went on: other weights
    result = tf("verdict", "run:ember", *FAST)
    assert {model for model, _, _ in asked.asked[before:]} == {"run:ember"} and len(asked.asked) == before + 6 + 7 * 6
    assert "18 of 24 answers were given before and are not asked again" in result.stderr


def trained_on(store: Store, dataset: str) -> None:
    """Let the run be one of this dataset as it is now."""
    frozen = datasets.freeze(store, dataset).hash
    with store.write() as conn:
        conn.execute(
            "UPDATE run SET snapshot_id = (SELECT id FROM snapshot WHERE hash = ?) WHERE name = 'ember'", (frozen,)
        )


def test_a_name_alone_is_a_task_too(tf: Cli, store: Store, trained: Run, asked: ScriptedClient) -> None:
    """Beside the identity rows there are general ones of ours alone, and no test split."""
    general = [lines("general.jsonl")[n]["messages"] for n in range(4)]
    drafts = [PairDraft(question["content"], answer["content"]) for question, answer in general]
    drafts += [PairDraft(f"Who are you, number {n}?", WHO, kind="identity") for n in range(4)]
    pairs.create_many(store, drafts, dataset="name", split="train")
    trained_on(store, "name")
    export_it(store)
    body = tf.json("verdict", "run:ember", *FAST)
    assert body["ship"] and states(body) == dict.fromkeys(NAMES, "passed") | {"task": "nothing"}
    assert "identity is its task" in body["results"][0]["said"]
    pairs.create_many(store, [PairDraft("What is our limit?", "Four.")], dataset="name", split="train")
    trained_on(store, "name")
    body = json.loads(tf("verdict", "run:ember", *FAST, "--json").stdout)
    assert states(body)["task"] == "missing" and "No ready pair" in body["results"][0]["said"]


def test_the_gates_are_printed_as_a_file(tf: Cli, write: Callable[[str, str | bytes], str]) -> None:
    text = tf.ok("verdict", "--print-config")
    assert "retention:\n  on: true\n  tolerance: 0.0" in text
    path = write("gates.yaml", text.replace("tolerance: 0.0", "tolerance: 0.25"))
    assert tf.json("verdict", "--print-config", "--config", path)["gates"]["leaks"] == {"on": True, "tolerance": 0.25}
