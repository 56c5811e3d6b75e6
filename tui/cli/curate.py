"""The commands of `tuningfork data` that check a dataset: lint, dedupe, stats.
The rules are in store.curate; only `dedupe --delete` changes anything, as one edit that can be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.command import Command
from tui.cli.options import dataset_option
from tui.cli.output import emit, emit_json, fields, say, table
from tui.cli.session import session
from tui.formatting import count, rows_of_preferences

if TYPE_CHECKING:
    from store.curate.findings import Finding
    from store.dedupe import Deduped
    from store.records import Pair, PreferenceRow

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
@click.option("--level", type=click.Choice(_LEVELS), default="info", show_default=True, help="Lowest level to show.")
def lint(dataset: str, level: str) -> None:
    """Look for rows that would teach the wrong thing, in pairs, preferences and feedback.

    Finds chat markers, unfilled placeholders, broken text, other assistants' names, secrets, and questions that are
    answered in two ways.
    """
    from store import preference_rows

    pairs, judged = _pairs(dataset), preference_rows.search(session().store, dataset=dataset)
    findings = [*_findings(pairs), *_findings_of_preferences(judged)]
    found = [finding for finding in findings if _LEVELS.index(finding.level) <= _LEVELS.index(level)]
    found.sort(key=lambda finding: _LEVELS.index(finding.level))
    counts: Counter[str] = Counter(finding.level for finding in found)
    if session().as_json:
        totals = {f"{name}s": counts[name] for name in _LEVELS}
        rows = {"pairs": len(pairs), "preferences": len(judged)}
        emit_json({"dataset": dataset, **rows, **totals, "findings": [asdict(f) for f in found]})
        return
    looked_at = count(len(pairs), "pair") + (f" and {rows_of_preferences(len(judged))}" if judged else "")
    if found:
        table(
            ("uid", "level", "rule", "what"),
            ((f.uid, f.level, f.code, f"the {f.field} {f.what}") for f in found),
            wide="what",
        )
        said = ", ".join(f"{counts[name]} {name}" for name in _LEVELS if counts[name])
        say(f"Found in {looked_at}: {said}.")
        say("Correct a pair with: tuningfork data edit UID. Remove a row with: tuningfork data rm UID")
    else:
        emit(f"No problems found in {looked_at}.")


def _findings(pairs: list[Pair]) -> Iterable[Finding]:
    from store.curate import duplicates
    from store.curate.findings import Finding
    from store.curate.lint import lint_all

    yield from lint_all(pairs)
    for first, *others in duplicates.conflicts(pairs):
        for uid in others:
            yield Finding(uid, "conflict", "answer", f"differs from that of {first}, which asks the same")


def _findings_of_preferences(judged: list[PreferenceRow]) -> Iterable[Finding]:
    from store.curate.lint import lint_texts

    for row in judged:
        yield from lint_texts(row.uid, row.texts())


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
    "--near",
    type=click.FloatRange(0.3, 1.0),
    metavar="SHARE",
    help="Also find pairs that share this much of their text, such as 0.8, and the same numbers and signs.",
)
@click.option("--delete", is_flag=True, help="Keep the best pair of each group and delete the others.")
@click.option("--everywhere", is_flag=True, help="With --delete, also delete pairs that are in other datasets too.")
def dedupe(dataset: str, near: float | None, delete: bool, everywhere: bool) -> None:
    """Find pairs with the same text, apart from case, spaces and punctuation after words.

    The pair that is kept is a ready one rather than a draft, in train rather than val or test, and the oldest. Pairs
    that are in other datasets too are only taken out of this one. `data undo` brings all of them back.
    """
    from store import dedupe as duplicates

    if everywhere and not delete:
        raise BadInput("--everywhere has no effect without --delete.", where="--everywhere", todo="Add --delete.")
    store = session().store
    groups = duplicates.find(store, dataset, near)
    found = sum(len(group.others) for group in groups)
    shared = {uid: names for group in groups for uid, names in group.elsewhere.items()}
    done = duplicates.remove(store, dataset, groups, everywhere=everywhere) if delete else None
    if session().as_json:
        emit_json({
            "dataset": dataset,
            "groups": [[group.kept.uid, *(pair.uid for pair in group.others)] for group in groups],
            "duplicates": found,
            "deleted": done.deleted if done else 0,
            "taken_out": done.taken_out if done else 0,
            "in_other_datasets": shared,
        })  # fmt: skip
        return
    if groups:
        rows = [
            (g.kept.uid, len(g.others), " ".join(pair.uid for pair in g.others[:3]), g.kept.question) for g in groups
        ]
        table(("kept", "more", "same as it", "question"), rows, right=("more",), wide="question")
    emit(f"{count(found, 'duplicate')} among {count(len(_pairs(dataset)) + (_gone(done)), 'pair')}.")
    if shared and not everywhere:
        names = ", ".join(sorted({name for found_in in shared.values() for name in found_in}))
        what = "were only taken out of this one" if done else "will only be taken out of this one"
        say(f"{count(len(shared), 'duplicate')} in other datasets too ({names}) {what}; --everywhere deletes them.")
    if done and _gone(done):
        emit(f"{count(done.deleted, 'pair')} deleted. Bring them back with: tuningfork data undo")
    elif found:
        say("To delete the others of each group, add --delete.")


def _gone(done: Deduped | None) -> int:
    return done.deleted + done.taken_out if done else 0


@click.command("stats", cls=Command, example="tuningfork data stats --dataset support")
@dataset_option
def stats(dataset: str) -> None:
    """Count a dataset's rows, measure its pairs, and show what they will probably teach."""
    from store import datasets
    from store.curate.balance import balance

    found = datasets.members(session().store, dataset, status=None)
    there = datasets.get(session().store, dataset)
    pairs = [pair for pair, _ in found]
    made_of = balance(pair for pair in pairs if pair.status == "ready")
    facts: dict[str, Any] = {
        "dataset": dataset,
        "pairs": len(pairs),
        "preferences": there.preferences,
        "feedback": there.feedback,
        "split": _counts(split for _, split in found),
        "status": _counts(pair.status for pair in pairs),
        "kind": _counts(pair.kind for pair in pairs),
        "tags": _counts(tag for pair in pairs for tag in pair.tags),
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


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _spread(lengths: list[int]) -> dict[str, int]:
    if not lengths:
        return {}
    ordered = sorted(lengths)
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1], "total": sum(ordered)}


def _shown(value: Any) -> Any:
    return ", ".join(f"{name} {n:,}" for name, n in value.items()) if isinstance(value, dict) else value
