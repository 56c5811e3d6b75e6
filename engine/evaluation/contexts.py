"""What may stand before a question: nothing, the most similar training pairs as earlier turns, or what a search finds
in the training pairs as notes. Which side reads which is the evaluation's; nothing is asked here.

Few-shot: Brown et al. 2020, https://arxiv.org/abs/2005.14165, with examples chosen by similarity as in Liu et al. 2022,
https://aclanthology.org/2022.deelio-1.10. Retrieval: Lewis et al. 2020, https://arxiv.org/abs/2005.11401; found by BM25
(Robertson and Zaragoza 2009) as SQLite's FTS5 computes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from store.curate.duplicates import likeness, shingles
from store.errors import BadInput
from store.records import Message
from store.search_text import TOKENIZER, is_word, tokens

KINDS = ("none", "few_shot", "retrieval")
ROOM = 6000
"""Characters of all pairs before a question together, about 1,500 tokens; a longer pair is passed over."""
MOST = 32


def label(model: str, context: dict[str, Any]) -> str:
    """What answers: the model is only half of it."""
    match context.get("kind", "none"):
        case "few_shot":
            return f"{model} + {context['k']} examples"
        case "retrieval":
            return f"{model} + {context['k']} found"
        case _:
            return model


class TrainingPairs:
    """The training pairs of a snapshot, to choose from for each question. Pairs are (question, answer)."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = list(dict.fromkeys(pairs))

    @cached_property
    def _shingles(self) -> list[Any]:
        return [shingles(question) for question, _ in self._pairs]

    @cached_property
    def _index(self) -> sqlite3.Connection:
        index = sqlite3.connect(":memory:", check_same_thread=False)
        tokenizer = TOKENIZER.replace('"', '""')
        index.execute(f'CREATE VIRTUAL TABLE pair USING fts5(question, answer, tokenize="{tokenizer}")')
        rows = ((n, tokens(question), tokens(answer)) for n, (question, answer) in enumerate(self._pairs))
        index.executemany("INSERT INTO pair (rowid, question, answer) VALUES (?, ?, ?)", rows)
        return index

    def similar(self, question: str, k: int) -> list[tuple[str, str]]:
        """The `k` pairs whose questions are most like this one (Jaccard, of shingles), the most alike last."""
        asked = shingles(question)
        alike = sorted(range(len(self._pairs)), key=lambda n: -likeness(asked, self._shingles[n]))
        return _fitting([self._pairs[n] for n in alike], k)[::-1]

    def found(self, question: str, k: int) -> list[tuple[str, str]]:
        """The `k` pairs that BM25 ranks first for the words of the question; fewer where fewer share a word with it."""
        words = dict.fromkeys(word for word in tokens(question).split() if is_word(word))
        if not words:
            return []
        query = " OR ".join('"' + word.replace('"', '""') + '"' for word in words)
        sql = "SELECT rowid FROM pair WHERE pair MATCH ? ORDER BY bm25(pair), rowid LIMIT ?"
        return _fitting([self._pairs[n] for (n,) in self._index.execute(sql, (query, 4 * k))], k)

    def before(self, messages: Sequence[Message], context: dict[str, Any]) -> list[Message]:
        """A conversation with its context: examples as turns before it, or notes inside its question."""
        kind, k = context.get("kind", "none"), int(context.get("k", 0))
        question = messages[-1]["content"]
        if kind == "few_shot":
            own = [m for m in messages[:1] if m["role"] == "system"]
            turns: list[Message] = []
            for asked, answer in self.similar(question, k):
                turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            return [*own, *turns, *messages[len(own) :]]
        if kind == "retrieval" and (notes := self.found(question, k)):
            text = "\n\n".join(f"Q: {asked}\nA: {answer}" for asked, answer in notes)
            asked = f"Notes that may help:\n\n{text}\n\nWith the help of the notes, answer: {question}"
            return [*messages[:-1], {"role": "user", "content": asked}]
        return list(messages)


def check(context: dict[str, Any], pairs: int) -> None:
    """BadInput for a context that cannot be made from so many training pairs."""
    kind, k = context.get("kind", "none"), context.get("k", 0)
    if kind not in KINDS:
        raise BadInput(f"There is no context {kind!r}.", where="context", todo=f"Use one of: {', '.join(KINDS)}.")
    if kind != "none" and not 1 <= k <= MOST:
        raise BadInput(f"From 1 to {MOST} pairs can stand before a question, not {k}.", where="context")
    if kind != "none" and not pairs:
        raise BadInput("There is no training pair to put before a question.", where="context", todo="Name a dataset.")


def _fitting(pairs: Sequence[tuple[str, str]], k: int) -> list[tuple[str, str]]:
    """The first `k` that together have room."""
    chosen: list[tuple[str, str]] = []
    room = ROOM
    for question, answer in pairs:
        size = len(question) + len(answer)
        if len(chosen) < k and size <= room:
            chosen.append((question, answer))
            room -= size
    return chosen
