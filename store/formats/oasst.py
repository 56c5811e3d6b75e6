"""Open Assistant: trees of messages, {"prompt": {"text", "role", "replies": [...]}}, or their messages one a row, flat.
Of a tree in one row the best ranked branch is read; of flat messages every conversation that ends with an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from store.formats.base import RecordFormat, Row, parsed, register
from store.formats.conversation import split_conversation
from store.formats.fields import Fields, Wrong, as_text
from store.formats.source import DataFile, Problem, Value
from store.formats.values import sample, values
from store.records import Pair, PairDraft, Turn

_FLAT = ("message_id", "role", "text")
_SPEAKERS = {"prompter": "user", "assistant": "assistant"}


@register
class OpenAssistant(RecordFormat):
    """Conversation trees."""

    name = "oasst"
    help = "prompt with replies"
    rank = -5  # before the tables, which read each row by itself

    def recognises(self, fields: Fields) -> bool:
        """A prompt with replies."""
        prompt = fields.peek("prompt")
        return isinstance(prompt, dict) and "replies" in prompt

    def is_part(self, value: dict[str, Any]) -> bool:
        """A flat message that names its parent."""
        return _is_flat(value)

    def sniff(self, file: DataFile) -> int | None:
        """The first tree, or the first message that names its parent."""
        for n, found in enumerate(sample(file)):
            value = found.value if isinstance(found, Value) else None
            if isinstance(value, dict) and (self.recognises(Fields(value)) or _is_flat(value)):
                return n
        return None

    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        """A pair for each tree, or for each conversation of flat messages."""
        flat: dict[str, tuple[int, dict[str, Any]]] = {}
        for found in values(file):
            if isinstance(found, Value) and isinstance(found.value, dict) and _is_flat(found.value):
                flat[str(found.value["message_id"])] = (found.line, found.value)
            else:
                yield found if isinstance(found, Problem) else parsed(found, self, mixed)
        yield from _conversations(flat)

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The branch that is ranked best at every fork."""
        for name in ("message_tree_id", "tree_state"):
            fields.get(name)
        message, turns = fields.get("prompt"), []
        if not isinstance(message, dict):
            raise Wrong("prompt", "is not a message with replies")
        while message is not None:
            turns.append(_turn("prompt", message))
            replies = [each for each in message.get("replies") or [] if not each.get("deleted")]
            if len(replies) > 1:
                fields.skip("prompt.replies (other branches)")
            message = min(replies, key=_rank, default=None)
        while turns and turns[-1].role != "assistant":
            turns.pop()
        return split_conversation("prompt", turns)

    def cannot_hold(self, item: Pair) -> str | None:
        """Messages are the two speakers' alone."""
        if item.system:
            return "a system text"
        return None if all(turn.train for turn in item.history) else "turns that are not to be trained"

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a tree of one branch."""
        node: dict[str, Any] | None = None
        for message in reversed(item.messages()):
            role = "prompter" if message["role"] == "user" else "assistant"
            node = {"text": message["content"], "role": role, "replies": [node] if node else []}
        return {"message_tree_id": item.uid, "prompt": node}


def _is_flat(value: dict[str, Any]) -> bool:
    return "parent_id" in value and all(value.get(name) is not None for name in _FLAT)


def _rank(message: dict[str, Any]) -> float:
    rank = message.get("rank")
    return float(rank) if isinstance(rank, int | float) else float("inf")


def _turn(at: str, message: dict[str, Any]) -> Turn:
    role = _SPEAKERS.get(str(message.get("role")))
    if role is None:
        raise Wrong(f"{at}.role", f"{str(message.get('role'))[:40]!r} is neither prompter nor assistant")
    return Turn(role, as_text(f"{at}.text", message.get("text")))  # type: ignore[arg-type]


def _conversations(flat: dict[str, tuple[int, dict[str, Any]]]) -> Iterator[Row | Problem]:
    """From each answer without a further answer back to the first question, in the order of the file."""
    deleted = {id for id, (_, message) in flat.items() if message.get("deleted")}
    parents = {id: str(message["parent_id"]) for id, (_, message) in flat.items() if id not in deleted}
    answered = {
        parents.get(parents.get(id, ""))
        for id, (_, message) in flat.items()
        if id not in deleted and message["role"] == "assistant"
    }
    asked = {parents[id] for id in parents}
    for id, (line, message) in flat.items():
        if id in deleted:
            yield Problem(line, "deleted", "is true: the message was deleted", message)
        elif message["role"] != "assistant":
            if id not in asked:
                yield Problem(line, "text", "is a question without an answer", message)
        elif id not in answered:
            yield _conversation(flat, parents, id)


def _conversation(flat: dict[str, tuple[int, dict[str, Any]]], parents: dict[str, str], id: str) -> Row | Problem:
    line, last = flat[id]
    turns: list[Turn] = []
    seen: set[str] = set()
    try:
        while id in flat and id not in seen:
            seen.add(id)
            turns.insert(0, _turn("message", flat[id][1]))
            id = parents.get(id, "")
        if id not in ("", "None"):
            raise Wrong("parent_id", f"{id[:40]!r} is not a message of the file")
        draft, notes = split_conversation("text", turns)
    except Wrong as wrong:
        return Problem(line, wrong.field, wrong.what, last)
    return Row(line, draft, last, notes=(*notes, "joined from its messages, which stand in rows of their own"))
