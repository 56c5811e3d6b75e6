"""`tuningfork train` and `tuningfork runs`, with real detached processes around a stand-in for training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import runs
from store.db import Store
from store.records import END_STATES
from tests import holding
from tests.holding import DEADLINE_S, release
from tests.tui.cli.conftest import Cli

ROOT = Path(__file__).parents[3]
Train = Callable[..., Any]


@pytest.fixture
def train(tf: Cli, facts: str, base: str, workers: None) -> Train:
    """Run `train` on the dataset and a base that only looks like one; its JSON."""
    return lambda *words: tf.json("train", "--dataset", facts, "--model", base, *words)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs wait after their first step, until the test lets go or stops them."""
    monkeypatch.setenv(holding.AT, "1")


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.03)


class TestTrain:
    def test_returns_at_once_with_how_to_watch_and_stop(
        self, tf: Cli, train: Train, facts: str, base: str, held: None
    ) -> None:
        found = train("--name", "one")
        assert found["run"] == "one" and found["state"] in ("starting", "running") and found["base"] == base
        home = tf.home.root
        assert found["watch"] == f"tuningfork runs watch one --home {home}"
        assert found["stop"] == f"tuningfork runs stop one --home {home}"
        result = tf("train", "--dataset", facts, "--model", base)
        assert result.stdout == "Run facts-1 waits in the queue.\n"
        assert "runs watch facts-1" in result.stderr and "runs stop facts-1" in result.stderr

    def test_wait_prints_the_run(self, train: Train, tf: Cli) -> None:
        found = train("--steps", "3", "--wait", "--seed", "5", "--method", "dora", "--targets", "q_proj, v_proj")
        assert {"state", "step", "total_steps", "metrics", "snapshot", "config", "adapter"} <= set(found)
        assert (found["state"], found["step"], found["total_steps"]) == ("succeeded", 3, 3)
        assert [point["step"] for point in found["metrics"]["loss"]] == [1, 2, 3]
        config = found["config"]
        assert (config["method"], config["dora"], config["seed"]) == ("lora", True, 5)
        assert config["targets"] == ["q_proj", "v_proj"]
        assert Path(found["adapter"]).is_dir() and Path(found["attempts"][0]["log"]).is_file()
        assert found["events"] and tf.json("runs", "show", found["name"]) == {**found, "hung": False}

    def test_every_number_can_be_given(self, train: Train) -> None:
        given = {
            "steps": 1, "lr": 0.002, "rank": 4, "alpha": 8.0, "dropout": 0.1, "batch_size": 2, "max_length": 64,
            "scheduler": "constant", "warmup": 0.2, "weight_decay": 0.01, "max_grad_norm": 0.5, "dtype": "fp32",
            "packing": "padded", "seed": 9, "save_every": 7, "keep_checkpoints": 3, "threads": 1,
        }  # fmt: skip
        words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        config = train(*words, "--rslora", "--recipe", "careful")["config"]
        assert {name: config[name] for name in given} == given
        assert config["rslora"] is True and config["recipe"] == "careful"

    def test_a_snapshot_can_be_trained_again(self, tf: Cli, train: Train, facts: str, base: str) -> None:
        frozen = tf.json("data", "freeze", "--dataset", facts)["hash"]
        tf.ok("data", "add", "-q", "More?", "-a", "Yes.", "--dataset", facts)
        words = ("train", "--snapshot", frozen[:12], "--model", base, "--steps", "1")
        assert tf.json(*words)["snapshot"] == frozen

    def test_a_run_that_fails_exits_1_and_says_how_to_go_on(self, tf: Cli, train: Train, held: None) -> None:
        train("--name", "slow")
        pid = tf.json("runs", "show", "slow")["attempts"][0]["pid"]
        until(lambda: tf.json("runs", "show", "slow")["step"] >= 1)
        os.kill(pid, signal.SIGKILL)
        result = tf("runs", "watch", "slow")
        assert result.exit_code == 1 and result.stdout == ""
        assert "run slow, lost" in result.stderr and "runs resume slow" in result.stderr
        assert tf.json("runs", "list")[0]["state"] == "lost"


class TestRuns:
    def test_list_show_log(self, tf: Cli, train: Train) -> None:
        train("--steps", "3", "--name", "one", "--wait")
        [row] = tf.json("runs", "list")
        assert (row["name"], row["state"], row["step"], row["total_steps"]) == ("one", "succeeded", 3, 3)
        assert "one" in tf.ok("runs", "list")
        shown = tf.ok("runs", "show", "one")
        assert "done" in shown and "succeeded" not in shown and "4 → 1.333" in shown and "adapter" in shown
        assert set(tf.json("runs", "log", "one")) == {"run", "log", "text"}

    def test_an_empty_home(self, tf: Cli) -> None:
        assert tf.json("runs", "list") == [] and tf.json("runs", "queue") == {"live": [], "queued": []}
        assert "tuningfork train" in tf("runs", "list").stderr

    def test_watch_prints_lines_and_the_run_last(self, tf: Cli, train: Train) -> None:
        train("--steps", "4", "--name", "one")
        found = tf.lines("runs", "watch", "one")
        kinds = [line["type"] for line in found]
        assert kinds[-1] == "run" and {"event", "metric"} <= set(kinds)
        assert [line["step"] for line in found if line["type"] == "metric" and line["name"] == "loss"] == [1, 2, 3, 4]
        assert found[-1]["state"] == "succeeded"
        result = tf("runs", "watch", "one")
        assert result.stdout.startswith("Run one is done") and "after 4/4 steps" in result.stdout

    def test_stop_leaves_a_checkpoint_that_resume_takes_up(
        self, tf: Cli, train: Train, store: Store, held: None
    ) -> None:
        train("--steps", "3", "--name", "one")
        until(lambda: runs.get(store, "one").step >= 1)
        assert tf.json("runs", "stop", "one")["wanted"] == "stop"
        until(lambda: runs.get(store, "one").state in END_STATES)
        found = tf.json("runs", "show", "one")
        assert found["state"] == "stopped" and Path(found["checkpoints"][0]["path"]).is_dir()
        result = tf("runs", "resume", "one", "--wait")
        assert result.exit_code == 0 and "Run one is done after" in result.stdout, result.stderr
        assert tf.json("runs", "show", "one")["attempts"][1]["resume_from"] == found["step"]
        assert "nothing to resume" in tf.error("runs", "resume", "one")["what"]

    def test_resume_names_a_step_and_falls_back_from_a_damaged_one(
        self, tf: Cli, train: Train, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(holding.AT, "3")
        train("--steps", "4", "--save-every", "1", "--name", "one")
        until(lambda: runs.get(store, "one").step >= 3)
        tf.ok("runs", "stop", "one")
        until(lambda: runs.get(store, "one").state in END_STATES)
        monkeypatch.delenv(holding.AT)
        newest = runs.checkpoints(store, runs.get(store, "one").id)[-1]
        (store.home.absolute(newest.path) / "optimizer.pt").write_text("something else")
        assert "step 3 is damaged" in tf.error("runs", "resume", "one@3")["what"]
        assert "no checkpoint at step 8" in tf.error("runs", "resume", "one@8")["what"]
        result = tf("runs", "resume", "one", "--wait")
        assert result.exit_code == 0 and "resumed from step 2" in result.stderr, result.stderr

    def test_a_finished_run_is_given_more_steps(self, tf: Cli, train: Train) -> None:
        train("--steps", "2", "--wait", "--name", "one")
        assert "has 2 steps already" in tf.error("runs", "resume", "one", "--steps", "2")["what"]
        tf.ok("runs", "resume", "one", "--steps", "5", "--wait")
        found = tf.json("runs", "show", "one")
        assert (found["state"], found["step"], found["config"]["steps"]) == ("succeeded", 5, 5)
        assert [attempt["resume_from"] for attempt in found["attempts"]] == [None, 2]

    @pytest.mark.parametrize(("recipe", "offered"), [("error", False), ("crash", True)])
    def test_resume_is_not_offered_where_it_must_fail_again(
        self, tf: Cli, train: Train, store: Store, recipe: str, offered: bool
    ) -> None:
        name = "one"
        config = train("--steps", "1", "--name", "zero", "--wait")["config"]
        made = runs.get(store, "zero")
        runs.create(store, name=name, base=made.base, snapshot=made.snapshot, method="lora",
                    config={**config, "recipe": recipe}, config_hash="x", seed=0)  # fmt: skip
        result = tf("runs", "watch", name)
        assert result.exit_code == 1 and ("runs resume one" in result.stderr) is offered
        assert ("fail in the same way" in result.stderr) is not offered

    def test_a_template_s_file_is_kept_with_the_run(self, train: Train, tmp_path: Path, tf: Cli) -> None:
        file = tmp_path / "own.jinja"
        file.write_text("{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}")
        config = train("--steps", "1", "--template", str(file), "--system", "fold", "--name", "one")["config"]
        assert (config["template"], config["system"]) == (file.read_text(), "fold")
        wrong = tf.error("train", "--dataset", "facts", "--template", str(tmp_path / "none.jinja"))
        assert "cannot be read" in wrong["what"]

    def test_queue_and_stopping_a_queued_run(self, tf: Cli, train: Train, held: None) -> None:
        for name in ("one", "two", "three"):
            train("--name", name)
        assert tf.json("runs", "queue") == {"live": ["one"], "queued": ["two", "three"]}
        assert "two" in tf.ok("runs", "queue")
        assert tf.json("runs", "first", "three") == {"queued": ["three", "two"]}
        assert tf.json("runs", "queue") == {"live": ["one"], "queued": ["three", "two"]}
        assert tf.ok("runs", "first", "two") == "Run two starts next.\n"
        assert tf.json("runs", "stop", "three")["state"] == "stopped"
        assert tf.json("runs", "queue") == {"live": ["one"], "queued": ["two"]}
        tf.ok("runs", "stop", "two")
        assert tf.json("runs", "stop", "one", "--now")["state"] in ("lost", "stopped")

    def test_rm_asks_and_takes_the_files_away(self, tf: Cli, train: Train) -> None:
        folder = Path(train("--steps", "1", "--name", "one", "--wait")["adapter"])
        assert "--yes" in tf.error("runs", "rm", "one")["todo"] and folder.is_dir()
        assert tf.json("runs", "rm", "one", "--yes") == {"removed": ["one"]}
        assert not folder.exists() and tf.json("runs", "list") == []

    def test_rm_leaves_a_live_run_alone(self, tf: Cli, train: Train, held: None) -> None:
        train("--name", "one")
        assert tf.error("runs", "rm", "one", "--yes")["error"] == "Conflict"
        tf.ok("runs", "stop", "one", "--now")


class TestInterrupt:
    def test_ctrl_c_leaves_the_run_and_says_how_to_get_back(
        self, tf: Cli, train: Train, store: Store, held: None
    ) -> None:
        """A real process and a real SIGINT: the watcher ends with 130, the run keeps running to its end."""
        train("--steps", "3", "--name", "one")
        words = [sys.executable, "-m", "tui", "runs", "watch", "one", "--home", str(tf.home.root)]
        watcher = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert watcher.stderr is not None and watcher.stderr.readline(), "it watches"
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=DEADLINE_S)
        assert (watcher.returncode, out) == (130, "")
        assert "Run one keeps running." in err and f"runs watch one --home {tf.home.root}" in err
        assert "Traceback" not in err
        release(store, "one")
        until(lambda: runs.get(store, "one").state in END_STATES)
        assert runs.get(store, "one").state == "succeeded"

    def test_under_json_it_is_an_error_object(self, tf: Cli, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
        from engine.training import run_control

        train("--steps", "1", "--name", "one", "--wait")

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(run_control, "wait", interrupted)
        result = tf("runs", "watch", "one", "--json")
        error = json.loads(result.stderr.splitlines()[-1])
        assert result.exit_code == 130 and error["error"] == "Interrupted" and "keeps running" in error["what"]
