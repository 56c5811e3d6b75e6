"""How text is cut for the search index, and how what was typed becomes a query of it. Pure functions.

The index holds tokens with spaces between them, so SQLite only splits at spaces (its `ascii` tokenizer) and every rule
is written here, once for both sides:

    "Café C++"   ->  cafe c + +         words without case and accents; each sign a token of its own
    "模型A"      ->  模 型 a            scripts that write no spaces between words: each character a token
    "कि, की"     ->  कि , की            the marks of other scripts belong to their words

A query is cut the same way. Neighbouring tokens become one phrase, and a word at the end of a phrase matches as a
prefix: `mod` finds `models`, `C++` only itself, and 模型 any text in which the two characters stand side by side.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

RULES = f"1, Unicode {unicodedata.unidata_version}"
"""Names the rules below. A store that was indexed by other rules is indexed again when it is opened."""

_SIGNS = [(chr(n), f" {chr(n)} ") for n in range(33, 127) if not chr(n).isalnum()]
TOKENIZER = "ascii tokenchars '" + "".join(sign for sign, _ in _SIGNS).replace("'", "''") + "'"
"""The FTS5 tokenizer for text that was cut here: it splits at white space and control characters alone."""

_BOUNDARY = " \ue000 "
_ACCENTS = re.compile("[\u0300-\u036f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PHRASE_OR_WORD = re.compile(r'"([^"]*)"?|([^\s"]+)')
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # CJK radicals
    (0x3005, 0x3007),  # iteration marks, ideographic zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x1B000, 0x1B16F),  # Kana supplements
    (0x20000, 0x3FFFF),  # Han, extensions B and later
)
"""Code points of the scripts that write no spaces between words."""


def unspaced(char: str) -> bool:
    """Whether `char` (or the last of several) belongs to a script that writes no spaces between words."""
    code = ord(char[-1])
    return code >= 0x0E00 and any(first <= code <= last for first, last in _UNSPACED)


def script_of(text: str) -> str:
    """The script of most letters of a text, as Unicode names it in lower case: latin, cyrillic, cjk; "none" without.

    >>> script_of("Wo ist die Post?"), script_of("模型 A 在哪里"), script_of("12 + 3")
    ('latin', 'cjk', 'none')
    """
    letters = [char for char in text[:400] if char.isalpha()]
    if letters and all(char.isascii() for char in letters):
        return "latin"
    found = Counter(unicodedata.name(char, "none").split()[0].lower() for char in letters)
    return found.most_common(1)[0][0] if found else "none"


class _Cuts(dict[int, str]):
    """For `str.translate`: what each code point becomes. Looked up once, then remembered."""

    def __missing__(self, code: int) -> str:
        char, category = chr(code), unicodedata.category(chr(code))
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
            cut = ""  # joiners, soft hyphens, variation selectors
        elif char.isspace() or category in ("Cc", "Cs", "Zs"):
            cut = " "  # what SQLite cannot carry (half a surrogate pair, NUL) is a space too
        elif unspaced(char) or category[0] in "PSC":
            cut = f" {char} "
        else:
            cut = char
        self[code] = cut
        return cut


_CUTS = _Cuts()


def tokens(text: str) -> str:
    """`text` as tokens with white space between: lower case, without accents; NFC, NFD and full-width forms equal."""
    if text.isascii():
        return cut(text.lower())
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return cut(unicodedata.normalize("NFC", plain))


def cut(text: str) -> str:
    """`text` with white space between its tokens, case and accents as they are."""
    if not text.isascii():
        return text.translate(_CUTS)
    for sign, apart in _SIGNS:
        if sign in text:  # four times as fast as a regular expression
            text = text.replace(sign, apart)
    return text


def pattern(typed: str) -> re.Pattern[str] | None:
    """Where in a text that was found the typed words stand, to highlight them; None when nothing was typed.

    Like the index: a word at the beginning of a word, signs and text without spaces anywhere. Accents count here.
    """
    words = [match[1] or match[2] for match in _PHRASE_OR_WORD.finditer(typed) if match[1] or match[2]]
    starts = [r"(?<!\w)" if is_word(word[0]) and not unspaced(word[0]) else "" for word in words]
    parts = [start + re.escape(word) for start, word in zip(starts, words, strict=True)]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def is_word(token: str) -> bool:
    """Whether a token is a word, a number or a character of a script without spaces, and not a sign."""
    return unicodedata.category(token[-1])[0] in "LMN"


def indexed(*texts: str) -> str:
    """What the index holds of the parts of one row. No phrase reaches from one part into the next."""
    return _BOUNDARY.join([tokens(text) for text in texts if text])


def indexed_conversation(system: str, turns: Sequence[str], question: str, answer: str) -> str:
    """What `indexed_pair` gives, from the texts of the earlier turns."""
    body = indexed(question, answer, system)
    return _BOUNDARY.join((body, indexed(*turns))) if turns else body


def indexed_turns(turns: str) -> str:
    """What the index holds of a JSON column of turns, [{"role", "content"}, …]."""
    return indexed(*(turn["content"] for turn in json.loads(turns))) if turns != "[]" else ""


def indexed_pair(system: str, history: str, question: str, answer: str) -> str:
    """What the index holds of a pair; `history` is its JSON column."""
    if history == "[]":
        return indexed(question, answer, system)
    return _BOUNDARY.join((indexed(question, answer, system), indexed_turns(history)))


def indexed_preference(prompt: str, chosen: str, rejected: str) -> str:
    """What the index holds of a preference (or of feedback, with one answer); `prompt` is its JSON column."""
    return _BOUNDARY.join((indexed_turns(prompt), indexed(chosen, rejected)))


SQL_FUNCTIONS = {function.__name__: function for function in (indexed, indexed_pair, indexed_preference)}
"""What every connection of the store offers to its triggers and views."""


def beginning(text: str, most: int = 24) -> str | None:
    """An FTS5 query for texts in which the first `most` tokens of `text` stand side by side; None when it has none."""
    found = tokens(text).split()[:most]
    return '"' + " ".join(found).replace('"', '""') + '"' if found else None


def any_of(text: str, most: int = 64) -> str | None:
    """An FTS5 query for texts with any of the first `most` different words of `text`; None when it has none.

    Where a script writes no spaces, every two neighbouring characters are one word.

    >>> any_of("Is it 模型?")
    '"is" OR "it" OR "模 型"'
    """
    found = tokens(text).split()
    words: dict[str, None] = {}
    for one, after in zip(found, [*found[1:], "."], strict=True):
        if unspaced(one) and unspaced(after):
            words[f'"{one} {after}"'] = None
        elif is_word(one) and not unspaced(one):
            words['"' + one.replace('"', '""') + '"'] = None
    return " OR ".join(list(words)[:most]) or None


def phrases(text: str) -> list[tuple[str, bool]]:
    """What was typed as the phrases that must all be found: neighbouring tokens, and whether the last is a prefix.

    Quoted words belong together; a quote that is still open closes at the end.

    >>> phrases('C++ mod "my word')
    [('c + +', False), ('mod', True), ('my word', False)]
    """
    found = []
    for match in _PHRASE_OR_WORD.finditer(_CONTROL.sub(" ", text)):
        quoted = match[1] is not None
        cut_up = tokens(match[1] if quoted else match[2]).split()
        if cut_up:
            prefix = not quoted and is_word(cut_up[-1]) and not unspaced(cut_up[-1])
            found.append((" ".join(cut_up), prefix))
    return found


def expression(text: str) -> str | None:
    """What was typed as an FTS5 query; None when it holds nothing to look for."""
    return expression_of(phrases(text))


def expression_of(wanted: Sequence[tuple[str, bool]]) -> str | None:
    """Phrases as an FTS5 query. Every token is quoted, so no text is read as a query language."""
    parts = ['"' + phrase.replace('"', '""') + '"' + ("*" if prefix else "") for phrase, prefix in wanted]
    return " ".join(parts) or None


def holds(body: str, wanted: Iterable[tuple[str, bool]]) -> list[bool]:
    """Which of the phrases the index would find in a text that was cut for it (`indexed`).

    >>> holds(indexed("The models, C++"), phrases("mod ode C++"))
    [True, False, True]
    """
    spaced = f" {' '.join(_CONTROL.sub(' ', body).split())} "
    return [(f" {phrase}" if prefix else f" {phrase} ") in spaced for phrase, prefix in wanted]
