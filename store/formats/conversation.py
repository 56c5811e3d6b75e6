"""How conversations stand in fields: lists of messages, a question with what belongs to it, and what cannot be trained.
What several formats read alike is read here, once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from store.formats.fields import Fields, Wrong, as_list, as_text, is_empty, type_name
from store.formats.json_rows import RepeatedFields
from store.records import PairDraft, Turn

QUESTIONS = ("instruction", "prompt", "question", "query")
ANSWERS = ("output", "completion", "response", "answer")
CONTEXTS = ("input", "context")
SYSTEMS = ("system", "system_prompt", "system_message")
HISTORIES = ("history", "chat_history")
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
}
CUT = "turns after the last trained answer were left out, because nothing would be learned from them"
"""The note of a row whose conversation ends with answers that are not to be trained."""

_TOOL_ROLES = {"tool", "function", "function_call", "tool_call", "observation", "ipython"}
_TOOL_FIELDS = ("tools", "functions", "tool_calls", "function_call")
_MEDIA_FIELDS = {
    "image": "images are", "images": "images are", "video": "videos are", "videos": "videos are",
    "audio": "audio is", "audios": "audio is",
}  # fmt: skip
_MEDIA_MARK = re.compile(r"<(image|video|audio)>(?!.*</\1>)|<\|(image|video|audio)(_pad)?\|>", re.DOTALL)
_CODE = re.compile(r"```.*?(```|\Z)|`[^`\n]*`", re.DOTALL)  # in which <image> is a tag and no image
_TEXT_PARTS = {"text", "input_text", "output_text"}
_MESSAGE_KEYS = {"role", "from", "content", "value", "weight", "train", "loss"}


def check_supported(fields: Fields) -> None:
    """Wrong when a row needs tools, images or sound: Tuningfork trains on text alone."""
    if fields.none_of((*_TOOL_FIELDS, *_MEDIA_FIELDS)):
        return
    for name in _TOOL_FIELDS:
        if not is_empty(as_list(fields.peek(name))):
            raise Wrong(name, "tools are not supported: a row is text alone")
    for name, what in _MEDIA_FIELDS.items():
        if not is_empty(as_list(fields.peek(name))):
            raise Wrong(name, f"{what} not supported: a row is text alone")


def check_texts(field: str, texts: Sequence[str]) -> None:
    """Wrong when an image, video or sound was left in a text as a mark, <image> for example."""
    for text in texts:
        if "<" in text and (mark := _MEDIA_MARK.search(_CODE.sub("", text))):
            what = _MEDIA_FIELDS[mark[1] or mark[2]]
            raise Wrong(field, f"{mark[0]} stands in the text: {what} not supported, a row is text alone")


def turns_of(fields: Fields, field: str, value: Any) -> list[Turn]:
    """A list of messages as turns: {"role", "content"} or {"from", "value"}, with a weight of 0 kept.

    Keys of messages that say something else are counted as not read.
    """
    value = as_list(value)
    if not isinstance(value, list) or not value:
        raise Wrong(field, "is an empty list" if value == [] else "is not a list of messages")
    return [_turn(fields, field, f"{field}[{n}]", message) for n, message in enumerate(value)]


def _turn(fields: Fields, field: str, at: str, message: Any) -> Turn:
    if not isinstance(message, dict):
        raise Wrong(at, f"is {type_name(message)}, not a message")
    if isinstance(message, RepeatedFields):
        raise Wrong(at, f"has the field {message.names[0]} twice")
    who = "role" if message.get("role") is not None else "from" if "from" in message else "role"
    said = "content" if message.get("content") is not None else "value" if "value" in message else "content"
    role = as_text(f"{at}.{who}", message.get(who))
    if role in _TOOL_ROLES:
        raise Wrong(f"{at}.{who}", f"{role!r} is a role of tool calls, which are not supported")
    if role not in ROLES:
        raise Wrong(f"{at}.{who}", f"{role[:40]!r} is a role that cannot be trained on; use {', '.join(ROLES)}")
    trained = _read_rest(fields, field, at, message) if len(message) > 2 else True
    return Turn(ROLES[role], _content(f"{at}.{said}", message.get(said)), trained)  # type: ignore[arg-type]


def _read_rest(fields: Fields, field: str, at: str, message: dict[str, Any]) -> bool:
    """What a message says beside its role and text: whether it is trained. Wrong when it needs more than text."""
    for name in (*_TOOL_FIELDS, *_MEDIA_FIELDS):
        if not is_empty(message.get(name)):
            what = _MEDIA_FIELDS.get(name, "tool calls are")
            raise Wrong(f"{at}.{name}", f"{what} not supported: a row is text alone")
    for name in message:
        if name not in _MESSAGE_KEYS and not is_empty(message[name]):
            fields.skip(f"{field}[].{name}")
    return _trained(fields, field, message)


def _trained(fields: Fields, field: str, message: dict[str, Any]) -> bool:
    """Whether a turn is trained: weight (OpenAI, 0 or 1), train (Axolotl) or loss (ms-swift) may say that it is not."""
    trained = True
    for name in ("weight", "train", "loss"):
        value = message.get(name)
        if is_empty(value):
            continue
        if value not in (0, 1):
            fields.skip(f"{field}[].{name}")
        trained = trained and value != 0
    return trained or ROLES.get(str(message.get("role", message.get("from")))) != "assistant"


def _content(field: str, value: Any) -> str:
    """A message's content: text, or a list of text parts."""
    if not isinstance(value, list):
        return as_text(field, value)
    parts = []
    for part in value:
        if isinstance(part, str):
            parts.append(part)
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _TEXT_PARTS:
            raise Wrong(field, f"has a part that is not text ({kind or type_name(part)}): only text is supported")
        parts.append(as_text(field, part.get("text")))
    return "".join(parts)


def are_messages(value: Any) -> bool:
    """Whether a value is a message or a list of messages."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and bool({"role", "from"} & first.keys())


def split_conversation(field: str, turns: list[Turn], system: str = "") -> tuple[PairDraft, tuple[str, ...]]:
    """Turns as a pair, and notes: a system message first, the last trained answer and its question last.

    Turns after that answer teach nothing: they are left out, and a note says so. Wrong when no answer is trained.
    """
    if turns and turns[0].role == "system":
        system, turns = turns[0].content, turns[1:]
    if not turns or turns[-1].role != "assistant":
        raise Wrong(field, "does not end with an answer of the assistant")
    end = max((n for n, turn in enumerate(turns, 1) if turn.role == "assistant" and turn.train), default=0)
    if not end:
        raise Wrong(field, "has a weight of 0 on every answer, so there is nothing to train on")
    notes = (CUT,) if end < len(turns) else ()
    turns = turns[:end]
    if len(turns) < 2 or turns[-2].role != "user":
        raise Wrong(field, "has no question of the user before the last answer")
    return PairDraft(turns[-2].content, turns[-1].content, system, tuple(turns[:-2])), notes


def question_of(fields: Fields, names: Sequence[str]) -> str:
    """The question in the first of these fields, with the input and the context beside it on lines of their own."""
    asked = fields.first(names)
    parts = [fields.text(asked)] if asked else []
    parts += [fields.text(name) for name in CONTEXTS if name in fields and name != asked]
    return "\n".join(part for part in parts if part.strip())


def system_of(fields: Fields) -> str:
    """The system text beside a question."""
    return fields.text(*SYSTEMS, default="")


def history_of(fields: Fields) -> tuple[Turn, ...]:
    """The earlier turns beside a question: a list of [question, answer] pairs, or of messages."""
    name = fields.first(HISTORIES)
    if name is None:
        return ()
    value = as_list(fields.get(name))
    if is_empty(value):
        return ()
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return tuple(turns_of(fields, name, value))
    if not isinstance(value, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in value):
        raise Wrong(name, "is not a list of [question, answer] pairs")
    return tuple(
        Turn(role, as_text(f"{name}[{n}]", said))  # type: ignore[arg-type]
        for n, turn in enumerate(value)
        for role, said in zip(("user", "assistant"), turn, strict=True)
    )


def answered(fields: Fields, questions: Sequence[str], answers: Sequence[str]) -> PairDraft:
    """A question column and an answer column, with all that belongs to the question, as a pair."""
    asked, said = fields.first(questions), fields.first(answers)
    if asked is None:
        raise Wrong(questions[0], "is missing")
    question = question_of(fields, questions)
    if not question.strip():
        raise Wrong(asked, "is empty")
    if said is None:
        raise Wrong(answers[0], "is missing")
    answer = fields.text(said)
    if not answer.strip():
        raise Wrong(said, "is empty")
    return PairDraft(question, answer, system_of(fields), history_of(fields))
