"""A report as lines of the screen: metrics with intervals, the confusion, the advice, the notes; and one row in full.
Pure: text in, content out."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from textual.content import Content

from engine.evaluation import ways
from engine.evaluation.report_text import difference_words, value_words
from engine.evaluation.verdict import Decision
from tui.text import clip, fit, one_line
from tui.worddiff import word_diff

_NAME = 20


def report(found: dict[str, Any], width: int) -> Content:
    """The figures of every part."""
    lines: list[Content] = []
    sides = [side["side"] for side in found["sides"] if side["role"] != "floor"]
    for part in found["parts"]:
        lines.append(Content.styled(f"{part['part']}: {part['rows']} rows, answers of the type {part['type']}", "bold"))
        for metric in part["metrics"]:
            values = {each["side"]: value_words(each, metric) for each in metric["values"]}
            lines.append(Content.styled(metric["title"], "$primary"))
            for side in sides:
                said = next((each for each in metric["differences"] if each["side"] == side), None)
                style = {True: "$success", False: "$error"}.get(said["better"], "") if said else ""
                words = f"  {difference_words(said, metric)}" if said else ""
                name = fit(_short(side), max(_NAME, min(40, width - 60)))
                lines.append(Content.assemble(f"  {name} {values[side]}", (words, style)))
        for side, wanted in part.get("confusion", {}).items():
            lines.append(Content.styled(f"Confusion of {one_line(side, 60)}: wanted → answered", "$primary"))
            for label, given in wanted.items():
                said_words = ", ".join(f"{one_line(each, 20)} {times}" for each, times in given.items())
                lines.append(Content(f"  {fit(label, 12)} → {said_words}"))
    if advice := ways.advice(found):
        lines.append(Content.styled(one_line(advice, 2000), "bold"))
    lines += [Content.styled(f"Note: {one_line(note, 2000)}", "$faint") for note in found["notes"]]
    return Content("\n").join(lines)


def _short(side: str) -> str:
    """A side that is a file or a folder without the way there, as in the list of evaluations."""
    return PurePath(side).name if PurePath(side).is_absolute() else side


def verdict(model: str, decision: Decision) -> Content:
    """The verdict on the model: the word, and what every gate found."""
    lines = [Content.styled(f"{decision.word}: {one_line(model, 80)}", "bold")]
    for each in decision.results:
        style = "$error" if not each.good else "$success" if each.state == "passed" else "$faint"
        sign = "✓ " if each.good else "✗ "
        lines.append(Content.assemble((sign, style), f"{each.gate}  {one_line(each.said, 600)}"))
        if not each.good:
            lines.append(Content.styled(f"  {one_line(each.todo, 600)}", "$faint"))
    return Content("\n").join(lines)


def row_line(row: dict[str, Any], width: int) -> Content:
    """`−0.25  What is …`"""
    change = row["difference"]
    word = "     " if change is None else f"{change:+.2f}"
    style = "" if not change else "$error" if change < 0 else "$success"
    return Content.assemble((word, style), "  ", one_line(row["question"], max(10, width - 10)))


def row_texts(row: dict[str, Any], diff: bool) -> Content:
    """Question, reference and answers of a row; with `diff` the words that the first two answers do not share stand
    out."""
    parts: list[Content] = [Content.styled("Question", "bold $primary"), Content(clip(row["question"], 4000))]
    if row["reference"]:
        parts += [Content.styled("Reference", "bold $primary"), Content(clip(row["reference"], 4000))]
    if row["expect"]:
        wanted = ", ".join(row["expect"]["must"]) or "none of " + ", ".join(row["expect"]["must_not"])
        parts += [Content.styled(f"Judge: {row['expect']['judge']}", "bold $primary"), Content(clip(wanted, 1000))]
    shown = [Content(clip(answer["text"], 8000)) for answer in row["answers"]]
    if diff and len(shown) > 1:
        found = word_diff(row["answers"][0]["text"], row["answers"][1]["text"])
        for at, marked in enumerate((found.a, found.b)):
            pieces = [(clip(piece, 8000), "bold underline" if mark else "") for piece, mark in marked]
            shown[at] = Content.assemble(*pieces)
    for answer, words in zip(row["answers"], shown, strict=True):
        score = "" if answer["score"] is None else f"  {row['metric']} {answer['score']:.3g}"
        parts += [Content.styled(one_line(_short(answer["side"]), 60) + score, "bold $primary"), words]
    return Content("\n").join(parts)
