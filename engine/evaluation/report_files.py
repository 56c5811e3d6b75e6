"""The report of an evaluation as a file: Markdown, HTML with plots, CSV with one line per row and side, JSON.
Everything that came from data or models is escaped; an HTML file is complete in itself and loads nothing."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.evaluation import history, summary, ways
from engine.evaluation.history import HistorySeries
from engine.evaluation.report_text import difference_words, value_words
from store import evaluations
from store.db import Store
from store.errors import BadInput, Conflict
from store.files import replacing

_WIDTH = 100
"""Characters of a plot in Markdown."""
_ROWS = 20
"""Rows that a Markdown or HTML report shows, those that got worse first; CSV and JSON have all."""


def write(store: Store, number: int, path: Path, *, force: bool = False) -> Path:
    """Write the report in the form that the file's ending names; returns the path.

    BadInput for another ending, Conflict when the file is there or the evaluation is not complete.
    """
    forms: dict[str, Callable[[dict[str, Any], list[dict[str, Any]], list[HistorySeries]], str]] = {
        ".md": markdown, ".html": page, ".csv": table, ".json": plain,
    }  # fmt: skip
    form = forms.get(path.suffix.lower())
    if form is None:
        raise BadInput("A report is .md, .html, .csv or .json.", where=str(path), todo="Choose one of these endings.")
    report = evaluations.get(store, number).report
    if report is None:
        raise Conflict(
            f"Evaluation {number} is not complete.", todo=f"Continue it: tuningfork evaluations resume {number}"
        )
    path = path.expanduser()
    if path.exists() and not force:
        raise Conflict("The file is there already.", where=str(path), todo="Add --force to replace it.")
    before = history.of_evaluation(history.history(store), number)
    text = form(report, summary.row_scores(store, number), before)
    with replacing(path) as made:
        made.write_text(text, "utf-8")
    return path


def plain(report: dict[str, Any], rows: list[dict[str, Any]], before: Sequence[HistorySeries] = ()) -> str:
    """Report, ways, rows and history as JSON."""
    past = [asdict(each) for each in before]
    body = {**report, "advice": ways.advice(report), "row_scores": rows, "history": past}
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def table(report: dict[str, Any], rows: list[dict[str, Any]], before: Sequence[HistorySeries] = ()) -> str:
    """One line for each row and side. A text that a spreadsheet would take for a formula gets a quote before it."""
    made = io.StringIO()
    out = csv.writer(made, lineterminator="\n")
    out.writerow(("row", "part", "question", "reference", "side", "answer", "metric", "score", "stop", "tokens"))
    for row in sorted(rows, key=lambda each: int(each["row"])):
        for answer in row["answers"]:
            texts = [row["question"], row["reference"] or "", answer["side"], answer["text"]]
            question, reference, side, text = map(_inert, texts)
            score = "" if answer["score"] is None else f"{answer['score']:g}"
            what = (row["row"], row["part"], question, reference, side, text, row["metric"], score)
            out.writerow((*what, answer["stop"], answer["tokens"]))
    return made.getvalue()


def _inert(text: str) -> str:
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


# -- Markdown ---------------------------------------------------------------------------------------------------------


def markdown(report: dict[str, Any], rows: list[dict[str, Any]], before: Sequence[HistorySeries] = ()) -> str:
    """The report as Markdown: a table of metrics for each part, the ways, the notes, the history, the rows that got
    worse."""
    plan = report["plan"]
    lines = [f"# Evaluation {report['evaluation']}: {_md(report['name'])}", ""]
    if plan.get("dataset"):
        lines += [
            f"Dataset {_md(plan['dataset'])}, split {plan['split']}, snapshot `{str(plan['snapshot'])[:12]}`.",
            "",
        ]
    sides = _shown(report)
    for part in report["parts"]:
        lines += [f"## {_md(part['part'])}: {part['rows']} rows, type {part['type']}", ""]
        lines += [*_md_row(["Metric", *sides, "Difference", "Noise floor"]), "|" + " --- |" * (len(sides) + 3)]
        for metric in part["metrics"]:
            lines += _md_row(_cells(metric, sides))
        lines.append("")
        for side, wanted in part.get("confusion", {}).items():
            lines += [f"Confusion of {_md(side)} (rows: wanted)", ""]
            given = list(dict.fromkeys([*wanted, *(label for row in wanted.values() for label in row)]))
            lines += [*_md_row(["", *given]), "|" + " --- |" * (len(given) + 1)]
            for label, row in wanted.items():
                lines += _md_row([label, *(str(row.get(each, 0)) for each in given)])
            lines.append("")
    if advice := ways.advice(report):
        lines += [f"**{_md(advice)}**", ""]
    lines += [f"- {_md(note)}" for note in report["notes"]]
    for series in before:
        lines += ["", f"## History of {_md(series.heading)}", ""]
        lines += _quoted("Evaluation, model, 95% interval, figure", "\n".join(history.plot(series, _WIDTH)))[:-1]
    worse = _worse(rows)
    if worse:
        lines += ["", f"## The {len(worse)} rows that got worse the most", ""]
        for row in worse:
            lines += [f"### {_md(row['part'])} {row['row']}: {row['metric']} {row['difference']:+.3g}", ""]
            lines += _quoted("Question", row["question"])
            lines += _quoted("Reference", row["reference"]) if row["reference"] else []
            for answer in row["answers"]:
                lines += _quoted(answer["side"], answer["text"])
    return "\n".join(lines).rstrip() + "\n"


def _md_row(cells: list[str]) -> list[str]:
    return ["| " + " | ".join(_md(cell) for cell in cells) + " |"]


def _md(text: str) -> str:
    """Text as it is, on one line: nothing in it is Markdown or HTML."""
    text = " ".join(str(text).split())
    return "".join("\\" + char if char in "\\`*_{}[]<>#|" else char for char in text)


def _quoted(title: str, text: str) -> list[str]:
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{_md(title)}:", "", fence, text, fence, ""]


# -- HTML -------------------------------------------------------------------------------------------------------------

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "body{color:#1b1b1b;background:#fff}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left}"
    "pre{background:#f4f4f4;padding:.6em;white-space:pre-wrap}"
    "svg text{font:12px system-ui,sans-serif;fill:currentColor}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#262626}"
    "td,th{border-color:#444}}"
)


def page(report: dict[str, Any], rows: list[dict[str, Any]], before: Sequence[HistorySeries] = ()) -> str:
    """The report as one HTML file with a plot of the deciding metric of each part, and of its history."""
    sides, out = _shown(report), []
    title = f"Evaluation {report['evaluation']}: {report['name']}"
    for part in report["parts"]:
        out.append(f"<h2>{_h(part['part'])}: {part['rows']} rows, type {_h(part['type'])}</h2>")
        deciding = next(each for each in part["metrics"] if each["name"] == part["deciding"])
        out.append(_plot(deciding, sides))
        head = "".join(f"<th>{_h(each)}</th>" for each in ("Metric", *sides, "Difference", "Noise floor"))
        body = "".join(
            "<tr>" + "".join(f"<td>{_h(cell)}</td>" for cell in _cells(metric, sides)) + "</tr>"
            for metric in part["metrics"]
        )
        out.append(f"<table><tr>{head}</tr>{body}</table>")
        for side, wanted in part.get("confusion", {}).items():
            given = list(dict.fromkeys([*wanted, *(label for row in wanted.values() for label in row)]))
            head = "".join(f"<th>{_h(each)}</th>" for each in ("", *given))
            body = "".join(
                f"<tr><th>{_h(label)}</th>" + "".join(f"<td>{row.get(each, 0)}</td>" for each in given) + "</tr>"
                for label, row in wanted.items()
            )
            out.append(f"<h3>Confusion of {_h(side)} (rows: wanted)</h3><table><tr>{head}</tr>{body}</table>")
    if advice := ways.advice(report):
        out.append(f"<p><strong>{_h(advice)}</strong></p>")
    out.append("<ul>" + "".join(f"<li>{_h(note)}</li>" for note in report["notes"]) + "</ul>")
    for series in before:
        named = [f"{point.evaluation} {point.side}" for point in series.points]
        values = [
            {"side": side, "value": point.value, "low": point.low, "high": point.high}
            for side, point in zip(named, series.points, strict=True)
        ]
        out.append(f"<h2>History of {_h(series.heading)}</h2>")
        out.append(_plot({"title": series.title, "digits": series.digits, "values": values}, named))
    for row in _worse(rows):
        out.append(f"<h3>{_h(row['part'])} {row['row']}: {_h(row['metric'])} {row['difference']:+.3g}</h3>")
        out.append(f"<p>Question</p><pre>{_h(row['question'])}</pre>")
        if row["reference"]:
            out.append(f"<p>Reference</p><pre>{_h(row['reference'])}</pre>")
        out += [f"<p>{_h(answer['side'])}</p><pre>{_h(answer['text'])}</pre>" for answer in row["answers"]]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_h(title)}</title><style>{_STYLE}</style>'
        f"<h1>{_h(title)}</h1>{''.join(out)}</html>\n"
    )


def _plot(metric: Mapping[str, Any], sides: list[str]) -> str:
    """A dot and its interval for each side, as SVG."""
    values = [each for each in metric["values"] if each["side"] in sides and each["value"] is not None]
    if not values:
        return ""
    low, high = min(each["low"] for each in values), max(each["high"] for each in values)
    low, high = min(low, 0.0), high if high > low else low + 1.0
    wide, left, line = 420, 260, 26

    def at(value: float) -> float:
        return left + wide * (value - low) / (high - low)

    marks = []
    for n, each in enumerate(values):
        y = 30 + n * line
        marks.append(
            f'<text x="0" y="{y + 4}">{_h(each["side"][:38])}</text>'
            f'<line x1="{at(each["low"]):.1f}" x2="{at(each["high"]):.1f}" y1="{y}" y2="{y}" stroke="currentColor"/>'
            f'<circle cx="{at(each["value"]):.1f}" cy="{y}" r="4" fill="currentColor"/>'
            f'<text x="{left + wide + 12}" y="{y + 4}">{each["value"]:.{metric["digits"]}f}</text>'
        )
    tall = 40 + line * len(values)
    name = f"{metric['title']}, with 95% intervals from {low:.{metric['digits']}f} to {high:.{metric['digits']}f}"
    return (
        f'<svg role="img" aria-label="{_h(name)}" width="760" height="{tall}" viewBox="0 0 760 {tall}">'
        f'<text x="0" y="14">{_h(name)}</text>{"".join(marks)}</svg>'
    )


def _h(text: object) -> str:
    return html.escape(str(text), quote=True)


# -- what both show ---------------------------------------------------------------------------------------------------


def _shown(report: Mapping[str, Any]) -> list[str]:
    return [side["side"] for side in report["sides"] if side["role"] != "floor"]


def _cells(metric: Mapping[str, Any], sides: list[str]) -> list[str]:
    values = {each["side"]: value_words(each, metric) for each in metric["values"]}
    said = [f"{each['side']}: {difference_words(each, metric)}" for each in metric["differences"]]
    floor = "-" if metric["floor"] is None else f"{metric['floor']:.{metric['digits']}f}"
    return [metric["title"], *(values[side] for side in sides), "; ".join(said) or "-", floor]


def _worse(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["difference"] is not None and row["difference"] < 0][:_ROWS]
