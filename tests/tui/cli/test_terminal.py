"""What needs a terminal: the app itself in a pseudo-terminal, the line-by-line chat, the editor."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from engine.inference.sampling import Sampling
from store.errors import UserError
from store.records import PairDraft
from tests.tui.cli.conftest import BASE, Cli, FakeClient
from tui.cli import cli, pairs
from tui.cli.chat import Talk
from tui.cli.session import Session

ROOT = Path(__file__).parents[3]


def test_without_a_command_the_app_opens_and_ctrl_q_leaves(tf: Cli) -> None:
    """A real process in a pseudo-terminal, through the real entry point."""
    leader, follower = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    words = [sys.executable, "-m", "tui", "--home", str(tf.home.root)]
    app = subprocess.Popen(words, stdin=follower, stdout=follower, stderr=follower, env=env, cwd=ROOT)
    os.close(follower)
    seen, deadline, asked = b"", time.monotonic() + 60, 0.0
    try:
        while time.monotonic() < deadline:  # to the end of what it wrote, which may come after its own end
            if select.select([leader], [], [], 0.2)[0]:
                try:
                    seen += os.read(leader, 65536)
                except OSError:
                    break  # the other end closed
            ready = b"F1" in seen or b"Tuningfork" in seen or len(seen) > 4000
            if ready and app.poll() is None and time.monotonic() - asked > 2:
                os.write(leader, b"\x11")
                asked = time.monotonic()
        assert app.wait(20) == 0, seen[-2000:]
    finally:
        app.kill()
        os.close(leader)
    assert b"\x1b[?1049h" in seen and b"\x1b[?1049l" in seen  # the screen was taken, and given back


class TestTalk:
    """A conversation at a terminal, with scripted lines in place of a keyboard."""

    @pytest.fixture
    def talk(self, tf: Cli, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
        with asyncio.Runner() as runner, click.Context(cli, obj=Session(home_given=str(tf.home.root))):
            made = Talk(runner, client, BASE, Sampling(seed=1), "")  # type: ignore[arg-type]
            made._interactive = True
            yield made

    def say(self, talk: Talk, monkeypatch: pytest.MonkeyPatch, *lines: str | BaseException) -> None:
        script = iter(lines)

        def typed(_: str) -> str:
            line = next(script, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", typed)
        talk.go_on()

    def test_turns_until_the_end(self, talk: Talk, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.say(talk, monkeypatch, "One", "", "Two")
        assert [m["content"] for m in client.asked[1][1]][::2] == ["One", "Two"]

    def test_clear_system_again_and_quit(self, talk: Talk, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.say(talk, monkeypatch, "One", "/again 9", "/clear", "/system Be brief.", "Two", "/quit", "Three")
        first, again, two = client.asked
        assert (first[2].seed, again[2].seed) == (1, 9) and first[1] == again[1]
        assert [m["role"] for m in two[1]] == ["system", "user"] and two[1][1]["content"] == "Two"

    def test_help_and_mistakes_ask_nothing(
        self, talk: Talk, client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.say(talk, monkeypatch, "/what", "/again", "/again x", "y" * 100_001)
        assert not client.asked and "/clear starts again" in capsys.readouterr().err

    def test_ctrl_c_at_the_prompt_leaves(self, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.say(talk, monkeypatch, KeyboardInterrupt())

    def test_ctrl_c_in_an_answer_stops_that_answer_alone(
        self, talk: Talk, client: FakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = talk._ask
        calls: list[str] = []

        async def interrupted(text: str) -> object:
            calls.append(text)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return await ask(text)

        monkeypatch.setattr(talk, "_ask", interrupted)
        self.say(talk, monkeypatch, "One", "Two")
        assert calls == ["One", "Two"]
        assert [m["content"] for m in client.asked[0][1]] == ["Two"]  # the stopped turn is no history

    def test_a_broken_answer_is_said_and_forgotten(
        self, talk: Talk, client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client.breaks = BASE
        self.say(talk, monkeypatch, "One", "Two")
        assert "went away" in capsys.readouterr().err and len(client.asked[1][1]) == 1


class TestEditor:
    @pytest.fixture
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = SimpleNamespace(isatty=lambda: True)
        monkeypatch.setattr(pairs, "sys", SimpleNamespace(stdin=screen, stdout=screen))

    def edit(self, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
        monkeypatch.setattr(click, "edit", lambda text, **_: text.replace(old, new))

    def test_only_what_was_changed_is_written(self, tf: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
        made = tf.json("data", "add", "-q", "Who?", "-a", "Me.\n\n", "--system", "Be brief.")
        self.edit(monkeypatch, "Who?", "Who is it?\nReally?")
        after = tf.json("data", "edit", made["uid"])
        assert (after["question"], after["answer"], after["system"]) == ("Who is it?\nReally?", "Me.\n\n", "Be brief.")

    def test_leaving_without_a_change_changes_nothing(
        self, tf: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = tf.json("data", "add", "-q", "Who?", "-a", "Me.")
        self.edit(monkeypatch, "nothing of this", "")
        assert tf("data", "edit", made["uid"]).exit_code == 2
        assert tf.json("data", "show", made["uid"])["revision"] == 1

    def test_a_new_pair_can_be_written_there(self, tf: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.edit(monkeypatch, "# Question\n", "# Question\nWho?\n")
        made = tf.json("data", "add", "--dataset", "d")
        assert (made["question"], made["answer"], made["status"]) == ("Who?", "", "draft")

    def test_earlier_turns_are_written_there_too(
        self, tf: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = '[{"role": "user", "content": "Hi\\n"}, {"role": "assistant", "content": "Hello", "weight": 0}]'
        made = tf.json("data", "add", "-q", "Who?", "-a", "Me.", "--turns", turns)
        self.edit(monkeypatch, "Hello", "Hello\n\n# Turn: user\n\nHow are you?\n\n# Turn: assistant\n\nFine.")
        after = tf.json("data", "edit", made["uid"])
        assert (after["question"], after["answer"]) == ("Who?", "Me.")
        assert [(turn["content"], turn["train"]) for turn in after["history"]] == [
            ("Hi\n", True), ("Hello", False), ("How are you?", True), ("Fine.", True)
        ]  # fmt: skip

    def test_a_form_that_cannot_be_read_is_kept(self, tf: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
        made = tf.json("data", "add", "-q", "Who?", "-a", "Me.")
        self.edit(monkeypatch, "# Answer", "Much work")
        error = tf.error("data", "edit", made["uid"])
        assert "'# Answer' is missing" in error["what"] and str(tf.home.cache / "pair.md") in error["todo"]
        assert "Much work" in (tf.home.cache / "pair.md").read_text()

    def test_no_editor_to_be_found(self, tf: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: object, **__: object) -> None:
            raise click.ClickException("no: Editing failed!")

        monkeypatch.setattr(click, "edit", missing)
        with pytest.raises(UserError, match="Editing failed"):
            pairs._edited(PairDraft(""))
