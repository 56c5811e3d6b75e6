"""Calls the user back when long work has ended: the bell, a notice of the terminal or desktop, a command of their own.
Knows no run and no screen; what is said is one line."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from typing import Any

from tui.text import one_line


def sequence(text: str) -> str:
    """What makes a terminal notify: OSC 9 (iTerm2, Windows Terminal, kitty) and OSC 777 (foot, Ghostty, urxvt), then
    the bell. Terminals drop what they do not know.

    >>> sequence("Run ember-1: done")
    '\\x1b]9;Run ember-1: done\\x07\\x1b]777;notify;Tuningfork;Run ember-1: done\\x07\\x07'
    """
    line = one_line(text, 200).replace(";", ",")
    return f"\x1b]9;{line}\x07\x1b]777;notify;Tuningfork;{line}\x07\x07"


def call(app: Any, text: str, command: str = "") -> None:
    """Notify once. `command` is a program and its arguments; the text is given as one more, never to a shell.

    A command that cannot be started is left out: the terminal was notified already.
    """
    driver = getattr(app, "_driver", None)
    if driver is not None and not app.is_headless:
        driver.write(sequence(text))
        driver.flush()
    if command:
        quiet = subprocess.DEVNULL
        with suppress(OSError, ValueError):
            subprocess.Popen(
                [*shlex.split(command), one_line(text, 200)],
                stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True,
            )  # fmt: skip
