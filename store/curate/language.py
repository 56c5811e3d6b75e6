"""Which language a text is in: by its script, and among the languages of one script by its most frequent words.
A small guesser that would rather not know than be wrong; it needs no model and no files."""

from __future__ import annotations

import re
from collections import Counter

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Chinese characters, as a regular expression's class holds them."""
_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("kana", "\u3040-\u30ff\uff66-\uff9d"), ("han", HAN),
    ("hangul", "\uac00-\ud7af\u1100-\u11ff"), ("cyrillic", "\u0400-\u052f"), ("arabic", "\u0600-\u06ff\u0750-\u077f"),
    ("hebrew", "\u0590-\u05ff"), ("thai", "\u0e00-\u0e7f"), ("devanagari", "\u0900-\u097f"), ("greek", "\u0370-\u03ff"),
    ("bengali", "\u0980-\u09ff"), ("tamil", "\u0b80-\u0bff"), ("telugu", "\u0c00-\u0c7f"),
    ("georgian", "\u10a0-\u10ff"),
    ("armenian", "\u0530-\u058f"), ("khmer", "\u1780-\u17ff"), ("burmese", "\u1000-\u109f"), ("lao", "\u0e80-\u0eff"),
    ("latin", "A-Za-z\u00c0-\u024f\u1e00-\u1eff"),
)  # fmt: skip
_LETTERS = tuple((name, re.compile(f"[{ranges}]")) for name, ranges in _SCRIPTS)
_KANA, _HAN = _LETTERS[0][1], _LETTERS[1][1]
_ONLY = {"hangul": "ko", "hebrew": "he", "thai": "th", "devanagari": "hi", "greek": "el",
         "bengali": "bn", "tamil": "ta",
         "telugu": "te", "georgian": "ka", "armenian": "hy", "khmer": "km", "burmese": "my", "lao": "lo"}  # fmt: skip
_FREQUENT = {
    "en": "the of and to is that it you for was are with as his they be at this have from or had by what your "
    "can which their if will how"
    " an when who would make like been about into there her she he we do does my i should could would "
    "more some when where why than has been them these may most other only out so no in on because after before "
    "between while",
    "es": "el los las y que en un una es por con para del se lo como más pero sus le al está son fue qué cómo "
    "este esta puede también muy hay cuál su cuando donde sobre desde hasta entre porque",
    "fr": "le les des et est une du que dans qui pour pas sur au avec ce il sont plus par je vous nous être "
    "cette mais ou comme quelle quel c'est à son sa ses leur très aussi été fait entre quand où",
    "de": "der die und das ist nicht ein eine zu den von mit sich des auf für im dem als auch es an werden "
    "aus er hat dass sie wie ich wird bei was",
    "pt": "o os as e que do da em um uma é para com não por mais dos como mas foi ao ele das tem à seu sua ou "
    "você são qual está pode isso",
    "it": "il di che è e la per un una in sono con non del si da come più gli dei della le ma anche al nel ha "
    "questo qual puoi cosa in quando dove perché dopo alla",
    "nl": "de het een en van is dat op te in zijn voor met niet aan er om ook als maar bij wordt door naar "
    "heeft kan wat hoe je",
    "pl": "i w na z się nie do jest to że jak co po tak o od za dla są czy przez który może był tym jako oraz",
    "tr": "ve bir bu için ile de da çok ne gibi daha olarak olan var en nasıl ama kadar sonra değil her mı",
    "vi": "và là của có không các cho được một trong với người những đến này khi để như từ tôi bạn nào",
    "id": "yang dan di untuk dengan adalah ini itu dari pada dalam tidak ke akan apa bagaimana saya anda "
    "dapat atau oleh juga",
    "sv": "och att det som en på är av för med den till inte ett om har de jag var kan vad hur från",
}
_OF_WORD: dict[str, tuple[str, ...]] = {}
for _language, _words in _FREQUENT.items():
    for _word in _words.split():
        _OF_WORD[_word] = (*_OF_WORD.get(_word, ()), _language)
LATIN = frozenset(_FREQUENT)
"""The languages in Latin letters that are told apart."""
_SAMPLE = 500
_ENOUGH = 3
"""Different frequent words that a text must have; the best language has half as many again as the next, and
two of its own."""


def scripts(text: str) -> Counter[str]:
    """How many letters of each script the beginning of a text has."""
    text = text[:_SAMPLE]
    return Counter({name: n for name, letters in _LETTERS if (n := len(letters.findall(text)))})


def guess(text: str) -> str | None:
    """The language of `text` as a code such as "en" or "zh", or None when that is not certain.

    >>> guess("What is the capital of France?"), guess("法国的首都是哪里？"), guess("foo = bar(1)")
    ('en', 'zh', None)
    """
    text = text[:_SAMPLE]
    if text.isascii():
        return _by_words(text)
    han = len(_HAN.findall(text))
    if han >= 4 and han * 5 >= len(text) * 3 and not _KANA.search(text):
        return "zh"
    found = scripts(text)
    if not found:
        return None
    letters = sum(found.values())
    if found["kana"] * 8 > found["kana"] + found["han"] > 0 and (found["kana"] + found["han"]) * 5 > letters * 2:
        return "ja" if found["kana"] + found["han"] >= 4 else None
    script, n = found.most_common(1)[0]
    if n * 5 < letters * 3:
        return None
    if script == "latin":
        return _by_words(text)
    if n < 4:
        return None
    if script == "han":
        return "zh"
    if script == "cyrillic":
        return "uk" if re.search("[іїєґ]", text.lower()) else "ru"
    if script == "arabic":
        return "fa" if re.search("[پچژگی]", text) else "ar"
    return _ONLY.get(script)


def guess_latin(text: str) -> str | None:
    """As `guess`, for a text in Latin letters that stands where another script is expected: there two frequent words
    are enough.

    >>> guess("The ferry leaves at eight."), guess_latin("The ferry leaves at eight."), guess_latin("Guido van Rossum")
    (None, 'en', None)
    """
    letters = sum(char.isalpha() for char in text[:_SAMPLE])
    latin = len(_LETTERS[-1][1].findall(text[:_SAMPLE]))
    return _by_words(text[:_SAMPLE], enough=2) if latin * 10 > letters * 9 else None


def _by_words(text: str, enough: int = _ENOUGH) -> str | None:
    counts: dict[str, int] = {}
    found = {word: _OF_WORD[word] for word in _OF_WORD.keys() & text.lower().split()}
    for languages in found.values():
        for language in languages:
            counts[language] = counts.get(language, 0) + 1
    if not counts:
        return None
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    best, n = ranked[0]
    if n < enough:
        return None
    second, next_best = ranked[1] if len(ranked) > 1 else ("", 0)
    alone = sum(best in languages and second not in languages for languages in found.values())
    return best if n * 2 >= next_best * 3 and alone >= enough - 1 else None
