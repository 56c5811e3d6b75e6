"""The part of Go's text/template that our Modelfiles use, evaluated as Ollama does: to check one without Ollama.
Nothing here writes a template; whatever is outside the subset is refused, never guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store.errors import Unsupported
from store.records import Message

_ACTION = re.compile(r"(\s*\{\{-|\{\{) *(.*?) *\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|\$?\.?[A-Za-z]\w*|\d+')
_WORDS = re.compile(rf"(?:\s*(?:{_WORD.pattern}))+\s*")
_SET = re.compile(r"(\$\w+) :?= (.+)", re.DOTALL)
_RANGE = "range $i, $_ := .Messages"
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "not": lambda a: not a,
    "and": lambda *all: next((a for a in all if not a), all[-1]),
    "len": len,
    "slice": lambda items, start: items[start:],
}


def render(template: str, messages: Sequence[Message]) -> str:
    """The prompt that Ollama sends for these messages. Unsupported for a template outside the subset.

    As in Ollama, `.System` is every system text, `.Messages` still holds them, and neighbours of one role are one.
    """
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = message | {"content": joined[-1]["content"] + "\n\n" + message["content"]}
        else:
            joined.append(message)
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    pieces = list(_pieces(template))
    at, out = _block(pieces, 0, _Scope({"System": system, "Messages": joined}))
    if at != len(pieces):
        raise _refused("end")
    return out


@dataclass(frozen=True, slots=True)
class _Scope:
    """`root` is `$`, `dot` is `.`; variables are one flat set, since we never hide one by another."""

    root: dict[str, Any]
    dot: dict[str, Any] | None = None
    names: dict[str, Any] = field(default_factory=dict)
    live: bool = True


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """(whether it is an action, its text), with the white space gone that `{{-` takes."""
    at = 0
    for match in _ACTION.finditer(template):
        yield False, template[at : match.start()] + ("" if match[1].endswith("-") else match[1][:-2])
        yield True, match[2]
        at = match.end()
    yield False, template[at:]


def _block(pieces: list[tuple[bool, str]], at: int, scope: _Scope) -> tuple[int, str]:
    """Evaluates up to the action that closes the block, whose place is returned; a dead scope is only passed over."""
    out = []
    while at < len(pieces):
        is_action, text = pieces[at]
        if is_action and (text == "end" or text.startswith("else")):
            break
        if not is_action:
            out.append(text)
        elif text.startswith("if "):
            at, made = _branch(pieces, at, text[3:], scope)
            out.append(made)
        elif text.startswith("range "):
            at, made = _loop(pieces, at, scope)
            out.append(made)
        elif scope.live:
            found = _SET.fullmatch(text)
            out.append("" if found else str(_value(text, scope)))
            if found:
                scope.names[found[1]] = _value(found[2], scope)
        at += 1
    return at, "".join(out) if scope.live else ""


def _branch(pieces: list[tuple[bool, str]], at: int, condition: str, scope: _Scope) -> tuple[int, str]:
    """An if with its else-ifs and else; returns the place of its end."""
    open_, out = scope.live, ""
    while True:
        taken = open_ and bool(_value(condition, scope) if condition else True)
        at, made = _block(pieces, at + 1, replace(scope, live=taken))
        out, open_ = out + made, open_ and not taken
        if at >= len(pieces):
            raise _refused("if without end")
        if pieces[at][1] == "end":
            return at, out
        condition = pieces[at][1].removeprefix("else").strip().removeprefix("if ")


def _loop(pieces: list[tuple[bool, str]], at: int, scope: _Scope) -> tuple[int, str]:
    if pieces[at][1] != _RANGE:
        raise _refused(pieces[at][1])
    out, end = "", _block(pieces, at + 1, replace(scope, live=False))[0]
    if end >= len(pieces) or pieces[end][1] != "end":
        raise _refused("range without end")
    for number, message in enumerate(scope.root["Messages"] if scope.live else ()):
        scope.names["$i"] = number
        dot = {"Role": message["role"], "Content": message["content"]}
        out += _block(pieces, at + 1, replace(scope, dot=dot))[1]
    return end, out


def _value(text: str, scope: _Scope) -> Any:
    if not _WORDS.fullmatch(text):
        raise _refused(text)
    words = _WORD.findall(text)
    value = _call(words, scope)
    if words:
        raise _refused(text)
    return value


def _call(words: list[str], scope: _Scope) -> Any:
    """Takes a function with its arguments, or one operand, off the front of `words`."""
    if words and words[0] in _FUNCTIONS:
        function, given = _FUNCTIONS[words.pop(0)], []
        while words and words[0] != ")":
            given.append(_operand(words, scope))
        return function(*given)
    return _operand(words, scope)


def _operand(words: list[str], scope: _Scope) -> Any:
    word = words.pop(0) if words else ""
    if word == "(":
        value = _call(words, scope)
        if not words or words.pop(0) != ")":
            raise _refused("(")
        return value
    if word.startswith('"'):
        return json.loads(word)
    if word.isdigit():
        return int(word)
    holder: dict[str, Any] = scope.names
    if word.startswith("$."):
        holder, word = scope.root, word[2:]
    elif word.startswith("."):
        holder, word = scope.root if scope.dot is None else scope.dot, word[1:]
    if word not in holder:
        raise _refused(word)
    return holder[word]


def _refused(what: str) -> Unsupported:
    return Unsupported(f"The template uses {what!r}, which is not supported here.", todo="Check it with Ollama.")
