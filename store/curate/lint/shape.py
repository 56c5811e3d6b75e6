"""The shape of a text: empty, too long, cut off, a repetition of the question or of itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from store import search_text
from store.curate.lint.rule import SAID, LintHit, LintRow, LintRule, LintText

_LONG = 8_000
_OPEN_END = 200
_CUT_OFF = 30


def _space(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if text.text != text.text.strip():
        inner = text.text.strip()
        start = text.text.find(inner) if inner else 0
        at = (0, start) if start else (len(inner), len(text.text))
        yield LintHit(*at, "begins or ends with white space")


def _long(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if len(text.text) > _LONG:
        what = f"is {len(text.text)} characters long and may be cut off in training"
        yield LintHit(_LONG, len(text.text), what)


# -- empty and echo ----------------------------------------------------------------------------------------------------

_SAME_WANTED = re.compile(
    r"\brepeat|translat|correct|rewrite|copy|echo|proofread|grammar|punctuat|fix\b|edit|\bsay\s+(?:this|that"
    r"|after)|paraphras"
    r"|翻译|重复|改写|复述|改正|跟我读|繰り返|修正|complete|continue|续写"
)
_ENDS = ".!。！ "
_ASKING = ("?", "？", "؟")
_MARKS = _ENDS + "".join(_ASKING)


def _empty(row: LintRow) -> Iterator[tuple[str, LintHit]]:
    if not row.answer:
        yield "answer", LintHit(0, 0, "is empty")


def _echo(row: LintRow) -> Iterator[tuple[str, LintHit]]:
    question, answer = row.question, row.answer
    if not question or not answer:
        return
    asked, said = question.text.strip().casefold(), answer.text.strip().casefold()
    bare = asked.rstrip(_MARKS)
    if asked == said or (bare == said.rstrip(_MARKS) and len(bare) > 4 and not row.asks(_SAME_WANTED)):
        yield answer.field, LintHit(0, len(answer.text), "only repeats the question")
        return
    repeated = (
        len(asked) >= (8 if question.plain else 5)
        and said.startswith(bare)
        and said[len(bare) : len(bare) + 1] in _ASKING
    )
    if repeated and not row.asks(_SAME_WANTED):
        yield answer.field, LintHit(0, len(asked), "begins with the question")


# -- cut off -----------------------------------------------------------------------------------------------------------

_WAITING = re.compile(
    r"(?:\b(?:the|a|an|of|to|and|or|with|for|from|is|are|was|were|by|that|which|because|its|their|your|such as"
    r"|then|as|but|into|at"
    r"|de|la|el|los|que|y|en|und|der|die|das|et|les|des|und|mit|и|в|на|что|с)|[,，、(（:;]"
    r"|(?<![温缓平调共饱谐])和|(?<![参给赋授])与|或|并|并且|而且|因为|由于|以及|例如|比如|包括|所以|因此|如果|但是|不过|然后|或者"
    r"|通过|为了|对于|关于|[成称分作视]为|位于|来自于?|属于|在于|有助于|能够|从|把|被|向|使得?|传[到入]了?|达到了?|进入了?|成了)$",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[a-z\d)\"”][.!?] (?=[A-Z])")
_LIST_LINE = re.compile(r"\s*(?:[-*•+|#>]|\d+[.)、]|[a-zA-Z][.)])\s*")
_VERSE = re.compile(
    r"poem|song|lyric|haiku|verse|rhyme|sonnet|limerick|诗|歌|词|俳句|chant|refrain|mantra|tongue twister|poème"
    r"|gedicht|стих|песн|詩|canción"
)
_CODE_END = re.compile(
    r"[{};=<>\[\]]|\b(?:def|return|print|import|SELECT|FROM|var|let|const|echo|sudo|git|pip|npm|end|fi|done"
    r"|endif)\b|^\s{4}|://|\w\.\w"
)


def _open_end(text: LintText, row: LintRow) -> Iterator[LintHit]:
    ends = text.text.rstrip()
    if len(ends) < (_CUT_OFF if text.plain else _CUT_OFF // 2) or not _is_cut(ends, row):
        return
    yield LintHit(max(0, len(ends) - 20), len(ends), "seems to break off in mid-sentence")


def _is_cut(text: str, row: LintRow) -> bool:
    if text.count("```") % 2:
        return True
    line = text[text.rfind("\n") + 1 :]
    last = text[-1]
    if not (last.isalnum() or last in ",，、(（:;"):
        return False
    if (
        text.count("```")
        or line[line.rfind(" ") + 1 :].startswith(("#", "@"))
        or _CODE_END.search(line)
        or row.asks(_VERSE)
    ):
        return False
    if last in ":;":
        return last == ":" and len(text) > _CUT_OFF and line.count(" ") > 3
    if _WAITING.search(line[-24:]):
        return not line[:1].isspace() and (len(line) > 24 or not line.isascii())
    if last in ",，、(（" or not last.isalpha() or not (len(text) > _OPEN_END or _is_prose(text, line)):
        return False
    if search_text.unspaced(last):
        return False
    if _LIST_LINE.match(line) or "|" in line:
        return False
    lines = [each for each in text.split("\n") if each.strip()]
    if len(lines) > 2 and len(line) < 60 and all(not each.rstrip().endswith((".", "!", "?")) for each in lines[-3:]):
        return False  # a list without bullets, verse
    return len(line) > 40


def _is_prose(text: str, line: str) -> bool:
    """Whether the last line of a short text is a sentence without its end, behind sentences that have theirs."""
    ends = [found.end() for found in _SENTENCE.finditer(line)]
    return len(ends) > 1 and len(line) - ends[-1] > 20


# -- loops -------------------------------------------------------------------------------------------------------------

_REPEAT_WANTED = re.compile(
    r"repeat|\btimes\b|重复|遍|繰り返|wiederhol|répét|repit|повтор|\bloop|multiplication|table\b|pattern|ascii"
    r"|\bchess\b|mantra"
)
_SENTENCE_ENDS = re.compile(r"[\n.!?。！？]")
_REPEATS = 4
_RUN = 6


def _repeats(text: LintText, row: LintRow) -> Iterator[LintHit]:
    """A sentence four times or more, or words that follow each other again and again: a model that looped."""
    written = text.text
    found = _repetition(text) if len(written) >= (24 if text.plain else 12) else None
    if found and not (row.asks(_VERSE) or row.asks(_REPEAT_WANTED)):
        yield found


def _repetition(text: LintText) -> LintHit | None:
    written = text.text
    parts = [part.strip() for part in _SENTENCE_ENDS.split(text.prose)] if len(written) > 60 else []
    if len(parts) >= _REPEATS and len(parts) - len(set(parts)) >= _REPEATS - 1:
        for part, times in Counter(parts).most_common(3):
            long = len(part) > 15 or (len(part) > 5 and not part.isascii())
            if times >= _REPEATS and long and part[0].isalnum() and not re.search(r"[;{}|=$\d]", part):
                start = written.find(part)
                return LintHit(start, start + len(part), f"says {part[:40]!r} {times} times")
    words = text.lower.split()
    if len(words) >= 12 and len(set(words)) * 2 <= len(words):
        found = _looping(words)
        if found and any(char.isalpha() for char in found[0]) and "|" not in found[0]:
            return LintHit(0, len(written), f"repeats {found[0][:40]!r} {found[1]} times on end")
    elif not written.isascii() and len(set(written)) * 3 <= len(written):
        found = _looping([char for char in written if char.isalnum()])
        if found and len(set(found[0].replace(" ", ""))) > 1:
            return LintHit(0, len(written), f"repeats {found[0][:40].replace(' ', '')!r} {found[1]} times on end")
    return None


def _looping(parts: Sequence[str]) -> tuple[str, int] | None:
    """What is repeated directly after itself, and how often; the shortest such stretch of one to twelve parts.

    Two parts that are equal at a distance of p, n times in a row, are a stretch of p parts, n / p times more.

    >>> _looping("go on and go on and go on and go on and go on and go on and".split())
    ('go on and', 6)
    """
    for period in range(1, 13):
        run = 0
        for at in range(period, len(parts)):
            run = run + 1 if parts[at] == parts[at - period] else 0
            if run >= period * (_REPEATS if period > 2 else _RUN) - period and run + period >= 12:
                while at + 1 < len(parts) and parts[at + 1] == parts[at + 1 - period]:
                    at, run = at + 1, run + 1
                first = at - run - period + 1
                return " ".join(parts[first : first + period]), run // period + 1
    return None


RULES = (
    LintRule("space", "info", "white space at the beginning or the end", _space, fix=str.strip),
    LintRule("long", "info", f"texts of more than {_LONG:,} characters", _long),
    LintRule("repeats", "warning", "sentences and words that are repeated in a loop", _repeats, roles=SAID),
    LintRule("open-end", "info", "answers that break off", _open_end, roles=SAID),
    LintRule("empty", "error", "empty answers", find_in_row=_empty),
    LintRule("echo", "error", "answers that repeat the question", find_in_row=_echo),
)
