"""`tuningfork models`, `probe`, `serve`, `doctor` and `demo`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import doctor
from engine.inference import access
from engine.models import listed_models
from store.errors import NoSpace
from store.home import Home
from tests.tui.cli.conftest import BASE, Cli

ROOT = Path(__file__).parents[3]
Write = Callable[[str, str | bytes], str]


class TestModels:
    def test_a_fresh_home_knows_the_embedded_model(self, tf: Cli) -> None:
        [row] = tf.json("models", "list")
        assert (row["ref"], row["kind"], row["state"], row["adapter"]) == (BASE, "embedded", "to prepare", None)
        assert Path(row["path"]).is_file()

    def test_add_list_rm_a_folder(self, tf: Cli, base: str) -> None:
        found = tf.json("models", "add", base)
        assert (found["ref"], found["kind"], found["state"]) == (base, "folder", "ready")
        assert [row["ref"] for row in tf.json("models", "list")] == [BASE, base]
        assert tf.json("models", "rm", base) == {"removed": base}
        assert len(tf.json("models", "list")) == 1 and Path(base).is_dir()
        assert tf.error("models", "rm", base)["error"] == "NotFound"

    def test_an_endpoint_needs_nothing(self, tf: Cli) -> None:
        ref = "http://127.0.0.1:9/v1#llama"
        assert tf.json("models", "add", ref)["state"] == "remote"
        assert "remote" in tf.ok("models", "list")

    def test_a_model_whose_files_are_gone_is_said_to_be_broken(self, tf: Cli, base: str) -> None:
        tf.ok("models", "add", base)
        Path(base).rename(base + "-moved")
        assert tf.json("models", "list")[1]["state"] == "broken"

    @pytest.mark.parametrize("ref", ["run:one", "http://host", "/no/such/folder", "missing.gguf"])
    def test_what_cannot_be_added(self, tf: Cli, ref: str) -> None:
        tf.error("models", "add", ref)
        assert len(tf.json("models", "list")) == 1

    def test_no_room_for_the_cache(self, tf: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        def prepare(*_: object, **__: object) -> None:
            raise NoSpace("There is no room for it.", where=str(tf.home.models), todo="Free 1 GB.")

        monkeypatch.setattr(listed_models, "prepare", prepare)
        assert tf.error("models", "add", BASE) == {
            "error": "NoSpace", "what": "There is no room for it.", "where": str(tf.home.models), "todo": "Free 1 GB."
        }  # fmt: skip
        assert tf.error("models", "add", "org/name")["error"] == "NoSpace" and len(tf.json("models", "list")) == 1


class TestProbe:
    FILE = '{"question": "Who?", "must": ["smollm2"]}\n{"question": "Where?", "must": ["where"], "must_not": ["?"]}\n'

    def test_scores_and_items_of_both(self, tf: Cli, client: object, write: Write) -> None:
        other = "http://127.0.0.1:9/v1#other"
        file = write("p.jsonl", self.FILE)
        found = tf.json("probe", "--model", BASE, "--against", other, "--probes", file)
        assert (found["probes"], found["of"], found["seed"]) == (file, 2, 0)
        assert [(found[s]["model"], found[s]["passed"]) for s in ("model", "against")] == [(BASE, 1), (other, 0)]
        assert [item["passed"] for item in found["model"]["items"]] == [True, False]
        assert set(found["model"]["items"][0]) == {"question", "text", "passed", "score", "reason"}

    def test_for_a_person_and_kept(self, tf: Cli, client: object, write: Write) -> None:
        from store import evals
        from store.db import Store

        shown = tf.ok("probe", "--model", BASE, "--probes", write("p.jsonl", self.FILE))
        assert f"{BASE}: 1 of 2" in shown and "Who?" in shown
        with Store.open(tf.home) as store:
            [kept] = evals.all_evals(store)
            assert (kept.model, kept.passed) == (BASE, 1)

    def test_placeholders_of_a_sample_are_filled(self, tf: Cli, client: Any) -> None:
        words = ("probe", "--model", BASE, "--probes", "sample:identity", "--set", "name=Ember")
        found = tf.json(*words, "--set", "author=Northwind Labs")
        assert found["of"] >= 10 and not any("{{" in str(messages) for _, messages, _, _ in client.asked)


class TestServe:
    @pytest.mark.parametrize("replaced", [False, True])
    def test_from_start_to_stop(self, tf: Cli, replaced: bool) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = [sys.executable, "-m", "tui", "serve", "--port", port, "--json", "--home", str(tf.home.root)]
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        server = subprocess.Popen(words, **piped)
        try:
            assert server.stdout is not None
            said = json.loads(server.stdout.readline())
            assert said["url"] == f"http://127.0.0.1:{port}/v1" and Path(said["token_file"]).stat().st_mode & 0o77 == 0
            token = Path(said["token_file"]).read_text().strip()
            request = urllib.request.Request(said["url"] + "/models", headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=10) as response:
                assert BASE in [row["id"] for row in json.load(response)["data"]]
            assert "--replace" in tf.error("serve", "--port", port)["todo"]
            if replaced:
                other = subprocess.Popen([*words, "--replace"], **piped)
                assert server.wait(15) is not None
                server.communicate()
                server = other
                assert server.stdout is not None
                assert json.loads(server.stdout.readline())["url"] == said["url"]
                with urllib.request.urlopen(request, timeout=10) as response:
                    assert response.status == 200
            server.send_signal(signal.SIGINT)
            _, err = server.communicate(timeout=15)
            assert server.returncode == 130 and "The server has stopped." in err and "Traceback" not in err
        finally:
            server.kill()
            server.wait()
        assert access.read_info(tf.home) is None
        assert tf.error("serve", "--stop")["error"] == "NotFound"

    @pytest.mark.parametrize(
        ("words", "where"),
        [
            (("--host", "0.0.0.0"), "--host"),
            (("--token-file", "/no/such/file"), "/no/such/file"),
            (("--model", "run:none"), None),
            (("--port", "0"), "--port"),
        ],
    )
    def test_what_is_refused_before_it_listens(self, tf: Cli, words: tuple[str, ...], where: str | None) -> None:
        error = tf.error("serve", *words)
        assert where is None or error["where"] == where
        assert access.read_info(tf.home) is None


class TestDoctor:
    """The slow checks, which start processes, are replaced where they are not the point."""

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "_cuda", lambda: doctor.Diagnosis("cuda", "ok", "no GPU"))
        monkeypatch.setattr(doctor, "_llama", lambda: doctor.Diagnosis("llama.cpp", "ok", "there"))

    def checks(self, home: Home, environ: Mapping[str, str] | None = None) -> dict[str, doctor.Diagnosis]:
        return {check.name: check for check in doctor.examine(home, environ=environ or {"TERM": "xterm"})}

    def test_all_is_well(self, tf: Cli, quick: None, facts: str) -> None:
        found = tf.json("doctor")
        names = [check["name"] for check in found["checks"]]
        assert found["ok"] is True
        assert names[:6] == ["python", "cores and memory", "home", "disk", "store", "base model"]
        assert names[6:] == ["llama.cpp", "terminal", "torch", "cuda"]
        assert all(set(check) == {"name", "mark", "what", "todo"} for check in found["checks"])
        assert "Tuningfork can run here." in tf("doctor").stderr

    def test_it_makes_no_home(self, tmp_path: Path, quick: None) -> None:
        found = self.checks(Home(tmp_path / "new"))
        assert found["home"].mark == found["store"].mark == "ok" and not (tmp_path / "new").exists()

    def test_an_open_home(self, tf: Cli, quick: None) -> None:
        tf.home.root.chmod(0o755)
        assert self.checks(tf.home)["home"].mark == "warn" and "chmod 700" in self.checks(tf.home)["home"].todo

    def test_a_home_that_is_a_file(self, tmp_path: Path, quick: None) -> None:
        (tmp_path / "file").write_text("x")
        assert self.checks(Home(tmp_path / "file"))["home"].mark == "fail"

    def test_a_damaged_store_exits_1(self, tf: Cli, quick: None) -> None:
        tf.home.database.write_bytes(b"no database" * 500)
        result = tf("doctor")
        assert result.exit_code == 1 and "FAIL  store" in result.stdout and "store" in result.stderr

    def test_a_missing_package(self, tf: Cli, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
        from importlib.metadata import PackageNotFoundError

        def missing(name: str) -> str:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(doctor, "version", missing)
        found = self.checks(tf.home)["torch"]
        assert found.mark == "fail" and "pip install torch" in found.todo

    def test_a_full_disk_and_little_memory(self, tf: Cli, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
        monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: SimpleNamespace(available=1e9, total=2e9))
        found = self.checks(tf.home)
        assert found["disk"].mark == "warn" and found["cores and memory"].mark == "warn"

    @pytest.mark.parametrize(
        ("environ", "mark", "word"),
        [
            ({"TERM": "xterm-256color"}, "ok", "256 colours"),
            ({"TERM": "xterm", "COLORTERM": "truecolor"}, "ok", "16 million"),
            ({"TERM": "xterm", "NO_COLOR": "1"}, "ok", "NO_COLOR"),
            ({"TERM": "dumb"}, "warn", "dumb"),
            ({}, "warn", "none"),
        ],
    )
    def test_the_terminal(self, environ: dict[str, str], mark: str, word: str) -> None:
        found = doctor._terminal(environ)
        assert found.mark == mark and word in found.what

    def test_a_check_that_breaks_does_not_end_the_examination(
        self, tf: Cli, quick: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> doctor.Diagnosis:
            raise ZeroDivisionError

        monkeypatch.setattr(doctor, "_python", broken)
        found = self.checks(tf.home)
        assert found["python"].mark == "fail" and len(found) == 10

    @pytest.mark.slow
    def test_torch_and_llama_in_processes_of_their_own(self, tf: Cli) -> None:
        found = self.checks(tf.home)
        assert found["llama.cpp"].mark == "ok" and found["cuda"].mark in ("ok", "warn")


class TestDemo:
    FOUND: dict[str, Any] = {
        "run": "demo", "home": "/h", "train_s": 61.4,
        "identity": {"base": 0, "tuned": 9, "of": 10}, "retention": {"base": 15, "tuned": 14, "of": 20},
        "questions": [
            {"set": "identity", "question": "Your name?", "base": "AI\x1b[2J.", "tuned": "Ember.",
             "base_passed": False, "tuned_passed": True},
            {"set": "retention", "question": "2+2?", "base": "4", "tuned": "4",
             "base_passed": True, "tuned_passed": True},
        ],
    }  # fmt: skip

    @pytest.fixture
    def homes(self, monkeypatch: pytest.MonkeyPatch) -> list[Home]:
        import engine.demo

        used: list[Home] = []

        def run_demo(home: Home, say: Callable[[str], None]) -> dict[str, Any]:
            used.append(home)
            home.database.touch()
            say("Working.")
            return self.FOUND

        monkeypatch.setattr(engine.demo, "run_demo", run_demo)
        return used

    def test_for_a_person(self, tf: Cli, homes: list[Home], tmp_path: Path) -> None:
        from click.testing import CliRunner

        from tui.cli import cli

        result = CliRunner().invoke(cli, ["demo", "--home", str(tmp_path / "new")])
        assert result.exit_code == 0, result.stderr
        assert "> Your name?\nbase  [-] AI[2J.\ntuned [+] Ember." in result.stdout and "2+2" not in result.stdout
        assert "9 of 10" in result.stdout and "15 of 20" in result.stdout and "1 min 01 s" in result.stdout
        assert f"tuningfork --home {tmp_path / 'new'}" in result.stdout and "Working." in result.stderr

    def test_json(self, homes: list[Home], tmp_path: Path) -> None:
        assert Cli(Home(tmp_path / "new")).json("demo") == self.FOUND

    def test_a_home_in_use_is_refused(self, tf: Cli, homes: list[Home], facts: str) -> None:
        assert tf.error("demo")["error"] == "Conflict" and not homes

    def test_unnamed_it_takes_a_fresh_home_beside_the_usual(
        self, tf: Cli, homes: list[Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from click.testing import CliRunner

        from tui.cli import cli

        monkeypatch.setenv("TUNINGFORK_HOME", str(tmp_path / "mine"))
        for name in ("mine-demo", "mine-demo-2"):
            assert CliRunner().invoke(cli, ["demo"]).exit_code == 0
            assert homes[-1].root == tmp_path / name
        assert not (tmp_path / "mine").exists()
