"""`tuningfork export`: from a run to files that other programs read.
A background job makes and verifies them (engine.export.service); here it is started, followed and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from store.errors import BadInput, Conflict, WorkerError
from tui.cli.command import Command
from tui.cli.data import assignment
from tui.cli.options import RUN
from tui.cli.output import Progress, columns, emit, emit_json, say, table
from tui.cli.session import session
from tui.cli.streams import STANDARD, input_file
from tui.export_summary import SIGN, advice, checks, divergence, model_name, stage, state_word, title, tried
from tui.formatting import count, duration, size

if TYPE_CHECKING:
    from engine.export.planning import Planned
    from engine.export.request import Request, Target
    from store.db import Store
    from store.records import Export, Job

DEFAULT = "gguf-adapter"


class _Several(click.ParamType):
    """Names with commas, each one of those that `known` returns; nothing is imported before they are asked for."""

    def __init__(self, name: str, known: Callable[[], Iterable[str]]) -> None:
        self.name, self._known = name, known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        known = list(self._known())
        names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
        wrong = next((name for name in names if name not in known), None)
        if wrong is not None or not names:
            self.fail(f"{wrong or value!r} is none of {', '.join(known)}.", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in self._known() if name.startswith(last)]


class _FromTargets(click.Option):
    """An option whose help is written from the registry of export targets, when help is shown."""

    def __init__(self, *args: Any, describe: Callable[[], str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._describe = describe

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._describe()
        return super().get_help_record(ctx)


def _formats() -> list[str]:
    from engine.export import targets

    return list(targets.REGISTRY)


def _quants() -> tuple[str, ...]:
    from engine.export import targets

    return targets.all_quants()


def _formats_help() -> str:
    from engine.export import targets

    described = "; ".join(f"{name} ({target.help})" for name, target in targets.REGISTRY.items())
    return f"{described}. Separate several with commas."


def _quants_help() -> str:
    from engine.export import targets

    return (
        f"For {' and '.join(targets.quantised())}: {', '.join(targets.all_quants())}; separate several with commas. "
        f"[default: {_default_quants()}]"
    )


def _default_quants() -> str:
    from engine.export import targets

    return ", ".join(dict.fromkeys(t.default_quant for t in targets.REGISTRY.values() if t.default_quant))


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
@click.argument("run", type=RUN, metavar="RUN[@STEP][*STRENGTH]")
@click.option(
    "--to", cls=_FromTargets, type=_Several("format", _formats), multiple=True, default=[DEFAULT], show_default=True,
    metavar="FORMAT", describe=_formats_help,
)  # fmt: skip
@click.option(
    "--quant", cls=_FromTargets, type=_Several("quant", _quants), multiple=True, metavar="QUANT",
    describe=_quants_help,
)  # fmt: skip
@click.option(
    "--imatrix", is_flag=True, help="Quantize with an importance matrix from the run's data and general questions."
)
@click.option("--out", type=click.Path(path_type=Path), help="A folder, or one .gguf file; the default is in the home.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--no-verify", "--no-proof", is_flag=True, help="Do not verify what was made.")
@click.option("--probes", metavar="FILE", help="Also ask these probes: a JSONL file, sample:identity, …, or -.")
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE", help="Fill {{NAME}} in the probes.")
@click.option(
    "--converter", type=click.Choice(["native", "official"]), default="native", show_default=True,
    help="official: llama.cpp's own script, downloaded once.",
)  # fmt: skip
@click.option("--detach", is_flag=True, help="Only start it: it continues without this terminal.")
@click.option("--plan", "only_plan", is_flag=True, help="Only show what would be written, and how large it would be.")
def export(run: str, to: Any, quant: Any, imatrix: bool, only_plan: bool, detach: bool, **given: Any) -> None:
    """Export a run to files for llama.cpp, Ollama, LM Studio, vLLM or transformers, and verify them against the run.

    Without @STEP, the checkpoint that you made the run's result is exported, else the one with the lowest validation
    loss. RUN*0.7 exports the adapter at 0.7 times its strength. An export that fails its verification is kept with the
    ending .rejected, and the exit code is 1. Ctrl-C cancels the export; closing the terminal does not.
    """
    from engine.export import planning, service

    store = session().store
    request = _request(run, targets(to, quant, imatrix), given)
    chosen = planning.select(store, run)
    if only_plan:
        _show_plan(planning.plan(store, request, chosen))
        say(f"Of {run}: {chosen.why}.")
        return
    say(f"Exporting {run}: {chosen.why}.")
    session().on_interrupt = "An export that had started continues: tuningfork jobs list"
    job = service.submit(store, request, chosen)
    if detach:
        show_submitted(job)
        return
    made = _follow(store, job)
    show_exports(made)
    check_end(made)


def targets(to: Sequence[Sequence[str]], quant: Sequence[Sequence[str]], imatrix: bool = False) -> tuple[Target, ...]:
    """Every format asked for, those that have quants once for each quant. A quant that no format takes is an error, and
    so is a matrix that none would use."""
    from engine.export import targets as known
    from engine.export.request import Target

    formats, quants = ([name for names in given for name in names] for given in (to, quant))
    if quants and not set(known.quantised()) & set(formats):
        raise BadInput(f"{formats[0]} has no quants.", where="--quant", todo="Use --to gguf, or leave --quant out.")
    found = [
        Target(name, each, imatrix and known.takes_matrix(each))
        for name in formats
        for each in ((quants or [str(known.get(name).default_quant)]) if known.get(name).quants else [None])
    ]
    if imatrix and not any(target.importance for target in found):
        raise BadInput(
            f"No column of {', '.join(target.title for target in found)} can be weighed.",
            where="--imatrix",
            todo="Name a coarser quant, such as --quant q4_k_m, or let --quant auto decide.",
        )
    return tuple(dict.fromkeys(found))


def _request(run: str, wanted: tuple[Target, ...], given: dict[str, Any]) -> Request:
    from engine.core import sample_files
    from engine.export.request import Request

    probes = given["probes"]
    if probes is not None:
        probes = sample_files.find(probes, "probes/") or _probe_file(probes)
    return Request(
        run, wanted, out=given["out"], overwrite=given["overwrite"], verify=not given["no_verify"], probes=probes,
        variables=dict(assignment(text) for text in given["variables"]), converter=given["converter"],
    )  # fmt: skip


def _probe_file(name: str) -> Path:
    """The file of probes; what came from the standard input is kept in the home's cache, since the job runs later."""
    if name != STANDARD:
        return Path(name).expanduser().absolute()
    from engine.core.files import sha256_of, write_whole
    from engine.evaluation import probes

    with input_file(name) as given:
        probes.load(given)
        kept = session().home.cache / f"probes-{sha256_of(given)[:16]}.jsonl"
        write_whole(kept, given.read_bytes())
    return kept


def _follow(store: Store, job: Job) -> list[Export]:
    """Watch the job with progress on stderr; Ctrl-C cancels it."""
    from engine.export import service

    with Progress(job.name) as bar:
        try:
            return service.follow(store, job.id, lambda now: bar.show(progress_line(now)))
        except KeyboardInterrupt:
            session().on_interrupt = "The export was cancelled; nothing of it is left."
            bar.clear()
            say("Cancelling the export …")
            try:
                service.cancel(store, job.id)
            except Conflict:  # it has just ended
                session().on_interrupt = "The export had just ended; see it with: tuningfork exports list"
            raise


def show_submitted(job: Job) -> None:
    """Show that an export started or waits, and how to follow and stop it."""
    watch, stop = (f"tuningfork jobs {verb} {job.id}{session().flags()}" for verb in ("watch", "stop"))
    if session().as_json:
        emit_json({"job": job.id, "kind": job.kind, "name": job.name, "state": job.state, "watch": watch, "stop": stop})
        return
    emit(f"Export {job.name} {'waits for another export' if job.state == 'queued' else 'has started'}: job {job.id}.")
    say(f"  follow it  {watch}\n  stop it    {stop}")


def progress_line(job: Job) -> str:
    """`gguf q8_0 (1 of 2): verifying, 40%, 12 s left  asking 5 questions`"""
    progress = job.progress
    if job.state == "queued":
        return f"{job.name}: waiting for another export"
    words = [f"{progress.part or job.name}: {stage(progress) or job.state}"]
    if progress.share is not None:
        words.append(f"{progress.share:.0%}")
    if progress.seconds_left is not None:
        words.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(words) + (f"  {progress.text}" if progress.text else "")


# ---------------------------------------------------------------- what was made


def plain(made: Export) -> dict[str, Any]:
    """An export as scripts see it; the path is absolute."""
    return {
        "id": made.id, "run": made.run, "step": made.step, "format": made.format, "quant": made.quant,
        "state": made.state, "path": str(session().home.absolute(made.path)), "bytes": made.bytes,
        "sha256": made.sha256, "proof": made.verification, "error": made.error, "created_at": made.created_at,
        "ended_at": made.ended_at,
    }  # fmt: skip


def described(made: Export) -> dict[str, Any]:
    """The same with the commands to use it."""
    from engine.export import listing

    lines = listing.commands(session().home, made)
    return plain(made) | {"commands": [{"program": program, "command": line} for program, line in lines]}


def show_exports(made: Sequence[Export]) -> None:
    """Where each export lies, what its verification found, and the commands to use it."""
    if session().as_json:
        for each in made:
            emit_json(described(each))
        return
    list_exports(made)
    for each in made:
        emit()
        show_verification(each)
        show_commands(each)


def list_exports(made: Sequence[Export]) -> None:
    """One line per export."""
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


def show_verification(made: Export) -> None:
    """One line per check; the reason and what to make instead when one failed."""
    found = checks(made)
    emit(f"{title(made)}: " + (f"{count(len(found), 'check')}" if found else "not verified"))
    name = max((len(check.name) for check in found), default=0)
    for check in found:
        emit(f"  {SIGN[check.state][0]} {check.state:<7}  {check.name:<{name}}  {check.said}")
    if quants := tried(made):
        emit(f"{count(len(quants), 'quant')} tried, the smallest that is close to the run recommended:")
        table(("", "quant", "size", "KL", "speed", "note"), quants, right=("size", "KL", "speed"))
    if made.error:
        emit(f"  {made.error}")
    if hint := advice(made):
        emit(f"  {hint}")


def show_commands(made: Export) -> None:
    """The commands to use it."""
    from engine.export import listing

    for program, line in listing.commands(session().home, made):
        emit(f"  {program}")
        emit(f"    {line}")


def check_end(made: Sequence[Export]) -> None:
    """Raise WorkerError when a verification failed: why, where the file is kept, and what to make instead."""
    bad = [each for each in made if each.state != "done"]
    if not bad:
        return
    first = bad[0]
    others = f" ({len(bad) - 1} more)" if len(bad) > 1 else ""
    raise WorkerError(
        (first.error or "It failed its verification.") + others,
        where=f"{title(first)}, {state_word(first)}",
        todo=advice(first) or f"See what was checked: tuningfork exports show {first.id}{session().flags()}",
    )


def _show_plan(planned: Sequence[Planned]) -> None:
    if session().as_json:
        for each in planned:
            emit_json({
                "format": each.target.format, "quant": each.target.quant, "path": str(each.path), "bytes": each.bytes,
                "kl": each.kl, "taken": each.taken, "mostly": each.mostly or None,
            })  # fmt: skip
        return
    table(
        ("what", "size, about", "KL", "there", "path"),
        [(p.title, size(p.bytes), divergence(p.kl).removeprefix("KL "), p.taken, p.path) for p in planned],
        right=("size, about", "KL"),
        wide="path" if columns() > 40 else None,
    )
