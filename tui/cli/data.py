"""`tuningfork data`: datasets, their files in and out, and what makes them ready to train on.
Commands on rows are in pairs.py, checks in curate.py; what is done to data lives in the store."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli import bulk, curate, pairs, snapshots, statistics, wizard
from tui.cli.command import Group
from tui.cli.options import DATASET, KINDS, SPLITS, STATUSES, dataset_option, yes_option
from tui.cli.output import confirm, emit, emit_json, say, table
from tui.cli.selection import QUERY
from tui.cli.session import session
from tui.cli.streams import STANDARD, input_file, output_file
from tui.formatting import ago, count, rows_of_preferences

if TYPE_CHECKING:
    from engine.hf_data.references import DataSetRef


class FormatOption(click.Option):
    """An option whose help names the registered formats; they are loaded when the help is shown, not before."""

    @property
    def help(self) -> str | None:  # type: ignore[override]
        from store.formats import FORMATS

        return self._help.replace("FORMATS", ", ".join(FORMATS)) if self._help else None

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text


@click.group(
    cls=Group,
    example="""
    tuningfork data import sample:identity.json --dataset ember --set name=Ember --set author="Northwind Labs"
    tuningfork data list
    """,
)
def data() -> None:
    """Pairs and datasets: import them, look at them, correct them."""


@data.command(
    "import",
    example="""
    tuningfork data import pairs.jsonl more.json --dataset support
    tuningfork data import sample:identity.json --dataset ember --set name=Ember --set author="Northwind Labs"
    tuningfork data import chats.jsonl.gz --format openai --dataset support --split val
    tuningfork data import export.csv --map "question=Title+Body,answer=Reply" --split fold --tag 2026 --dataset faq
    tuningfork data import hf:org/name@main:config --split train_sft=train,test_sft=val --dataset chats
    """,
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--dataset", type=DATASET, required=True, metavar="NAME", help="The dataset for the rows; created if missing."
)
@click.option(
    "--format",
    "format_",
    default="auto",
    show_default=True,
    metavar="F",
    cls=FormatOption,
    help="The format of the rows: auto (each row by its fields), FORMATS.",
)
@click.option(
    "--set", "variables", multiple=True, metavar="NAME=VALUE", help="Fill the placeholder {{NAME}} in the files."
)
@click.option(
    "--kind", type=KINDS, help="The kind of the pairs. [default: identity for files with {{name}} or {{author}}]"
)
@click.option(
    "--split",
    metavar="SPLIT",
    help="The split of the new rows: train, val, test, or the name of the column that says it; or which splits of a "
    "data set to read and as what, THEIRS=OURS,... [default: train; of a data set, each split by its name]",
)
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FIELD=COLUMN,...",
    help="Which column is which field: question=Title+Body,answer=reply.text; fields are question, answer, system, "
    "history, messages, kind, status, tags and split.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Add this tag to every pair; can be repeated.")
@click.option("--as-draft", is_flag=True, help="Import every pair as a draft.")
def import_(
    files: tuple[str, ...], dataset: str, format_: str, variables: tuple[str, ...], maps: tuple[str, ...], **how: Any
) -> None:
    """Import files of training examples. A FILE may be a folder, whose data files are imported, or a quoted pattern
    such as "data/*.jsonl"; `sample:NAME` is a file of the sample data that comes with Tuningfork, and `-` the standard
    input.

    A folder that datasets.save_to_disk wrote, or that has the layout of the Hugging Face hub, is read as one data set:
    train goes to train, validation to val, test to test. `hf:ORG/NAME[@REVISION][:CONFIG]` is fetched from the hub, the
    one thing here that uses the network; code of a data set is never run. `hf:./FOLDER[:CONFIG]` names the config of a
    folder.

    Files may be JSON, JSON lines, CSV or Parquet, also compressed (gz, zst, bz2, xz). Rows become pairs, preferences
    (a chosen and a rejected answer) or feedback (an answer that was judged good or bad). Rows that cannot be used are
    left out and listed, with reasons, in a report; fields that were not read are counted. An error in a whole file
    stops the import before anything is written.
    """
    from engine.hf_data.imports import import_data
    from store.formats.mapped import read_mapping
    from tui.cli.import_progress import ImportProgress
    from tui.import_report import kept, remarks

    if files.count(STANDARD) > 1:
        raise BadInput("The standard input can be read once.", where="FILE", todo="Write - once.")
    filled = dict(assignment(text) for text in variables)
    with ExitStack() as stack:
        sources = [_source(name, stack) for name in files]
        progress = stack.enter_context(ImportProgress())
        report = import_data(
            session().store,
            sources,
            dataset=dataset,
            format=format_,
            variables=filled,
            mapping=read_mapping(maps) if maps else None,
            on_about=progress.about,
            on_fetched=progress.fetched,
            on_progress=progress.imported,
            **how,
        )
    where = str(session().home.absolute(report.report)) if report.report else None
    if session().as_json:
        names = (
            "read", "kept", "rejected", "duplicates", "dataset", "problems", "pairs", "preferences", "feedback",
            "not_read", "notices", "elsewhere",
        )  # fmt: skip
        emit_json({**{name: getattr(report, name) for name in names}, "report": where})
        return
    emit(f"{kept(report)} imported into {dataset} of {count(report.read, 'row')} read.")
    for line in remarks(report):
        emit(line)
    if report.rejected:
        emit(f"{count(report.rejected, 'row')} could not be used; the reasons are in {where}")
        for problem in report.problems[:5]:
            say(f"  {problem}")


def _source(name: str, stack: ExitStack) -> Path | DataSetRef:
    from engine.core import sample_files
    from engine.hf_data import references

    found = references.find(name) or sample_files.find(name)
    if found is not None:
        return found
    return stack.enter_context(input_file(name))


def assignment(text: str) -> tuple[str, str]:
    """Name and value of a `--set NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadInput(f"{text!r} is not NAME=VALUE.", where="--set", todo='Write it like --set name="Ember".')
    return name.strip(), value


@data.command("export", example="tuningfork data export --dataset support --format openai support.jsonl")
@click.argument("file", metavar="FILE")
@dataset_option
@click.option("--format", "format_", required=True, cls=FormatOption, metavar="F", help="One of FORMATS.")
@click.option("--split", type=SPLITS, help="Write only this split.")
@click.option("--kind", type=KINDS, help="Write only pairs of this kind.")
@click.option("--tag", metavar="TAG", help="Write only pairs with this tag.")
@click.option(
    "--status",
    type=click.Choice((*STATUSES.choices, "any")),
    default="ready",
    show_default=True,
    help="Write pairs with this status.",
)
@click.option("--where", type=QUERY, default="", metavar="QUERY", help="Write only pairs that this finds.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def export(
    file: str, dataset: str, format_: str, split: Any, kind: str | None, tag: str | None, status: Any, where: str,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write a dataset to a file; `-` is standard output.

    Its ready pairs are written; with the formats preference and feedback, its preferences or judged answers. The format
    tuningfork keeps kinds, tags, statuses and splits, and `data import` brings them back.
    """
    from store.formats import find_format
    from store.importing import export_dataset, left_out
    from tui.import_report import NOUNS

    found = find_format(format_)
    suffix = ".jsonl" if ".jsonl" in found.suffixes else found.suffixes[0]
    with output_file(file, suffix) as path:
        asked = [f"kind:{kind}"] if kind else []
        if tag and '"' in tag:
            raise BadInput("A tag with a quote cannot be searched for.", where="--tag", todo="Use --where /regex/.")
        asked += [f'tag:"{tag}"'] if tag else []
        written = export_dataset(
            session().store, dataset, format_, path, overwrite=overwrite, split=split,
            status=None if status == "any" else status, where=" ".join([*asked, where]).strip(),
        )  # fmt: skip
    if file == STANDARD:
        say(f"{count(written, NOUNS[found.holds])} of {dataset} written.")
    elif session().as_json:
        emit_json({"dataset": dataset, "format": format_, "path": str(path.absolute()), "rows": written})
        return
    else:
        emit(f"{count(written, NOUNS[found.holds])} of {dataset} written to {path}.")
    for sort, n in left_out(session().store, dataset, format_).items():
        say(f"{count(n, NOUNS[sort])} of {dataset} not written: the format {format_} holds no such rows.")


@data.command("list", example="tuningfork data list --json")
def list_() -> None:
    """List the datasets with their rows: pairs by status and split, preferences, feedback."""
    from store import datasets
    from store.pairs import count as count_pairs

    store = session().store
    found = datasets.all_datasets(store)
    if session().as_json:
        emit_json([_dataset(dataset) for dataset in found])
        return
    if not found:
        say("There is no dataset yet. Import a file: tuningfork data import FILE --dataset NAME")
        return
    numbers = ["pairs", "ready", "train", "val", "test"]
    numbers += [name for name in ("preferences", "feedback") if any(getattr(d, name) for d in found)]
    rows = [(d.name, *(getattr(d, name) for name in numbers), ago(d.created_at), d.description) for d in found]
    table(("name", *numbers, "created", "about"), rows, right=tuple(numbers), wide="about")
    say(f"{count(count_pairs(store), 'pair')} in the store.")


def _dataset(dataset: Any) -> dict[str, Any]:
    names = (
        "name", "description", "pairs", "ready", "train", "val", "test", "preferences", "feedback", "created_at",
    )  # fmt: skip
    return {name: getattr(dataset, name) for name in names}


@data.command(
    "split",
    example="""
    tuningfork data split --dataset support --val 0.1 --test 0.1
    tuningfork data split --dataset support --val 200 --by kind --by tag --dry-run
    """,
)
@dataset_option
@click.option(
    "--val", type=float, default=0.1, show_default=True, help="For validation: a fraction, or a count from 1."
)
@click.option("--test", type=float, default=0.0, show_default=True, help="For testing: fraction, or count from 1.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another split.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(("kind", "tag", "script")),
    help="Keep the shares of each kind, (first) tag or script the same; can be repeated.",
)
@click.option("--all", "all_pairs", is_flag=True, help="Also move pairs whose split came with the data or was set.")
@click.option("--dry-run", is_flag=True, help="Change nothing: show what the split would be.")
def split(dataset: str, dry_run: bool, **how: Any) -> None:
    """Split a dataset into train, val and test. The same pairs and seed give the same splits.

    Equal and nearly equal questions stay together. Pairs whose split was imported or set stay there; the fractions and
    counts apply to the others.
    """
    from store import datasets

    store = session().store
    plan = datasets.plan_split(store, dataset, **how)
    if not dry_run:
        datasets.do_split(store, plan)
    pinned = datasets.pinned(store, dataset)
    if session().as_json:
        more = {"moved": plan.moved, "strata": plan.strata, "dry_run": True} if dry_run else {}
        emit_json({"dataset": dataset, **plan.counts, **more})
        return
    if how["by"]:
        rows = [(name, *counts.values()) for name, counts in plan.strata.items()]
        table(("stratum", "train", "val", "test"), rows, right=("train", "val", "test"))
    emit(f"{dataset}: " + ", ".join(f"{n:,} {name}" for name, n in plan.counts.items()))
    if dry_run:
        emit(f"{count(plan.moved, 'pair')} would change sides; nothing was changed.")
    if pinned:
        stay = ", ".join(f"{n:,} in {name}" for name, n in pinned.items())
        say(f"Fixed before and not moved: {stay}. To split them too, add --all.")


@data.command("freeze", example="tuningfork data freeze --dataset support --json")
@dataset_option
def freeze(dataset: str) -> None:
    """Freeze the ready pairs of a dataset into a snapshot, named by a hash of its content."""
    from store import datasets

    snapshot = datasets.freeze(session().store, dataset)
    if session().as_json:
        emit_json(
            {"hash": snapshot.hash, "dataset": snapshot.dataset, "rows": snapshot.rows, "splits": snapshot.splits,
             "created_at": snapshot.created_at}
        )  # fmt: skip
    else:
        emit(f"{count(snapshot.rows, 'row')} frozen as {snapshot.hash}")


@data.command("rename", example="tuningfork data rename suport support")
@click.argument("old", type=DATASET)
@click.argument("new")
def rename(old: str, new: str) -> None:
    """Give a dataset another name."""
    from store import datasets

    datasets.rename(session().store, old, new)
    if session().as_json:
        emit_json({"dataset": new})
    else:
        emit(f"{old} is now called {new}.")


@data.command("drop", example="tuningfork data drop old-set --yes")
@click.argument("dataset", type=DATASET)
@yes_option
def drop(dataset: str, yes: bool) -> None:
    """Remove a dataset with its preferences and feedback. Its pairs, snapshots and runs stay. `data undo` undoes it."""
    from store import datasets

    found = datasets.get(session().store, dataset)
    judged = found.preferences + found.feedback
    gone = f" Its {rows_of_preferences(judged)} go with it." if judged else ""
    stay = f"its {count(found.pairs, 'pair')} stay in the store"
    confirm(f"Remove the dataset {found.name}? {stay[0].upper()}{stay[1:]}.{gone} It can be undone.", yes)
    datasets.remove(session().store, dataset)
    if session().as_json:
        emit_json({"dropped": dataset, "pairs_kept": found.pairs})
    else:
        emit(f"{dataset} is removed; {stay}.{gone} Undo with: tuningfork data undo")


_CURATE = (curate.lint, curate.mute, curate.dedupe, statistics.stats)
_PAIRS = (
    pairs.search, pairs.preferences_, pairs.show, pairs.add, pairs.edit, pairs.rm, pairs.mark, pairs.undo, pairs.redo,
)  # fmt: skip
_BULK = (bulk.change, bulk.replace, bulk.copy, bulk.restore)
_MAKE = (wizard.wizard, wizard.facts)
for _command in (*_MAKE, *_CURATE, *_PAIRS, *_BULK, snapshots.snapshots_):
    data.add_command(_command)
