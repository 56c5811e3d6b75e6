"""Lint: what is probably wrong with one pair, seen in its text alone.
Each rule is one small function that gives a sentence or nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from store.curate.findings import Finding, Level, PairLike, texts
from store.formats.placeholders import unfilled

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MOJIBAKE = re.compile(r"\ufffd|Ã[\x80-\xbf©¨¤¶¼]|â€[™œ\x9d“”]")
_MARKERS = re.compile(r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>")
_OTHERS = re.compile(
    r"\b(?:ChatGPT|OpenAI|Anthropic|Claude|Gemini|DeepSeek|Qwen|Alibaba|Mistral AI|Llama|Meta AI|SmolLM)\b",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(r"\bas an? (?:AI|artificial intelligence)?\s*(?:large )?language model\b", re.IGNORECASE)
_LONG = 8_000
_OPEN_END = 200


def _placeholder(text: str) -> str | None:
    names = unfilled(text)
    return f"holds the unfilled placeholder {{{{{names[0]}}}}}" if names else None


def _control(text: str) -> str | None:
    found = _CONTROL.search(text)
    return f"holds the control character U+{ord(found[0]):04X} at position {found.start()}" if found else None


def _mojibake(text: str) -> str | None:
    found = _MOJIBAKE.search(text)
    return f"looks wrongly decoded near {text[max(0, found.start() - 8) : found.end() + 8]!r}" if found else None


def _marker(text: str) -> str | None:
    found = _MARKERS.search(text)
    return f"holds {found[0]}, which a chat template would take for its own" if found else None


def _space(text: str) -> str | None:
    return "begins or ends with white space" if text != text.strip() else None


def _long(text: str) -> str | None:
    return f"is {len(text)} characters long and may be cut off in training" if len(text) > _LONG else None


def _repeats(text: str) -> str | None:
    """The same long line four times or more: a model that looped wrote this."""
    lines = Counter(line.strip() for line in re.split(r"[\n.!?]", text) if len(line.strip()) > 15)
    line, times = max(lines.items(), key=lambda item: item[1], default=("", 0))
    return f"says {line[:40]!r} {times} times" if times >= 4 else None


def _open_end(text: str) -> str | None:
    ends = text.rstrip()
    return "seems to break off in mid-sentence" if len(ends) > _OPEN_END and ends[-1].isalnum() else None


def _boilerplate(text: str) -> str | None:
    found = _BOILERPLATE.search(text)
    return f"speaks as another assistant ({found[0]!r})" if found else None


_EVERYWHERE: tuple[tuple[str, Level, Callable[[str], str | None]], ...] = (
    ("placeholder", "error", _placeholder),
    ("marker", "error", _marker),
    ("control", "error", _control),
    ("mojibake", "warning", _mojibake),
    ("space", "info", _space),
    ("long", "info", _long),
)
_IN_ANSWERS: tuple[tuple[str, Level, Callable[[str], str | None]], ...] = (
    ("repeats", "warning", _repeats),
    ("open-end", "info", _open_end),
    ("boilerplate", "warning", _boilerplate),
)


def lint_texts(uid: str, texts: Iterable[tuple[str, str]]) -> list[Finding]:
    """What is probably wrong with the texts of a preference or of feedback; a bad answer may be bad in its own way, so
    only the rules for every text apply.
    """
    return [
        Finding(uid, code, field, what, level)
        for field, text in texts
        for code, level, rule in _EVERYWHERE
        if (what := rule(text))
    ]


def lint(pair: PairLike) -> list[Finding]:
    """What is probably wrong with a pair; empty when nothing is."""
    return list(_lint(pair))


def lint_all(pairs: Iterable[PairLike]) -> list[Finding]:
    """The findings of many pairs, in their order."""
    return [finding for pair in pairs for finding in _lint(pair)]


def _lint(pair: PairLike) -> Iterator[Finding]:
    for field, text in texts(pair):
        rules = _EVERYWHERE + _IN_ANSWERS if field == "answer" else _EVERYWHERE
        for code, level, rule in rules:
            what = rule(text)
            if what:
                yield Finding(pair.uid, code, field, what, level)
    if not pair.answer.strip():
        yield Finding(pair.uid, "empty", "answer", "is empty", "error")
    elif pair.answer.strip().casefold() == pair.question.strip().casefold():
        yield Finding(pair.uid, "echo", "answer", "only repeats the question", "error")
    if pair.kind == "identity" and (other := _OTHERS.search(pair.answer)):
        yield Finding(
            pair.uid, "other-name", "answer", f"names {other[0]}: is that who the model should be?", "warning"
        )
