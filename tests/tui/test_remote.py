# ruff: noqa: F811 - a fixture is imported
"""Remote control: the app driven over its socket by the client that the command line uses, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from store import pairs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, ServerError, Unsupported
from store.home import Home
from store.records import PairDraft
from tests import in_thread
from tests.tui import fake_exports
from tests.tui.cli.conftest import Cli, tf  # noqa: F401 - a fixture
from tests.tui.conftest import Driver
from tests.tui.test_app import Terminal
from tui import keys, modes, settings
from tui.app import TuningforkApp
from tui.keys import Key
from tui.remote import protocol
from tui.remote.client import Awaited, RemoteClient
from tui.remote.protocol import RemoteAccess

Open = Callable[..., AbstractAsyncContextManager["Remote"]]


class Remote(Driver):
    """An app under test that hears remote callers."""

    async def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """The answer that a caller with a connection of its own gets."""
        return await asyncio.to_thread(_ask, self.app.store.home, do, **what)

    async def wait(self, timeout_s: float = 30.0, **what: Any) -> dict[str, Any]:
        """What a caller that waits gets."""
        return await asyncio.to_thread(_wait, self.app.store.home, Awaited(**what), timeout_s)

    async def held(self) -> dict[str, Any]:
        """What each field of the screen holds, by its name."""
        return {each["name"]: each.get("value") for each in (await self.ask("fields"))["fields"]}

    async def raw(self, *lines: bytes) -> list[dict[str, Any]]:
        """What the app answers to these bytes, until it closes or has answered each line."""
        reader, writer = await asyncio.open_unix_connection(protocol.address(self.app.store.home))
        answers = []
        for line in lines:
            writer.write(line)
            answers.append(await reader.readline())
        writer.close()
        return [json.loads(answer) for answer in answers if answer]


def _ask(home: Home, do: str, **what: Any) -> dict[str, Any]:
    with RemoteClient(home) as client:
        return client.ask(do, **what)


def _wait(home: Home, awaited: Awaited, timeout_s: float) -> dict[str, Any]:
    with RemoteClient(home) as client:
        return client.wait(awaited, timeout_s)


def count(store: Store, sql: str) -> int:
    row = store.row(sql)
    assert row is not None
    return int(row[0])


@pytest.fixture
def home() -> Iterator[Home]:
    """A home with a short path: a socket's is limited, and pytest's own folders may be deep."""
    folder = Path(tempfile.mkdtemp(prefix="tf"))
    yield Home(folder / "home").ensure()
    shutil.rmtree(folder)


@pytest.fixture
def opened(store: Store) -> Open:
    """`async with opened() as app:` opens the app with remote control, and waits until it listens."""

    @asynccontextmanager
    async def make(access: RemoteAccess | None = None, size: tuple[int, int] = (100, 30)) -> AsyncIterator[Remote]:
        heard = asyncio.Event()
        given = access or RemoteAccess()
        given = RemoteAccess(given.allow_removing, lambda path: heard.set())
        app = TuningforkApp(store, given)
        async with app.run_test(size=size, notifications=True) as pilot:
            await asyncio.wait_for(heard.wait(), 30)
            yield Remote(app, pilot)

    return make


@pytest.fixture
def three(store: Store) -> list[str]:
    """Uids of three ready pairs of the dataset `shop`."""
    drafts = [PairDraft(f"Question {n}?", f"Answer {n}.", status="ready") for n in range(3)]
    return pairs.create_many(store, drafts, dataset="shop").uids


# -- off unless asked for ----------------------------------------------------------------------------------------------


async def test_without_asking_there_is_no_socket(store: Store) -> None:
    app = TuningforkApp(store)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert not protocol.folder(store.home).exists()
        with pytest.raises(NotFound, match="No app of this home"):
            await asyncio.to_thread(_ask, store.home, "show")


def test_opening_the_app_does_not_import_it(home: Home) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom store.db import Store\nfrom store.home import Home\n"
        "from tui.app import TuningforkApp\n"
        "async def main():\n    with Store.open(Home(Path(sys.argv[1]))) as store:\n"
        "        async with TuningforkApp(store).run_test() as pilot:\n            await pilot.pause()\n"
        "asyncio.run(main())\nprint([n for n in sys.modules if n.startswith('tui.remote')])"
    )
    words = [sys.executable, "-c", code, str(home.root)]
    assert subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "[]"


async def test_only_the_owner_can_reach_the_socket(opened: Open, home: Home) -> None:
    protocol.folder(home).mkdir(mode=0o777)
    protocol.folder(home).chmod(0o777)
    async with opened():
        assert stat.S_IMODE(protocol.address(home).stat().st_mode) == 0o600
        assert stat.S_IMODE(protocol.folder(home).stat().st_mode) == 0o700
    assert not protocol.address(home).exists()


async def test_another_user_is_refused(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as app:
        assert (await app.ask("show"))["mode"] == "data"
        monkeypatch.setattr(protocol, "peer_uid", lambda peer: os.getuid() + 1)
        with pytest.raises(BadInput, match="Only the user who opened the app"):
            await app.ask("show")


def test_the_peer_is_named_by_the_kernel() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert protocol.peer_uid(one) == (os.getuid() if sys.platform == "linux" else None)


async def test_a_dead_apps_socket_is_replaced_and_a_live_one_is_left(opened: Open, home: Home, store: Store) -> None:
    protocol.make_folder(home)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(protocol.address(home)))
    with pytest.raises(NotFound):
        _ask(home, "show")
    async with opened() as app:
        assert (await app.ask("show"))["mode"] == "data"
        words = [sys.executable, "-m", "tui", "remote", "serve", "--home", str(home.root), "--json"]
        second = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=120)
        assert second.returncode == 2
        assert json.loads(second.stderr.splitlines()[-1])["what"].startswith("Another app of this home")
        assert (await app.ask("show"))["mode"] == "data"


def test_a_path_that_is_too_long_is_answered_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="longer than the 100 bytes") as caught:
        protocol.address(Home(tmp_path / ("x" * 100)))
    assert "ln -s" in (caught.value.todo or "")


# -- reading and acting ------------------------------------------------------------------------------------------------


async def test_the_screen_is_read(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        shown = await app.ask("show")
        assert (shown["mode"], shown["screen"], shown["question"]) == ("data", "DataScreen", False)
        assert "\n".join(shown["rows"]) == app.text and len(shown["rows"]) == 30
        assert (shown["size"], shown["jobs"]) == ([100, 30], [])
        assert shown["focus"]
        app.app.notify("Seen\x1b[31m by all.", severity="warning")
        await app.idle()
        assert (await app.ask("show"))["notices"] == [{"severity": "warning", "text": "Seen[31m by all."}]
        assert (await app.ask("svg"))["svg"].startswith("<svg")


async def test_the_actions_of_the_screen_are_listed(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        listed = {each["name"]: each for each in (await app.ask("actions"))["actions"]}
        assert listed["data.new"]["key"] == "n" and listed["data.new"]["help"] == "Write a new pair"
        assert listed["data.new"]["target"] == "DataScreen" and listed["data.new"]["enabled"]
        assert not listed["app.suspend"]["enabled"]
        await app.ask("mode", mode="compare")
        names = {each["name"] for each in (await app.ask("actions"))["actions"]}
        assert {"compare.left", "compare.add", "app.quit"} <= names and "data.new" not in names


async def test_keys_text_actions_and_modes_act_as_at_the_keyboard(opened: Open, three: list[str], store: Store) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        done = await app.ask("call", action="data.new")
        assert done["idle"]
        await app.see("New pair")
        await app.ask("type", text="Who?")
        await app.ask("press", keys=["tab"])
        await app.ask("paste", text="It is\nEmber.")
        await app.ask("press", keys=["ctrl+s"])
        await app.until(lambda: count(store, "SELECT count(*) FROM pair") == 4)
        pair = store.row("SELECT question, answer FROM pair ORDER BY id DESC")
        assert pair is not None and tuple(pair) == ("Who?", "It is\nEmber.")
        assert (await app.ask("mode", mode="train"))["screen"] == "TrainScreen"
        assert (await app.ask("call", action="data.search"))["mode"] == "data"  # an action of another mode opens it


async def test_a_field_is_filled_once_and_replaced(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.ask("call", action="data.new")
        await app.see("New pair")
        for text in ("First.", "Who?"):
            await app.ask("fill", field="question", text=text)
            held = {each["name"]: each.get("value") for each in (await app.ask("fields"))["fields"]}
            assert held["question"] == text


async def test_a_paste_arrives_once_and_without_control_characters(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.ask("press", keys=["slash"])
        await app.ask("paste", text="one\x1b[31m\x07")  # a field of one line
        assert (await app.held())["search"] == "one"
        await app.ask("call", action="data.new")
        await app.see("New pair")
        await app.ask("paste", text="one\x1b[31m\r\ntwo")
        assert (await app.held())["question"] == "one\ntwo"


async def test_texts_and_choices_of_a_pair_are_filled_and_saved(opened: Open, three: list[str], store: Store) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.ask("call", action="data.new")
        await app.see("New pair")
        await app.ask("fill", field="question", text="Who?")
        await app.ask("fill", field="answer", text="I am\r\n\tEmber\x1b[31m.\x07")  # filled as it would be pasted
        await app.ask("fill", field="kind", text="Identity")
        await app.ask("fill", field="status", text="○ draft")  # by its label
        held = await app.held()
        assert (held["question"], held["answer"]) == ("Who?", "I am\n\tEmber.")
        assert (held["kind"], held["status"]) == ("identity", "draft")
        with pytest.raises(BadInput) as caught:
            await app.ask("fill", field="status", text="done")
        assert (caught.value.where, caught.value.todo) == ("status", "Use one of: ready, draft, rejected")
        await app.ask("call", action="editor.save")
        await app.until(lambda: count(store, "SELECT count(*) FROM pair") == 4)
        pair = store.row("SELECT question, answer, kind, status FROM pair ORDER BY id DESC")
        assert pair is not None and tuple(pair) == ("Who?", "I am\n\tEmber.", "identity", "draft")


async def test_a_form_is_filled_by_name_or_label(opened: Open, three: list[str]) -> None:
    async with opened(size=(120, 50)) as app:
        await app.see("Question 2?")
        await app.ask("mode", mode="train")
        await app.ask("call", action="train.new")
        await app.ask("choose", text="More settings", open=True)
        await app.until(lambda: app.app.screen.query_one("#advanced").display)
        await app.ask("fill", field="Length", text="7 steps")
        await app.ask("fill", field="run-name", text="first")
        await app.ask("fill", field="dora", text="yes")  # a checkbox is a choice of yes and no
        held = await app.held()
        assert (held["length"], held["run-name"], held["dora"]) == ("7 steps", "first", "true")
        before = app.app.focused
        with pytest.raises(BadInput, match="is one line"):
            await app.ask("fill", field="length", text="7\nsteps")
        assert (await app.held())["length"] == "7 steps" and app.app.focused is before
        with pytest.raises(NotFound) as caught:
            await app.ask("fill", field="lenght", text="7 steps")
        assert (caught.value.todo or "").startswith("Did you mean length")
        with pytest.raises(NotFound) as caught:
            await app.ask("fill", field="zzz", text="7 steps")
        assert "run-name" in (caught.value.todo or "")
        with pytest.raises(Unsupported) as refused:
            await app.ask("fill", field="runs", text="first")
        assert refused.value.todo == "Choose one of its rows: tuningfork remote choose TEXT"


async def test_a_list_of_several_is_filled(opened: Open, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_exports.install(monkeypatch)
    fake_exports.a_run(store)
    async with opened() as app:
        await app.ask("mode", mode="export")
        await app.see("Export ember-1")
        await app.wait(ready=True, actions=("export.start",))
        await app.ask("fill", field="quants", text="q4_k_m, Q8_0")
        await app.see("[x] q8_0", "[x] q4_k_m")
        assert (await app.held())["quants"] == "q8_0,q4_k_m"
        with pytest.raises(BadInput) as caught:
            await app.ask("fill", field="quants", text="q4_k_m,q9")
        assert "q8_0" in (caught.value.todo or "")
        assert (await app.held())["quants"] == "q8_0,q4_k_m"  # nothing was changed
        await app.ask("fill", field="quants", text="")
        await app.see("No quant is selected.")
        await app.ask("fill", field="quants", text="q4_k_m")
        await app.wait(ready=True)
        await app.ask("call", action="export.start")
        await app.wait(jobs_done=True)
        assert [target.title for target in fake.asked[0].targets] == ["gguf q4_k_m"]
    in_thread.join(fake.threads)


async def test_a_path_is_filled_and_its_matches_are_rows(opened: Open, store: Store, tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_text('{"prompt": "Who?", "completion": "Ember."}\n')
    async with opened() as app:
        await app.ask("call", action="data.import")
        await app.see_page("ImportScreen")
        await app.ask("fill", field="path", text=f"{tmp_path}/so")
        await app.wait(texts=("some.jsonl",))
        await app.ask("choose", text="some.jsonl")
        await app.ask("press", keys=["enter"])
        await app.wait(ready=True)  # the file was looked into
        held = await app.held()
        assert (held["path"], held["dataset"]) == (str(tmp_path / "some.jsonl"), "some")
        await app.ask("call", action="import.go")
        await app.wait(gone=("Import a file",), mode="data", ready=True)
        assert count(store, "SELECT count(*) FROM pair") == 1


async def test_a_row_is_chosen_by_a_text_that_only_it_has(opened: Open, store: Store, three: list[str]) -> None:
    pairs.create_many(store, [PairDraft("Question 1? And 2?", "Both.", status="ready")], dataset="shop")
    async with opened() as app:
        await app.see("Question 2?", "And 2?")
        with pytest.raises(Conflict, match="2 rows on the screen have 'question 1'") as caught:
            await app.ask("choose", text="question 1")
        assert "Question 1? Answer 1." in (caught.value.todo or "") and "And 2?" in (caught.value.todo or "")
        with pytest.raises(NotFound) as missing:
            await app.ask("choose", text="Question 7")
        assert "Question 0?" in (missing.value.todo or "")
        await app.ask("choose", text="answer 1")
        assert app.page == "DataScreen"
        done = await app.ask("choose", text="answer 1", open=True)
        assert done["screen"] == "PairEditor"
        assert (await app.held())["question"] == "Question 1?"


async def test_the_whole_text_of_a_button_comes_before_a_part_of_one(opened: Open) -> None:
    async with opened() as app:
        await app.see("Try it with sample data")
        await app.ask("call", action="data.samples")
        await app.see_page("SamplesDialog")
        listed = {each["name"]: each for each in (await app.ask("fields"))["fields"]}
        assert (listed["name"]["kind"], listed["name"]["label"], listed["name"]["value"]) == ("text", "Name", "Ember")
        assert (listed["go"]["kind"], listed["go"]["label"]) == ("button", "Load")
        await app.ask("choose", text="load")
        assert app.app.focused is not None and app.app.focused.id == "go"
        await app.ask("choose", text="Cancel", open=True)
        await app.see("There are no pairs yet.")


async def test_waiting_ends_with_what_is_awaited_or_says_what_is_missing(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.wait(ready=True)
        waits = asyncio.create_task(app.wait(gone=("Question 2?",), mode="train", actions=("train.start",)))
        await asyncio.sleep(0.3)
        assert not waits.done()
        await app.ask("mode", mode="train")
        await app.ask("call", action="train.new")
        assert (await waits)["mode"] == "train"
        cases: list[tuple[dict[str, Any], str]] = [
            ({"texts": ("Question 2?",)}, "this is not on the screen: 'Question 2?'"),
            ({"gone": ("F3 Train",)}, "this is still on the screen: 'F3 Train'"),
            ({"mode": "data"}, "the mode is still train"),
            ({"actions": ("runs.resume",)}, "the action runs.resume is not possible"),
        ]
        for what, missing in cases:
            with pytest.raises(Conflict, match=f"After 0.1 s {missing.replace('?', '.')}"):
                await app.wait(0.1, **what)
        for what, near in (({"mode": "dta"}, "data"), ({"actions": ("runs.resum",)}, "runs.resume")):
            with pytest.raises(NotFound) as caught:  # at once: no screen will ever have it
                await app.wait(**what)
            assert near in (caught.value.todo or "")


async def test_ready_waits_for_what_the_screen_does_by_itself(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.wait(ready=True)
        works = ["answering"]
        app.app.screen.working = lambda: works[0]  # type: ignore[attr-defined]
        with pytest.raises(Conflict, match="the app is still answering"):
            await app.wait(0.1, ready=True)
        assert (await app.ask("press", keys=["down"]))["working"] == "answering"
        works[0] = ""
        assert (await app.wait(ready=True))["working"] == ""


async def test_an_action_of_the_mode_below_closes_what_covers_it(opened: Open) -> None:
    async with opened() as app:
        await app.see("Try it with sample data")
        assert app.page == "WelcomeScreen"
        await app.ask("call", action="data.new")
        await app.see("New pair")


async def test_what_is_unknown_is_answered_with_what_there_is(opened: Open) -> None:
    async with opened() as app:
        with pytest.raises(NotFound) as caught:
            await app.ask("call", action="data.nwe")
        assert "data.new" in (caught.value.todo or "")
        with pytest.raises(NotFound) as caught:
            await app.ask("mode", mode="tarin")
        assert "train" in (caught.value.todo or "")
        for keys in (["hyper+x"], ["nokey"], [3], [], "a", ["a"] * 101):
            with pytest.raises(BadInput):
                await app.ask("press", keys=keys)
        with pytest.raises(BadInput):
            await app.ask("type", text="x" * 2001)


async def test_an_action_that_is_not_possible_now_is_not_called_unknown(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.ask("press", keys=["alt+m"])  # a page that is no mode
        await app.see_page("ModelsPage")
        listed = {each["name"]: each["enabled"] for each in (await app.ask("actions"))["actions"]}
        assert listed["models.new"] and not listed["models.stop"]
        with pytest.raises(Conflict, match=r"models\.stop is not possible now"):
            await app.ask("call", action="models.stop")


async def test_what_cannot_be_undone_needs_a_person(opened: Open, three: list[str], store: Store) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.press("D")  # the dataset that is listed
        await app.until(lambda: app.page != "DataScreen")
        await app.type("shop")
        await app.press("enter")
        await app.see_page("DataScreen")
        await app.ask("call", action="data.remove")
        await app.until(lambda: app.page == "Confirm")
        assert (await app.ask("show"))["question"]
        requests: list[dict[str, Any]] = [
            {"do": "press", "keys": ["right", "enter"]},
            {"do": "type", "text": "y"},
            {"do": "paste", "text": "y"},
            {"do": "call", "action": "dialog.next"},
            {"do": "mode", "mode": "train"},
        ]
        for request in requests:
            with pytest.raises(Conflict, match="cannot be undone"):
                await app.ask(**request)
        assert app.page == "Confirm"
        await app.ask("press", keys=["escape"])
        await app.see_page("DataScreen")
        assert count(store, "SELECT count(*) FROM dataset WHERE name = 'shop'") == 1
        with pytest.raises(Unsupported, match="needs the terminal"):
            await app.ask("press", keys=["ctrl+z"])


async def test_what_discards_without_a_question_is_refused(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.ask("press", keys=["enter"])
        await app.see_page("PairEditor")
        await app.ask("fill", field="question", text="Changed?")
        for request in ({"do": "press", "keys": ["ctrl+r"]}, {"do": "call", "action": "editor.revert"}):
            with pytest.raises(Unsupported, match="removes something at once"):
                await app.ask(**request)
        assert (await app.held())["question"] == "Changed?"


async def test_every_action_that_a_caller_may_not_do_is_one(opened: Open) -> None:
    """A renamed action would else be allowed."""
    from tui.remote.server import _AT_THE_TERMINAL, _WITHOUT_A_QUESTION

    async with opened() as app:
        known = set((await app.ask("actions"))["known"])
    ids = {key.id for group in vars(keys).values() if isinstance(group, tuple) for key in group if isinstance(key, Key)}
    assert known <= ids | {mode.key.id for mode in modes.registered()}
    assert ids >= _AT_THE_TERMINAL | _WITHOUT_A_QUESTION
    assert {"editor.revert", "proposed_pair.revert", "votes.remove", "compare.unvote"} <= _WITHOUT_A_QUESTION


async def test_a_session_that_allows_it_removes(opened: Open, three: list[str], store: Store) -> None:
    async with opened(RemoteAccess(allow_removing=True)) as app:
        await app.see("Question 2?")
        await app.press("D")
        await app.until(lambda: app.page != "DataScreen")
        await app.type("shop")
        await app.press("enter")
        await app.see_page("DataScreen")
        await app.ask("call", action="data.remove")
        await app.until(lambda: app.page == "Confirm")
        await app.ask("press", keys=["right", "enter"])
        await app.until(lambda: count(store, "SELECT count(*) FROM dataset WHERE name = 'shop'") == 0)


# -- callers that misbehave --------------------------------------------------------------------------------------------


async def test_lines_that_are_no_requests_are_answered_and_the_app_lives(opened: Open) -> None:
    async with opened() as app:
        good = protocol.line({"do": "show"})
        bad = [
            b"{broken\n",
            b"[1]\n",
            b'{"v":9,"do":"show"}\n',
            b'{"v":1,"do":"dance"}\n',
            b"\xff\xfe\n",
            b"[" * 9999 + b"\n",
        ]
        *answers, last = await app.raw(*bad, good)
        assert all(not answer["ok"] and answer["error"]["what"].endswith(".") for answer in answers)
        assert last["ok"] and len(answers) == len(bad)
        (huge,) = await app.raw(b"x" * (protocol.LONGEST_REQUEST + 10) + b"\n")
        assert "longer than 65536 bytes" in huge["error"]["what"]
        assert (await app.ask("show"))["mode"] == "data"


async def test_two_callers_do_not_mix_their_keys(opened: Open, three: list[str]) -> None:
    async with opened() as app:
        await app.see("Question 2?")
        await app.ask("press", keys=["slash"])
        await asyncio.gather(app.ask("type", text="a" * 40), app.ask("type", text="b" * 40))
        value = app.app.focused.value  # type: ignore[union-attr]
        assert value in ("a" * 40 + "b" * 40, "b" * 40 + "a" * 40)


async def test_a_caller_too_many_is_told(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_CLIENTS", 1)
    async with opened() as app:
        with RemoteClient(app.app.store.home) as first:
            assert (await asyncio.to_thread(first.ask, "show"))["mode"] == "data"
            with pytest.raises(Conflict, match="connected already"):
                await app.ask("show")


async def test_a_caller_who_was_refused_before_asking_reads_why(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "peer_uid", lambda peer: os.getuid() + 1)
    async with opened() as app:
        client = await asyncio.to_thread(RemoteClient, app.app.store.home)
        await asyncio.sleep(0.3)  # the app has answered and closed by now
        with pytest.raises(BadInput, match="Only the user who opened the app"):
            await asyncio.to_thread(client.ask, "show")


async def test_an_app_that_ends_meanwhile_ends_the_call(opened: Open, home: Home) -> None:
    async with opened() as app:
        client = await asyncio.to_thread(RemoteClient, home)
        assert (await asyncio.to_thread(client.ask, "show"))["mode"] == "data"
    with pytest.raises(ServerError, match="closed before it answered"):
        await asyncio.to_thread(client.ask, "show")
    with pytest.raises(NotFound):
        await app.ask("show")


# -- the command line and an app without a screen ----------------------------------------------------------------------


@pytest.fixture
def session(home: Home) -> Iterator[subprocess.Popen[str]]:
    """An app without a screen in a process of its own, which has said that it listens."""
    words = [sys.executable, "-m", "tui", "remote", "serve", "--size", "100x30", "--home", str(home.root), "--json"]
    served = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert served.stdout is not None and served.stderr is not None
    line = served.stdout.readline()
    assert line, served.stderr.read()
    assert json.loads(line) == {"socket": str(protocol.address(home))}
    yield served
    if served.poll() is None:
        served.kill()
    served.communicate()


def test_the_commands_drive_an_app_without_a_screen(session: subprocess.Popen[str], tf: Cli, tmp_path: Path) -> None:
    assert any("Welcome" in row or "sample" in row.lower() for row in tf.json("remote", "show")["rows"])
    assert tf.json("remote", "mode", "train")["mode"] == "train"
    assert "train.new" in tf.ok("remote", "actions")
    assert tf.json("remote", "mode", "data")["mode"] == "data"
    assert "Data" in tf.ok("remote", "wait", "--text", "Data", "--jobs-done")
    error = tf.error("remote", "wait", "--text", "Not to be seen", "--timeout", "0.2")
    assert "Not to be seen" in error["what"]
    assert tf.error("remote", "wait")["what"] == "There is nothing to wait for."
    assert tf.error("remote", "call", "data.dance")["error"] == "NotFound"
    picture = tmp_path / "screen.svg"
    tf.ok("remote", "show", "--svg", str(picture))
    assert picture.read_text().startswith("<svg")
    assert tf.json("remote", "quit") == {"asks": False}
    assert session.wait(30) == 0
    assert session.stderr is not None and session.stderr.read() == ""
    assert tf.error("remote", "show")["what"] == "No app of this home listens for remote calls."


def test_a_signal_ends_it_and_the_next_one_replaces_it(session: subprocess.Popen[str], tf: Cli) -> None:
    session.send_signal(signal.SIGTERM)
    assert session.wait(30) == 128 + signal.SIGTERM
    assert not protocol.address(tf.home).exists()


@pytest.fixture
def terminal(home: Home, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """The app on a pseudo-terminal, started with the words or the settings of the test."""
    words, kept = request.param
    if kept:
        settings.path(home).write_text(json.dumps(kept))
    opened = Terminal(home.root, *words)

    def drain() -> None:  # a terminal that no one reads would stop the app at its next redraw
        with suppress(OSError):
            while os.read(opened.master, 65536):
                pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    yield opened
    if opened.process.poll() is None:
        opened.process.kill()
        opened.process.wait()
    reader.join(10)
    os.close(opened.master)


@pytest.mark.parametrize(
    "terminal", [(["--remote"], {}), ([], {"remote": "on"})], indirect=True, ids=["word", "setting"]
)
def test_a_visible_app_is_driven_and_asks_its_user_before_it_quits(
    terminal: Terminal, tf: Cli, three: list[str]
) -> None:
    tf.ok("remote", "wait", "--text", "Question 2?", "--timeout", "60")
    tf.ok("remote", "call", "data.new")
    tf.ok("remote", "wait", "--text", "New pair")
    tf.ok("remote", "type", "Unsaved")
    assert tf.json("remote", "quit") == {"asks": True}
    tf.ok("remote", "wait", "--text", "Quit Tuningfork?")
    assert tf.error("remote", "quit")["what"].startswith("The question on the screen")
    assert tf.error("remote", "press", "ctrl+q")["what"].startswith("The question on the screen")
    tf.ok("remote", "press", "escape")
    assert terminal.process.poll() is None
    tf.ok("remote", "press", *["backspace"] * len("Unsaved"))
    assert tf.json("remote", "quit") == {"asks": False}
    assert terminal.process.wait(30) == 0


@pytest.mark.parametrize("size", ["120", "10x10", "120x40x2", "9999x40", "axb"])
def test_a_size_that_is_none_is_refused(tf: Cli, size: str) -> None:
    assert tf.error("remote", "serve", "--size", size)["where"] == "--size"
