"""Characters that no one sees or wants: control characters, invisible ones, text that was decoded wrongly.
Joiners and direction marks are fine where a script or an emoji needs them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from store.curate.lint.rule import LintHit, LintRow, LintRule, LintText

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ud800-\udfff\ufffe\uffff]"
)
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_FOR_RIGHT_TO_LEFT = frozenset("\u202a\u202b\u202c\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2064\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e01ef]"
)
_JOINING_SCRIPTS = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua8e0-\ua8ff\ufb50-\ufdff]")
_BREAKING_SCRIPTS = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf]")
_PRIVATE_USE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]+")


def _is_control(text: str, char: str) -> bool:
    return not (char in _FOR_RIGHT_TO_LEFT and _RIGHT_TO_LEFT.search(text))


def _control(text: LintText, row: LintRow) -> Iterator[LintHit]:
    for found in _CONTROL.finditer(text.text):
        if _is_control(text.text, found[0]):
            what = f"contains the control character U+{ord(found[0]):04X} at position {found.start()}"
            yield LintHit(found.start(), found.end(), what)
            return


def _without_control(text: str) -> str:
    text = _ANSI.sub("", text)
    return _CONTROL.sub(lambda found: "" if _is_control(text, found[0]) else found[0], text)


def _is_out_of_place(text: str, at: int) -> bool:
    """Whether an invisible character has no work to do where it stands."""
    char = text[at]
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if char in "\u200c\u200d":
        if _JOINING_SCRIPTS.match(before):
            return False
        return not (char == "\u200d" and _is_symbol(before) and _is_symbol(after))
    if char == "\u200b":
        return not (_BREAKING_SCRIPTS.match(before) or _BREAKING_SCRIPTS.match(after))
    if "\ufe00" <= char <= "\ufe0f":
        return not (_is_symbol(before) or before in tuple("0123456789#*") or before > "\u2000")
    if "\U000e0100" <= char <= "\U000e01ef":  # the form of a Chinese character
        return not unicodedata.name(before or " ", "").startswith("CJK")
    return not (char == "\u00ad" and not before.isascii())


def _is_symbol(char: str) -> bool:
    return bool(char) and (unicodedata.category(char) in ("So", "Sk", "Sm") or "\ufe00" <= char <= "\ufe0f")


def _invisible_spans(text: str) -> Iterator[tuple[int, int]]:
    flags = [found.span() for found in _FLAG.finditer(text)]
    for found in _INVISIBLE.finditer(text):
        at = found.start()
        if not any(start <= at < end for start, end in flags) and _is_out_of_place(text, at):
            yield found.span()


def _invisible(text: LintText, row: LintRow) -> Iterator[LintHit]:
    for start, end in _invisible_spans(text.text):
        name = unicodedata.name(text.text[start], "no name").lower()
        what = f"contains the invisible character U+{ord(text.text[start]):04X} ({name}) at position {start}"
        yield LintHit(start, end, what)
        return


def _without_invisible(text: str) -> str:
    for start, end in reversed(list(_invisible_spans(text))):
        text = text[:start] + text[end:]
    return text


def _private_use(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if found := _PRIVATE_USE.search(text.text):
        what = f"contains U+{ord(found[0][0]):04X}, which means something in one font only, at position {found.start()}"
        yield LintHit(found.start(), found.end(), what)


RULES = (
    LintRule(
        "control", "error", "control characters, and direction marks outside Arabic and Hebrew", _control,
        signs=frozenset(chr(code) for code in range(0xFFFF + 1) if _CONTROL.match(chr(code))), fix=_without_control,
    ),
    LintRule(
        "invisible", "warning", "invisible characters such as zero-width spaces and tags", _invisible,
        foreign=True, fix=_without_invisible,
    ),
    LintRule("private-use", "warning", "characters that only one font can show", _private_use, foreign=True),
)  # fmt: skip
