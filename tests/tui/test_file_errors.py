"""What the system says of a file reaches no screen as it is: no module words it but tui.file_errors."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import datasets
from store.db import Store
from tests.tui.conftest import Drive
from tui import file_errors
from tui.widgets.path_field import PathField

TUI = Path(file_errors.__file__).parent
MODULES = sorted(path for path in TUI.rglob("*.py") if path != TUI / "file_errors.py")


def _raw(tree: ast.AST) -> Iterator[int]:
    """Lines that use `strerror`, or the text of an OSError that was caught alone: `str(error)`, `{error}`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "strerror":
            yield node.lineno
        if not (isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "OSError"):
            continue
        for inner in ast.walk(node):
            shown = inner.value if isinstance(inner, ast.FormattedValue) else None
            if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id in ("str", "repr"):
                shown = inner.args[0] if inner.args else None
            if isinstance(shown, ast.Name) and shown.id == node.name:
                yield inner.lineno


def test_no_module_words_an_error_of_the_system_itself() -> None:
    found = [f"{path.relative_to(TUI)}:{line}" for path in MODULES for line in _raw(ast.parse(path.read_text("utf-8")))]
    assert not found, "use tui.file_errors"


def test_the_check_finds_what_it_is_for() -> None:
    for said in ("say(str(error))", "say(f'{error}')", "say(error.strerror)"):
        assert list(_raw(ast.parse(f"try:\n    read()\nexcept OSError as error:\n    {said}")))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.jsonl", "cannot be read: it does not exist."),
        ("plain.txt/inside", "cannot be read: a part of its path is a file, not a folder."),
        ("x" * 300, "cannot be read: its name is too long."),
    ],
)
def test_what_the_system_really_says_is_put_in_words(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "plain.txt").write_text("")
    path = tmp_path / name
    with pytest.raises(OSError) as raised:
        path.read_text()
    assert file_errors.sentence(raised.value) == f"{path} {said}"
    assert "rrno" not in file_errors.sentence(raised.value)


def test_an_unknown_number_is_said_in_the_systems_words() -> None:
    error = OSError(71, os.strerror(71), "/x")
    assert file_errors.sentence(error) == f"/x cannot be read: {os.strerror(71)[0].lower()}{os.strerror(71)[1:]}."


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_import_form_says_the_file_and_the_reason(
    drive: Drive, store: Store, tmp_path: Path, size: tuple[int, int]
) -> None:
    datasets.create(store, "faq")
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "Who?", "answer": "Ember."}\n')
    async with drive(size=size) as app:
        await app.see("There are no pairs yet.")
        await app.press("o")
        await app.see_page("ImportScreen")
        await app.type(str(path))
        await app.see("1 pair")
        path.unlink()
        app.app.screen.query_one("#format").focus()
        await app.press("right")
        await app.until(lambda: "1 pair" not in app.text)
        await app.see("There is no such file.", "Check the path.")
        assert "rrno" not in app.text
        app.app.screen.query_one(PathField).focus()
        await app.paste("x" * 300)
        await app.see("its name is too long.")
        assert "rrno" not in app.text
