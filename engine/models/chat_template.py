"""The one data path: messages -> the model's own chat template -> tokens -> labels, for preflight, training and chat.
Needs tokenizers and jinja2 only; text and ids equal transformers' apply_chat_template (tested). No torch, no store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Encoding, Tokenizer

from engine.core.files import read_json
from engine.gguf import tokenizer_file
from engine.models import template_texts
from engine.models.token_text import TokenText
from store.errors import BadInput, Unsupported
from store.records import Message

MASKED = -100
"""The label of a token that is not trained."""
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""What `ChatTemplate.load` reads of a folder, and what goes with an adapter."""

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_PROBE = "tuningfork"  # an answer that no template writes by itself
_THOUGHT_END = "</think>"
_FOLD = "Training with --system fold puts it before the first question, and so do chat and exports of that run."


@dataclass(frozen=True, slots=True)
class Example:
    """One row as tokens. `labels[i]` is `ids[i]` where the token is trained, else MASKED (unshifted).

    `n_prompt` tokens come before the first trained one. The row ends with the end of the last turn; `truncated` rows
    were cut before it. `turns` counts the assistant turns that are trained, at least in part. `last_only` says that the
    row has earlier ones to train whose place the template does not let us find. `lost_reasoning` says that an answer
    has reasoning (`<think> … </think>`) which the template does not show, so that it is not trained.
    """

    ids: list[int]
    labels: list[int]
    n_prompt: int
    truncated: bool
    eot_trained: bool
    turns: int = 1
    last_only: bool = False
    lost_reasoning: bool = False

    @property
    def n_trained(self) -> int:
        """How many tokens are trained."""
        return sum(label != MASKED for label in self.labels)


class ChatTemplate:
    """A model's chat template with its tokenizer. `load` makes one from a folder; `source` is the template's text."""

    def __init__(
        self, tokenizer: Tokenizer, source: str, special: Mapping[str, str], stop: Sequence[int] = (), where: str = ""
    ) -> None:
        """`special` are the named special tokens that templates read (bos_token …), `stop` more ids that end a text."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer, self.source, self.special, self.where = tokenizer, source, dict(special), where
        self._stop = tuple(stop)
        try:
            self._compiled = _environment().from_string(source)
        except TemplateError as error:
            todo = "Correct chat_template.jinja in a copy of the folder."
            raise Unsupported(f"The model's chat template is broken: {error}", where=where, todo=todo) from None

    @classmethod
    def load(cls, folder: Path, *, system: str = "refuse", template: str | None = None) -> ChatTemplate:
        """Read the template and tokenizer of a Hugging Face folder.

        `template` replaces the folder's own: a name of `template_texts.NAMED` or a Jinja text. With `system` "fold" a
        template that takes no system text gets it before the first question. Both end up in `source`, the text that
        goes with an adapter: whoever loads that needs neither. BadInput when a file is missing or broken, Unsupported
        when the model has no chat template that can be used.
        """
        config = read_json(folder / "tokenizer_config.json", optional=True)
        special = {**_texts(read_json(folder / "special_tokens_map.json", optional=True)), **_texts(config)}
        configs = [read_json(folder / name, optional=True) for name in ("generation_config.json", "config.json")]
        stop = [id for config in configs for id in _eos_ids(config)]
        tokenizer = tokenizer_file.load(folder).tokenizer
        source = template_texts.source(template, tokenizer, special) if template else _source(folder, config)
        found = cls(tokenizer, source, special, stop, str(folder))
        if system == "fold" and not found.takes_system:
            return cls(tokenizer, template_texts.folded(source), special, stop, str(folder))
        return found

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template shows a system text that stands before a question."""
        try:
            self.render([{"role": "system", "content": _PROBE}, {"role": "user", "content": "?"}])
        except BadInput:
            return False
        return True

    @property
    def folds_system(self) -> bool:
        """Whether the system text is put before the first question, as `load` was asked to."""
        return template_texts.is_folded(self.source)

    def render(
        self, messages: Sequence[Message], add_generation_prompt: bool = False, thinking: bool | None = None
    ) -> str:
        """The conversation as the model reads it. BadInput when the template refuses it or loses its system text.

        `thinking` is `enable_thinking` of templates like Qwen3's; None leaves the choice to the template. BadInput when
        it is True and the template knows no such setting.
        """
        if thinking and "enable_thinking" not in self.source:
            raise BadInput(
                "This model's chat template has no setting for thinking (enable_thinking).",
                where=self.where,
                todo="Leave thinking as it is (--thinking).",
            )
        try:
            text = self._compiled.render(
                messages=[{"role": m["role"], "content": m["content"]} for m in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **({} if thinking is None else {"enable_thinking": thinking}),
                **self.special,
            )
        except TemplateError as error:
            raise BadInput(
                f"The model's chat template refuses this conversation: {error}",
                where=self.where,
                todo=f"Many templates take no system text, and want user and assistant in turn. {_FOLD}",
            ) from None
        lost = [m["content"] for m in messages if m["role"] == "system" and m["content"].strip() not in text]
        if lost:  # else the model would silently be tuned on another conversation than the one that was written
            raise BadInput(
                "The model's chat template leaves the system text out.",
                where=_short(lost[0]),
                todo=f"Leave the system text empty for this model. {_FOLD}",
            )
        return text

    def encode(self, messages: Sequence[Message], thinking: bool | None = None) -> list[int]:
        """Ids of the prompt: the conversation and the opening of the assistant's next turn."""
        return self.ids(self.render(messages, add_generation_prompt=True, thinking=thinking))

    def ids(self, text: str) -> list[int]:
        """Ids of rendered text: control tokens in it count as such, none are added. BadInput for broken Unicode."""
        return list(self._encoding(text).ids)

    def _encoding(self, text: str) -> Encoding:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                "The text contains half of a surrogate pair, which no tokenizer can read.",
                where=_short(text[max(0, error.start - 40) : error.start]),
                todo="Delete the broken character after this place.",
            ) from None
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int], *, special: bool = True) -> str:
        """The text of ids, with control tokens unless `special` is false."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=not special))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds; the bytes of an unfinished character wait for the token that finishes it."""
        text = TokenText(self.decode)
        found = [text.feed(token) for token in ids]
        return [*found[:-1], found[-1] + text.rest()] if found else []

    def example(self, messages: Sequence[Message], max_length: int, *, last_turn: bool = False) -> Example:
        """The training row of a conversation: its assistant turns are trained, all else is masked.

        Not trained are earlier turns with "weight": 0 or without text, and all earlier ones when `last_turn` is set or
        the template renders them otherwise than chat would have sent them (`Example.last_only`). Ids are those of the
        whole conversation up to the end of the last turn, cut to `max_length`. BadInput when the conversation does not
        end with an answer, or the template does not show it.
        """
        if not messages or messages[-1]["role"] != "assistant":
            raise BadInput("A training row must end with an assistant's answer.")
        prompt, full = self.render(messages[:-1], add_generation_prompt=True), self.render(messages)
        ids, start = self._parted(messages, prompt, full)
        ends = [at for at in range(start, len(ids)) if ids[at] == self.eot_id]
        ids = ids[: ends[-1] + 1] if ends else ids  # a model never gets to what a template writes after its turn
        earlier = [] if last_turn else [at for at, m in enumerate(messages[:-1]) if _is_trained(m)]
        spans = self._earlier(messages, earlier, full, max_length) if full.startswith(prompt) or not earlier else None
        kept = ids[:max_length]
        labels = [MASKED] * len(kept)
        trained = [*(spans or ()), (start, len(ids))]
        for first, end in trained:
            labels[first:end] = kept[first:end]
        return Example(
            ids=kept,
            labels=labels,
            n_prompt=min(trained[0][0], len(kept)),
            truncated=len(ids) > max_length,
            eot_trained=labels[-1:] == [self.eot_id],
            turns=sum(first < len(kept) for first, _ in trained),
            last_only=spans is None,
            lost_reasoning=any(_reasoning(m) and _reasoning(m) not in full for m in messages if _is_trained(m)),
        )

    def _parted(self, messages: Sequence[Message], prompt: str, full: str) -> tuple[list[int], int]:
        """Ids of the whole conversation, and the place where they part from those of its prompt."""
        before = self.ids(prompt)
        whole = messages[-1]["content"].strip()
        after = len(prompt) if full.startswith(prompt) else 0
        # Templates of reasoning models show a finished turn without its reasoning: what they show is trained.
        at = full.rfind(whole)
        at = at if at >= after else full.rfind(whole.rpartition(_THOUGHT_END)[2].strip())
        if full.startswith(prompt) and at >= after:
            ids = self.ids(full)
            return ids, _common(before, ids)
        # The prompt opens the turn with what a finished turn does not show (`<think>`): train on what chat will send.
        if at < after:
            raise BadInput(
                "The model's chat template does not show the answer as it is.",
                where=_short(messages[-1]["content"]),
                todo="Use another base model, or correct chat_template.jinja in a copy of its folder.",
            )
        return before + self.ids(full[at:]), len(before)

    def _earlier(
        self, messages: Sequence[Message], turns: Sequence[int], full: str, max_length: int
    ) -> list[tuple[int, int]] | None:
        """Where in the ids of `full` the assistant's earlier `turns` (indexes of messages) stand, ends exclusive.

        None when one of them is not what chat would have sent at that point and got back: the conversation so far,
        rendered by itself, must be the beginning of the whole one, show the answer, and end the turn. Templates that
        drop earlier `<think>` blocks, or write the last turn differently, are not like that. Turns after the first
        `max_length` tokens are left out.
        """
        if not turns:
            return []
        encoding = self._encoding(full)
        stop = self.tokenizer.id_to_token(self.eot_id)
        stops = [(n, encoding.offsets[n][0]) for n, id in enumerate(encoding.ids) if id == self.eot_id]
        spans: list[tuple[int, int]] = []
        for at in turns:
            try:
                prompt, so_far = self.render(messages[:at], add_generation_prompt=True), self.render(messages[: at + 1])
            except BadInput:
                return None
            so_far = so_far[: so_far.rfind(stop) + len(stop)]  # what comes after its turn a model never writes
            if not (full.startswith(prompt) and full.startswith(so_far)):
                return None
            if messages[at]["content"].strip() not in so_far[len(prompt) :]:
                return None
            first = _common(self.ids(prompt), encoding.ids)
            if first >= max_length:
                break
            end = max((n + 1 for n, place in stops if place < len(so_far)), default=0)
            if end <= first:
                return None
            spans.append((first, end))
        return spans

    @cached_property
    def eot_id(self) -> int:
        """The token that ends an assistant's turn, read off the template. Unsupported when it writes none."""
        text = self.render([{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}])
        added = self.tokenizer.get_added_tokens_decoder()
        for token in self.ids(text[text.rfind(_PROBE) + len(_PROBE) :]):
            if token in added or token == self._id("eos_token"):
                return token
        raise Unsupported(
            "The model's chat template writes no end-of-turn token after an answer: the model would not learn to stop.",
            where=self.where,
            todo="Use an instruction-tuned base model, or correct chat_template.jinja in a copy of its folder.",
        )

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Every id that ends a generation: the end of a turn, of a text, and what the model's configuration adds.

        Unsupported when there is none of these: no answer would ever end.
        """
        found = {id for id in (self._id("eos_token"), *self._stop) if id is not None}
        try:
            return frozenset(found | {self.eot_id})
        except Unsupported:  # a template may leave the end to the configuration; only training needs to see it
            if found:
                return frozenset(found)
        raise Unsupported(
            "Nothing ends an answer of this model: its chat template writes no end token, and its configuration names"
            " no eos_token.",
            where=self.where,
            todo='Add "eos_token_id" to generation_config.json in a copy of its folder.',
        )

    @property
    def pad_id(self) -> int:
        """A token to fill rows with; masked wherever it is used."""
        pad = self._id("pad_token")
        return self.eot_id if pad is None else pad

    @cached_property
    def control_tokens(self) -> frozenset[str]:
        """Texts that the tokenizer reads as control tokens, even inside a pair's own words."""
        return frozenset(str(t.content) for t in self.tokenizer.get_added_tokens_decoder().values() if t.special)

    def _id(self, name: str) -> int | None:
        found = self.special.get(name)
        return None if found is None else self.tokenizer.token_to_id(found)


def _is_trained(message: Message) -> bool:
    """Whether an earlier message is an answer to learn: not marked as context, and with something in it."""
    return bool(message["role"] == "assistant" and message.get("weight") != 0 and message["content"].strip())


def _reasoning(message: Message) -> str:
    """What an answer says before `</think>`, without the tags; '' when it has no reasoning."""
    return str(message["content"]).rpartition(_THOUGHT_END)[0].rpartition("<think>")[2].strip()


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two lists begin with alike. A token that reaches over the end of a prompt is not among them: it
    belongs to the answer, and the model has to learn to write it."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it. Sandboxed: a template comes with the weights and is not ours."""
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    env.filters["tojson"] = _tojson
    env.globals["raise_exception"] = _refuse
    env.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return env


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}` marks what an assistant wrote in some templates; the text passes."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 reads it off the class

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter escapes HTML; templates want plain JSON."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _source(folder: Path, config: Mapping[str, Any]) -> str:
    """The template's text: chat_template.jinja, or the one inside tokenizer_config.json."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {entry.get("name"): entry.get("template") for entry in found}.get("default")
    if isinstance(found, str) and found:
        return found
    raise Unsupported(
        "The model has no chat template: it was not made to chat.",
        where=str(folder),
        todo="Use its instruction-tuned sibling, or train it with --template chatml, alpaca, plain or a FILE.",
    )


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Named special tokens; each is a string or {"content": string}."""
    named = ((name, config.get(name)) for name in _NAMED)
    plain = ((name, token.get("content") if isinstance(token, dict) else token) for name, token in named)
    return {name: token for name, token in plain if isinstance(token, str)}


def _eos_ids(config: Mapping[str, Any]) -> Iterator[int]:
    found = config.get("eos_token_id")
    yield from (id for id in (found if isinstance(found, list) else [found]) if isinstance(id, int))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
