"""How the results and the data of two runs are written beside each other, in the app and on the command line.
Words only; what differs is found by engine.training.comparing."""

from __future__ import annotations

from engine.training import watched_probes
from engine.training.comparing import DataDifference, RunResults
from store.records import state_word
from tui.formatting import count, duration
from tui.text import clean


def result_rows(before: RunResults, after: RunResults) -> list[tuple[str, str, str]]:
    """Label and the figures of both, for what at least one of them has."""
    both = (before, after)
    rows = [
        ("state", [state_word(each.state) for each in both]),
        (
            "steps",
            [f"{each.step:,} of {each.total_steps:,}" if each.total_steps else f"{each.step:,}" for each in both],
        ),
        ("took", [duration(each.seconds) for each in both]),
        ("last loss" if before.metric == after.metric == "loss" else "last value", [_last(each) for each in both]),
        ("lowest val loss", [_lowest(each) for each in both]),
        ("result", ["" if each.result_step is None else f"step {each.result_step:,}" for each in both]),
    ]
    for name in dict.fromkeys([*before.probes, *after.probes]):
        rows.append(
            (watched_probes.title(name), [f"{each.probes[name]:.0%}" if name in each.probes else "" for each in both])
        )
    rows.append(("drift", ["" if each.drift is None else f"{each.drift:.3f}" for each in both]))
    rows.append(("measured at", ["" if each.measured_at is None else f"step {each.measured_at:,}" for each in both]))
    return [(label, one, two) for label, (one, two) in rows if one or two]


def data_lines(found: DataDifference) -> list[str]:
    """`12 rows of ember → 14 rows of ember`, and how many were added, removed and changed."""
    if found.before == found.after:
        return [f"The same {count(found.same, 'row')} of {clean(found.after_name) or 'a snapshot'}."]
    names = [
        f"{count(rows, 'row')} of {clean(name) or 'a snapshot'}"
        for rows, name in ((found.before_rows, found.before_name), (found.after_rows, found.after_name))
    ]
    counts = f"{found.added:,} added, {found.removed:,} removed, {found.changed:,} changed, {found.same:,} the same."
    return [" → ".join(names), counts]


def rows_command(found: DataDifference) -> str:
    """What to type to see the rows that differ."""
    return f"tuningfork data snapshots diff {found.before[:12]} {found.after[:12]}"


def _last(each: RunResults) -> str:
    if each.loss is None:
        return ""
    return f"{each.loss:.3f}" if each.metric == "loss" else f"{each.metric} {each.loss:.3f}"


def _lowest(each: RunResults) -> str:
    return "" if each.best_val is None else f"{each.best_val:.3f} at {each.best_val_step:,}"
