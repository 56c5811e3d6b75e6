"""The statistics of a dataset as lines: headings, bars, and for each bar the search that finds its pairs.
Data only: the command line prints the lines, the app draws them. Counting is store.curate.statistics'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from store.curate.histogram import LengthSpread
from store.curate.question_forms import FORMS
from store.curate.statistics import DatasetStatistics, Opening
from tui.bars import percent
from tui.formatting import count, duration, size

if TYPE_CHECKING:
    from engine.training.dataset_costs import DatasetCosts

_TAGS = 12


@dataclass(frozen=True, slots=True)
class StatisticsLine:
    """One line. A bar counts `n` and has the `share` that it shows and, if it is not None, the search `query` that
    lists its pairs; `full` is the share that fills the width, and a `remark` stands behind it. Other
    lines are text."""

    text: str
    n: int = 0
    share: float = 0.0
    full: float = 1.0
    query: str | None = None
    remark: str = ""
    kind: Literal["bar", "heading", "note", "advice"] = "bar"


def _heading(text: str) -> StatisticsLine:
    return StatisticsLine(text, kind="heading")


def _note(text: str) -> StatisticsLine:
    return StatisticsLine(text, kind="note")


def lines(found: DatasetStatistics) -> list[StatisticsLine]:
    """Everything that was counted, in the order in which it is read."""
    of = "status:ready" if found.of_ready else "-status:rejected"
    said = (
        "ready pairs, which are what a run trains on"
        if found.of_ready
        else "pairs that are not rejected: none is ready"
    )
    out = [StatisticsLine(sentence, kind="advice") for sentence in found.advice]
    out += _counts("Kind", found.kinds, "kind:{}") + _counts("Status", found.statuses, "status:{}")
    out += _counts("Split", found.splits, "split:{}")
    out.append(_note(f"All that follows is of {found.measured:,} {said}."))
    out.append(
        _note(
            f"{percent(found.identity_share)} are identity pairs; {_systems(found)};"
            f" {found.with_history:,} have earlier turns."
        )
    )
    out += _lengths("Questions, in characters", found.questions, "qlen", of)
    out += _lengths("Answers, in characters", found.answers, "alen", of)
    out += _counts("Language", found.languages, of + " lang:{}")
    out += _openings("Questions begin with", found.question_openings, of + ' asks:"{}"')
    out += _openings("Answers begin with", found.answer_openings, of + ' says:"{}"')
    out += _tags(found, of)
    return out + _forms(found, of)


def cost_lines(found: DatasetCosts) -> list[StatisticsLine]:
    """The lengths in tokens, and what a run would take."""
    out = _lengths(f"Rows, in tokens of {found.model} with its template", found.row_tokens)
    out += _lengths("Trained tokens of a row", found.trained_tokens)
    out.append(_heading("A run"))
    out.append(_note(
        f"A pass over the data takes {count(found.steps_per_pass, 'step')}. A run by the recipe {found.recipe} takes"
        f" {count(found.steps, 'step')}, about {duration(found.seconds)} and {size(found.memory_bytes)} of memory."
    ))  # fmt: skip
    if found.truncated:
        rows = count(found.truncated, "row is longer", "rows are longer")
        out.append(_note(f"{rows} than the recipe's max length of {found.max_length:,} tokens: cut off there."))
    return out + [_note(problem) for problem in found.problems]


def _systems(found: DatasetStatistics) -> str:
    many = f", {found.systems:,} different ones" if found.with_system > 1 else ""
    return f"{found.with_system:,} have a system text{many}"


def _counts(title: str, counts: dict[str, int], query: str) -> list[StatisticsLine]:
    total = sum(counts.values())
    bars = [StatisticsLine(name, n, n / total, query=query.format(name)) for name, n in counts.items()]
    return [_heading(title), *bars] if bars else []


def _lengths(title: str, lengths: LengthSpread, name: str = "", of: str = "") -> list[StatisticsLine]:
    if not lengths.bars:
        return []
    total = sum(bar.n for bar in lengths.bars)
    most = max(bar.n for bar in lengths.bars)
    figures = f"{lengths.least:,} to {lengths.most:,}, median {lengths.median:,}, {lengths.total:,} in all"
    out = [_heading(f"{title}: {figures}")]
    for bar in lengths.bars:
        below = "" if bar.high is None else f" {name}<{bar.high}"
        query = f"{of} {name}>={bar.low}{below}" if name and bar.n else None
        out.append(StatisticsLine(bar.label, bar.n, bar.n / total, most / total, query))
    return out


def _openings(title: str, openings: Iterable[Opening], query: str) -> list[StatisticsLine]:
    bars = [StatisticsLine(each.text, each.n, each.share, query=_query(query, each.text)) for each in openings]
    return [_heading(title), *bars] if bars else []


def _query(query: str, value: str) -> str | None:
    """The query with a value in quotes; None for a value that cannot be quoted."""
    return None if '"' in value else query.format(value)


def _tags(found: DatasetStatistics, of: str) -> list[StatisticsLine]:
    bars = [
        StatisticsLine(tag, round(share * found.measured), share, query=_query(of + ' tag:"{}"', tag))
        for tag, share in found.tag_shares.items()
    ]
    more = [_note(f"and {len(bars) - _TAGS:,} more tags")] if len(bars) > _TAGS else []
    return [_heading("Tags"), *bars[:_TAGS], *more] if bars else []


def _forms(found: DatasetStatistics, of: str) -> list[StatisticsLine]:
    return list(_form_lines(found, of)) if found.forms.identity else []


def _form_lines(found: DatasetStatistics, of: str) -> Iterator[StatisticsLine]:
    forms = found.forms
    yield _heading(f"Question forms of {count(forms.identity, 'identity pair')}")
    for form, n in forms.forms.items():
        query = f"{of} form:{form}" if n and form != "languages" else None
        text, remark = f"{form}: {FORMS[form]}", "" if n else "missing"
        yield StatisticsLine(text, n, n / forms.identity, query=query, remark=remark)
    if forms.other:
        query = f"{of} form:other"
        yield StatisticsLine("other: not recognised", forms.other, forms.other / forms.identity, query=query)
