"""LintText that was decoded wrongly (mojibake): UTF-8 read as Windows-1252, 1251, GBK or Shift-JIS, and the reverse.
A stretch counts when its bytes, read the right way, give plausible characters; the same reading is the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from store.curate.lint.rule import LintHit, LintRow, LintRule, LintText


def _byte_chars(encoding: str, first: int, last: int) -> dict[str, int]:
    """The characters that bytes `first` to `last` are in a one-byte encoding; bytes that it lacks are Latin-1's."""
    found = {}
    for byte in range(first, last + 1):
        with suppress(UnicodeDecodeError):
            found[bytes([byte]).decode(encoding)] = byte
        if encoding == "cp1252":
            found.setdefault(chr(byte), byte)
    return found


_WESTERN = _byte_chars("cp1252", 0x80, 0xFF)
_CYRILLIC = _byte_chars("cp1251", 0x80, 0xFF)
_NEXT_WESTERN = "".join(re.escape(char) for char, byte in _WESTERN.items() if byte < 0xC0)
_NEXT_CYRILLIC = "".join(re.escape(char) for char, byte in _CYRILLIC.items() if byte < 0xC0)
_AS_WESTERN = re.compile(
    f"(?:[\u00c2-\u00df][{_NEXT_WESTERN}]|[\u00e0-\u00ef][{_NEXT_WESTERN}]{{2}}|[\u00f0-\u00f4][{_NEXT_WESTERN}]{{3}})+"
)
_AS_CYRILLIC = re.compile(f"(?:[\u0420\u0421][{_NEXT_CYRILLIC}]){{3,}}")
_QUOTE_REST = re.compile("â€(?=[\\s\\w,.?!]|$)|ðŸ")
_LATIN_RUN = re.compile("[\u00a1-\u00ff]{4,}")
_FOREIGN_RUN = re.compile("[^\x00-\x7f]{3,}")
_SHIFT_JIS = re.compile("(?:[‚ƒ][\u00a0-\u00ff\u0152-\u2122]){3,}|[縺繧].{0,2}[縺繧]")
_KNOWN = re.compile("\ufffd|锟斤拷|(?:烫烫|屯屯){2,}|ï»¿")
_LOST = re.compile(r"(?:\?{2,}[\s,.，。!]*){3,}|\?{6,}")
_BELOW_CHINESE = re.compile("[\u0080-\u0bff]")
_MARKS_AFTER_CAPITALS = "…”“’‘»«—–™"


def _read(text: str, table: dict[str, int]) -> str | None:
    try:
        return bytes(table[char] for char in text).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return None


def _western(text: str) -> Iterator[tuple[int, int, str]]:
    for found in _AS_WESTERN.finditer(text):
        right = _read(found[0], _WESTERN)
        if right is None:
            continue
        if len(right) == 1 and not _is_plausible_alone(text, found.start(), found[0], right):
            continue
        yield found.start(), found.end(), right


def _is_plausible_alone(text: str, start: int, wrong: str, right: str) -> bool:
    """Whether one character is mojibake: "cafÃ©" is, "AMANHÃ…" and "CAFÉ»" are capitals with a mark after them."""
    if len(wrong) > 2:
        return True
    if wrong[1] in _MARKS_AFTER_CAPITALS and text[max(0, start - 1) : start].isupper():
        return False
    return right < "\u0180"


def _cyrillic(text: str) -> Iterator[tuple[int, int, str]]:
    for found in _AS_CYRILLIC.finditer(text):
        if right := _read(found[0], _CYRILLIC):
            yield found.start(), found.end(), right


def _latin_runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Cyrillic of cp1251 and Chinese of GBK read as Latin-1: Ïðèâåò, ÄãºÃ."""
    for found in _LATIN_RUN.finditer(text):
        run = found[0]
        if sum(char.isalpha() for char in run) < 4 or _AS_WESTERN.search(run) or len(set(run)) < 3:
            continue
        raw = run.encode("latin-1")
        for encoding, low, high in (("cp1251", "\u0400", "\u04ff"), ("gb2312", "\u4e00", "\u9fff")):
            try:
                right = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            if all(low <= char <= high for char in right):
                yield found.start(), found.end(), right
                break


def _multibyte(text: str) -> Iterator[tuple[int, int, str]]:
    """UTF-8 read as GBK (浣犲ソ) or as Shift-JIS (縺薙ｓ)."""
    if not text or max(text) < "\u0800":
        return
    for found in _FOREIGN_RUN.finditer(text):
        raw = b"\x80".join(part.encode("gbk", "replace") for part in found[0].split("€"))  # as Windows has it
        try:
            right = raw.decode("utf-8")
            whole = True
        except UnicodeDecodeError as error:
            right = raw[: error.start].decode("utf-8")
            whole = False
        if len(right) >= (2 if whole else 3) and all(char >= "\u2000" for char in right):
            yield found.start(), found.end(), right if whole else ""
    for found in _SHIFT_JIS.finditer(text):
        yield found.start(), found.end(), ""


def _certain(text: str) -> Iterator[tuple[int, int, str]]:
    for pattern in (_KNOWN, _QUOTE_REST):
        for found in pattern.finditer(text):
            yield found.start(), found.end(), ""


_READINGS: tuple[Callable[[str], Iterator[tuple[int, int, str]]], ...] = (
    _western, _cyrillic, _latin_runs, _multibyte, _certain,
)  # fmt: skip


def _mojibake(text: LintText, row: LintRow) -> Iterator[LintHit]:
    written = text.text
    for reading in _READINGS if _BELOW_CHINESE.search(written) else (_multibyte, _certain):
        for start, end, right in reading(written):
            near = written[max(0, start - 8) : end + 8][:40]
            means = f": it was probably {right[:20]!r}" if right else ""
            yield LintHit(start, end, f"looks wrongly decoded near {near!r}{means}")
            return


def _decoded(text: str) -> str:
    for reading in _READINGS:
        for start, end, right in reversed(list(reading(text))):
            if right:
                text = text[:start] + right + text[end:]
    return text


def _lost(text: LintText, row: LintRow) -> Iterator[LintHit]:
    found = _LOST.search(text.text)
    if found and sum(char.isalnum() for char in text.text) < text.text.count("?"):
        yield LintHit(found.start(), found.end(), "is mostly question marks: its characters were lost in a conversion")


RULES = (
    LintRule("mojibake", "warning", "text that was decoded wrongly", _mojibake, foreign=True, fix=_decoded),
    LintRule(
        "lost", "error", "text whose characters became question marks", _lost, signs=frozenset("?"), words=("???",)
    ),
)
