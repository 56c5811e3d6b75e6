"""What an import did, in sentences: shared by the command line and the app.
Pure functions; nothing here knows a widget."""

from __future__ import annotations

from engine.hf_data.spooling import About
from store.importing import ImportReport
from tui.formatting import count, size

NOUNS = {"pair": "pair", "preference": "preference", "feedback": "feedback row"}
"""What the rows that a format holds are called."""
_NAMED = 12


def kept(report: ImportReport, new: str = "") -> str:
    """`3 pairs`, `3 pairs, 1 preference and 2 feedback rows`; `new` goes before each noun."""
    return sorts(report.pairs, report.preferences, report.feedback, new)


def sorts(pairs: int, preferences: int, feedback: int, new: str = "") -> str:
    """The same of counts."""
    named = zip(NOUNS.values(), (pairs, preferences, feedback), strict=True)
    parts = [count(n, f"{new} {noun}".strip()) for noun, n in named if n] or [count(0, f"{new} pair".strip())]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def not_read(fields: dict[str, int]) -> str:
    """`Not read: label (150 rows), context (3 rows).`"""
    named = [f"{name} ({count(rows, 'row')})" for name, rows in fields.items()]
    more = f" and {count(len(named) - _NAMED, 'more field')}" if len(named) > _NAMED else ""
    return f"Not read: {', '.join(named[:_NAMED])}{more}."


def remarks(report: ImportReport) -> list[str]:
    """What else there is to know: known rows, fields that were not read, and what was decided on the way."""
    lines = []
    if report.duplicates:
        lines.append(f"{count(report.duplicates, 'row')} {'was' if report.duplicates == 1 else 'were'} known already.")
    if report.not_read:
        lines.append(not_read(report.not_read))
    return lines + report.notices


def beforehand(about: About) -> str:
    """What is about to be read and from where: `Fetching hf:org/name from huggingface.co: 3 files, 1.2 GB, …`"""
    parts = [count(about.files, "file"), "size unknown" if about.bytes is None else size(about.bytes)]
    if about.total is not None:
        parts.append(count(about.total, "row"))
    verb = f"Fetching {about.ref} from {about.host}" if about.host else f"Reading {about.ref}"
    return f"{verb}: {', '.join(parts)}; splits: {', '.join(about.splits) or 'none'}."
