"""The one data path: messages -> the base model's own chat template -> tokens -> labels, for preflight, training and chat alike.
Light on purpose (tokenizers and jinja2, no torch, no transformers); nothing here knows a model's weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from store.errors import BadInput
from store.records import Message

MASKED = -100
"""The label of a token that is not trained."""
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class Example:
    """One row as the model reads it. `labels` are the ids where trained and MASKED elsewhere; both have the same length.

    `n_prompt` is how many tokens come before the answer, `eot_trained` whether the end-of-turn token is among the labels.
    """

    ids: list[int]
    labels: list[int]
    n_prompt: int
    truncated: bool
    eot_trained: bool

    @property
    def n_trained(self) -> int:
        return sum(label != MASKED for label in self.labels)


@dataclass(frozen=True)
class ChatTemplate:
    """A model folder's chat template with its tokenizer.

    `source` is the template's text, `eot_id` the token that ends an assistant's turn (None when the template writes none),
    `stop_ids` every token at which generation stops.
    """

    source: str
    tokenizer: Tokenizer
    special: Mapping[str, str]
    where: str
    eot_id: int | None = None
    stop_ids: frozenset[int] = frozenset()
    _compiled: Any = field(default=None, repr=False)

    @classmethod
    def load(cls, folder: Path) -> ChatTemplate:
        """Read tokenizer.json, tokenizer_config.json and chat_template.jinja of a model folder.

        Raises BadInput when a file is missing or broken, or the model has no chat template.
        """
        config = _json(folder / "tokenizer_config.json", required=True)
        tokenizer = _tokenizer(folder / "tokenizer.json")
        source = _source(folder, config)
        special = {**_texts(_json(folder / "special_tokens_map.json")), **_texts(config)}
        bare = cls(source, tokenizer, special, str(folder), _compiled=_compile(source, str(folder)))
        eot = bare._end_of_turn()
        named = _json(folder / "generation_config.json").get("eos_token_id")
        stops = {i for i in (named if isinstance(named, list) else [named]) if isinstance(i, int)}
        eos = tokenizer.token_to_id(special["eos_token"]) if "eos_token" in special else None
        stops |= {i for i in (eot, eos) if i is not None}
        return cls(source, tokenizer, special, str(folder), eot, frozenset(stops), bare._compiled)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The conversation as text. BadInput with the template's own words when it refuses it, for example a system turn."""
        try:
            return str(
                self._compiled.render(
                    messages=list(messages),
                    tools=None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                    **self.special,
                )
            )
        except jinja2.TemplateError as error:
            raise BadInput(
                f"The model's chat template refuses this conversation: {error}.",
                where=self.where,
                todo="Many templates take no system turn, and want user and assistant in turn.",
            ) from None

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a conversation that ends with a question, and the generation prompt after it."""
        return self.ids(self.render(messages, add_generation_prompt=True))

    def ids(self, text: str) -> list[int]:
        """The ids of rendered text: control tokens in it are read as such, and none are added."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """One text a token, to show where the tokens lie. A token that holds part of a character shows as a replacement mark."""
        return [self.decode([i]) for i in ids]

    @property
    def control_tokens(self) -> list[str]:
        """The texts of the special tokens, which data should not contain."""
        return [token.content for token in self.tokenizer.get_added_tokens_decoder().values() if token.special]

    def example(self, messages: Sequence[Message], max_length: int) -> Example:
        """The training row of a conversation that ends with an assistant's answer: only that answer and its end are trained.

        The prompt's ids are those that chat would send, so what is trained is what is asked. Cut to `max_length` tokens.
        Raises BadInput when the template does not write an answer as the continuation of its prompt.
        """
        prompt_text, full_text = self.render(messages[:-1], True), self.render(messages)
        if not full_text.startswith(prompt_text):
            raise BadInput(
                "The model's chat template does not write an answer as the continuation of its prompt.",
                where=self.where,
                todo="Such a template cannot be trained faithfully; use the model's own instruct version.",
            )
        prompt, full = self.ids(prompt_text), self.ids(full_text)
        if full[: len(prompt)] != prompt:  # a token reaches over the boundary; in chat it cannot
            full = prompt + self.ids(full_text[len(prompt_text) :])
        end = self._last_end(full, len(prompt))
        full = full[: end + 1]  # what a template writes after the end of the turn is never generated
        labels = ([MASKED] * len(prompt) + full[len(prompt) :])[:max_length]
        eot_trained = bool(labels) and labels[-1] in self.stop_ids
        return Example(full[:max_length], labels, min(len(prompt), max_length), len(full) > max_length, eot_trained)

    def _last_end(self, ids: Sequence[int], start: int) -> int:
        ends = [at for at in range(start, len(ids)) if ids[at] in self.stop_ids]
        return ends[-1] if ends else len(ids) - 1

    def _end_of_turn(self) -> int | None:
        """The first control token that the template writes after an answer."""
        question, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}
        text = self.render([question, answer])
        after = text[text.rindex("Yes") + 3 :] if "Yes" in text else ""
        added = self.tokenizer.get_added_tokens_decoder()
        return next((i for i in self.ids(after) if i in added and added[i].special), None)


class _Generation(Extension):
    """`{% generation %}`: marks the assistant's words in some templates; our labels do not need it, so it only shows its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 reads it from the class

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _compile(source: str, where: str) -> Any:
    """The template in a sandbox, with what Hugging Face offers to templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise BadInput(f"The chat template is broken: {error}.", where=where, todo="Fix chat_template.jinja.") from None


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _source(folder: Path, config: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several by name
        found = next((t["template"] for t in found if t.get("name") == "default"), None)
    if not isinstance(found, str):
        raise BadInput(
            "The model has no chat template, so there is no telling how it wants to be asked.",
            where=str(folder),
            todo="Use the instruct version of the model, or add a chat_template.jinja to the folder.",
        )
    return found


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens' texts; a config holds them as text or as {"content": text}."""
    named = {name: config.get(name) for name in _SPECIAL}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _tokenizer(file: Path) -> Tokenizer:
    loader: Callable[[str], Tokenizer] = Tokenizer.from_file
    try:
        return loader(str(file))
    except Exception as error:  # the library raises bare Exception for a missing and for a broken file
        what = "tokenizer.json is missing." if not file.is_file() else f"tokenizer.json cannot be read: {error}."
        raise BadInput(what, where=str(file), todo="Prepare the model again: tuningfork models add.") from None


def _json(file: Path, required: bool = False) -> dict[str, Any]:
    if not required and not file.is_file():
        return {}
    try:
        loaded = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{file.name} is missing.", where=str(file), todo="Pick a complete model folder.") from None
    except ValueError as error:
        raise BadInput(
            f"{file.name} is not valid JSON: {error}.", where=str(file), todo="Pick a complete model folder."
        ) from None
    return loaded if isinstance(loaded, dict) else {}
