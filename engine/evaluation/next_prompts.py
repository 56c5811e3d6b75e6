"""Which prompts to vote on next: those first where two models' answers differ most. Reads the store and asks no model.

How far two answers differ is the share of their words that they do not have in common in the same order, a Chinese,
Japanese or Korean letter counting as a word:

    >>> difference("I am a base model.", "I am Ember.")
    0.5
    >>> difference("我是小焰", "我是模型")
    0.5

By hand: 5 and 3 words, of which "I" and "am" are common to both, so (5 + 3 - 2 * 2) / (5 + 3) = 0.5.

It tells how much there is to choose between, not how a vote will end. Only answers that are in the store already are
compared, the newest of each model: a prompt that one of them was not asked alone has no difference that is known. It
comes after those that have one, and before those whose answers are the same, which no vote can decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from engine.evaluation.prompt_sets import PromptEntry
from store import datasets, votes
from store.db import Store
from store.lone_answers import LoneQuestion, lone_answers, lone_question

LONGEST = 1_000
"""Words from the beginning of an answer that are compared; more would take long."""
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*")


@dataclass(frozen=True, slots=True)
class ProposedPrompt:
    """A prompt without a vote between two models. `difference` of their answers is 0 to 1; None where it is not known.
    `place` is its number in the set, from 1."""

    prompt: PromptEntry
    place: int
    difference: float | None


def proposed(store: Store, prompts: Sequence[PromptEntry], a: str, b: str) -> list[ProposedPrompt]:
    """The prompts without a vote between these two models, the most different answers first; each once."""
    answers = lone_answers(store, (a, b))
    found = []
    for place, prompt in enumerate(prompts, 1):
        asked: LoneQuestion = (prompt.system, prompt.text)
        both = answers.get((a, asked)), answers.get((b, asked))
        known = difference(both[0], both[1]) if both[0] is not None and both[1] is not None else None
        found.append(ProposedPrompt(prompt, place, known))
    left = set(without_vote(store, prompts, a, b))
    first = {each.prompt: each for each in reversed(found) if each.prompt in left}
    return sorted(first.values(), key=_order)


def _order(each: ProposedPrompt) -> tuple[int, float, int]:
    if each.difference is None:
        return 1, 0.0, each.place
    return (0 if each.difference else 2), -each.difference, each.place


def without_vote(store: Store, prompts: Sequence[PromptEntry], a: str, b: str) -> list[PromptEntry]:
    """The prompts on which these two models have no vote yet that was asked alone; in their order."""
    known = {lone_question(vote.prompt) for vote in votes.all_votes(store, a, b)}
    return [prompt for prompt in prompts if (prompt.system, prompt.text) not in known]


def difference(one: str, two: str) -> float:
    """The share of the words of both texts that they do not have in common in the same order, 0 to 1; case does not
    count. Two texts without a word differ by 0 when they are the same, else by 1."""
    a, b = (_WORD.findall(text.casefold())[:LONGEST] for text in (one, two))
    if not (a or b):
        return float(one.strip() != two.strip())
    return 1 - SequenceMatcher(None, a, b, autojunk=False).ratio()


def dataset_questions(store: Store, dataset: str, system: str = "") -> tuple[list[PromptEntry], int]:
    """The questions of a dataset's ready test pairs, and how many are left out because turns come before them. `system`
    is used where a pair has no system text. NotFound for a dataset that is not there."""
    pairs = [pair for pair, _ in datasets.members(store, dataset, split="test")]
    alone = [PromptEntry(pair.question, pair.system or system) for pair in pairs if not pair.history]
    return list(dict.fromkeys(alone)), len(pairs) - len(alone)
