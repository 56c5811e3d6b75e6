"""Writes a text in the user's own editor: the app steps aside, and takes the text back when the editor ends.
Knows no widget. The editor is $VISUAL or $EDITOR, else one that is usually there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from textual.app import App, SuspendNotSupported

from store.errors import NotFound, TuningforkError, UserError
from tui import file_errors

_USUAL = ("nano", "vi")


def command(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The editor as a command. NotFound where there is none, UserError where the variable cannot be read as one.

    >>> command({"VISUAL": " ", "EDITOR": "code --wait"})
    ['code', '--wait']
    """
    chosen = environ.get("VISUAL", "").strip() or environ.get("EDITOR", "").strip()
    if chosen:
        try:
            return shlex.split(chosen)
        except ValueError:
            todo = "Set EDITOR to a command whose quotes are closed."
            raise UserError("The command of your editor has a quote without an end.", where=chosen, todo=todo) from None
    usual = next(filter(shutil.which, _USUAL), None)
    if usual is None:
        raise NotFound("There is no editor.", todo="Set EDITOR to the command of one, such as `export EDITOR=vim`.")
    return [usual]


def edit(app: App[object], text: str, suffix: str = ".md") -> str:
    """The text as the editor left it, without the line end that editors add.

    Blocks until the editor ends. UserError where it cannot be started or fails; the text is unchanged then.
    """
    argv = command()
    with tempfile.TemporaryDirectory(prefix="tuningfork-") as folder:
        file = Path(folder) / f"text{suffix}"
        file.write_text(text, "utf-8")
        try:
            with app.suspend():
                ended = subprocess.run([*argv, str(file)], check=False)
        except SuspendNotSupported:
            raise UserError("This terminal cannot be lent to an editor.", todo="Write the text here.") from None
        except OSError as error:
            raise _failed(argv, file_errors.reason(error)) from None
        if ended.returncode:
            raise _failed(argv, f"it ended with code {ended.returncode}")
        try:
            written = file.read_text("utf-8", errors="replace")
        except OSError:
            raise _failed(argv, "it left no file") from None
    return written if text.endswith("\n") else written.removesuffix("\n")


def _failed(argv: list[str], why: str) -> TuningforkError:
    return UserError(
        f"The editor {argv[0]} did not work: {why}. The text is as it was.", todo="Set EDITOR to another command."
    )
