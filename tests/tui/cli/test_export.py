"""`tuningfork export`, `exports` and `push`, with a stand-in for the process that makes files and one for the hub."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

from engine.core import jobs as core_jobs
from engine.export import targets
from store import exports, jobs
from store.db import Store
from store.errors import Unsupported
from tests import in_thread
from tests.toy_target import ToyTarget
from tests.tui import fake_exports
from tests.tui.cli.conftest import Cli
from tests.tui.fake_exports import FakeExport


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExport]:
    fake = fake_exports.install(monkeypatch)
    yield fake
    fake.gate.set()
    in_thread.join(fake.threads)


@pytest.fixture
def ember(store: Store) -> str:
    return fake_exports.a_run(store, checkpoint=20).name


def _interrupt_once() -> Callable[[float], None]:
    """A sleep that presses Ctrl-C the second time that it is called."""
    naps, real = itertools.count(), time.sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if threading.current_thread() is threading.main_thread() and next(naps) == 1:
            raise KeyboardInterrupt

    return sleep


class TestExport:
    def test_an_adapter_for_llama_cpp_by_default(self, tf: Cli, ember: str, process: FakeExport) -> None:
        result = tf("export", ember)
        assert result.exit_code == 0, result.stderr
        assert [t.title for t in process.asked[0].targets] == ["gguf-adapter"]
        assert "step 20, where the validation loss was lowest (0.500)" in result.stderr
        assert "! warn     top-1     The likeliest token agrees at 98.1% of 412 places." in result.stdout
        assert "145 MB" in result.stdout and "llama-cli -m" in result.stdout

    def test_several_quants_and_formats_at_once(self, tf: Cli, ember: str, process: FakeExport) -> None:
        words = ("--to", "gguf,adapter", "--quant", "q8_0, Q4_K_M", "--quant", "f16", "--to", "gguf")
        found = tf.lines("export", ember, *words)
        assert [(e["format"], e["quant"]) for e in found] == [
            ("gguf", "q8_0"), ("gguf", "q4_k_m"), ("gguf", "f16"), ("adapter", None),
        ]  # fmt: skip
        for each in found:
            assert (
                each["state"] == "done"
                and each["error"] is None
                and each["proof"]["passed"] is True
                and each["proof"]["held"] is True
            )
            assert Path(each["path"]).exists() and each["bytes"] == 145_000_000 and len(each["sha256"]) == 64
        assert found[0]["commands"][0]["program"] == "llama.cpp"

    @pytest.mark.parametrize("format", ["gguf", "ollama"])
    def test_q8_0_when_no_quant_is_named(self, tf: Cli, ember: str, process: FakeExport, format: str) -> None:
        tf.ok("export", ember, "--to", format)
        assert process.asked[0].targets[0].quant == "q8_0"

    def test_everything_asked_for_reaches_the_process(
        self, tf: Cli, ember: str, process: FakeExport, tmp_path: Path
    ) -> None:
        out = tmp_path / "out" / "ember.gguf"
        words = ("--to", "gguf", "--out", str(out), "--overwrite", "--no-verify", "--converter", "official")
        tf.ok("export", f"{ember}@20", *words, "--probes", "sample:identity", "--set", "name=Ember")
        [request] = process.asked
        assert (request.run, request.out, request.overwrite, request.verify) == (f"{ember}@20", out, True, False)
        assert request.converter == "official" and request.variables == {"name": "Ember"}
        assert request.probes is not None and request.probes.name == "identity.jsonl"

    def test_a_failed_verification_ends_with_1_and_says_what_to_make_instead(
        self, tf: Cli, ember: str, process: FakeExport
    ) -> None:
        process.bad["gguf q4_0"] = "It no longer answers as the run does."
        result = tf("export", ember, "--to", "gguf", "--quant", "q4_0,q8_0")
        assert result.exit_code == 1
        assert "✗ failed   probes" in result.stdout and ".rejected" in result.stdout
        assert "gguf q4_0, rejected: it failed its verification: It no longer answers as the run does." in result.stderr
        assert "Make q8_0 instead" in result.stderr
        again = tf("export", ember, "--to", "gguf", "--quant", "q4_0,q8_0", "--overwrite", "--json")
        assert again.exit_code == 1 and json.loads(again.stderr.splitlines()[-1])["error"] == "WorkerError"
        assert [json.loads(line)["state"] for line in again.stdout.splitlines()] == ["rejected", "done"]

    def test_plan_makes_nothing(self, tf: Cli, ember: str, process: FakeExport, store: Store) -> None:
        [found] = tf.lines("export", ember, "--to", "merged", "--plan")
        assert found["path"] == str(store.home.exports / ember / f"{ember}-step20-merged")
        assert found["taken"] is False and found["kl"] is None and found["bytes"] > 1_000_000
        tf.ok("export", ember, "--to", "gguf")
        assert "0.0004" in tf.ok("export", ember, "--to", "gguf", "--quant", "q8_0,f16", "--plan")
        assert len(process.asked) == 1

    def test_what_is_there_stays_without_overwrite(self, tf: Cli, ember: str) -> None:
        tf.ok("export", ember)
        assert "already exists" in tf.error("export", ember)["what"]
        tf.ok("export", ember, "--overwrite")

    @pytest.mark.parametrize(
        ("words", "where", "what"),
        [
            (("none",), None, "none"),
            (("ember-1@7",), None, "no checkpoint at step 7"),
            (("a b",), "RUN", "does not name a run"),
            (("ember-1", "--to", "word"), "--to", "gguf-adapter, gguf"),
            (("ember-1", "--to", "gguf", "--quant", "q9"), "--quant", "q8_0"),
            (("ember-1", "--to", "merged", "--quant", "q8_0"), "--quant", "merged has no quants"),
            (("ember-1", "--to", ","), "--to", "is none of"),
            (("ember-1", "--set", "name"), "--set", "NAME=VALUE"),
            (("ember-1", "--probes", "sample:none"), None, "no sample file"),
        ],
    )
    def test_mistakes(self, tf: Cli, ember: str, words: tuple[str, ...], where: str | None, what: str) -> None:
        error = tf.error("export", *words)
        assert what in str(error["what"]) and (where is None or error["where"] == where)
        assert tf.json("exports", "list") == []

    def test_ctrl_c_cancels_the_export_and_is_130(
        self, tf: Cli, ember: str, process: FakeExport, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process.gate.clear()
        monkeypatch.setattr(core_jobs.time, "sleep", _interrupt_once())
        result = tf("export", ember, "--json")
        error = json.loads(result.stderr.splitlines()[-1])
        assert result.exit_code == 130 and error["error"] == "Interrupted" and "nothing of it is left" in error["what"]
        assert process.cancelled and jobs.all_jobs(store)[0].state == "stopped" and tf.json("exports", "list") == []

    def test_detach_only_starts_it_and_jobs_follow_and_stop_it(
        self, tf: Cli, ember: str, process: FakeExport, store: Store
    ) -> None:
        process.gate.clear()
        first = tf.json("export", ember, "--detach")
        second = tf.json("export", ember, "--to", "merged", "--detach")
        assert first["state"] == "starting" and second["state"] == "queued"
        for verb in ("watch", "stop"):
            assert first[verb].startswith(f"tuningfork jobs {verb} 1")
        assert "waits for another export: job 3" in tf.ok("export", ember, "--to", "adapter", "--detach")
        listed = tf.json("jobs", "list")
        assert [(job["job"], job["kind"]) for job in listed] == [(str(n), "export") for n in (1, 2, 3)]
        assert "gguf-adapter" in tf.ok("jobs", "list") and tf.json("jobs", "stop", "3")["state"] == "stopped"
        assert tf.json("jobs", "stop", "1")["state"] == "stopped" and process.cancelled
        process.gate.set()
        end = [json.loads(line) for line in tf.ok("jobs", "watch", "2", "--json").splitlines()][-1]
        assert (end["type"], end["job"], end["state"]) == ("job", "2", "succeeded")
        assert [e["format"] for e in tf.json("exports", "list")] == ["merged"]
        assert tf.json("jobs", "list") == [] and len(tf.json("jobs", "list", "--all")) >= 4  # with the training run
        assert "already ended" in tf.error("jobs", "stop", "2")["what"]

    def test_a_target_that_is_added_is_everywhere(
        self, tf: Cli, ember: str, monkeypatch: pytest.MonkeyPatch, process: FakeExport
    ) -> None:
        monkeypatch.setitem(targets.REGISTRY, "toy", ToyTarget())
        assert "toy (a toy)" in " ".join(tf.ok("export", "--help").split())
        (made,) = tf.lines("export", ember, "--to", "toy", "--quant", "t1")
        assert (made["format"], made["quant"], made["state"]) == ("toy", "t1", "done")
        assert [p["bytes"] for p in tf.lines("export", ember, "--to", "toy", "--quant", "t1", "--plan")] == [11]
        assert "'t9' is none of" in str(tf.error("export", ember, "--to", "toy", "--quant", "t9")["what"])

    def test_what_the_process_says_is_passed_on(self, tf: Cli, ember: str, process: FakeExport) -> None:
        process.error = Unsupported("DoRA cannot be a GGUF adapter.", todo="Merge it: --to gguf.")
        assert tf.error("export", ember)["todo"] == "Merge it: --to gguf."

    def test_the_help_names_every_format_and_quant(self, tf: Cli) -> None:
        words = " ".join(tf.ok("export", "--help").split())
        assert all(f"{name} ({target.help})" in words for name, target in targets.REGISTRY.items())
        assert all(quant in words for quant in targets.all_quants())


class TestExports:
    def test_list_show_and_rm(self, tf: Cli, ember: str, store: Store) -> None:
        assert "tuningfork export RUN" in tf("exports", "list").stderr
        tf.ok("export", ember, "--to", "gguf,merged")
        listed = tf.json("exports", "list")
        assert [e["format"] for e in listed] == ["merged", "gguf"] and tf.json(
            "exports", "list", "--run", "other"
        ) == []
        assert "ember-1@20" in tf.ok("exports", "list")
        shown = tf.ok("exports", "show", "1")
        assert "KL 0.0004" in shown and "✓ passed" in shown and "ollama create" in shown and "sha256" in shown
        assert tf.json("exports", "show", "1")["commands"]
        path = Path(listed[1]["path"])
        assert "--yes" in tf.error("exports", "rm", "1")["todo"] and path.exists()
        gone = tf.json("exports", "rm", "1", "--yes")
        assert gone == {"removed": [1], "deleted": [str(path.parent)]} and not path.parent.exists()
        assert [e["id"] for e in tf.json("exports", "list")] == [2]
        assert "no export 1" in tf.error("exports", "show", "1")["what"]

    def test_what_a_dead_process_left_is_failed(self, tf: Cli, ember: str, store: Store) -> None:
        exports.start(store, run=ember, format="merged", path=f"exports/{ember}/x")
        result = tf("exports", "list")
        assert "failed: its process is gone" in result.stderr and "failed" in result.stdout


class FakeHub:
    """Notes what would be sent; `error` is what the hub says to everything."""

    error: Exception | None = None
    sent: list[tuple[str, Any]] = []

    def whoami(self) -> dict[str, str]:
        if self.error:
            raise self.error
        return {"name": "northwind"}

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.sent.append(("repo", (repo, private)))
        return f"https://huggingface.co/{repo}"

    def create_commit(self, repo: str, operations: list[Any], *, commit_message: str) -> None:
        self.sent.append((commit_message, sorted(o.path_in_repo for o in operations)))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    FakeHub.sent, FakeHub.error = [], None
    yield FakeHub


class TestPush:
    FILES = ("README.md", "SHA256SUMS", "ember-1-step20-q8_0.gguf", "proof.json")

    def test_lists_asks_and_sends(self, tf: Cli, ember: str, hub: type[FakeHub]) -> None:
        tf.ok("export", ember, "--to", "gguf")
        assert "--yes" in tf.error("push", "1", "--to", "northwind/ember")["todo"] and hub.sent == []
        result = tf("push", "1", "--to", "northwind/ember", "--private", "--yes")
        assert result.exit_code == 0 and result.stdout.endswith("https://huggingface.co/northwind/ember\n")
        assert all(name in result.stdout for name in self.FILES) and "500 B" in result.stdout
        assert hub.sent == [
            ("repo", ("northwind/ember", True)),
            ("ember-1@20: gguf q8_0, by Tuningfork", [*self.FILES]),
        ]

    def test_dry_run_by_path_sends_nothing(self, tf: Cli, ember: str, hub: type[FakeHub], store: Store) -> None:
        tf.ok("export", ember, "--to", "gguf")
        path = store.home.absolute(exports.get(store, 1).path)
        for place in (path, path.parent):
            found = tf.json("push", str(place), "--to", "northwind/ember", "--dry-run")
            assert [file["name"] for file in found["files"]] == [*self.FILES] and found["bytes"] == 2000
            assert found["url"] is None
        assert hub.sent == []

    def test_only_finished_exports_leave(
        self, tf: Cli, ember: str, hub: type[FakeHub], process: FakeExport, tmp_path: Path
    ) -> None:
        process.bad["gguf q4_0"] = "No."
        tf("export", ember, "--to", "gguf", "--quant", "q4_0")
        assert "failed its verification" in tf.error("push", "1", "--to", "a/b", "--yes")["what"]
        assert "No export lies at" in tf.error("push", str(tmp_path), "--to", "a/b", "--yes")["what"]
        assert tf.error("push", "1", "--to", "ember", "--yes")["where"] == "--to"
        assert hub.sent == []

    @pytest.mark.parametrize(
        ("error", "code", "what"),
        [
            (LocalTokenNotFoundError("no token"), 2, "no token"),
            (OfflineModeIsEnabled("offline"), 2, "HF_HUB_OFFLINE"),
            (ConnectionError("no route"), 1, "cannot be reached"),
        ],
    )
    def test_what_stands_in_the_way_is_said(
        self, tf: Cli, ember: str, hub: type[FakeHub], error: Exception, code: int, what: str
    ) -> None:
        tf.ok("export", ember, "--to", "gguf")
        hub.error = error
        result = tf("push", "1", "--to", "northwind/ember", "--yes", "--json")
        said = json.loads(result.stderr.splitlines()[-1])
        assert result.exit_code == code and what in said["what"] and said["todo"] and hub.sent == []
