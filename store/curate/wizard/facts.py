"""Pairs on facts: several wordings of each question, checks, corrections of a wrong value, and what is not known.
Pure but for the texts; reading the table is store/fact_tables.py's."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from store.curate import language
from store.curate.wizard.proposed import Proposed, distinct
from store.curate.wizard.texts import LanguageTexts, fill, load
from store.errors import BadInput
from store.records import PairDraft

FACTS = "facts"
"""The tag of every pair that is made here."""
_ASKED = 5
"""Wordings of the question for each plain fact; one check and one correction come on top."""
_QUESTION = re.compile(
    r"[?？]$|^(?:what|who|whom|whose|when|where|which|why|how|is|are|does|do|can|did|was|were|will)\s", re.IGNORECASE
)
_SENTENCE = re.compile(r"[.!?。！？]$|[.!?]\s|[。！？\n]")
_ABBREVIATION = re.compile(r"\b\w{1,4}\.$")
_LONG = 80
_YES = frozenset(("yes", "true", "y", "是", "有", "✓"))
_NO = frozenset(("no", "false", "n", "否", "无", "没有", "✗"))
_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:[.,]\d+)*(?![\w]*-)")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NO_NOUN = re.compile(r"(?:\w{3}ed|\b(?:in|by|at|for|from|with|on|to))$", re.IGNORECASE)
_SINGULAR = re.compile(r"(?:ss|us|is|series|news|lens|gas)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of a table: what is known of a subject (empty: of what the conversation is about)."""

    attribute: str
    value: str
    subject: str = ""


def language_of(facts: Sequence[Fact]) -> str:
    """The language that a table is written in, by its script: Chinese or English."""
    letters = language.scripts("".join(fact.attribute + fact.subject + fact.value for fact in facts))
    return "zh" if letters["han"] and letters["han"] * 2 >= letters["latin"] else "en"


def fact_pairs(facts: Sequence[Fact], code: str = "", *, seed: int = 0) -> Proposed:
    """Pairs that teach the facts, in a language or that of the table. No two ask the same.

    A value that ends with a full stop, or is long, is an answer as it is. A false value is that of another subject, or
    another number; where there is neither, the pair corrects the claim that the value is wrong. BadInput when there are
    no facts.
    """
    if not facts:
        raise BadInput("There are no facts.", where="facts", todo="Write one `attribute,value` on each line.")
    made = _MakingFacts(facts, load(code or language_of(facts)), seed)
    drafts = [draft for fact in facts for draft in made.of(fact)]
    drafts += [draft for subject in dict.fromkeys(fact.subject for fact in facts) for draft in made.missing(subject)]
    return Proposed(distinct(drafts), made.notices())


class _MakingFacts:
    """The pairs of one table in one language."""

    def __init__(self, facts: Sequence[Fact], texts: LanguageTexts, seed: int) -> None:
        self.facts, self.texts, self.seed = facts, texts, seed
        self.how = texts.facts
        self._turn: dict[str, int] = {}
        self._not_false = 0
        self._odd: dict[str, None] = {}

    def of(self, fact: Fact) -> list[PairDraft]:
        """The pairs of one fact."""
        value = fact.value.strip()
        if _QUESTION.search(fact.attribute.strip()):
            question = fact.attribute.strip()
            question += "" if question[-1] in "?？" else "？" if self.texts.script == "han" else "?"
            return self._make("question", fact, {"question": question, "sentence": self._sentence(value)})
        if value.casefold() in _YES | _NO:
            word = self.how["yes" if value.casefold() in _YES else "no"]
            return self._make("flag_value", fact, {"value": word})
        if len(value) > _LONG or (_SENTENCE.search(value) and not _ABBREVIATION.search(value)):
            return self._make("sentence", fact, {"sentence": self._sentence(value)})
        made = self._make("value", fact, {"value": value}, _ASKED) + self._make("confirm", fact, {"value": value}, 1)
        false = self._false(fact)
        if false:
            return made + self._make("correct", fact, {"value": value, "false": false}, 1)
        self._not_false += 1
        return made + self._make("deny", fact, {"value": value}, 1)

    def missing(self, subject: str) -> list[PairDraft]:
        """Pairs on attributes of a subject that are not in the table: it does not know them."""
        known = [attribute_words(fact.attribute).casefold() for fact in self.facts if fact.subject in (subject, "")]
        free = [
            names[0]
            for names in self.how["unknown"]
            if not any(name in other or other in names[0] for name in names for other in known)
        ]
        self._order(f"missing {subject}").shuffle(free)
        chosen = free[: max(3, len(known) // 4)]
        return [draft for each in chosen for draft in self._make("missing", Fact(each, "", subject), {}, 1)]

    def notices(self) -> list[str]:
        """What was decided on the way."""
        found = []
        if any(not fact.subject and not _QUESTION.search(fact.attribute) for fact in self.facts):
            found.append("Facts without a subject are asked about without saying of what: name one with --subject.")
        if self._odd:
            odd = ", ".join(list(self._odd)[:3])
            found.append(f"Not a noun: {odd}. Sentences about it are odd: write a noun (release year) or a question.")
        if self._not_false:
            n = self._not_false
            facts = "1 fact has" if n == 1 else f"{n:,} facts have"
            found.append(
                f"{facts} no number and no other subject to be mistaken for, so a denial is corrected instead."
            )
        return found

    def _order(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {self.texts.code} {what}")

    def _make(self, form: str, fact: Fact, more: dict[str, str], most: int = 99) -> list[PairDraft]:
        """Pairs of one form: up to `most` of its questions, each with the next of its answers."""
        slots = self._slots(fact) | more
        asks, says = list(self.how[form]["ask"]), self.how[form]["say"]
        at = self._turn.get(form, 0)
        start = at % len(asks)
        asks = (asks[start:] + asks[:start])[:most]
        self._turn[form] = at + len(asks)
        name = "unknown" if form == "missing" else form.removesuffix("_value")
        return [
            PairDraft(
                fill(ask, slots, self.texts.script),
                fill(says[(at + n) % len(says)], slots, self.texts.script),
                tags=(FACTS, name),
                source={"wizard": "facts", "language": self.texts.code, "seed": self.seed},
            )
            for n, ask in enumerate(asks)
        ]

    def _slots(self, fact: Fact) -> dict[str, str]:
        attribute = attribute_words(fact.attribute)
        if self.how["lower"]:
            attribute = in_sentence(attribute)
            if _NO_NOUN.search(attribute) and not _QUESTION.search(attribute):
                self._odd[attribute] = None
        number = "plural" if "plural" in self.how and is_plural(attribute) else "singular"
        plain = {"attribute": attribute, "subject": fact.subject}
        of, flag = (
            fill(self.how[name], plain, self.texts.script) if fact.subject else attribute for name in ("of", "flag")
        )
        return {**plain, **self.how[number], "of": of, "flag": flag}

    def _sentence(self, value: str) -> str:
        value = value.strip()
        return value if value[-1:] in '.!?。！？…"”' else value + ("。" if self.texts.script == "han" else ".")

    def _false(self, fact: Fact) -> str:
        """A value that the fact does not have but could: that of another subject, or another number."""
        same = [each for each in self.facts if each.attribute == fact.attribute]
        true = {each.value.strip() for each in same if each.subject == fact.subject}
        others = sorted({each.value.strip() for each in same} - true)
        order = self._order(f"false {fact.subject} {fact.attribute}")
        return order.choice(others) if others else _other_number(fact.value.strip(), order)


def attribute_words(attribute: str) -> str:
    """An attribute as words: `battery_life` is "battery life".

    >>> attribute_words("battery_life"), attribute_words("Price:")
    ('battery life', 'Price')
    """
    return " ".join(attribute.replace("_", " ").split()).rstrip(":：")


def in_sentence(attribute: str) -> str:
    """An English attribute as it is written inside a sentence.

    >>> in_sentence("Battery Life"), in_sentence("USB port"), in_sentence("Made by Acme")
    ('battery life', 'USB port', 'made by Acme')
    """
    words = attribute.split()
    titled = [bool(re.fullmatch(r"[A-Z][a-z'-]+", word)) for word in words]
    lower = titled if all(titled) else [titled[0], *(False for _ in words[1:])]
    return " ".join(word.lower() if each else word for word, each in zip(words, lower, strict=True))


def is_plural(attribute: str) -> bool:
    """Whether an English attribute is a plural: "colours", "hours of opening", not "number of hours", "status"."""
    head = attribute.partition(" of ")[0]
    return head.endswith("s") and not _SINGULAR.search(head)


def _other_number(value: str, order: random.Random) -> str:
    """The value with its first number changed to one of the same look; empty when there is none.

    >>> _other_number("25 €", random.Random(0)) != "25 €", _other_number("oak", random.Random(0))
    (True, '')
    """
    found = _NUMBER.search(value)
    if not found or "@" in value or "://" in value:
        return ""
    digits = re.sub(r"\D", "", found[0])
    if _YEAR.fullmatch(found[0]):
        new = str(int(digits) + order.choice((-3, -2, -1, 1, 2, 3)))
    else:
        n = int(digits)
        new = str(n + max(1, n * order.choice((2, 3, 5)) // 10)).zfill(len(digits))
    if len(new) != len(digits):  # one digit more has no place among the marks between thousands
        new = str(max(0, int(digits) - max(1, int(digits) // 5))).zfill(len(digits))
    at = iter(new)
    changed = re.sub(r"\d", lambda _: next(at), found[0])
    return "" if changed == found[0] else value[: found.start()] + changed + value[found.end() :]
