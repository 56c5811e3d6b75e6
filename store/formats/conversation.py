"""How conversations stand in fields: lists of messages, a question with what belongs to it, and what cannot be trained.
What several formats read alike is read here, once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from store.formats.fields import Fields, Wrong, as_list, as_text, is_empty, type_name
from store.formats.json_rows import RepeatedFields
from store.records import PairDraft, Turn

QUESTIONS = ("instruction", "prompt", "question", "query", "q", "user", "human")
ANSWERS = ("output", "completion", "response", "answer", "a", "assistant", "bot", "gpt")
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
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "prompter": "user",
}
"""What speakers are called, in lower case, and what they are."""
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
_MESSAGE_KEYS = {"role", "from", "content", "value", "parts", "weight", "train", "loss"}


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
            raise Wrong(field, f"{mark[0]} is in the text: {what} not supported, a row is text alone")


def turns_of(fields: Fields, field: str, value: Any) -> list[Turn]:
    """A list of messages as turns: {"role", "content"} or {"from", "value"}, with a weight of 0 kept.

    Other keys of messages are counted as not read.
    """
    value = as_list(value)
    if not isinstance(value, list) or not value:
        raise Wrong(field, "is an empty list" if value == [] else "is not a list of messages")
    if all(isinstance(said, str) for said in value):  # user and assistant by turns, as LIMA and UltraChat have it
        return [Turn("assistant" if n % 2 else "user", said) for n, said in enumerate(value)]
    turns = []
    for n, message in enumerate(value):
        both = _both(message)
        turns += [_turn(fields, field, f"{field}[{n}]", each) for each in both or [message]]
    return turns


def _both(message: Any) -> list[dict[str, Any]]:
    """A message that holds what several speakers said, {"human": …, "assistant": …}, as one for each of them."""
    if not isinstance(message, dict) or not {"role", "from"}.isdisjoint(message):
        return []
    speakers = [name for name in message if str(name).lower() in ROLES and not is_empty(message[name])]
    rest = {name: value for name, value in message.items() if name not in speakers}
    return [{"role": name, "content": message[name], **(rest if not n else {})} for n, name in enumerate(speakers)]


def _turn(fields: Fields, field: str, at: str, message: Any) -> Turn:
    if not isinstance(message, dict):
        raise Wrong(at, f"is {type_name(message)}, not a message")
    if isinstance(message, RepeatedFields):
        raise Wrong(at, f"has the field {message.names[0]} twice")
    who = "role" if message.get("role") is not None else "from" if "from" in message else "role"
    said = next((name for name in ("content", "value", "parts") if message.get(name) is not None), "content")
    named = as_text(f"{at}.{who}", message.get(who))
    role = named.strip().lower()
    if role in _TOOL_ROLES:
        raise Wrong(f"{at}.{who}", f"{role!r} is a role of tool calls, which are not supported")
    if role not in ROLES:
        raise Wrong(f"{at}.{who}", f"{named[:40]!r} is a role that cannot be trained on; use {', '.join(ROLES)}")
    trained = _read_rest(fields, field, at, message) if len(message) > 2 else True
    return Turn(ROLES[role], _content(f"{at}.{said}", message.get(said)), trained)  # type: ignore[arg-type]


def _read_rest(fields: Fields, field: str, at: str, message: dict[str, Any]) -> bool:
    """The other keys of a message: whether it is trained. Wrong when it needs more than text."""
    for name in (*_TOOL_FIELDS, *_MEDIA_FIELDS):
        if not is_empty(message.get(name)):
            what = _MEDIA_FIELDS.get(name, "tool calls are")
            raise Wrong(f"{at}.{name}", f"{what} not supported: a row is text alone")
    for name in message:
        if name not in _MESSAGE_KEYS and not is_empty(message[name]):
            fields.skip(f"{field}[].{name}")
    return _trained(fields, field, message)


def _trained(fields: Fields, field: str, message: dict[str, Any]) -> bool:
    """Whether a turn is trained: weight (OpenAI, 0 or 1), train (Axolotl) or loss (ms-swift) may exclude it."""
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
        if isinstance(part, dict) and kind is None and list(part) == ["text"]:  # Gemini's parts
            kind = "text"
        if kind not in _TEXT_PARTS:
            raise Wrong(field, f"has a part that is not text ({kind or type_name(part)}): only text is supported")
        parts.append(as_text(field, part.get("text")))
    return "".join(parts)


def are_messages(value: Any) -> bool:
    """Whether a value is a message or a list of messages."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and bool({"role", "from"} & first.keys())


def are_said_by_turns(value: Any) -> bool:
    """Whether a value is a list of two texts or more, what user and assistant said by turns."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(said, str) for said in value)


def split_conversation(field: str, turns: list[Turn], system: str = "") -> tuple[PairDraft, tuple[str, ...]]:
    """Turns as a pair, and notes: a system message first, the last trained answer and its question last.

    Turns after that answer teach nothing: they are left out with a note. Wrong when no answer is trained.
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
