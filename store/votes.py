"""Votes between two answers, and the preferences that come from them or from files.
Here votes are kept, counted and undone; what a win rate means is worked out in the engine."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from store.canon import canonical, new_uid, sha256
from store.db import Store, now
from store.edits import recording
from store.errors import BadInput, NotFound
from store.pairs import check_text, create_many
from store.records import (
    Choice,
    FeedbackDraft,
    Message,
    PairDraft,
    Preference,
    PreferenceDraft,
    PreferenceKind,
    Split,
    Turn,
    Vote,
    VoteCounts,
)
from store.sqlite import insert_rows


def add(
    store: Store,
    *,
    prompt: Sequence[Message],
    a_model: str,
    b_model: str,
    a_text: str,
    b_text: str,
    choice: Choice,
    a_left: bool = True,
    blind: bool = False,
    sampling: dict[str, Any] | None = None,
    chat_id: int | None = None,
    turn: int | None = None,
    lanes: int | None = None,
    blind_seed: int | None = None,
    unblind: Sequence[str] = (),
) -> Vote:
    """Keeps a vote. BadInput for a choice that cannot be, also for a winner between two equal texts."""
    if choice not in get_args(Choice):
        raise BadInput(
            f"{choice!r} is not a choice.", where="choice", todo=f"Use one of: {', '.join(get_args(Choice))}."
        )
    if choice in ("a", "b") and a_text == b_text:
        raise BadInput("Both answers are the same, so neither is better.", where="choice", todo="Vote tie or both bad.")
    values = (canonical(list(prompt)), a_model, b_model, a_text, b_text, int(a_left), int(blind), choice)
    about = (chat_id, turn, lanes, blind_seed, canonical(list(unblind)))
    with store.write() as conn:
        vote_id = conn.execute(
            "INSERT INTO vote (prompt, a_model, b_model, a_text, b_text, a_left, blind, choice, sampling,"
            " chat_id, turn, lanes, blind_seed, unblind, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, canonical(sampling or {}), *about, now()),
        ).lastrowid
        return _vote_from(store.rows("SELECT * FROM vote WHERE id = ?", (vote_id,))[0])


def cast(store: Store, *, chat_id: int | None, turn: int, **vote: Any) -> Vote:
    """Keeps a vote on a turn of a conversation (the other arguments as for `add`), in one transaction with removing the
    vote before it on the same answers to the same question. A vote on other answers stays: the turn was asked again.
    """
    with store.write():
        kept = add(store, chat_id=chat_id, turn=turn, **vote)
        for old in of_chat(store, chat_id) if chat_id is not None else ():
            if old.id != kept.id and subject(old) == subject(kept):
                remove(store, old.id)
        return kept


def subject(vote: Vote) -> tuple[int | None, str, str, str, str, str]:
    """What a vote of a conversation is about: the turn, what was asked there, both models and what they answered."""
    return vote.turn, question(vote.prompt), vote.a_model, vote.b_model, vote.a_text, vote.b_text


def question(prompt: Sequence[Message]) -> str:
    """The last thing that the user asked; empty when there is none."""
    return next((message["content"] for message in reversed(prompt) if message["role"] == "user"), "")


def undo_last(store: Store, chat_id: int) -> Vote | None:
    """Undoes the newest vote of a conversation and returns it; None when there is none."""
    with store.write():
        newest = next(iter(of_chat(store, chat_id)), None)
        if newest is not None:
            remove(store, newest.id)
        return newest


def of_chat(store: Store, chat_id: int) -> list[Vote]:
    """The votes of one conversation, newest first."""
    rows = store.rows("SELECT * FROM vote WHERE deleted_at IS NULL AND chat_id = ? ORDER BY id DESC", (chat_id,))
    return [_vote_from(row) for row in rows]


def remove(store: Store, vote_id: int) -> None:
    """Undoes one vote. NotFound when it is not there."""
    with store.write() as conn:
        sql = "UPDATE vote SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL"
        if not conn.execute(sql, (now(), vote_id)).rowcount:
            raise NotFound(f"There is no vote {vote_id}.", todo="List the votes to see their numbers.")


def all_votes(store: Store, a: str | None = None, b: str | None = None) -> list[Vote]:
    """Votes, newest first; with one or two models named, those between them, whichever lane each was in."""
    sql = (
        "SELECT * FROM vote WHERE deleted_at IS NULL AND (?1 IS NULL OR ?1 IN (a_model, b_model))"
        " AND (?2 IS NULL OR ?2 IN (a_model, b_model)) AND (?1 IS NULL OR ?2 IS NULL OR ?1 <> ?2 OR a_model = b_model)"
        " ORDER BY id DESC"
    )
    return [_vote_from(row) for row in store.rows(sql, (a, b))]


def counts(store: Store, *, blind_only: bool = False) -> list[VoteCounts]:
    """The counts for each two models, by name; votes with the lanes swapped count together. `blind_only` counts only
    those that were cast without knowing the models."""
    sql = (
        "SELECT min(a_model, b_model), max(a_model, b_model), sum(choice = iif(a_model <= b_model, 'a', 'b')),"
        " sum(choice = iif(a_model <= b_model, 'b', 'a')), sum(choice = 'tie'), sum(choice = 'both_bad'),"
        " sum(blind AND unblind = '[]'), sum(blind AND unblind <> '[]')"
        " FROM vote WHERE deleted_at IS NULL AND (NOT ? OR (blind AND unblind = '[]')) GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [VoteCounts(*row) for row in store.rows(sql, (blind_only,))]


def preferences(store: Store, dataset: str | None = None, split: Split | None = None) -> list[Preference]:
    """Every preference, oldest first: from votes with a winner and from imports; of one dataset's imports when one
    is named.
    """
    sql = (
        "SELECT * FROM preference WHERE (?1 IS NULL OR dataset_id = (SELECT id FROM dataset WHERE name = ?1))"
        " AND (?2 IS NULL OR split = ?2) ORDER BY created_at, import_id, vote_id"
    )
    return [
        Preference(
            json.loads(row["prompt"]), row["chosen"], row["rejected"], json.loads(row["source"]), row["created_at"]
        )
        for row in store.rows(sql, (dataset, split))
    ]


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collect` did to a dataset: rows that are new, that were there, and that went because their vote is gone.

    `left_out` counts answers that are empty, or preferences with such an answer or two equal ones: they teach nothing.
    """

    dataset: str
    new: int
    known: int
    removed: int
    left_out: int = 0

    @property
    def rows(self) -> int:
        """Rows that come from votes now."""
        return self.new + self.known


def collect(store: Store, dataset: str, kind: PreferenceKind = "preference") -> Collected:
    """Puts what the votes say into a dataset, made when missing, to train on it; one edit.

    As preferences: each vote with a winner. As feedback: the winner's answer is good, the loser's bad, and both of a
    vote "both bad". A tie says neither, and empty answers are left out. Rows of votes that were undone since are
    removed. BadInput when no vote says anything.
    """
    from store import datasets
    from store.feedback import add_feedback

    with store.write() as conn, recording(store, f"collect votes in {dataset}"):
        found = list(reversed(all_votes(store)))
        judged = [draft for vote in found if vote.choice != "tie" for draft in _judged(vote)]
        winners = [_preference(vote) for vote in found if vote.choice in ("a", "b")]
        drafts = [each for each in winners if _says_something(each)]
        answers = [each for each in judged if each.answer.strip()]
        if not (drafts if kind == "preference" else answers):
            what = "No vote has a winner yet" if kind == "preference" else "No vote judges an answer yet"
            raise BadInput(f"{what}, so there is nothing to train on.", todo="Vote in Compare: 1 left, 2 right.")
        table = "imported_preference" if kind == "preference" else "feedback"
        dataset_id = datasets.ensure(store, dataset).id
        kept = [vote.id for vote in found if vote.choice != "tie"]
        removed = conn.execute(
            f"DELETE FROM {table} WHERE dataset_id = ? AND json_extract(source, '$.vote') IS NOT NULL"
            " AND json_extract(source, '$.vote') NOT IN (SELECT value FROM json_each(?))",
            (dataset_id, json.dumps(kept)),
        ).rowcount
        if kind == "preference":
            new, known = import_preferences(store, drafts, dataset=dataset)
            return Collected(dataset, new, known, removed, len(winners) - len(drafts))
        new, known = add_feedback(store, answers, dataset=dataset)
        return Collected(dataset, new, known, removed, len(judged) - len(answers))


def _says_something(draft: PreferenceDraft) -> bool:
    return bool(draft.chosen.strip() and draft.rejected.strip()) and draft.chosen != draft.rejected


def _storable(answer: str) -> str:
    """A model's answer without NUL characters, which it may write and no row can hold: one such answer must not keep
    all other votes out of a dataset."""
    return answer.replace("\0", "")


def _preference(vote: Vote) -> PreferenceDraft:
    a, b = (_storable(vote.a_text), vote.a_model), (_storable(vote.b_text), vote.b_model)
    (chosen, better), (rejected, worse) = (a, b) if vote.choice == "a" else (b, a)
    source = {"vote": vote.id, "chosen": better, "rejected": worse}
    return PreferenceDraft(tuple(Turn.of(message) for message in vote.prompt), chosen, rejected, source)


def _judged(vote: Vote) -> list[FeedbackDraft]:
    """The answers of a vote that is no tie, the winner's as good."""
    prompt = tuple(Turn.of(message) for message in vote.prompt)
    answers = (("a", _storable(vote.a_text), vote.a_model), ("b", _storable(vote.b_text), vote.b_model))
    return [
        FeedbackDraft(prompt, text, choice == vote.choice, {"vote": vote.id, "model": model})
        for choice, text, model in answers
    ]


def prefer(
    store: Store, draft: PairDraft, *, better: str, worse: str, source: dict[str, Any], dataset: str | None = None
) -> None:
    """Keeps a preference between two answers to the question of a pair's draft, history and system text included."""
    system = (Turn("system", draft.system),) if draft.system else ()
    prompt = (*system, *draft.history, Turn("user", draft.question))
    with recording(store, "prefer an answer"):
        import_preferences(store, [PreferenceDraft(prompt, better, worse, source)], dataset=dataset)


def keep_over(store: Store, draft: PairDraft, *, rejected: str, rejected_model: str, dataset: str) -> bool:
    """Keeps an answer as a pair of a dataset and prefers it to another model's answer, as one edit.

    Returns whether the pair was there already.
    """
    with recording(store, "keep an answer over another"):
        made = create_many(store, [draft], dataset=dataset, label="add")
        source = {**draft.source, "rejected_model": rejected_model}
        prefer(store, draft, better=draft.answer, worse=rejected, source=source, dataset=dataset)
        return bool(made.duplicates)


def import_preferences(
    store: Store, drafts: Iterable[PreferenceDraft], *, dataset: str | None = None, split: Split = "train"
) -> tuple[int, int]:
    """Keeps preferences from a file; returns how many are new and how many were there already.

    BadInput names a field that is wrong.
    """
    from store import datasets

    with store.write() as conn, recording(store, "import preferences"):
        dataset_id = datasets.ensure(store, dataset).id if dataset is not None else None
        rows = []
        for draft in drafts:
            body = _columns(check_draft(draft))
            digest = sha256(canonical(body))
            rows.append((new_uid(), *body, canonical(draft.source), digest, dataset_id, split, now()))
        into = (
            "imported_preference (uid, prompt, chosen, rejected, source, content_hash, dataset_id, split, created_at)"
        )
        kept = insert_rows(conn, into, rows, "ON CONFLICT DO NOTHING")
    return kept, len(rows) - kept


def check_draft(draft: PreferenceDraft) -> PreferenceDraft:
    """`draft` itself when it can be kept; BadInput names the field that cannot."""
    texts = [
        ("chosen", draft.chosen),
        ("rejected", draft.rejected),
        *(("prompt", turn.content) for turn in draft.prompt),
    ]
    for field, text in texts:
        check_text(field, text)
        if field != "prompt" and not text.strip():
            raise BadInput("The answer is empty.", where=field, todo="Write both answers.")
    if not draft.prompt or draft.prompt[-1].role != "user" or not draft.prompt[-1].content.strip():
        raise BadInput(
            "The prompt does not end with a user message.", where="prompt", todo="End the prompt with a user message."
        )
    if draft.chosen == draft.rejected:
        raise BadInput(
            "The rejected answer is the same as the chosen one.",
            where="rejected",
            todo="Remove the row: it prefers nothing.",
        )
    return draft


def _columns(draft: PreferenceDraft) -> tuple[str, str, str]:
    prompt = canonical([{"role": turn.role, "content": turn.content} for turn in draft.prompt])
    return prompt, draft.chosen, draft.rejected


def _vote_from(row: sqlite3.Row) -> Vote:
    values = {key: row[key] for key in Vote.__dataclass_fields__}
    parsed = {name: json.loads(row[name]) for name in ("prompt", "sampling", "unblind")}
    return Vote(**values | parsed | {"a_left": bool(row["a_left"]), "blind": bool(row["blind"])})
