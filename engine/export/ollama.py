"""A model's Modelfile for Ollama: its template derived from the model's own chat template, its stops and parameters.
Pure text: reads the tokenizer's folder, writes nothing, needs no weights and no Ollama."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from engine.core.files import read_json
from engine.export import go_template
from engine.gguf import tokenizer_file
from engine.inference.sampling import Sampling
from engine.models.chat_template import ChatTemplate
from store.errors import BadInput, Unsupported
from store.records import Message

MAX_CONTEXT = 8192
"""A small model rarely needs more, and Ollama reserves memory for all of it."""
_INSTEAD = "Export --to gguf instead: llama.cpp and LM Studio read the model's own template."
_ROLES = {"s": "system", "u": "user", "a": "assistant"}
_MARK = "Qx{}qX"  # a message that no template writes by itself, trims or splits
_TEMPLATE = re.compile(r'^TEMPLATE """(.*?)"""$', re.DOTALL | re.MULTILINE)
_STOP = re.compile(r'^PARAMETER stop "(.*)"$', re.MULTILINE)
_UNSAFE = re.compile(r'\{|"{2,}|[\x00-\x08\x0b-\x1f\x7f]')
# generation_config.json's names and Ollama's
_PARAMETERS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}  # fmt: skip


def modelfile(folder: Path, gguf_name: str, *, about: str = "", base: Path | None = None) -> str:
    """The Modelfile of the GGUF file `gguf_name` beside it, for a model whose tokenizer and template are in `folder`.

    `base` is the folder with config.json where that is another one (an adapter has none); `about` becomes comments.
    Where generation_config.json names no temperature or repeat penalty, those that chat here uses are written, since
    Ollama's own would change what the model says. Raises BadInput for a broken folder, Unsupported when the chat
    template cannot be put in Ollama's terms without changing what the model reads.
    """
    template = ChatTemplate.load(folder)
    shape = _shape_of(template, adds_bos(folder))
    lines = [f"# {line}" for line in (*about.splitlines(), *_remarks(template, shape)) if line.strip()]
    lines.append(f"FROM {_plain('./' + gguf_name.removesuffix('.gguf') + '.gguf')}")
    lines.append(f'TEMPLATE """{_written(shape)}"""')
    lines += [f'PARAMETER stop "{_plain(stop)}"' for stop in _stops(template)]
    lines += [f"PARAMETER {name} {value:g}" for name, value in _parameters(folder, base or folder).items()]
    text = "\n".join(lines) + "\n"
    if different := check(folder, text):
        raise Unsupported(
            f"Ollama's template language cannot say what the model's chat template does: {different[0]}",
            where=str(folder),
            todo=_INSTEAD,
        )
    return text


def check(folder: Path, text: str) -> list[str]:
    """How a Modelfile's prompts differ from the model's own on a dozen conversations; [] when they are the same.

    The begin-of-text token is left out of it where the GGUF file has llama.cpp put it first.
    """
    template, found = ChatTemplate.load(folder), _TEMPLATE.search(text)
    if not found:
        return ["The Modelfile has no template."]
    bos = _bos(template) if adds_bos(folder) else ""
    named = set(_STOP.findall(text))
    different = [f"The Modelfile does not stop at {stop}." for stop in _stops(template) if stop not in named]
    for what, messages in conversations():
        try:
            wanted = _wanted(template, messages)
        except BadInput as error:
            if messages[0]["role"] != "system":  # some models take none, and then nothing is to be compared
                different.append(f"{what}: {error.what}")
            continue
        if what.startswith("padded") and any(m["content"] not in wanted for m in messages):
            continue  # Ollama's templates cannot trim; the Modelfile says so
        got = go_template.render(found[1], messages)
        if got != wanted.removeprefix(bos):
            different.append(f"{what}: {_parting(wanted.removeprefix(bos), got)}")
    return different


def adds_bos(folder: Path) -> bool:
    """Whether the GGUF file of this tokenizer has llama.cpp put the begin-of-text token first (see vocab.py)."""
    tokenizer, config = tokenizer_file.load(folder).raw, read_json(folder / "tokenizer_config.json", optional=True)
    templates = list(_post_processors(tokenizer.get("post_processor") or {}))
    byte_level = not (tokenizer.get("model") or {}).get("byte_fallback")
    if byte_level and not templates:
        return False
    if isinstance(said := config.get("add_bos_token"), bool):
        return said
    bos = config.get("bos_token")
    bos = bos.get("content") if isinstance(bos, dict) else bos
    firsts = [(t.get("single") or [{}])[0].get("SpecialToken", {}).get("id") for t in templates]
    return firsts[0] == bos if firsts and firsts[0] else not byte_level


def _post_processors(processor: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if processor.get("type") == "TemplateProcessing":
        yield processor
    for part in processor.get("processors") or ():
        yield from _post_processors(part)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a template writes around the messages; all but `bos` without the begin-of-text token that llama.cpp adds.

    `head` opens a conversation without system text, `system` is what stands before and after one. `place` is where
    that goes: alone at the top, into the first user's turn or the last one's, or nowhere (no system text taken).
    `first_user` replaces `user[0]` in the first turn where it is not None. `answer` surrounds an assistant's message,
    `prompt` opens the next one, `prefill` is `answer[0]` for a last message that the model is to go on with.
    """

    head: str
    user: tuple[str, str]
    first_user: str | None
    answer: tuple[str, str]
    prompt: str
    prefill: str
    place: str
    system: tuple[str, str] = ("", "")


def _shape_of(template: ChatTemplate, drop_bos: bool) -> _Shape:
    """Read the shape off the texts between marked messages. Unsupported when the template is of no such shape."""
    bos = _bos(template) if drop_bos else ""
    one, talk, done = _gaps(template, "u", True), _gaps(template, "uau", True), _gaps(template, "ua", False)
    if one is None or talk is None or done is None:
        raise Unsupported("The model's chat template does not show messages as they are.", todo=_INSTEAD)
    atoms = _atoms(template)
    (_, (first, asked)), (_, (_, answers, next_, _)), (_, (_, prefills, ended)) = one, talk, done
    left = _gaps(template, "u", False)
    after_user = _shared(atoms, asked, answers, prefills, *(left[1][1:] if left else ()))
    after_answer = _shared(atoms, next_, ended)
    user, first = next_.removeprefix(after_answer), first.removeprefix(bos)
    inside = first.endswith(user)
    shape = _Shape(
        head=first.removesuffix(user) if inside else "",
        user=(user, after_user),
        first_user=None if inside else first,
        answer=(answers.removeprefix(after_user), after_answer),
        prompt=asked.removeprefix(after_user),
        prefill=prefills.removeprefix(after_user),
        place="nowhere",
    )
    return _with_system(template, shape, bos)


def _with_system(template: ChatTemplate, shape: _Shape, bos: str) -> _Shape:
    """The shape with the place of a system text."""
    found = _gaps(template, "suau", True)
    if found is None:
        return shape
    order, gaps = found
    if order == [0, 1, 2, 3]:
        before, after = gaps[0].removeprefix(bos), gaps[1]
        if shape.user[0] and after.endswith(shape.user[0]):
            return replace(shape, place="top", system=(before, after.removesuffix(shape.user[0])))
        return replace(shape, place="first", system=(before, after))
    if order == [1, 2, 0, 3]:
        return replace(shape, place="last", system=(gaps[2].removeprefix(shape.answer[1]), gaps[3]))
    raise Unsupported("The model's chat template puts the system text where Ollama's cannot.", todo=_INSTEAD)


def _gaps(template: ChatTemplate, roles: str, prompt: bool) -> tuple[list[int], list[str]] | None:
    """A conversation of these roles: the order in which its messages show, and the texts before, between and after.

    None when the template refuses it or does not show every message once.
    """
    marks = [_MARK.format(n) for n in range(len(roles))]
    messages = [{"role": _ROLES[role], "content": mark} for role, mark in zip(roles, marks, strict=True)]
    try:
        text = template.render(messages, add_generation_prompt=prompt)
    except BadInput:
        return None
    parts = re.split("(" + "|".join(marks) + ")", text)
    order = [marks.index(part) for part in parts[1::2]]
    return (order, parts[::2]) if sorted(order) == list(range(len(roles))) else None


def _atoms(template: ChatTemplate) -> re.Pattern[str]:
    """Splits template text where it may be cut: at control tokens and ends of lines."""
    tokens = sorted((str(t.content) for t in template.tokenizer.get_added_tokens_decoder().values()), key=len)
    return re.compile("(" + "|".join([*map(re.escape, reversed(tokens)), "\n"]) + ")")


def _shared(atoms: re.Pattern[str], *texts: str) -> str:
    """What all texts begin with, in whole atoms."""
    split = [[part for part in atoms.split(text) if part] for text in texts]
    return "".join(split[0][: _common(split)])


def _common(texts: Sequence[Sequence[str]]) -> int:
    """How many items all begin with."""
    return sum(1 for _ in takewhile(lambda items: len(set(items)) == 1, zip(*texts, strict=False)))


class _Writer:
    """Template source: actions that follow actions stand on lines of their own, the rest is kept to the letter."""

    def __init__(self) -> None:
        self.source = ""
        self._bare = True  # only an action may be trimmed on its left: text keeps its white space

    def text(self, text: str) -> None:
        """Literal text; what Go or the Modelfile would read as their own goes in as a Go string."""
        if text:
            self.source += _UNSAFE.sub(lambda m: '{{ "' + "".join(f"\\u{ord(c):04x}" for c in m[0]) + '" }}', text)
            self._bare = False

    def value(self, name: str) -> None:
        """A value in the middle of text."""
        self.source += "{{ " + name + " }}"
        self._bare = False

    def do(self, *actions: str) -> None:
        """Actions that show nothing themselves."""
        for action in actions:
            gap = ("\n" if self.source else "") + "{{- " if self._bare else "{{ "
            self.source += gap + action + " }}"
            self._bare = True


def _written(shape: _Shape) -> str:
    """The shape in Go's template language, in the form of Ollama's own templates."""
    out = _Writer()
    _write_head(out, shape)
    out.do("range $i, $_ := .Messages", "$last := eq (len (slice $.Messages $i)) 1", 'if eq .Role "user"')
    _write_user(out, shape)
    out.do('else if eq .Role "assistant"')
    if shape.prefill != shape.answer[0]:
        out.do("if $last")
        out.text(shape.prefill)
        out.do("else")
        out.text(shape.answer[0])
        out.do("end")
    else:
        out.text(shape.answer[0])
    out.value(".Content")
    out.do("if not $last")
    out.text(shape.answer[1])
    out.do("end", "end")
    if shape.prompt:
        out.do('if and $last (ne .Role "assistant")')
        out.text(shape.prompt)
        out.do("end")
    out.do("end")
    return out.source


def _write_head(out: _Writer, shape: _Shape) -> None:
    if shape.place == "top":
        out.do("if .System")
        out.text(shape.system[0])
        out.value(".System")
        out.text(shape.system[1])
        if shape.head:
            out.do("else")
            out.text(shape.head)
        out.do("end")
    elif shape.place == "first":
        out.do("$system := .System")
        if shape.head:
            out.do("if not .System")
            out.text(shape.head)
            out.do("end")
    else:
        out.text(shape.head)


def _write_user(out: _Writer, shape: _Shape) -> None:
    if shape.place in ("first", "last"):
        name = "$system" if shape.place == "first" else "$.System"
        out.do("if $system" if shape.place == "first" else "if and $.System $last")
        out.text(shape.system[0])
        out.value(name)
        out.text(shape.system[1])
        if shape.place == "first":
            out.do('$system = ""')  # it goes into one turn only, whichever comes first
        out.do("else")
    if shape.first_user is not None:
        out.do("if $i")
        out.text(shape.user[0])
        out.do("else")
        out.text(shape.first_user)
        out.do("end")
    else:
        out.text(shape.user[0])
    if shape.place in ("first", "last"):
        out.do("end")
    out.value(".Content")
    out.text(shape.user[1])


def _remarks(template: ChatTemplate, shape: _Shape) -> Iterator[str]:
    """What the user should know about the difference to the model's own template."""
    if shape.place == "nowhere":
        yield "This model takes no system text; one that is given is left out."
    if " Qx " not in template.render([{"role": "user", "content": " Qx "}], add_generation_prompt=True):
        yield "The model's own template trims messages, which Ollama's cannot."
    if "strftime_now" in template.source:
        yield "A date in the template is that of the export: the model's own writes the day's."


def _stops(template: ChatTemplate) -> list[str]:
    tokens = (template.tokenizer.id_to_token(id) for id in sorted(template.stop_ids))
    return [token for token in tokens if token]


def _parameters(folder: Path, base: Path) -> dict[str, float | int]:
    """Ollama's parameters in the order in which they are written."""
    chat, said = Sampling(), read_json(folder / "generation_config.json", optional=True)
    values: dict[str, float | int] = {"temperature": chat.temperature, "repeat_penalty": chat.repeat_penalty}
    for name, theirs in _PARAMETERS.items():
        value = said.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            values[theirs] = value
    config = read_json(base / "config.json", optional=True)
    context = (config.get("text_config") or config).get("max_position_embeddings")
    return values | ({"num_ctx": min(context, MAX_CONTEXT)} if isinstance(context, int) and context > 0 else {})


def _plain(value: str) -> str:
    """A value that a Modelfile's line can hold: Ollama knows no escapes, so a quote or line break would end it."""
    if not value.isprintable() or '"' in value:
        raise Unsupported(f"A Modelfile cannot hold {value!r}.", todo=_INSTEAD)
    return value


def _bos(template: ChatTemplate) -> str:
    return template.special.get("bos_token", "")


def _wanted(template: ChatTemplate, messages: Sequence[Message]) -> str:
    """The model's own prompt; after a last answer, the text up to its end, for the model to go on with."""
    if messages[-1]["role"] == "user":
        return template.render(messages, add_generation_prompt=True)
    text, answer = template.render(messages), messages[-1]["content"]
    return text[: text.rindex(answer) + len(answer)]


def _parting(wanted: str, got: str) -> str:
    """Where two texts part, with what stands there in each."""
    at = _common([wanted, got])
    start = max(0, at - 10)
    return f"{wanted[start : at + 30]!r} became {got[start : at + 30]!r}."


def conversations() -> list[tuple[str, list[Message]]]:
    """What every Modelfile is checked on: a name and the messages, with and without a system text."""
    hostile = 'He said "hi" \'\'\' """ `x`\\n {{ .System }} {% raw %} {{- end }} <b>&amp;</b> $& # FROM\nPARAMETER'
    turns = {
        "one question": ["Who are you?"],
        "three turns": ["Who are you?", "I am Ember.", "Who made you?"],
        "five turns": ["One?", "1", "Two?", "2", "Three?"],
        "special characters": [hostile, hostile, "Grüße, 日本語 🚀 مرحبا\n\n  two lines"],
        "an empty answer": ["Say nothing.", "", "Thanks."],
        "padded": ["  Who are you?\n", " I am Ember. ", "\tWho made you? "],
        "an answer begun": ["Count to five.", "One, two,"],
    }
    roles = ("user", "assistant")
    plain = {name: [{"role": roles[n % 2], "content": t} for n, t in enumerate(texts)] for name, texts in turns.items()}
    system = {"role": "system", "content": 'You are "Ember".\n{{ Be }} brief.'}
    return [*plain.items(), *((name + " after a system text", [system, *said]) for name, said in plain.items())]
