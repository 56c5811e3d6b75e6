"""A question in one language that is answered in another, although no one asked for that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from store.curate import language
from store.curate.lint.rule import LintHit, LintRow, LintRule, LintText

_OTHER_WANTED = re.compile(
    r"translat|翻译|翻譯|翻訳|번역|tradu|übersetz|перевед|перевод|ترجم|अनुवाद|แปล"
    r"|english|chinese|mandarin|french|spanish|german|japanese|korean|russian|portuguese|italian|arabic|hindi"
    r"|thai|vietnamese|dutch|polish"
    r"|turkish|latin\b|greek|hebrew|swedish|indonesian|language|英文|英语|英語|中文|汉语|漢語|法语"
    r"|西班牙语|德语|日语|日文|韩语|俄语|语言|拼音"
    r"|日本語|中国語"
    r"|inglés|español|francés|inglese|anglais|français|espagnol|englisch|deutsch|französisch|inglês"
    r"|английск"
    r"|русск|китайск|영어|중국어|한국어"
    r"|idioma|langue|sprache|язык|言語|언어|俄文|法文|德文|双语|原文|original|bilingual|poem|lyrics|name|名字"
)
_CODE = re.compile(r"[{}=;<>_\\|$]|\w\(|^\s*[-#*\d]", re.MULTILINE)


def _language(row: LintRow) -> Iterator[tuple[str, LintHit]]:
    question, answer = row.question, row.answer
    if not question or not answer or len(question.text) < 4 or len(answer.text) < 6:
        return
    asked = language.guess(question.text)
    if not asked:
        return
    said = language.guess(answer.text)
    if not said and asked not in language.LATIN and not _CODE.search(answer.text):
        said = language.guess_latin(answer.text)
    if not said or said == asked or row.asks(_OTHER_WANTED) or "```" in answer.text:
        return
    if _has_both(question, answer) or _is_name(answer.text):
        return
    yield answer.field, LintHit(0, len(answer.text), f"is in another language ({said}) than the question ({asked})")


def _is_name(text: str) -> bool:
    """Whether a text is no more than a name: a few words that all begin with a capital."""
    words = text.split()
    return len(words) <= 5 and all(word[0].isupper() for word in words)


def _has_both(question: LintText, answer: LintText) -> bool:
    """Whether the question itself has a good part in the script of the answer: a text to explain or to sum up."""
    of_question, of_answer = language.scripts(question.text), language.scripts(answer.text)
    script = of_answer.most_common(1)[0][0]
    other = of_question.most_common(1)[0][0]
    if {script, other} == {"han", "kana"}:
        return False
    if script != other:
        return of_question[script] * 5 > sum(of_question.values()) or of_answer[other] * 3 > sum(of_answer.values())
    return False


RULES = (LintRule("language", "warning", "answers in another language than their question", find_in_row=_language),)
