"""How the interface writes numbers: counts, ages, durations and sizes in words that fit a line.
Pure functions; nothing here knows a widget."""

from __future__ import annotations

import time


def count(n: int, noun: str, plural: str | None = None) -> str:
    """`1 pair`, `1,204 pairs`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def of_them(n: int, noun: str, some: int, what: str) -> str:
    """`12 votes, 5 of them unblind`."""
    return f"{count(n, noun)}, {some:,} of them {what}"


def edited(label: str, rows: int) -> str:
    """`set to ready, 3 rows`, `rename a to b`: what an edit did, and to how many rows of data if to any."""
    return f"{label}, {count(rows, 'row')}" if rows else label


def rows_of_preferences(n: int) -> str:
    """`1 preference or feedback row`, `3 preference and feedback rows`."""
    return count(n, "preference or feedback row", "preference and feedback rows")


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def left(seconds: float) -> str:
    """`45 s left`, `24 min left`, `2 h 05 min left`: an estimate, so with few digits."""
    whole = max(0, round(seconds))
    rough = f"{round(whole / 60)} min" if 90 <= whole < 3600 else duration(whole)
    return f"{rough} left"


def pace(done: int, of: int, passed: float) -> str:
    """The time left of counted work, or before its first end the time that passed; empty for its first second.

    >>> pace(0, 20, 0.5), pace(0, 20, 7.0), pace(5, 20, 10.0), pace(20, 20, 40.0)
    ('', '7 s', '30 s left', '')
    """
    if passed < 1 or done >= of:
        return ""
    return left((of - done) * passed / done) if done else duration(passed)


def ago(at_ms: int, now_ms: int | None = None) -> str:
    """`now`, `5 min`, `3 h`, `2 d`, `7 w`: how long ago a UTC millisecond time was, in at most six cells."""
    seconds = max(0, (int(time.time() * 1000) if now_ms is None else now_ms) - at_ms) // 1000
    for size, unit in ((604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


def size(n: int) -> str:
    """`512 B`, `1.2 MB`, `98 MB`."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
