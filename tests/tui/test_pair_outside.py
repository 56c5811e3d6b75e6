"""A pair written in the user's own editor: one field or the whole pair, and what an editor that fails changes."""

from __future__ import annotations

import doctest
from contextlib import nullcontext
from pathlib import Path

import pytest

from store import pairs
from store.db import Store
from store.errors import BadInput
from store.records import PairDraft, Turn
from tests.tui.conftest import Drive, Driver
from tui import pair_markdown
from tui.widgets.prose import Prose

FIELDS = {"question": "Who?", "answer": "Me,\n\nand you.\n", "system": ""}


def test_a_pair_as_markdown_and_back() -> None:
    text = pair_markdown.written(FIELDS)
    assert pair_markdown.read(text, FIELDS) == (FIELDS, ()), "untouched, line ends too"
    after, _ = pair_markdown.read(text.replace("and you.", "or not.\n\n"), FIELDS)
    assert after == FIELDS | {"answer": "Me,\n\nor not."}
    assert pair_markdown.read(text + "Be brief.", FIELDS)[0]["system"] == "Be brief."
    assert doctest.testmod(pair_markdown).failed == 0


def test_earlier_turns_as_markdown_and_back() -> None:
    turns = (Turn("user", "Hi\n"), Turn("assistant", "Hello", train=False), Turn("system", "Be brief."))
    text = pair_markdown.written(FIELDS, turns)
    assert pair_markdown.read(text, FIELDS, turns) == (FIELDS, turns), "untouched, line ends too"
    shorter = text.replace("# Turn: user\n\nHi\n\n\n", "").replace("Hello", "Hey").replace(" (not trained)", "")
    assert pair_markdown.read(shorter, FIELDS, turns)[1] == (Turn("assistant", "Hey"), Turn("system", "Be brief."))
    assert pair_markdown.read("# Turn: User\nHi" + "\n" + text, FIELDS, turns)[1] == (Turn("user", "Hi\n"), *turns)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# Turn: robot\nHi\n" + pair_markdown.written(FIELDS), "'# Turn: robot' names no role"),
        ("# Turn: assistant (context)\nHi\n" + pair_markdown.written(FIELDS), "names no role"),
        (pair_markdown.written(FIELDS).replace("# Answer", "## Answer"), "'# Answer' is missing"),
        (pair_markdown.written(FIELDS) + "# Answer\n", "'# Answer' is there twice"),
        ("Hello\n" + pair_markdown.written(FIELDS), "above the first heading: 'Hello'"),
    ],
)
def test_markdown_without_its_headings_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        pair_markdown.read(text, FIELDS)


def test_a_text_that_holds_a_heading_is_opened_alone() -> None:
    with pytest.raises(BadInput, match="the answer is the heading '# Question'"):
        pair_markdown.written(FIELDS | {"answer": "Write:\n# Question \nWho?"})


@pytest.fixture
def uid(store: Store) -> str:
    return pairs.create(store, PairDraft("Where?", "In the box.", tags=("a",)), dataset="d").uid


async def open_editor(app: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.app, "suspend", nullcontext)
    monkeypatch.delenv("VISUAL", raising=False)
    await app.see("1 pair")
    await app.press("enter")
    await app.see_page("PairEditor")
    await app.see("In the box.")


def field(app: Driver, name: str) -> str:
    return app.app.screen.query_one(f"#{name}", Prose).text


async def test_the_field_under_the_cursor(
    drive: Drive, store: Store, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive() as app:
        await open_editor(app, monkeypatch)
        monkeypatch.setenv("EDITOR", "sed -i 's/box/bag\\x1b/'")
        await app.press("alt+e")
        await app.until(lambda: field(app, "answer") == "In the bag.")
        assert field(app, "question") == "Where?" and pairs.get(store, uid).answer == "In the box.", "not saved yet"
        await app.press("ctrl+s")
        await app.until(lambda: pairs.get(store, uid).answer == "In the bag.")


async def test_the_whole_pair(drive: Drive, store: Store, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with drive() as app:
        await open_editor(app, monkeypatch)
        app.app.screen.query_one("#tags").focus()
        monkeypatch.setenv("EDITOR", "sed -i 's/Where/Whence/; s/box/bag/; $ a Be brief.'")
        await app.press("alt+e")
        await app.until(lambda: field(app, "answer") == "In the bag.")
        assert (field(app, "question"), field(app, "system")) == ("Whence?", "Be brief.")
        await app.press("ctrl+s")
        await app.until(lambda: pairs.get(store, uid).system == "Be brief.")
        assert pairs.get(store, uid).tags == ("a",)


async def test_the_whole_pair_with_its_earlier_turns(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = "Hello \x1b[31m"
    turns = (Turn("user", "Hi"), Turn("assistant", wild, train=False))
    made = pairs.create(store, PairDraft("Where?", "In the box.", history=turns), dataset="d")
    async with drive() as app:
        await open_editor(app, monkeypatch)
        monkeypatch.setenv("EDITOR", "sed -i 's/Hi/Hi there/; s/box/bag/'")
        await app.press("alt+w")
        await app.until(lambda: field(app, "answer") == "In the bag.")
        await app.press("ctrl+s")
        await app.until(lambda: pairs.get(store, made.uid).answer == "In the bag.")
    assert pairs.get(store, made.uid).history == (Turn("user", "Hi there"), Turn("assistant", wild, train=False))


@pytest.mark.parametrize(
    ("editor", "said"),
    [
        ("no-such-editor", "no-such-editor did not work"),
        ("false", "it ended with code 1"),
        ("vim 'x", "has a quote without an end"),
        ("sh -c 'rm \"$0\"'", "it left no file"),
        ("sh -c ': > \"$0\"'", "left an empty text. Nothing was changed"),
    ],
)
@pytest.mark.parametrize("key", ["alt+e", "alt+w"])
async def test_an_editor_that_fails_changes_nothing(
    drive: Drive, uid: str, monkeypatch: pytest.MonkeyPatch, editor: str, said: str, key: str
) -> None:
    async with drive() as app:
        await open_editor(app, monkeypatch)
        await app.type("x")
        typed = field(app, "answer")
        monkeypatch.setenv("EDITOR", editor)
        await app.press(key)
        await app.until(lambda: any(said in notice for notice in app.notices))
        assert (field(app, "question"), field(app, "answer")) == ("Where?", typed)


async def test_a_pair_that_cannot_be_read_back_is_kept_in_a_file(
    drive: Drive, store: Store, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive() as app:
        await open_editor(app, monkeypatch)
        monkeypatch.setenv("EDITOR", "sed -i 's/# Answer/Answer/; s/box/bag/'")
        await app.press("alt+w")
        await app.until(lambda: any("'# Answer' is missing" in notice for notice in app.notices))
        kept = Path(store.home.cache / "pair.md")
        assert "In the bag." in kept.read_text("utf-8") and field(app, "answer") == "In the box."


async def test_a_text_that_is_too_long_for_the_form_is_refused(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs.create(store, PairDraft("Where?", "In the box. " * 5_000), dataset="d")
    async with drive() as app:
        await open_editor(app, monkeypatch)
        monkeypatch.setenv("EDITOR", "false")
        await app.press("alt+w")
        await app.until(lambda: any("The answer is too long to edit here" in notice for notice in app.notices))
