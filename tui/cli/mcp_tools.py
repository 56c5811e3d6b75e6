"""The tools of `tuningfork mcp`: each is one command of the command line, with the options that a caller may give.
Schemas are read from the commands, and a call becomes the words of a command line; nothing is done here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from store.errors import BadInput, NotFound
from tui.cli import cli
from tui.text import one_line

LONGEST_TEXT = 20_000
"""Characters of one argument."""
_MOST_VALUES = 50


@dataclass(frozen=True, slots=True)
class McpTool:
    """One row. `command` is what is typed, `gives` the parameters that a caller may set, by their names in the command.

    `always` is typed as well, `most` bounds numbers and `usual` fills those that were not given. `local` names the
    parameter that must be a model with a name here, so that no call fetches one or asks another machine; `offline`
    names the parameter that must be files of this machine. `changes` tools exist only with --allow-changes.
    """

    name: str
    about: str
    command: str
    gives: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    most: Mapping[str, int] | None = None
    usual: Mapping[str, int] | None = None
    local: str = ""
    offline: str = ""
    changes: bool = False
    timeout_s: float = 120.0

    def find(self) -> click.Command:
        """The click command."""
        found: click.Command = cli
        for word in self.command.split():
            assert isinstance(found, click.Group)
            inner = found.get_command(click.Context(found), word)
            assert inner is not None, self.command
            found = inner
        return found

    def params(self) -> Iterator[click.Parameter]:
        """The parameters that a caller may set, in the order of the command."""
        return (param for param in self.find().params if param.name in self.gives)

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        properties = {str(param.name): self._property(param) for param in self.params()}
        required = [str(param.name) for param in self.params() if param.required or param.name == "prompt"]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _property(self, param: click.Parameter) -> dict[str, Any]:
        kind = _plain_type(param)
        found: dict[str, Any] = {"type": kind}
        if isinstance(param.type, click.Choice):
            found["enum"] = list(param.type.choices)
        if kind == "integer":
            found |= {"maximum": self._most(param)} if self._most(param) is not None else {}
            found |= {"minimum": self._least(param)} if self._least(param) is not None else {}
        if _is_many(param):
            found = {"type": "array", "items": found, "maxItems": _MOST_VALUES}
        told = getattr(param, "help", None)
        return found | ({"description": told} if told else {})

    def _most(self, param: click.Parameter) -> int | None:
        return (self.most or {}).get(str(param.name), getattr(param.type, "max", None))

    def _least(self, param: click.Parameter) -> int | None:
        """What is bounded above begins at 1, because 0 means all there is."""
        return 1 if param.name in (self.most or {}) else getattr(param.type, "min", None)

    def words(self, given: Mapping[str, Any]) -> list[str]:
        """What to type for these arguments, without `tuningfork`. BadInput where they do not fit the schema.

        Every value is part of an option's word or comes after `--`, so that none can be taken for an option.
        """
        unknown = set(given) - set(self.gives)
        if unknown:
            todo = f"Use: {', '.join(self.gives)}" if self.gives else "Call it without arguments."
            raise BadInput("There is no such argument.", where=one_line(min(unknown), 60), todo=todo)
        options, places = [*self.command.split(), *self.always], []
        for param in self.params():
            name = str(param.name)
            value = given.get(name, (self.usual or {}).get(name))
            if value is None:
                if name in self.schema()["required"]:
                    raise BadInput("This argument is missing.", where=name)
                continue
            values = self._values(param, value)
            if name == self.offline:
                _check_offline(name, values)
            if isinstance(param, click.Argument):
                places += values
            elif _plain_type(param) == "boolean":
                options += [param.opts[0]] if value else []
            else:
                options += [f"{param.opts[0]}={each}" for each in values]
        return [*options, "--", *places] if places else options

    def _values(self, param: click.Parameter, value: Any) -> list[str]:
        name, kind = str(param.name), _plain_type(param)
        many = value if _is_many(param) and isinstance(value, list) else [value]
        if len(many) > _MOST_VALUES:
            raise BadInput(f"At most {_MOST_VALUES} values are taken.", where=name)
        for each in many:
            fits = {"boolean": bool, "integer": int, "number": int | float, "string": str | int | float}[kind]
            if not isinstance(each, fits) or (isinstance(each, bool) and kind != "boolean"):
                raise BadInput(f"It must be of the type {kind}.", where=name)
            least, most = self._least(param), self._most(param)
            if isinstance(each, int) and kind == "integer":
                if most is not None and each > most:
                    raise BadInput(f"It must be at most {most}.", where=name)
                if least is not None and each < least:
                    raise BadInput(f"It must be at least {least}.", where=name)
            text = str(each)
            if len(text) > LONGEST_TEXT or "\0" in text or _has_surrogates(text):
                raise BadInput(f"It must be a text of at most {LONGEST_TEXT} valid characters.", where=name)
        return [str(each) for each in many]


def _check_offline(name: str, values: list[str]) -> None:
    """BadInput when one of the values is a data set of the hub: its name alone would tell the hub something."""
    from engine.hf_data import references

    found = [references.find(each) for each in values if references.is_reference(each)]
    if any(ref is not None and ref.folder is None for ref in found):
        todo = "Ask the user to fetch it: tuningfork data import hf:ORG/NAME"
        raise BadInput("It is a data set of the hub, which no call fetches.", where=name, todo=todo)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _is_many(param: click.Parameter) -> bool:
    return param.nargs == -1 or bool(getattr(param, "multiple", False))


def _plain_type(param: click.Parameter) -> str:
    if getattr(param, "is_flag", False):
        return "boolean"
    if isinstance(param.type, click.IntRange) or param.type is click.INT:
        return "integer"
    if isinstance(param.type, click.FloatRange) or param.type is click.FLOAT:
        return "number"
    return "string"


_LISTED = {"most": {"limit": 500}, "usual": {"limit": 50}}
_PLAN = ("dataset", "model", "recipe", "method", "objective", "epochs", "steps", "lr", "rank", "batch_size",
         "max_length", "seed")  # fmt: skip
_PAIR = ("question", "answer", "system", "kind", "status", "tags")

TOOLS: tuple[McpTool, ...] = (
    McpTool("search_pairs", "Search question-answer pairs; an empty text lists them, newest first.", "data search",
            ("text", "dataset", "status", "kind", "split", "limit"), **_LISTED),  # type: ignore[arg-type]
    McpTool("show_pair", "One pair, or with `history` every revision of it.", "data show", ("uid", "history")),
    McpTool("search_preferences", "Search preferences and feedback.", "data preferences",
            ("text", "dataset", "kind", "split", "limit"), **_LISTED),  # type: ignore[arg-type]
    McpTool("list_datasets", "All datasets with their counts.", "data list"),
    McpTool("list_snapshots", "Frozen datasets, and the runs trained on each.", "data snapshots list", ("dataset",)),
    McpTool("diff_snapshots", "What differs between two snapshots, or from today's dataset.", "data snapshots diff",
            ("before", "after", "dataset", "limit"), **_LISTED),  # type: ignore[arg-type]
    McpTool("list_runs", "All training runs with state, step and loss.", "runs list"),
    McpTool("show_run", "One run: configuration, state, attempts, metrics, events.", "runs show", ("name",)),
    McpTool("list_jobs", "Runs, exports and other jobs that run or wait; with `every` finished ones, too.", "jobs list",
            ("every",)),
    McpTool("list_evaluations", "All evaluations with their state.", "evaluations list"),
    McpTool("show_evaluation", "The report of one evaluation, with intervals.", "evaluations show", ("number",)),
    McpTool("show_evaluation_rows", "Questions and answers of an evaluation; `worse` shows those that got worse.",
            "evaluations rows", ("number", "part", "worse", "limit"), **_LISTED),  # type: ignore[arg-type]
    McpTool("list_exports", "All exports, or those of one run.", "exports list", ("run",)),
    McpTool("show_export", "One export with its files and its verification.", "exports show", ("id",)),
    McpTool("list_votes", "Votes, newest first, each with prompt and answers.", "votes list",
            ("limit",), **_LISTED),  # type: ignore[arg-type]
    McpTool("rank_votes", "Which model wins the votes, and how certain that is.", "votes rank"),
    McpTool("list_models", "The models that have a name here.", "models list"),
    McpTool("doctor", "Whether everything that Tuningfork needs is here.", "doctor"),
    McpTool("preflight", "What a run would be: tokens, rows that are cut, time and memory. Trains nothing.",
            "preflight", _PLAN, local="model", timeout_s=600),
    McpTool("forecast", "Which built-in probes the base knows, and which a dataset will teach it. Minutes.", "forecast",
            ("dataset", "model"), local="model", timeout_s=900),
    McpTool("chat", "Ask a local model one question. Its answer is at most 512 tokens long.", "chat",
            ("ref", "prompt", "system", "seed", "temperature", "max_tokens"), most={"max_tokens": 512},
            usual={"max_tokens": 256}, local="ref", timeout_s=600),
    McpTool("add_pair", "Add a pair to the store and, when named, a dataset.", "data add",
            (*_PAIR, "dataset", "split"), changes=True),
    McpTool("edit_pair", "Change a pair; its earlier revisions are kept.", "data edit", ("uid", *_PAIR), changes=True),
    McpTool("import_pairs", "Import files of pairs into a dataset.", "data import",
            ("files", "dataset", "format_", "kind", "split", "tags", "as_draft"), offline="files", changes=True,
            timeout_s=600),
    McpTool("start_run", "Start a training run in the background; follow it with show_run.", "train",
            (*_PLAN, "name"), local="model", changes=True, timeout_s=600),
    McpTool("stop_run", "Save a checkpoint, then stop a run; it can be resumed.", "runs stop", ("name",), changes=True),
    McpTool("export_run", "Export a run in the background; follow it with list_jobs.", "export", ("run", "to", "quant"),
            always=("--detach",), changes=True, timeout_s=600),
)  # fmt: skip


def offered(*, allow_changes: bool) -> tuple[McpTool, ...]:
    """The tools of a server."""
    return tuple(tool for tool in TOOLS if allow_changes or not tool.changes)


def named(name: str, *, allow_changes: bool) -> McpTool:
    """A tool by its name. BadInput for one that changes something where that is not allowed; NotFound for no tool."""
    tool = next((tool for tool in TOOLS if tool.name == name), None)
    if tool is None:
        raise NotFound(f"There is no tool {one_line(name, 60)!r}.", todo="Ask for the list of tools.")
    if tool.changes and not allow_changes:
        todo = "Its user can start it again with: tuningfork mcp --allow-changes"
        raise BadInput(f"The tool {name} changes something, and this server only reads.", todo=todo)
    return tool
