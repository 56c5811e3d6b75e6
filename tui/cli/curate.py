"""The commands of `tuningfork data` that judge a dataset: lint, dedupe, stats.
The judging is store.curate's; only `dedupe --delete` changes anything, and undo takes it back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tui.cli.command import Command
from tui.cli.options import dataset_option
from tui.cli.output import emit, emit_json, fields, say, table
from tui.cli.session import session
from tui.formatting import count

if TYPE_CHECKING:
    from store.curate.findings import Finding
    from store.records import Pair

_LEVELS = ("error", "warning", "info")


@click.command(
    "lint",
    cls=Command,
    example="""
    tuningfork data lint --dataset support
    tuningfork data lint --dataset support --level error --json
    """,
)
@dataset_option
@click.option("--level", type=click.Choice(_LEVELS), default="info", show_default=True, help="The mildest to show.")
def lint(dataset: str, level: str) -> None:
    """Look for pairs that would teach the wrong thing.

    Finds chat markers, open placeholders, broken text, other assistants' names, secrets, and questions that are
    answered in two ways.
    """
    pairs = _pairs(dataset)
    found = [finding for finding in _findings(pairs) if _LEVELS.index(finding.level) <= _LEVELS.index(level)]
    found.sort(key=lambda finding: _LEVELS.index(finding.level))
    counts: Counter[str] = Counter(finding.level for finding in found)
    if session().as_json:
        totals = {f"{name}s": counts[name] for name in _LEVELS}
        emit_json({"dataset": dataset, "pairs": len(pairs), **totals, "findings": [asdict(f) for f in found]})
        return
    if found:
        table(
            ("uid", "level", "rule", "what"),
            ((f.uid, f.level, f.code, f"the {f.field} {f.what}") for f in found),
            wide="what",
        )
        said = ", ".join(f"{counts[name]} {name}" for name in _LEVELS if counts[name])
        say(f"Found in {count(len(pairs), 'pair')}: {said}.")
        say("Mend one: tuningfork data edit UID")
    else:
        emit(f"Nothing to say against {count(len(pairs), 'pair')}.")


def _findings(pairs: list[Pair]) -> Iterable[Finding]:
    from store.curate import duplicates, secrets
    from store.curate.findings import Finding
    from store.curate.lint import lint_all

    yield from lint_all(pairs)
    yield from secrets.scan(pairs)
    for part in _by_history(pairs):
        for first, *others in duplicates.conflicts(part):
            for uid in others:
                yield Finding(uid, "conflict", "answer", f"differs from that of {first}, which asks the same")


@click.command(
    "dedupe",
    cls=Command,
    example="""
    tuningfork data dedupe --dataset support
    tuningfork data dedupe --dataset support --near 0.8 --delete
    """,
)
@dataset_option
@click.option(
    "--near", type=click.FloatRange(0.3, 1.0), metavar="SHARE", help="Also pairs that share so much, such as 0.8."
)
@click.option("--delete", is_flag=True, help="Keep the oldest of each group, delete the others.")
def dedupe(dataset: str, near: float | None, delete: bool) -> None:
    """Find pairs that say the same, but for case and punctuation. `data undo` brings deleted ones back."""
    from store import pairs as kept
    from store.curate import duplicates

    pairs = _pairs(dataset)
    parts = _by_history(pairs)
    groups = [g for part in parts for g in (duplicates.near(part, near) if near else duplicates.exact(part))]
    doomed = [uid for group in groups for uid in group[1:]]
    deleted = kept.delete(session().store, doomed) if delete and doomed else 0
    if session().as_json:
        emit_json({"dataset": dataset, "groups": groups, "duplicates": len(doomed), "deleted": deleted})
        return
    questions = {pair.uid: pair.question for pair in pairs}
    if groups:
        rows = [(group[0], len(group) - 1, " ".join(group[1:4]), questions[group[0]]) for group in groups]
        table(("kept", "more", "same as it", "question"), rows, right=("more",), wide="question")
    emit(f"{count(len(doomed), 'duplicate')} among {count(len(pairs), 'pair')}.")
    if deleted:
        emit(f"{count(deleted, 'pair')} deleted. Bring them back: tuningfork data undo")
    elif doomed:
        say("Delete them, keeping the oldest of each group: add --delete")


@click.command("stats", cls=Command, example="tuningfork data stats --dataset support")
@dataset_option
def stats(dataset: str) -> None:
    """Count a dataset's pairs, measure them, and say what they will probably teach."""
    from store import datasets
    from store.curate.balance import balance

    found = datasets.members(session().store, dataset, status=None)
    pairs = [pair for pair, _ in found]
    made_of = balance(pair for pair in pairs if pair.status == "ready")
    facts: dict[str, Any] = {
        "dataset": dataset,
        "pairs": len(pairs),
        "split": _tally(split for _, split in found),
        "status": _tally(pair.status for pair in pairs),
        "kind": _tally(pair.kind for pair in pairs),
        "tags": _tally(tag for pair in pairs for tag in pair.tags),
        "with_system": sum(bool(pair.system) for pair in pairs),
        "with_history": sum(bool(pair.history) for pair in pairs),
        "question_chars": _spread([len(pair.question) for pair in pairs]),
        "answer_chars": _spread([len(pair.answer) for pair in pairs]),
        "openings": dict(made_of.openings),
        "advice": made_of.advice,
    }
    if session().as_json:
        emit_json(facts)
        return
    advice = facts.pop("advice")
    fields((name.replace("_", " "), _shown(value)) for name, value in facts.items())
    for sentence in advice:
        emit(f"- {sentence}")


def _pairs(dataset: str) -> list[Pair]:
    """The dataset's pairs that are not rejected, oldest first."""
    from store import datasets

    found = datasets.members(session().store, dataset, status=None)
    return [pair for pair, _ in found if pair.status != "rejected"]


def _by_history(pairs: list[Pair]) -> list[list[Pair]]:
    """The pairs in groups with the same earlier turns: the same question means another thing after other words."""
    groups: dict[Any, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.history].append(pair)
    return list(groups.values())


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _spread(lengths: list[int]) -> dict[str, int]:
    if not lengths:
        return {}
    ordered = sorted(lengths)
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1], "total": sum(ordered)}


def _shown(value: Any) -> Any:
    return ", ".join(f"{name} {n:,}" for name, n in value.items()) if isinstance(value, dict) else value
