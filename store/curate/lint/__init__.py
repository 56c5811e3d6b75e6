"""Lint: what is probably wrong with one row, seen in its texts alone. The rules are in the files beside this one.
A new rule is a `LintRule` in the `RULES` of its topic; command line, app and documentation follow from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain

from store.curate.findings import Finding, PairLike, texts
from store.curate.lint import characters, decoding, fillers, identity, languages, markers, private, shape
from store.curate.lint.rule import Finder, LintHit, LintRow, LintRule, LintText, Role

RULES: dict[str, LintRule] = {
    rule.name: rule
    for rule in chain(
        markers.RULES, characters.RULES, decoding.RULES, fillers.RULES, identity.RULES, shape.RULES, languages.RULES,
        private.RULES,
    )
}  # fmt: skip
"""Every rule by its name, in the order in which a row's findings are listed."""

_SIGNS = frozenset(chain.from_iterable(rule.signs for rule in RULES.values()))
_LOOKED_FOR = re.compile(f"[{re.escape(''.join(sorted(_SIGNS)))}]")
_LOOKED_FOR_IN_PLAIN = re.compile(f"[{re.escape(''.join(sorted(filter(str.isascii, _SIGNS))))}]")


@lru_cache(maxsize=2_000)
def _rules(role: Role, plain: bool, signs: frozenset[str]) -> list[tuple[Finder, LintRule, tuple[str, ...]]]:
    """The rules for texts of a role, all ASCII or not, that have these of the signs: first the rules that need one."""
    found = [
        (rule.find, rule, rule.plain_words if plain and rule.words else rule.words)
        for rule in RULES.values()
        if rule.find and role in rule.roles and not (rule.signs and rule.signs.isdisjoint(signs))
        and not (plain and (rule.foreign or (rule.words and not rule.plain_words)))
    ]  # fmt: skip
    return sorted(found, key=lambda each: not each[1].signs)


_OF_ROW = [rule for rule in RULES.values() if rule.find_in_row]


_OF_TURN: dict[str, Role] = {"system": "system", "user": "question", "assistant": "answer"}


def lint(pair: PairLike) -> list[Finding]:
    """What is probably wrong with a pair; empty when nothing is."""
    of_turns = [_OF_TURN.get(turn.role, "other") for turn in pair.history]
    roles: list[Role] = ["system", *of_turns, "question", "answer"]
    found = [LintText(field, role, text) for (field, text), role in zip(texts(pair), roles, strict=True)]
    return _lint(pair.uid, pair.kind, found, found[-2], found[-1])


def lint_all(pairs: Iterable[PairLike]) -> list[Finding]:
    """The findings of many pairs, in their order."""
    return [finding for pair in pairs for finding in lint(pair)]


def lint_texts(uid: str, texts: Iterable[tuple[str, str]]) -> list[Finding]:
    """What is probably wrong with the texts of a preference or of feedback: prompt[0] …, chosen, rejected.

    A rejected answer may be bad in its own way, so only the rules for every text apply to it.
    """
    texts = list(texts)
    prompts = sum(field.startswith("prompt") for field, _ in texts)
    found = [LintText(field, _role(field, prompts - 1 - n), text) for n, (field, text) in enumerate(texts)]
    question = next((text for text in reversed(found) if text.role == "question"), None)
    answer = next((text for text in found if text.field == "chosen"), None)
    return _lint(uid, "preference", found, question, answer)


def _role(field: str, from_last: int) -> Role:
    """The role of a text of a preference; in a prompt, turns of the user and the assistant alternate, the
    user last."""
    if field.startswith("prompt"):
        return "answer" if from_last % 2 and field != "prompt[0]" else "question"
    return "answer" if field == "chosen" else "other"


def _lint(
    uid: str, kind: str, found: list[LintText], question: LintText | None, answer: LintText | None
) -> list[Finding]:
    texts = [text for text in found if text.text and not (text is answer and not text.text.strip())]
    row = LintRow(kind, texts, question, answer if answer in texts else None)
    findings = [finding for text in texts for finding in _of_text(uid, text, row)]
    if answer is not None:
        for rule in _OF_ROW:
            assert rule.find_in_row is not None
            findings += [_finding(uid, rule, field, hit) for field, hit in rule.find_in_row(row)]
    return findings


def _of_text(uid: str, text: LintText, row: LintRow) -> Iterator[Finding]:
    looked_for = _LOOKED_FOR_IN_PLAIN if text.plain else _LOOKED_FOR
    lower = text.lower
    for find, rule, words in _rules(text.role, text.plain, frozenset(looked_for.findall(text.text))):
        # Most rules stop here in most texts, so there is no call for each.
        for word in words:
            if word in lower:
                break
        else:
            if words:
                continue
        for hit in find(text, row):
            yield _finding(uid, rule, text.field, hit)


def _finding(uid: str, rule: LintRule, field: str, hit: LintHit) -> Finding:
    return Finding(uid, rule.name, field, hit.what, rule.level, hit.start, hit.end, rule.fix is not None)
