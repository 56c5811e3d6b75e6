"""`tuningfork runs checkpoints`, `runs result`, `runs rm NAME@STEP` and `runs diff`."""

from __future__ import annotations

from pathlib import Path

from engine.models import refs
from store import runs
from store.db import Store
from tests.saved_runs import a_saved_run, spoil
from tests.tui.cli.conftest import Cli


def test_the_list_as_text_and_as_json(tf: Cli, store: Store) -> None:
    run, _ = a_saved_run(store)
    spoil(store.home.run_dir(run.uid) / "checkpoints" / "step-20")
    found = tf.json("runs", "checkpoints", "ember-1")
    assert found["result"] == {"step": 60, "ref": "run:ember-1", "finished": True, "chosen": False}
    assert [(each["step"], each["best"], each["latest"]) for each in found["checkpoints"]] == [
        (60, False, True), (40, True, False), (20, False, False),
    ]  # fmt: skip
    assert found["checkpoints"][1]["probes"] == {"general": 0.625, "identity": 0.95}
    assert found["checkpoints"][2]["damage"] == "adapter_model.safetensors is not what was saved"
    assert found["finished"]["result"] and Path(found["checkpoints"][1]["path"]).is_dir()
    result = tf("runs", "checkpoints", "ember-1")
    head, first, *_, last = result.stdout.splitlines()
    assert head.split()[:4] == ["step", "saved", "loss", "val"] and "identity" in head
    assert "finished adapter, result" in first and first.endswith("whole")
    assert last.endswith("damaged: adapter_model.safetensors is not what was saved")
    assert "3 checkpoints" in result.stderr and "runs resume --steps" in result.stderr


def test_a_run_that_saved_nothing(tf: Cli, store: Store) -> None:
    a_saved_run(store, steps=(), state="failed")
    assert "has saved nothing." in tf("runs", "checkpoints", "ember-1").stderr
    assert tf.json("runs", "checkpoints", "ember-1")["checkpoints"] == []
    assert tf.json("runs", "result", "ember-1")["ref"] is None


def test_the_result_is_shown_chosen_and_reset(tf: Cli, store: Store) -> None:
    run, _ = a_saved_run(store)
    assert tf.ok("runs", "result", "ember-1") == "run:ember-1 is the finished adapter, from step 60.\n"
    assert tf.ok("runs", "result", "ember-1@40") == "run:ember-1 is step 40, which you chose.\n"
    assert refs.resolve(store, "run:ember-1").ref == "run:ember-1@40"
    assert tf.json("runs", "result", "ember-1") == {
        "run": "ember-1", "step": 40, "ref": "run:ember-1@40", "finished": False, "chosen": True,
    }  # fmt: skip
    assert tf.json("runs", "show", "ember-1")["result_step"] == 40
    assert "step 40, which you chose" in tf.ok("runs", "show", "ember-1")
    assert "exclude each other" in tf.error("runs", "result", "ember-1@40", "--reset")["what"]
    assert tf.json("runs", "result", "ember-1", "--reset")["finished"]
    spoil(store.home.run_dir(run.uid) / "checkpoints" / "step-20")
    assert "step 20 is damaged" in tf.error("runs", "result", "ember-1@20")["what"]
    assert tf.error("runs", "result", "ember-1@7")["todo"] == "Its checkpoints: 20, 40, 60."


def test_rm_removes_one_checkpoint_but_never_the_result(tf: Cli, store: Store) -> None:
    run, _ = a_saved_run(store, state="stopped")
    assert "is the result of run ember-1" in tf.error("runs", "rm", "ember-1@60", "--yes")["what"]
    assert "--yes" in tf.error("runs", "rm", "ember-1@20")["todo"]
    assert tf.json("runs", "rm", "ember-1@20", "--yes") == {"removed": ["ember-1@20"]}
    assert [each.step for each in runs.checkpoints(store, run.id)] == [40, 60]
    assert "no checkpoint at step 20" in tf.error("runs", "rm", "ember-1@20", "--yes")["what"]


def test_two_runs_are_compared(tf: Cli, store: Store) -> None:
    a_saved_run(store, "one")
    a_saved_run(store, "two", config={"lr": 5e-4}, factor=0.5)
    found = tf.json("runs", "diff", "one", "two")
    assert found["settings"] == [{"name": "lr", "before": 1e-3, "after": 5e-4}]
    assert found["data"]["same"] == 12 and found["before"]["best_val"] == 0.5
    assert found["after"]["probes"] == {"general": 0.5, "identity": 1.0}
    lines = tf.ok("runs", "diff", "one", "two").splitlines()
    assert lines[0].split() == ["setting", "one", "two"] and lines[1].split() == ["lr", "1e-3", "5e-4"]
    assert "The same 12 rows of ember." in lines and any(line.split()[:2] == ["identity", "100%"] for line in lines)
    a_saved_run(store, "three", dataset="zoo")
    result = tf("runs", "diff", "one", "three")
    assert "Both runs have the same settings." in result.stdout
    assert "12 rows of ember → 12 rows of zoo" in result.stdout and "12 added, 12 removed" in result.stdout
    assert "data snapshots diff" in result.stderr
    assert "no run 'none'" in tf.error("runs", "diff", "one", "none")["what"]


def test_a_note_is_kept_shown_and_removed(tf: Cli, store: Store) -> None:
    a_saved_run(store, "one")
    assert "There is no note on run one." in tf("runs", "note", "one").stderr
    assert "note" not in tf.ok("runs", "list").splitlines()[0]
    assert tf.ok("runs", "note", "one", "half the data:\n答案太短") == "Noted: half the data: 答案太短\n"
    assert tf.ok("runs", "note", "one") == "half the data: 答案太短\n"
    assert tf.json("runs", "show", "one")["note"] == "half the data: 答案太短" == tf.json("runs", "list")[0]["note"]
    assert "答案太短" in tf.ok("runs", "list") and "答案太短" in tf.ok("runs", "show", "one")
    assert tf.json("runs", "note", "one", "") == {"run": "one", "note": ""}
    assert "500 are the most" in tf.error("runs", "note", "one", "x" * 600)["what"]
    assert "no run 'none'" in tf.error("runs", "note", "none", "x")["what"]
