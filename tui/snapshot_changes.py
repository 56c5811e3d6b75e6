"""How rows of snapshots, and what became of them, are put in words: for the command line and the screens alike.
Pure; which rows differ is decided in store/snapshots.py, how words are compared in worddiff.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.text import one_line

if TYPE_CHECKING:
    from store.records import SnapshotRow
    from store.snapshots import SnapshotDiff

_TITLES = {"system": "system", "user": "question", "assistant": "answer"}


def row_texts(row: SnapshotRow) -> list[tuple[str, str]]:
    """The texts of a row with their names: system, question and answer of each turn, and a rejected answer."""
    found = [(_TITLES[message["role"]], _text(message)) for message in row.messages]
    if row.good is not None:
        found[-1] = ("good answer" if row.good else "bad answer", found[-1][1])
    return [*found, ("rejected", row.rejected)] if row.rejected is not None else found


def _text(message: dict[str, object]) -> str:
    return f"{message['content']}{' (not trained)' if message.get('weight') == 0 else ''}"


def changed_texts(before: SnapshotRow, after: SnapshotRow) -> list[tuple[str, str, str]]:
    """What differs between two states of a row: the name of each part, with its text before and after."""
    plain: list[tuple[str, str, str]] = [("split", before.split, after.split), ("kind", before.kind, after.kind)]
    one, two = row_texts(before), row_texts(after)
    if [name for name, _ in one] == [name for name, _ in two]:
        plain += [(name, old, new) for (name, old), (_, new) in zip(one, two, strict=True)]
    else:
        plain.append(("conversation", _joined(one), _joined(two)))
    return [(name, old, new) for name, old, new in plain if old != new]


def _joined(texts: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name}: {text}" for name, text in texts)


def in_a_line(row: SnapshotRow, width: int) -> str:
    """A row on one line: its split, its last question and its answer."""
    return one_line(f"{row.split} {row.messages[-2]['content']} → {row.messages[-1]['content']}", width)


def summary(found: SnapshotDiff) -> str:
    """How many rows were added, removed and changed, and how many are the same."""
    return (
        f"{len(found.added):,} added, {len(found.removed):,} removed, {len(found.changed):,} changed,"
        f" {found.same:,} the same"
    )
