"""The command line as a whole: how it starts, how it fails, what it leaves out of the process, what its help says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import tui.cli.docs
from store import datasets
from store.errors import BadInput, WorkerError
from tests.tui.cli.conftest import Cli
from tui.cli import cli
from tui.cli.command import Command

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "pandas", "numpy", "textual", "llama_cpp"}


def modules_after(*words: str) -> set[str]:
    """Top-level modules of a fresh process in which the command line ran with `words`."""
    code = (
        "import sys\nfrom tui.cli import cli\ntry:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    print(*{name.partition('.')[0] for name in sys.modules}, end.code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, timeout=60)
    *names, code = done.stderr.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(names)


class TestStart:
    def test_version_and_help_load_neither_store_nor_screen(self) -> None:
        for words in (("--version",), ("train", "--help")):
            assert not modules_after(*words) & (HEAVY | {"sqlite3", "sqlite_utils", "httpx", "asyncio"})

    def test_a_data_command_leaves_the_heavy_libraries_out(self, tmp_path: Path) -> None:
        assert not modules_after("data", "list", "--home", str(tmp_path / "h")) & HEAVY

    def test_train_leaves_the_heavy_libraries_out(self, tf: Cli, facts: str, workers: None) -> None:
        code = (
            "import tui.cli.train, engine.training.run_control, engine.training.recipes, sys;"
            "print(*{n.partition('.')[0] for n in sys.modules})"
        )
        names = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout
        assert not set(names.split()) & (HEAVY - {"numpy"})

    def test_version(self) -> None:
        result = CliRunner().invoke(cli, ["--version"])
        assert result.exit_code == 0 and result.stdout.startswith("tuningfork ")

    def test_the_app_needs_a_terminal(self) -> None:
        result = CliRunner().invoke(cli, [])
        assert result.exit_code == 2 and "needs a terminal" in result.stderr

    def test_the_home_may_stand_before_or_behind(self, tmp_path: Path) -> None:
        for n, words in enumerate((("--home", "{}", "data", "list"), ("data", "list", "--home", "{}"))):
            home = tmp_path / str(n)
            assert CliRunner().invoke(cli, [word.format(home) for word in words]).exit_code == 0
            assert (home / "store.db").exists()

    def test_the_environment_names_the_home(self, tmp_path: Path) -> None:
        result = CliRunner(env={"TUNINGFORK_HOME": str(tmp_path / "env")}).invoke(cli, ["data", "list"])
        assert result.exit_code == 0 and (tmp_path / "env" / "store.db").exists()


class TestFailing:
    """Every way to fail: exit code, one message on stderr, nothing on stdout."""

    @pytest.fixture
    def failing(self, tf: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
        def install(error: BaseException) -> None:
            def raising(*_: object) -> None:
                raise error

            monkeypatch.setattr(datasets, "all_datasets", raising)

        return install

    def test_the_users_mistake(self, tf: Cli, failing: Callable[[BaseException], None]) -> None:
        failing(BadInput("It is wrong.", where="file:3", todo="Mend it."))
        assert tf.error("data", "list") == {
            "error": "BadInput", "what": "It is wrong.", "where": "file:3", "todo": "Mend it."
        }  # fmt: skip
        result = tf("data", "list")
        assert (result.exit_code, result.stderr) == (2, "Error: file:3: It is wrong.\n  Mend it.\n")

    def test_our_fault(self, tf: Cli, failing: Callable[[BaseException], None]) -> None:
        failing(WorkerError("It broke.", todo="Try again."))
        assert tf.error("data", "list", code=1)["error"] == "WorkerError"

    def test_a_bug_is_said_to_be_one(self, tf: Cli, failing: Callable[[BaseException], None]) -> None:
        failing(KeyError("labels"))
        result = tf("data", "list")
        assert result.exit_code == 1 and "KeyError: 'labels'" in result.stderr and "--debug" in result.stderr
        assert "Traceback" not in result.stderr
        assert "Traceback" in tf("data", "list", "--debug").stderr

    def test_an_interrupt(self, tf: Cli, failing: Callable[[BaseException], None]) -> None:
        failing(KeyboardInterrupt())
        result = tf("data", "list")
        assert result.exit_code == 130 and "Interrupted." in result.stderr and "half-written" in result.stderr

    def test_no_room_on_the_disk(self, tf: Cli, failing: Callable[[BaseException], None]) -> None:
        failing(OSError(28, "No space left on device", "/somewhere"))
        error = tf.error("data", "list")
        assert (error["error"], error["where"]) == ("NoSpace", "/somewhere")

    def test_terminal_codes_in_a_message_are_taken_out(self, tf: Cli, failing: Callable[[BaseException], None]) -> None:
        failing(BadInput("\x1b]52;c;ZXZpbA==\x07bad", todo="\x9b31mMend it."))
        result = tf("data", "list")
        assert "\x1b" not in result.stderr and "\x9b" not in result.stderr and "Mend it." in result.stderr

    @pytest.mark.parametrize(
        ("words", "where", "what"),
        [
            (["nonsense"], None, "nonsense"),
            (["data", "split"], "--dataset", "is missing"),
            (["data", "split", "--dataset", "d", "--val", "much"], "--val", "much"),
            (["train", "--dataset", "d", "--recipe", "soup"], "--recipe", "soup"),
            (["data", "list", "--colour"], None, "--colour"),
        ],
    )
    def test_a_wrong_command_line(self, tf: Cli, words: list[str], where: str | None, what: str) -> None:
        result = CliRunner().invoke(cli, [*words, "--json"])
        error = json.loads(result.stderr)
        assert result.exit_code == 2 and result.stdout == ""
        assert (error["error"], error["where"]) == ("UsageError", where)
        assert what in error["what"] and "--help" in error["todo"]

    def test_a_closed_pipe_is_no_error(self, tmp_path: Path) -> None:
        words = [sys.executable, "-m", "tui", "data", "list", "--json", "--home", str(tmp_path / "h")]
        piped = f"{shlex.join(words)} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")


ALL = list(tui.cli.docs.commands())


class TestHelp:
    @pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
    def test_every_command_has_help_and_examples_that_parse(self, path: str, command: click.Command) -> None:
        text = CliRunner().invoke(cli, [*path.split()[1:], "--help"]).output
        assert command.help and "Examples:" in text
        for line in command.example.splitlines():  # type: ignore[attr-defined]
            words = shlex.split(line.split("  (")[0].split("|")[-1].split(" > ")[0])
            assert words[0] == "tuningfork"
            self.parse(words[1:])

    @staticmethod
    def parse(words: list[str]) -> None:
        """Raise a UsageError unless click accepts the words; runs nothing."""
        command: click.Command = cli
        context = click.Context(cli, info_name="tuningfork")
        while isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            assert found is not None, words
            command, words = found, words[1:]
            if not words:
                return
        command.make_context("x", words, parent=context)

    @pytest.mark.parametrize("page", ["README.md", "sample_data/README.md"])
    def test_commands_in_the_documentation_parse(self, page: str) -> None:
        text = (ROOT / page).read_text("utf-8")
        found = re.findall(r"^tuningfork .+|(?<=`)tuningfork [a-z][^`]*(?=`)", text, re.MULTILINE)
        assert found
        for line in found:
            self.parse(shlex.split(line)[1:])

    def test_every_leaf_takes_the_common_options(self) -> None:
        for path, command in ALL:
            if not isinstance(command, click.Group):
                assert isinstance(command, Command), path
                assert {"json", "home", "debug"} <= {p.name for p in command.params}, path

    def test_the_page_is_what_the_commands_say(self) -> None:
        page = (ROOT / "docs" / "cli.md").read_text("utf-8")
        assert page == tui.cli.docs.markdown(), "write it again: python -m tui.cli.docs > docs/cli.md"

    def test_completion_offers_names_from_the_store(self, tf: Cli, facts: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from tui.cli.options import DATASET, StoreName

        context = click.Context(cli)
        monkeypatch.setenv("TUNINGFORK_HOME", str(tf.home.root))
        assert [item.value for item in DATASET.shell_complete(context, cli.params[0], "fa")] == ["facts"]
        monkeypatch.setenv("TUNINGFORK_HOME", str(tf.home.root / "none"))
        assert DATASET.shell_complete(context, cli.params[0], "") == []
        assert not (tf.home.root / "none").exists()
        assert isinstance(DATASET, StoreName)
