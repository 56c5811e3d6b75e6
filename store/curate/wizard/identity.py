"""Pairs on who a model is, made from a few answers: what it is called, who made it, what it is for, what it is not.
Pure but for the texts; the same answers and seed give the same pairs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from store.curate import language
from store.curate.wizard.proposed import GENERAL, Proposed, distinct
from store.curate.wizard.texts import LanguageTexts, Wordings, codes, fill, load, needed
from store.errors import BadInput
from store.records import PairDraft, Turn

WIZARD = "wizard"
"""The tag of every pair that is made here."""
LONGEST = 200
"""Characters of an answer: more is a text, not a name or a purpose."""
_END = " \t.。!！;；"


@dataclass(frozen=True, slots=True)
class IdentityAnswers:
    """The five answers: `name` and `maker` are needed.

    `purpose` completes "It helps with …" or begins with "to"; `style` are adjectives; each of `others` is an assistant
    that it is not, as "ChatGPT by OpenAI" or "OpenAI的ChatGPT".
    """

    name: str
    maker: str
    purpose: str = ""
    style: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OtherAssistant:
    """Another assistant, and who made it if that is known."""

    name: str
    maker: str = ""


def checked(answers: IdentityAnswers) -> IdentityAnswers:
    """The answers on one line each, without spaces at their ends. BadInput names one that cannot be used."""
    named = {"name": answers.name, "maker": answers.maker, "purpose": answers.purpose, "style": answers.style}
    found = {field: _checked(field, text) for field, text in named.items()}
    for field, todo in (("name", "Write what the model is called."), ("maker", "Write who made it.")):
        if not found[field]:
            raise BadInput(f"The {field} is empty.", where=field, todo=todo)
    for field in ("purpose", "style"):
        found[field] = found[field].strip(_END)
    others = tuple(dict.fromkeys(text for each in answers.others if (text := _checked("not", each))))
    return IdentityAnswers(**found, others=others)


def _checked(field: str, text: str) -> str:
    if any(not char.isprintable() and not char.isspace() for char in text):
        raise BadInput("The text has characters that cannot be seen.", where=field, todo="Type it again.")
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise BadInput(f"The text has {len(text):,} characters.", where=field, todo=f"Use at most {LONGEST}.")
    return text


def general_questions() -> frozenset[str]:
    """The questions of all general rows that come with Tuningfork, in every language: they teach nothing, they only
    keep what is there."""
    texts = [load(code) for code in codes()]
    rows = [row for each in texts for row in (*each.general, *_sample_rows(each.general_file))]
    rows += _sample_rows("requests.jsonl")
    return frozenset(question for question, _ in rows)


def languages_for(answers: IdentityAnswers) -> tuple[str, ...]:
    """The languages when none were chosen: Chinese where the name or the maker is written in Chinese, else English."""
    han = language.scripts(answers.name + answers.maker)["han"]
    return ("zh",) if han else ("en",)


def identity_pairs(
    answers: IdentityAnswers, languages: Sequence[str] = (), *, seed: int = 0, general: bool = True
) -> Proposed:
    """Pairs on who the model is, and with `general` those that keep its name from leaking, in each of the languages.

    No two ask the same. BadInput names the answer or language that cannot be used.
    """
    answers = checked(answers)
    for code in languages:
        load(code)
    chosen = tuple(dict.fromkeys(languages)) or languages_for(answers)
    drafts: list[PairDraft] = []
    notices: list[str] = []
    for code in sorted(chosen, key=codes().index):
        made = _Making(answers, load(code), seed)
        drafts += made.identity()
        if general:
            drafts += made.general()
        notices += made.notices
    return Proposed(distinct(drafts), notices)


class _Making:
    """The pairs of one language."""

    def __init__(self, answers: IdentityAnswers, texts: LanguageTexts, seed: int) -> None:
        self.answers, self.texts, self.seed = answers, texts, seed
        self.notices: list[str] = []
        self.slots = {"name": answers.name, "maker": answers.maker, "helps": self._helps(), **self._style()}
        own = [other_from(text) for text in answers.others]
        named = {each.name.casefold() for each in own}
        usual = [each for text in texts.others if (each := other_from(text)).name.casefold() not in named]
        self._order("others").shuffle(usual)
        self.names = self._apart([each.name for each in own], [each.name for each in usual], answers.name)
        self.makers = self._apart([each.maker for each in own], [each.maker for each in usual], answers.maker)

    def _order(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {self.texts.code} {what}")

    @staticmethod
    def _apart(own: list[str], usual: list[str], self_name: str) -> tuple[list[str], list[str]]:
        """Those given and the usual ones, each once, without any that could be the model or its maker itself."""
        mine = self_name.casefold()
        both = [
            [
                each
                for each in dict.fromkeys(names)
                if each and each.casefold() not in mine and mine not in each.casefold()
            ]
            for names in (own, usual)
        ]
        return both[0], [each for each in both[1] if each not in both[0]]

    def _helps(self) -> str:
        """What it does, as the rest of a sentence that begins with "I can"."""
        how, purpose = self.texts.purpose, self.answers.purpose
        if purpose and not self._fits(purpose):
            self.notices.append(
                f"The purpose is not in {self.texts.language}, so the pairs there say: {how['default']}."
            )
            purpose = ""
        if not purpose:
            return str(how["default"])
        for verb, bare in how["verbs"].items():
            if purpose.lower().startswith(verb + (" " if self.texts.script == "latin" else "")):
                return str(bare + purpose[len(verb) :]).strip()
        return fill(how["other"], {"purpose": purpose}, self.texts.script)

    def _style(self) -> dict[str, str]:
        style = self.answers.style
        if style and not self._fits(style):
            self.notices.append(f"The style is not in {self.texts.language}, so the pairs there do not mention it.")
            style = ""
        return {"style": style} if style else {}

    def _fits(self, text: str) -> bool:
        """Whether a text is written in the script of this language, at least in part."""
        found = language.scripts(text)
        return not found or (bool(found[self.texts.script]) and not (self.texts.script == "latin" and found["han"]))

    def identity(self) -> list[PairDraft]:
        """All pairs on the identity, form by form."""
        return [draft for n, group in enumerate(self.texts.forms) for draft in self._group(group, n)]

    def _group(self, group: Wordings, number: int) -> Iterator[PairDraft]:
        says = list(group.say)
        self._order(f"{group.form} {number}").shuffle(says)
        at = 0
        for time in range(group.times):
            for n, ask in enumerate(group.ask):
                texts = (*group.before, ask, says[(at + time) % len(says)])
                slots = self.slots | self._others(n, time)
                if all(needed(text) <= slots.keys() for text in texts):
                    at += 1
                    *before, question, answer = (fill(text, slots, self.texts.script) for text in texts)
                    turns = tuple(Turn("assistant" if m % 2 else "user", text) for m, text in enumerate(before))
                    yield self._draft(question, answer, group.form, turns)

    def _others(self, n: int, time: int) -> dict[str, str]:
        """Another assistant and another maker: first those that were given, then the usual ones in turn."""
        found = {}
        for slot, (own, usual) in (("other", self.names), ("other_maker", self.makers)):
            names = own if own and time == 0 else usual
            if names:
                found[slot] = names[(n + time * (len(names) // 2)) % len(names)]
        return found

    def general(self) -> list[PairDraft]:
        """Rows that have nothing to do with the identity; those that hold its name or maker are left out."""
        rows = [*self.texts.general, *_sample_rows(self.texts.general_file)]
        free = [
            row
            for row in rows
            if not any(_holds(" ".join(row), each) for each in (self.answers.name, self.answers.maker))
        ]
        if len(free) < len(rows):
            left = len(rows) - len(free)
            self.notices.append(
                f"{left} general {'row' if left == 1 else 'rows'} left out: they hold the name or the maker."
            )
        return [self._draft(question, answer, GENERAL) for question, answer in free]

    def _draft(self, question: str, answer: str, form: str, turns: tuple[Turn, ...] = ()) -> PairDraft:
        kind = "instruction" if form == GENERAL else "identity"
        source = {"wizard": "identity", "language": self.texts.code, "seed": self.seed}
        return PairDraft(question, answer, history=turns, kind=kind, tags=(WIZARD, form), source=source)  # type: ignore[arg-type]


def other_from(text: str) -> OtherAssistant:
    """Another assistant as it was typed.

    >>> other_from("ChatGPT by OpenAI"), other_from("百度的文心一言")
    (OtherAssistant(name='ChatGPT', maker='OpenAI'), OtherAssistant(name='文心一言', maker='百度'))
    """
    name, by, maker = text.partition(" by ")
    if not by and "的" in text[1:-1]:
        maker, _, name = text.partition("的")
    return OtherAssistant(name.strip(), maker.strip())


def _holds(text: str, name: str) -> bool:
    """Whether a text has the name in it, as words where it is written with spaces; a short one in its own case."""
    edges = [r"(?<!\w)" if name[0].isascii() else "", r"(?!\w)" if name[-1].isascii() else ""]
    return bool(re.search(f"{edges[0]}{re.escape(name)}{edges[1]}", text, re.IGNORECASE if len(name) > 3 else 0))


def _sample_rows(name: str) -> list[tuple[str, str]]:
    """The questions and answers of a file of sample_data."""
    if not name:
        return []
    lines = (files("sample_data") / name).read_text("utf-8").splitlines()
    rows = [json.loads(line)["messages"] for line in lines]
    return [(row[0]["content"], row[1]["content"]) for row in rows]
