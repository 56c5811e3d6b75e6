"""Probe sets by their keys: listed, written, copied, edited, deleted and brought back; asked of a model, which another
one may judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual import events

from engine.inference.client import Done
from store import evals, probe_files, probe_sets, probes
from store.db import Store
from store.probe_files import ProbeFile
from store.records import Probe
from tests.tui.conftest import Drive, Driver
from tests.tui.scripted import Piece, ScriptedClient
from tui import formatting
from tui.screens.evaluate.probe_editor import ProbeEditor
from tui.screens.evaluate.probe_sets import ProbeSetScreen

PRICE = Probe("shop", "What does it cost?", ("89", "eighty-nine"), ("95",))
WHO = Probe("shop", "Who are you?", ("Ember",), same="name")


@pytest.fixture
def shop(store: Store) -> Path:
    """A set of the home with two probes."""
    path = probe_sets.path_of(store.home, "shop")
    path.parent.mkdir()
    probe_files.write(path, ProbeFile((PRICE, WHO)))
    return path


async def opened(app: Driver) -> ProbeSetScreen:
    """The screen of the probe sets, from Evaluate."""
    await app.press("f6", "P")
    await app.see_page("ProbeSetScreen")
    await app.see("identity", "retention")
    screen = app.app.screen
    assert isinstance(screen, ProbeSetScreen)
    return screen


def questions(path: Path) -> list[str]:
    return [probe.question for probe in probe_files.read_whole(path).own]


async def test_sets_and_probes_are_listed(drive: Drive, store: Store, shop: Path) -> None:
    probes.put_set(store, "asked", [Probe("asked", "Anything?", ())])
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("● shop", "○ identity", "○ asked", "▕ yours", "What does it cost?", "contains", "89")
        await app.see("A good answer contains any of", "eighty-nine", "n New", "m Ask model")
        await app.press("enter", "down")
        await app.see("Asks for the same facts as others of the group")
        await app.press("escape", "down")
        await app.see("sample:identity · read-only, y copies it", "May I ask your name?")
        assert "n New" in app.text and "s Settings" not in app.text
        await app.press("end")
        await app.see("kept from Compare", "! cannot be", "The probe cannot fail")
        await app.press("escape")
        await app.see_page("EvaluateScreen")


async def test_a_set_is_written_and_saved(drive: Drive, store: Store) -> None:
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.press("n")
        await app.see("Its name:")
        await app.type("mine")
        await app.press("enter")
        await app.see("New probe of mine", "Question", "For judge model")
        await app.press("ctrl+s")
        await app.until(lambda: any("The question is empty." in each for each in app.notices))
        await app.type("What is 2 + 2?")
        await app.press("ctrl+s")
        await app.until(lambda: any("cannot fail" in each for each in app.notices))
        assert app.app.focused and app.app.focused.id == "must", "the field that is wrong has the focus"
        await app.type("4")
        await app.press("enter")
        await app.type("four")
        await app.press("ctrl+s")
        await app.see("● mine", "What is 2 + 2?", "4 | four")
        path = probe_sets.path_of(store.home, "mine")
        assert json.loads(path.read_text()) == {"question": "What is 2 + 2?", "must": ["4", "four"], "must_not": []}
        assert path.parent.stat().st_mode & 0o777 == 0o700
        await app.press("n")
        await app.type("mine")
        await app.press("enter")
        await app.until(lambda: any("'mine' already" in each for each in app.notices))


async def test_probes_are_added_edited_copied_deleted_and_brought_back(drive: Drive, shop: Path) -> None:
    before = shop.read_text()
    async with drive(size=(100, 30)) as app:
        await opened(app)
        await app.see("● shop")
        await app.press("enter", "n")
        await app.see("New probe of shop")
        await app.type("Where?")
        await app.press("tab")
        await app.type("Osterby")
        await app.press("ctrl+s")
        await app.see_page("ProbeSetScreen")
        await app.see("3 Where?")
        assert questions(shop)[2] == "Where?"
        await app.press("e")
        await app.see("Probe of shop")
        await app.press("end")
        await app.type(" Now!")
        await app.press("f8")
        await app.see_page("ProbeSetScreen")
        await app.see("3 Where? Now!")
        await app.press("y")
        await app.until(lambda: questions(shop) == [PRICE.question, WHO.question, "Where? Now!", "Where? Now!"])
        await app.see("4 Where? Now!")
        await app.press("home", "delete")
        await app.until(lambda: questions(shop)[0] == WHO.question)
        await app.see("1 Who are you?")
        for left in (4, 3, 3, 2):
            await app.press("u")
            await app.until(lambda left=left: len(questions(shop)) == left)  # type: ignore[misc]
            await app.idle()
        assert shop.read_text() == before
        await app.until(lambda: "u Undo" not in app.text)


async def test_keys_that_come_in_a_bunch_act_one_after_the_other(drive: Drive, shop: Path) -> None:
    many = [Probe("shop", f"Question {n}?", ("x",)) for n in range(4)]
    probe_files.write(shop, ProbeFile(tuple(many)))
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("● shop")
        await app.press("enter")
        for key in ("delete", "delete", "y", "delete", "delete", "delete"):
            app.app.post_message(events.Key(key, None if key == "delete" else key))
        await app.until(lambda: any("at least one probe" in each for each in app.notices))
        assert questions(shop) == ["Question 2?"], "the last probe stays"
        for _ in range(5):
            app.app.post_message(events.Key("u", "u"))
        await app.until(lambda: questions(shop) == [probe.question for probe in many])


async def test_a_set_that_comes_along_is_copied_before_it_is_edited(drive: Drive, store: Store, shop: Path) -> None:
    async with drive(size=(100, 30)) as app:
        screen = await opened(app)
        await app.press("down", "enter", "e", "delete", "y", "n")
        assert app.page == "ProbeSetScreen" and screen.sets[1].name == "identity"
        await app.press("escape", "y")
        await app.see("Name of the copy of identity:", "my identity")
        await app.press("enter")
        await app.see("● my identity")
        path = probe_sets.path_of(store.home, "my identity")
        assert len(questions(path)) == 20
        await app.press("delete")
        await app.see("Delete the probe set my identity (20 probes)?")
        await app.press("tab", "enter")
        await app.until(lambda: "my identity" not in [each.name for each in screen.sets])
        assert not path.exists()
        await app.press("u")
        await app.until(lambda: "my identity" in [each.name for each in screen.sets])
        await app.see("● my identity")
        assert len(questions(path)) == 20 and len(questions(shop)) == 2


async def test_the_settings_of_a_set_hold_for_all_of_it(drive: Drive, shop: Path) -> None:
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.press("comma")
        await app.see("Settings of shop", "none named: contains")
        await app.press(*["left"] * 4, "tab", *["right"] * 8, "tab")
        await app.see("‹ model ›", "‹ 8 of 10 ›")
        await app.type("Only whole sentences.")
        await app.press("tab", "tab", "enter")
        await app.see("judge model", "passes at 8", "its own rubric", "8 of 10")
        whole = probe_files.read_whole(shop)
        assert (whole.judge, whole.pass_at, whole.rubric) == ("model", 8, "Only whole sentences.")
        assert whole.own == (PRICE, WHO)


async def test_what_another_window_changed_is_not_overwritten(drive: Drive, shop: Path) -> None:
    async with drive(size=(100, 30)) as app:
        await opened(app)
        await app.see("● shop")
        await app.press("enter", "e")
        await app.see("Probe of shop")
        probe_files.write(shop, ProbeFile((Probe("shop", "New first?", ("x",)), PRICE, WHO)))
        await app.press("end")
        await app.type(" Really?")
        await app.press("ctrl+s")
        await app.see_page("ProbeSetScreen")
        assert questions(shop) == ["New first?", "What does it cost? Really?", WHO.question], "only this probe"
        await app.press("home", "e")
        await app.see("Probe of shop", "New first?")
        theirs = ProbeFile((Probe("shop", "Changed there.", ("x",)), PRICE, WHO))
        probe_files.write(shop, theirs)
        await app.type("Mine: ")
        await app.press("ctrl+s")
        await app.until(lambda: any("changed meanwhile" in each for each in app.notices))
        editor = app.app.screen
        assert isinstance(editor, ProbeEditor) and editor.written.question == "Mine: New first?", "nothing is lost"
        assert probe_files.read_whole(shop) == theirs
        await app.press("escape")
        await app.see("Leave this probe unsaved?", "Mine: New first?")
        await app.press("tab", "enter")
        await app.see_page("ProbeSetScreen")


async def test_a_file_that_cannot_be_read_says_why_and_where(drive: Drive, store: Store, shop: Path) -> None:
    shop.write_text('{"question": "fine", "must": ["x"]}\n{"question": 1}\n')
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("● shop", "!", "cannot be read", "shop.jsonl:2", "needs a question")
        await app.press("enter", "n", "comma", "m")
        assert app.page == "ProbeSetScreen" and shop.read_text().startswith('{"question": "fine"')


async def test_what_a_probe_has_beside_its_words_survives_the_editor(drive: Drive, shop: Path) -> None:
    odd = Probe("shop", " Two\nlines ", ("a\nb", " c "), ("d",), " sys ", "g", "regex", "", "ref")
    probe_files.write(shop, ProbeFile((odd,)))
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("● shop")
        await app.press("enter", "e")
        await app.see("Probe of shop", "a line break in a text")
        editor = app.app.screen
        assert isinstance(editor, ProbeEditor) and editor.written == odd and not editor.changed


# ---------------------------------------------------------------- asking


def reply(model: str, messages: list[dict[str, str]]) -> list[Piece]:
    asked = messages[-1]["content"]
    if "You grade" not in asked:
        return ["It costs 89." if "cost" in asked else "I do not know."]
    return [json.dumps({"reason": "It is right.", "score": 9}) if "cost" in asked else "Hm."]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    made = ScriptedClient(reply)
    monkeypatch.setattr("engine.inference.client.Client.connect", made.connect)
    return made


async def test_a_model_is_asked_and_the_result_kept(
    drive: Drive, store: Store, shop: Path, server: ScriptedClient
) -> None:
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("● shop")
        await app.press("m")
        await app.see("Ask which model", "smollm2-135m")
        await app.press("enter")
        await app.see("smollm2-135m on shop", "2 of 2 probes answered, 1 of 2 passed, kept as result 1")
        await app.see("✓ 1", "✗ 2", "It costs 89.", "passed: contains '89'")
        await app.press("down")
        await app.see("failed: contains none of 'Ember'")
        await app.press("escape")
        await app.see_page("ProbeSetScreen")
    (kept,) = evals.all_evals(store)
    assert (kept.model, kept.set, kept.passed, kept.of, kept.judge) == ("smollm2-135m", "shop", 1, 2, "contains")


async def test_asking_shows_the_time_left_and_what_escape_does(
    drive: Drive, shop: Path, server: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formatting, "pace", lambda done, of, passed: f"{done} done, {of} asked, 9 s left")
    server.gate.clear()
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("● shop")
        await app.press("m")
        await app.see("Ask which model")
        await app.press("enter")
        await app.see("0 of 2 probes answered, 0 done, 2 asked, 9 s left", "Esc Stop, keep nothing")
        server.gate.set()
        await app.see("kept as result 1", "Esc Back")


async def test_a_model_judges_and_texts_leave_only_after_a_yes(
    drive: Drive, store: Store, shop: Path, server: ScriptedClient
) -> None:
    probe_files.write(shop, ProbeFile((PRICE, WHO), judge="model"))
    async with drive(size=(100, 30)) as app:
        await opened(app)
        await app.see("● shop")
        for answer in ("escape", "yes"):
            await app.press("m")
            await app.see("Ask which model")
            await app.press("enter")
            await app.see("Which model judges the answers?")
            await app.type("http://far.invalid/v1#big")
            await app.press("enter")
            await app.see("The questions, answers and rubrics of 2 probes leave", "http://far.invalid/v1#big.")
            assert not server.asked
            await app.press(*(["escape"] if answer == "escape" else ["tab", "enter"]))
            await app.idle()
        await app.see("1 of 1 passed, 1 not judged, kept", "judged by http://far.invalid/v1#big", "? 2")
        await app.see("passed: 9 of 10: It is right.")
        await app.press("down")
        await app.see("not judged: the judge's reply cannot be read")
    (kept,) = evals.all_evals(store)
    assert (kept.passed, kept.of, kept.not_judged, kept.judge) == (1, 1, 1, "model")


async def test_placeholders_are_asked_for_and_one_that_breaks_off_keeps_nothing(
    drive: Drive, store: Store, server: ScriptedClient
) -> None:
    server.script = lambda model, messages: [Done("", stop="error", error="The server went away.")]
    async with drive(size=(100, 30)) as app:
        await opened(app)
        await app.see("○ identity")
        await app.press("home", "m")
        await app.see("Ask which model")
        await app.press("enter")
        await app.see("What does {{name}} stand for?")
        await app.type("Ember")
        await app.press("enter")
        await app.see("What does {{author}} stand for?")
        await app.type("Northwind")
        await app.press("enter")
        await app.see("The probes could not be asked", "The server went away.")
        await app.press("escape")
        await app.see("broke off, nothing is kept")
    assert not evals.all_evals(store)
