"""What differs between two states of a pair, as named texts: for the command line and the screens alike.
Pure; how words are compared is in worddiff.py."""

from __future__ import annotations

from store.records import Pair, Turn


def pair_changes(before: Pair, after: Pair) -> list[tuple[str, str, str]]:
    """The name of each field that differs, with its text before and after."""
    one, two = _texts(before), _texts(after)
    return [(name, one[name], two[name]) for name in one if one[name] != two[name]]


def _texts(pair: Pair) -> dict[str, str]:
    return {
        "kind": pair.kind,
        "status": pair.status,
        "tags": ", ".join(pair.tags),
        "system": pair.system,
        "earlier turns": "\n".join(map(_turn, pair.history)),
        "question": pair.question,
        "answer": pair.answer,
        "source": ", ".join(f"{name} {value}" for name, value in pair.source.items()),
    }


def _turn(turn: Turn) -> str:
    return f"{turn.role}{'' if turn.train else ' (not trained)'}: {turn.content}"
