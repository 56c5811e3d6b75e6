"""`tuningfork export`: from a run to files that other programs read.
Making and proving them is engine.export.service's; here they are asked for, followed and shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from store.errors import BadInput, WorkerError
from tui.cli.command import Command
from tui.cli.data import assignment
from tui.cli.options import RUN
from tui.cli.output import Progress, columns, emit, emit_json, say, table
from tui.cli.probe import SAMPLE
from tui.cli.session import session
from tui.export_summary import SIGN, Part, advice, checks, divergence, model_name, part_of, state_word, title
from tui.formatting import count, duration, size

if TYPE_CHECKING:
    from engine.export.service import Planned, Request, Target
    from store.records import Export

DEFAULT, DEFAULT_QUANT = "gguf-adapter", "q8_0"


class _Several(click.ParamType):
    """Names with commas; `known` is the attribute of engine.export.service that lists those there are."""

    def __init__(self, name: str, known: str) -> None:
        self.name, self._known = name, known

    def _names(self) -> list[str]:
        from engine.export import service

        return list(getattr(service, self._known))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
        wrong = next((name for name in names if name not in self._names()), None)
        if wrong is not None or not names:
            self.fail(f"{wrong or value!r} is none of {', '.join(self._names())}.", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in self._names() if name.startswith(last)]


@click.command(
    "export",
    cls=Command,
    example="""
    tuningfork export ember
    tuningfork export ember --to gguf --quant q8_0,q4_k_m
    tuningfork export ember@40 --to ollama --out ~/models/ember
    tuningfork export ember --to merged --plan --json
    """,
)
@click.argument("run", type=RUN, metavar="RUN[@STEP]")
@click.option(
    "--to", type=_Several("format", "FORMATS"), multiple=True, default=[DEFAULT], show_default=True, metavar="FORMAT",
    help="gguf-adapter (smallest; needs the base model), gguf, ollama, merged or adapter; several with commas.",
)  # fmt: skip
@click.option(
    "--quant", type=_Several("quant", "QUANTS"), multiple=True, metavar="QUANT",
    help=f"Of gguf and ollama: f32, f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m, q4_1, q4_0; several with commas. "
    f"[default: {DEFAULT_QUANT}]",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="A folder, or one .gguf file; else in the home.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--no-proof", is_flag=True, help="Do not check what was made.")
@click.option("--probes", metavar="FILE", help="Put these probes to it too: JSONL, or sample:identity and the like.")
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE", help="Fill {{NAME}} in the probes.")
@click.option(
    "--converter", type=click.Choice(["native", "official"]), default="native", show_default=True,
    help="official: llama.cpp's own script, fetched once.",
)  # fmt: skip
@click.option("--plan", "only_plan", is_flag=True, help="Only show what would be made, and how large.")
def export(run: str, to: Any, quant: Any, only_plan: bool, **given: Any) -> None:
    """Make a run into files for llama.cpp, Ollama, LM Studio, vLLM or transformers, and prove that they do the same.

    Without @STEP it is the checkpoint with the lowest validation loss. An export whose proof fails is kept with the
    ending .rejected, and the command ends with 1.
    """
    from engine.export import service

    store = session().store
    request = _request(run, targets(to, quant), given)
    _, _, why = service.chosen(store, run)
    if only_plan:
        _tell_plan(service.plan(store, request))
        say(f"Of {run}: {why}.")
        return
    session().goes_on = "The export was cancelled; nothing of it is left."
    say(f"Exporting {run}: {why}.")
    made = _make(request)
    tell(made)
    check_end(made)


def targets(to: Sequence[Sequence[str]], quant: Sequence[Sequence[str]]) -> tuple[Target, ...]:
    """Every format asked for, those that have quants once for each quant. A quant that no format takes is an error."""
    from engine.export.service import QUANTISED, Target

    formats, quants = ([name for names in given for name in names] for given in (to, quant))
    if quants and not QUANTISED & set(formats):
        raise BadInput(f"{formats[0]} has no quants.", where="--quant", todo="Say --to gguf, or leave --quant out.")
    found = [
        Target(name, each)
        for name in formats
        for each in ((quants or [DEFAULT_QUANT]) if name in QUANTISED else [None])
    ]
    return tuple(dict.fromkeys(found))


def _request(run: str, wanted: tuple[Target, ...], given: dict[str, Any]) -> Request:
    from engine.core import sample_files
    from engine.export.service import Request

    probes = given["probes"]
    if probes is not None:
        sample = probes.startswith(SAMPLE)
        probes = (
            sample_files.path(f"probes/{probes.removeprefix(SAMPLE)}")
            if sample
            else Path(probes).expanduser().absolute()
        )
    return Request(
        run, wanted, out=given["out"], overwrite=given["overwrite"], prove=not given["no_proof"], probes=probes,
        variables=dict(assignment(text) for text in given["variables"]), converter=given["converter"],
    )  # fmt: skip


def _make(request: Request) -> list[Export]:
    """Make them with progress on stderr."""
    from engine.export import service

    with Progress(request.run) as bar:

        def on_progress(progress: service.Progress) -> None:
            part = part_of(request, progress)
            bar.show(_line(part))

        return service.export(session().store, request, on_progress)


def _line(part: Part) -> str:
    """`gguf q8_0 (1 of 2): prove, 40%, 12 s left  asking 5 questions`"""
    words = [f"{part.target}{part.place}: {part.stage}"]
    if part.share is not None:
        words.append(f"{part.share:.0%}")
    if part.seconds_left is not None:
        words.append(f"{duration(part.seconds_left)} left")
    return ", ".join(words) + (f"  {part.text}" if part.text else "")


# ---------------------------------------------------------------- what was made


def plain(made: Export) -> dict[str, Any]:
    """An export as scripts see it; the path is absolute."""
    return {
        "id": made.id, "run": made.run, "step": made.step, "format": made.format, "quant": made.quant,
        "state": made.state, "path": str(session().home.absolute(made.path)), "bytes": made.bytes,
        "sha256": made.sha256, "proof": made.proof, "error": made.error, "created_at": made.created_at,
        "ended_at": made.ended_at,
    }  # fmt: skip


def described(made: Export) -> dict[str, Any]:
    """The same with what to type to use it."""
    from engine.export import listing

    lines = listing.commands(session().home, made)
    return plain(made) | {"commands": [{"program": program, "command": line} for program, line in lines]}


def tell(made: Sequence[Export]) -> None:
    """Where each export lies, what its checks said, and what to type to use it."""
    if session().as_json:
        for each in made:
            emit_json(described(each))
        return
    list_exports(made)
    for each in made:
        emit()
        tell_proof(each)
        tell_commands(each)


def list_exports(made: Sequence[Export]) -> None:
    """One line an export."""
    home = session().home
    table(
        ("id", "run", "what", "state", "size", "path"),
        [
            (e.id, model_name(e), title(e), state_word(e),
             size(e.bytes) if e.bytes is not None else None, home.absolute(e.path))
            for e in made
        ],
        right=("id", "size"), wide="path",
    )  # fmt: skip


def tell_proof(made: Export) -> None:
    """One line a check; the reason and the way out when one failed."""
    found = checks(made)
    emit(f"{title(made)}: " + (f"{count(len(found), 'check')}" if found else "not checked"))
    name = max((len(check.name) for check in found), default=0)
    for check in found:
        emit(f"  {SIGN[check.state][0]} {check.state:<7}  {check.name:<{name}}  {check.said}")
    if made.error:
        emit(f"  {made.error}")
    if hint := advice(made):
        emit(f"  {hint}")


def tell_commands(made: Export) -> None:
    """What to type to use it."""
    from engine.export import listing

    for program, line in listing.commands(session().home, made):
        emit(f"  {program}")
        emit(f"    {line}")


def check_end(made: Sequence[Export]) -> None:
    """Raise WorkerError when a proof failed: the reason, where the file is kept, and what to make instead."""
    bad = [each for each in made if each.state != "done"]
    if not bad:
        return
    first = bad[0]
    others = f" ({len(bad) - 1} more)" if len(bad) > 1 else ""
    raise WorkerError(
        (first.error or "It failed its proof.") + others,
        where=f"{title(first)}, {state_word(first)}",
        todo=advice(first) or f"See what was checked: tuningfork exports show {first.id}{session().flags()}",
    )


def _tell_plan(planned: Sequence[Planned]) -> None:
    if session().as_json:
        for each in planned:
            emit_json({"format": each.target.format, "quant": each.target.quant, "path": str(each.path),
                       "bytes": each.bytes, "kl": each.kl, "taken": each.taken})  # fmt: skip
        return
    table(
        ("what", "size, about", "KL", "there", "path"),
        [(p.target.title, size(p.bytes), divergence(p.kl).removeprefix("KL "), p.taken, p.path) for p in planned],
        right=("size, about", "KL"),
        wide="path" if columns() > 40 else None,
    )
