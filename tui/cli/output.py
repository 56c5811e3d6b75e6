"""The output of the command line: tables, JSON, messages, progress and errors.
Results go to stdout, everything else to stderr; foreign text passes tui.text.clean. No command lives here."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click

from store.errors import BadInput, NoSpace, TuningforkError, UserError
from store.home import NO_ROOM
from tui.formatting import duration
from tui.text import clean, one_line

# What a terminal would act on although it is legal inside a JSON string, and lone surrogates, which UTF-8 refuses.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FIRST_PROGRESS_S = 1.0
_TTY_EVERY_S, _LINE_EVERY_S = 0.1, 5.0


# ---------------------------------------------------------------- results


def emit(text: str = "") -> None:
    """One result as text, on stdout."""
    click.echo(clean(text))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text that is safe on a terminal: what a terminal would act on is written as escapes, nothing is lost."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=_plain, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(lambda m: f"\\u{ord(m.group()):04x}", text)


def emit_json(value: Any) -> None:
    """One result for a script: one line of JSON on stdout, flushed, so that a reader sees it at once."""
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def emit_json_list(values: Iterable[Any]) -> None:
    """A list for a script, written as its values come: one line of JSON, of which only one value is in memory."""
    mark = "["
    for value in values:
        sys.stdout.write(mark + to_json(value))
        mark = ", "
    sys.stdout.write(("[]" if mark == "[" else "]") + "\n")
    sys.stdout.flush()


def table(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = (), wide: str | None = None
) -> None:
    """Columns on stdout. `right` names right-aligned headers, `wide` the column that is shortened on a narrow terminal.

    Into a pipe nothing is cut: another program reads it.
    """
    cells = [[one_line(_cell(value), 10_000) for value in row] for row in rows]
    widths = [max([_width(h), *(_width(row[i]) for row in cells)]) for i, h in enumerate(headers)]
    if sys.stdout.isatty() and wide is not None:
        at = list(headers).index(wide)
        others = sum(widths) - widths[at] + 2 * (len(widths) - 1)
        widths[at] = min(widths[at], max(12, columns() - others))
    aligned = {h for h in headers if h in set(right)}
    head = "  ".join(_pad(h, w, h in aligned) for h, w in zip(headers, widths, strict=True)).rstrip()
    click.echo(click.style(head, bold=True) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else head)
    for row in cells:
        line = (_pad(one_line(c, w), w, h in aligned) for h, c, w in zip(headers, row, widths, strict=True))
        click.echo("  ".join(line).rstrip())


def fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """A block of `name  value` lines on stdout; a value of several lines is indented under its name."""
    shown = [(name, _cell(value)) for name, value in pairs]
    width = max((_width(name) for name, _ in shown), default=0)
    for name, value in shown:
        lines = clean(value).split("\n") or [""]
        emit(f"{_pad(name, width, False)}  {lines[0]}".rstrip())
        for line in lines[1:]:
            emit(" " * (width + 2) + line)


def columns() -> int:
    """Width of the terminal in cells."""
    return shutil.get_terminal_size((80, 24)).columns


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int, right: bool) -> str:
    room = " " * max(0, width - _width(text))
    return room + text if right else text + room


# ---------------------------------------------------------------- messages and progress


def say(text: str) -> None:
    """A message to the user, on stderr."""
    click.echo(clean(text), err=True)


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone; `yes` answers. Without a terminal to ask at, UserError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("This asks before it continues, and there is no terminal to ask on.", todo="Add --yes.")
    if not click.confirm(question, err=True):
        raise UserError("Nothing was changed.")


def ask_for(question: str, option: str, given: str | None = None, *, otherwise: str | None = None) -> str:
    """The text that was given for an option, or what is typed at the terminal; Enter gives `otherwise`, if that is set.

    BadInput names the option when there is no terminal to ask at.
    """
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise BadInput("It is missing, and there is no terminal to ask at.", where=option, todo=f"Add {option} TEXT.")
    typed: str = click.prompt(clean(question), default=otherwise, show_default=False, prompt_suffix=" ", err=True)
    return typed.strip()


class Progress:
    """Progress on stderr with rate and time left: on a terminal one line redrawn, elsewhere a line every few seconds.

    Silent for the first second, so quick work shows nothing. A context manager: leaving it ends the line.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self._tty = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._next = self._begun + _FIRST_PROGRESS_S
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Show how far the work is; cheap enough to call for every row. `note` is shown after it, such as the loss."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_TTY_EVERY_S if self._tty else _LINE_EVERY_S)
        of = self.total if total is None else total
        passed = now - self._begun
        parts = [f"{self.label} {done:,.0f}" + (f"/{of:,.0f}" if of else "") + (f" {self.unit}" if self.unit else "")]
        if of:
            parts.append(f"{100 * min(1.0, done / of):.0f}%")
        rate = done / passed
        if rate > 0:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
            if of and done < of:
                parts.append(f"{duration((of - done) / rate)} left")
        self.show(", ".join(parts) + (f"  {note}" if note else ""), throttled=True)

    def show(self, line: str, *, throttled: bool = False) -> None:
        """Put `line` in the place of the progress line; on a pipe it becomes a line of its own."""
        if not throttled:
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + (_TTY_EVERY_S if self._tty else _LINE_EVERY_S)
        if self._tty:
            sys.stderr.write("\r\x1b[K" + one_line(line, columns() - 1))
            sys.stderr.flush()
            self._drawn = True
        else:
            say(line)

    def clear(self) -> None:
        """Remove the progress line, before something else is printed."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


# ---------------------------------------------------------------- errors


def complain(error: Mapping[str, str | None], *, as_json: bool, head: str = "Error:") -> None:
    """Print what went wrong on stderr: what, where and what to do; one JSON object under `--json`."""
    if as_json:
        click.echo(to_json(dict(error)), err=True)
        return
    where, what, todo = error.get("where"), error.get("what") or "", error.get("todo")
    say(f"{head} {where}: {what}" if where else f"{head} {what}")
    for line in (todo or "").splitlines():
        say(f"  {line}")


def translated(error: BaseException) -> TuningforkError | None:
    """Our sentence for an error of the system that the user can fix, or None when it is our fault."""
    if isinstance(error, TuningforkError):
        return error
    if isinstance(error, OSError):
        where = str(error.filename) if error.filename else None
        if error.errno in NO_ROOM:
            return NoSpace("The disk is full.", where=where, todo="Free some space and run the command again.")
        if isinstance(error, PermissionError):
            return UserError("Permission denied.", where=where, todo="Check who owns it, or choose another place.")
        if isinstance(error, FileNotFoundError) and where:
            return UserError("There is no such file.", where=where, todo="Check the path.")
    return None
