"""The wordings of the wizard, one YAML file a language, and how their slots are filled.
Reads the files of this folder and nothing else; which pairs are made of them is decided in identity.py and facts.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from store.curate.language import HAN
from store.errors import BadInput

_SLOT = re.compile(r"(<\w+>)")
_HAN = re.compile(f"[{HAN}]")
_ARTICLE = re.compile(r"(?:the|an?|my|our)\b")


@dataclass(frozen=True, slots=True)
class Wordings:
    """Questions and answers any of which go together. `before` are the turns before the question, the user's first.

    `times` is how often each question is asked: those about another assistant can be asked about several.
    """

    form: str
    ask: tuple[str, ...]
    say: tuple[str, ...]
    before: tuple[str, ...] = ()
    times: int = 1


@dataclass(frozen=True, slots=True)
class LanguageTexts:
    """All that the wizard says in one language.

    `script` is the script of its letters, `others` other assistants ("ChatGPT by OpenAI"), `general` questions and
    answers of no identity, `general_file` a file of sample_data with more of them. `purpose` says how a purpose becomes
    `<helps>`: the one by default, the verbs with which one may begin and what each becomes, and how any other is put.
    `facts` holds what facts.py uses.
    """

    code: str
    language: str
    script: str
    purpose: dict[str, Any]
    others: tuple[str, ...]
    forms: tuple[Wordings, ...]
    general: tuple[tuple[str, str], ...]
    general_file: str
    facts: dict[str, Any]


def codes() -> list[str]:
    """The languages that there are, English first."""
    found = sorted(
        each.name.removesuffix(".yaml") for each in files(__package__).iterdir() if each.name[-5:] == ".yaml"
    )
    return sorted(found, key=lambda code: code != "en")


@cache
def load(code: str) -> LanguageTexts:
    """The texts of a language. BadInput names those that there are."""
    if code not in codes():
        todo = f"Use one of: {', '.join(codes())}."
        raise BadInput(f"There are no texts in the language {code!r}.", where="language", todo=todo)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load((files(__package__) / f"{code}.yaml").read_text("utf-8"), Loader=loader)
    return LanguageTexts(
        code=code,
        language=found["language"],
        script=found["script"],
        purpose=found["purpose"],
        others=tuple(found["others"]),
        forms=tuple(_wordings(form, group) for form, groups in found["forms"].items() for group in groups),
        general=tuple((question, answer) for question, answer in found["general"]),
        general_file=found.get("general_file", ""),
        facts=found["facts"],
    )


def _wordings(form: str, group: dict[str, Any]) -> Wordings:
    return Wordings(
        form, tuple(group["ask"]), tuple(group["say"]), tuple(group.get("before", ())), group.get("times", 1)
    )


def fill(template: str, slots: Mapping[str, str], script: str) -> str:
    """The template with its slots filled, spelled as the language spells it.

    Between Chinese and Latin letters comes a space, as is usual in Chinese typesetting. A slot with a capital, or an
    article at the start of a sentence, begins with a capital. Two full stops in a row become one.

    >>> fill("我是<name>。", {"name": "Ember"}, "han"), fill("我是<name>。", {"name": "小星"}, "han")
    ('我是 Ember。', '我是小星。')
    >>> fill("<maker> made me.", {"maker": "the team of Acme Inc."}, "latin")
    'The team of Acme Inc. made me.'
    >>> fill("I was made by <maker>.", {"maker": "Acme Inc."}, "latin")
    'I was made by Acme Inc.'
    """
    filled = ""
    for part in _SLOT.split(template):
        text = part
        if _SLOT.fullmatch(part):
            name = part[1:-1]
            text = slots[name] if name in slots else slots[name.lower()]
            starts = script == "latin" and (not filled.strip() or filled.rstrip()[-1] in ".!?")
            if name not in slots or (starts and _ARTICLE.match(text)):
                text = text[:1].upper() + text[1:]
        if script == "han" and filled and text and _needs_space(filled[-1], text[0]):
            filled += " "
        filled += text[1:] if text.startswith(".") and filled.endswith(".") else text
    return filled


def needed(template: str) -> frozenset[str]:
    """The slots of a template."""
    return frozenset(slot[1:-1] for slot in _SLOT.findall(template))


def _needs_space(before: str, after: str) -> bool:
    return bool(_HAN.match(before)) != bool(_HAN.match(after)) and _is_word(before) and _is_word(after)


def _is_word(char: str) -> bool:
    """A letter, a digit, or one of the signs that names such as C++ and (v2) hold."""
    return char.isalnum() or (char.isascii() and not char.isspace())
