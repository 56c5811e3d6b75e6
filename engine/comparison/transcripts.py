"""Comparisons kept in the store: written as they go, found and reopened later, exported as Markdown and JSON lines.
The conversation itself is in engine.comparison.session; the tables are in store.chats."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.comparison.answer import AnswerState, LaneAnswer, Stats, TokenFork
from engine.comparison.session import Ballot, Comparison, ComparisonTurn, Lane
from engine.inference.few_shot import FewShot
from engine.inference.limits import LANE_NAMES
from engine.inference.sampling import Sampling
from engine.models import default_model
from store import chats, votes
from store.db import Store
from store.errors import NotFound
from store.files import replacing
from store.records import Chat, ChatMessage, Vote

_TITLE = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One message to write: a prompt, or a lane's ended answer to the prompt of `turn`."""

    turn: int
    prompt: str = ""
    lane: str = ""
    answer: LaneAnswer | None = None


@dataclass(slots=True)
class Transcript:
    """What the store has of a comparison. Call `plan` in the thread that owns the comparison, `write` in any."""

    chat_id: int | None = None
    prompts: list[str] = field(default_factory=list)
    message_ids: list[int] = field(default_factory=list)
    answers: dict[tuple[int, str], LaneAnswer] = field(default_factory=dict)

    def plan(self, comparison: Comparison) -> list[Step]:
        """What is not written yet. An answer is written once it has ended with text; one asked again is a sibling."""
        same = 0
        for kept, turn in zip(self.prompts, comparison.turns, strict=False):
            if kept != turn.prompt:
                break
            same += 1
        steps = []
        if len(comparison.turns) > same or len(self.prompts) > same:
            self._forget(same)
        for n, turn in enumerate(comparison.turns):
            if n >= same:
                steps.append(Step(n, prompt=turn.prompt))
                self.prompts.append(turn.prompt)
            for lane in comparison.lanes.values():
                answer = lane.answers[n]
                if answer.ended and answer.text and self.answers.get((n, lane.name)) is not answer:
                    steps.append(Step(n, lane=lane.name, answer=answer))
                    self.answers[n, lane.name] = answer
        return steps

    def write(self, store: Store, steps: Iterable[Step], meta: dict[str, Any]) -> int | None:
        """Write steps in one transaction, starting the conversation with the first; the id of its chat."""
        steps = list(steps)
        if not steps:
            return self.chat_id
        with store.write():
            if self.chat_id is None:
                title = " ".join(steps[0].prompt.split())
                self.chat_id = chats.create(store, title[:_TITLE] + ("…" if len(title) > _TITLE else ""), meta).id
            else:
                chats.update(store, self.chat_id, meta=meta)
            for step in steps:
                self._write(store, self.chat_id, step)
        return self.chat_id

    def _write(self, store: Store, chat_id: int, step: Step) -> None:
        if step.answer is None:
            del self.message_ids[step.turn :]
            parent = self.message_ids[-1] if self.message_ids else None
            self.message_ids.append(chats.append(store, chat_id, "user", step.prompt, parent_id=parent).id)
            return
        answer = step.answer
        stats = {"state": answer.state, **(asdict(answer.stats) if answer.stats else {})}
        if answer.error:
            stats["error"] = answer.error
        if answer.fork:
            stats["fork"] = asdict(answer.fork)
        chats.append(
            store,
            chat_id,
            "assistant",
            answer.text,
            parent_id=self.message_ids[step.turn],
            lane=step.lane,
            model=answer.model,
            sampling=answer.sampling.to_json(),
            stats=stats,
        )

    def _forget(self, turns: int) -> None:
        del self.prompts[turns:]
        for key in [key for key in self.answers if key[0] >= turns]:
            del self.answers[key]


def meta(comparison: Comparison) -> dict[str, Any]:
    """What is kept of a conversation beside its messages."""
    return {
        "lanes": {lane.name: lane.model for lane in comparison.lanes.values()},
        "few_shot": {lane.name: lane.few_shot.to_json() for lane in comparison.lanes.values() if lane.few_shot},
        "system": comparison.system,
        "sampling": comparison.sampling.to_json(),
        "blind_seed": comparison.blind_seed,
    }


def reopen(store: Store, chat_id: int) -> tuple[Comparison, Transcript]:
    """The conversation as it last stood: its newest prompts, each lane's newest answers to them, and the votes.

    NotFound when it was removed, or holds nothing.
    """
    chat = chats.get(store, chat_id)
    messages = chats.tree(store, chat_id)
    line = _newest_line(messages)
    if not line:
        raise NotFound(f"The conversation {chat.title!r} holds no messages.")
    comparison = _empty(chat, messages)
    transcript = Transcript(chat_id)
    for n, asked in enumerate(line):
        comparison.turns.append(ComparisonTurn(asked.text, blind=False, order=tuple(comparison.lanes)))
        transcript.prompts.append(asked.text)
        transcript.message_ids.append(asked.id)
        for lane in comparison.lanes.values():
            answer = _newest_answer(messages, asked, lane)
            lane.answers.append(answer)
            if answer.text:
                transcript.answers[n, lane.name] = answer
    recall_votes(comparison, votes.of_chat(store, chat_id))
    return comparison, transcript


def _newest_line(messages: list[ChatMessage]) -> list[ChatMessage]:
    line: list[ChatMessage] = []
    parent: int | None = None
    while True:
        asked = [m for m in messages if m.role == "user" and m.parent_id == parent]
        if not asked:
            return line
        line.append(asked[-1])
        parent = asked[-1].id


def _empty(chat: Chat, messages: list[ChatMessage]) -> Comparison:
    lanes = {n: m for n, m in chat.meta.get("lanes", {}).items() if n in LANE_NAMES}
    if not lanes:
        lanes = {m.lane: m.model for m in messages if m.role == "assistant" and m.lane in LANE_NAMES and m.model}
    lanes = lanes or {"a": default_model.NAME}
    sampling = Sampling.from_json(chat.meta.get("sampling", {}))
    comparison = Comparison(
        list(lanes.values()),
        system=chat.meta.get("system", ""),
        sampling=sampling,
        blind_seed=chat.meta.get("blind_seed", 0),
    )
    shots = {name: FewShot.from_json(kept) for name, kept in chat.meta.get("few_shot", {}).items()}
    comparison.lanes = {name: Lane(name, model, few_shot=shots.get(name)) for name, model in lanes.items()}
    return comparison


def _newest_answer(messages: list[ChatMessage], asked: ChatMessage, lane: Lane) -> LaneAnswer:
    answers = [m for m in messages if m.parent_id == asked.id and m.role == "assistant" and m.lane == lane.name]
    if not answers:
        return LaneAnswer(lane.label, Sampling(), "stopped")
    last = answers[-1]
    figures = {k: v for k, v in last.stats.items() if k in Stats.__dataclass_fields__}
    if "token_ids" in figures:
        figures["token_ids"] = tuple(figures["token_ids"])
    fork = last.stats.get("fork")
    state: AnswerState = last.stats.get("state", "done")
    return LaneAnswer(
        last.model or lane.label,
        Sampling.from_json(last.sampling),
        state,
        last.text,
        Stats(**figures) if figures else None,
        last.stats.get("error", ""),
        TokenFork(**{**fork, "prefix": tuple(fork["prefix"])}) if fork else None,
    )


def cast_vote(store: Store, ballot: Ballot, chat_id: int | None) -> Vote:
    """Keep a vote of a conversation, in place of one before it on the same answers."""
    return votes.cast(store, chat_id=chat_id, **asdict(ballot))


def recall_votes(comparison: Comparison, cast: Sequence[Vote]) -> None:
    """Give each turn the vote in `cast` (newest first) that is about its answers, and no other.

    Nothing changes while there are not two lanes: a vote is between two.
    """
    if len(comparison.lanes) != 2:
        return
    one, two = comparison.lanes
    for n, turn in enumerate(comparison.turns):
        a, b = comparison.answer(one, n), comparison.answer(two, n)
        here = (n, turn.prompt, a.model, b.model, a.text, b.text)
        found = next((vote for vote in cast if votes.subject(vote) == here), None)
        if found is not None:
            turn.vote = found.choice
        elif turn.vote is not None:
            comparison.unvote(n)


# -- as files ------------------------------------------------------------------------------------------------------


def to_markdown(comparison: Comparison, title: str) -> str:
    """The conversation as Markdown: its settings, each prompt, and each lane's answer under its model.

    An answer that is not complete, or was asked with other settings, has a remark below it.
    """
    usual = _usual(comparison)
    out = [f"# {title}", "", f"Settings: {_settings(usual)}.", ""]
    if comparison.system:
        out += ["System text:", "", *(f"> {line}".rstrip() for line in comparison.system.splitlines()), ""]
    else:
        out += ["System text: none.", ""]
    for n, turn in enumerate(comparison.turns):
        out += [f"## {n + 1}. You", "", turn.prompt, ""]
        for lane in comparison.lanes.values():
            answer = lane.answers[n]
            best = " (voted better)" if comparison.winner(n) == lane.name else ""
            out += [f"### {lane.name.upper()} · {answer.model}{best}", "", answer.text or "(no answer)", ""]
            out += [line for remark in _remarks(answer, usual) for line in (f"*{remark}*", "")]
    return "\n".join(out)


def _usual(comparison: Comparison) -> Sampling:
    """The sampling of most answers: they may have changed in between, and the last may have been used for no answer."""
    asked = Counter(answer.sampling for lane in comparison.lanes.values() for answer in lane.answers if answer.text)
    return asked.most_common(1)[0][0] if asked else comparison.sampling


def _settings(sampling: Sampling) -> str:
    """Sampling in words; a filter is named only where it is on."""
    off = Sampling()
    parts = [f"temperature {sampling.temperature:g}" + (" (greedy)" if sampling.temperature == 0 else "")]
    for name in ("top_p", "top_k", "min_p", "repeat_penalty"):
        if getattr(sampling, name) != getattr(off, name):
            parts.append(f"{name.replace('_', ' ')} {getattr(sampling, name):g}")
    parts += [f"seed {sampling.seed}", f"at most {sampling.max_tokens} tokens per answer"]
    if sampling.thinking is not None:
        parts.append("thinking on" if sampling.thinking else "thinking off")
    if sampling.stop:
        parts.append("ended before " + " or ".join(json.dumps(text, ensure_ascii=False) for text in sampling.stop))
    return ", ".join(parts)


def _remarks(answer: LaneAnswer, usual: Sampling) -> list[str]:
    out = []
    if answer.fork:
        chosen, before = (json.dumps(text, ensure_ascii=False) for text in (answer.fork.chosen, answer.fork.instead_of))
        out.append(f"Forked at token {answer.fork.token}: {chosen} was chosen instead of {before}.")
    stop = answer.stats.stop if answer.stats else "end"
    if answer.state == "failed":
        out.append(f"Broke off: {' '.join(answer.error.split())}" if answer.error else "Broke off.")
    elif answer.state != "done" or stop == "cancelled":
        out.append("Stopped here." if answer.text else "Stopped before the first token.")
    elif stop == "length":
        out.append(f"Cut at the limit of {answer.sampling.max_tokens} tokens.")
    if answer.text and answer.sampling != usual:
        out.append(f"Asked with {_settings(answer.sampling)}.")
    return out


def to_jsonl(comparison: Comparison) -> str:
    """One line for each lane: its messages in the OpenAI form, with model and sampling, and how each answer ended.

    `answers` is beside `messages`, because readers of those know only role and content.
    """
    lines = []
    for lane in comparison.lanes.values():
        messages: list[dict[str, str]] = [{"role": "system", "content": comparison.system}] if comparison.system else []
        for turn, answer in zip(comparison.turns, lane.answers, strict=True):
            if answer.text:
                messages += [{"role": "user", "content": turn.prompt}, {"role": "assistant", "content": answer.text}]
        row = {
            "lane": lane.name,
            "model": lane.label,
            "sampling": comparison.sampling.to_json(),
            "messages": messages,
            "answers": [_ending(n, answer) for n, answer in enumerate(lane.answers, 1)],
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _ending(turn: int, answer: LaneAnswer) -> dict[str, Any]:
    """How one answer was asked and how it ended; one without a text is in no message."""
    return {
        "turn": turn,
        "model": answer.model,
        "state": answer.state,
        "stop": answer.stats.stop if answer.stats else None,
        "error": answer.error or None,
        **({"reasoning": answer.stats.reasoning} if answer.stats and answer.stats.reasoning else {}),
        **({"note": answer.stats.note} if answer.stats and answer.stats.note else {}),
        **({"fork": asdict(answer.fork)} if answer.fork else {}),
        "empty": not answer.text,
        "sampling": answer.sampling.to_json(),
    }


def export(comparison: Comparison, folder: Path, name: str, title: str) -> tuple[Path, Path]:
    """Write NAME.md and NAME.jsonl into `folder`, each completely or not at all. OSError when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    texts: tuple[tuple[str, Callable[[], str]], ...] = (
        (".md", lambda: to_markdown(comparison, title)),
        (".jsonl", lambda: to_jsonl(comparison)),
    )
    for suffix, text in texts:
        target = folder / f"{name}{suffix}"
        with replacing(target) as part:
            part.write_text(text(), "utf-8")
        written.append(target)
    return written[0], written[1]
