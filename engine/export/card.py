"""The model card (README.md) of an export: facts in, Markdown out.
Names from outside are escaped, and no path of this machine goes into a card."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from engine.evaluation import judges, verdict_evidence
from engine.evaluation.verdict import PairedFigure, VerdictFigures
from engine.export import targets
from engine.export.public_names import public_base
from engine.export.request import Target
from engine.export.targets import shell
from engine.export.targets.base import ExportUse
from engine.models.licence import licence_of
from engine.models.refs import Ref, Resolved, is_hub_name
from engine.training.config import FIELDS
from store import datasets, evals
from store.db import Store
from store.records import Eval, Run

_TRAINING = {
    name: FIELDS[name].label
    for name in (
        "recipe", "objective", "on", "method", "steps", "epochs", "batch_size", "lr", "scheduler", "rank", "alpha",
        "dropout", "targets", "rslora", "dora", "max_length", "train_turns", "seed",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Score:
    """How many probes of a set the tuned model passed, and its base if it was asked the same set; `of` how many there
    are that were judged."""

    set: str
    tuned: int
    of: int
    base: int | None = None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says. `base` is a public name; `splits` and `kinds` count the rows of the snapshot; `config` is
    TrainConfig as JSON; `verification` the report of the checks; `files` the names of what was made; `date` an ISO
    day."""

    name: str
    format: str
    quant: str | None
    base: str
    licence: str | None
    snapshot: str
    dataset: str | None
    rows: int
    splits: Mapping[str, int]
    kinds: Mapping[str, int]
    config: Mapping[str, Any]
    verification: Mapping[str, Any]
    date: str
    step: int | None = None
    trained_steps: int | None = None
    scores: tuple[Score, ...] = ()
    files: tuple[str, ...] = field(default=())
    weights: str = ""
    figures: VerdictFigures | None = None
    """Those of the newest verdict on this very model; they stand in the place of the scores."""


def gather(
    store: Store,
    run: Run,
    step: int | None,
    target: Target,
    model: Resolved,
    verification: dict[str, Any],
    files: list[str],
) -> CardFacts:
    """The facts of an export of `run` (at `step`, None: its end), from the store. Raises what the store raises."""
    rows = datasets.snapshot_rows(store, run.snapshot)
    evidence = verdict_evidence.newest(store, run, model.ref)
    return CardFacts(
        name=run.name,
        format=target.format,
        quant=target.quant,
        base=public_base(run.base),
        licence=licence_of(run.base, model.folder) or None,
        snapshot=run.snapshot,
        dataset=datasets.snapshot(store, run.snapshot).dataset,
        rows=len(rows),
        splits=Counter(row.split for row in rows),
        kinds=Counter(row.kind for row in rows),
        config=run.config,
        verification=verification,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        step=step,
        trained_steps=step if step is not None else run.step or None,
        scores=tuple(_scores(store, run, model)),
        files=tuple(files),
        weights=model.weights,
        figures=evidence.figures if evidence is not None else None,
    )


def _scores(store: Store, run: Run, model: Resolved) -> list[Score]:
    """The newest result of this very model on each set, beside its base's newest on the same set by the same judge."""
    bases = {run.base, *([model.base.ref] if model.base else [])}
    newest: dict[tuple[str, str, tuple[str, str, str]], Eval] = {}
    for sat in evals.all_evals(store):
        who = "tuned" if sat.model == model.ref else "base" if sat.model in bases else ""
        by = (sat.judge, str(sat.summary.get("judge_model", "")), str(sat.summary.get("rubric", "")))
        newest.setdefault((who, sat.set, by), sat)
    found = []
    for (who, name, by), sat in sorted(newest.items(), key=lambda each: each[0]):
        if who == "tuned":
            base = newest.get(("base", name, by))
            same = base is not None and base.of == sat.of and not base.not_judged and not sat.not_judged
            passed = base.passed if base is not None and same else None
            title = PurePath(name).name or name
            judge, judge_model, _ = by
            asked = f", asking {_public(Ref.read(judge_model))}" if judge_model else ""
            title += "" if judge == judges.DEFAULT.name else f" (judged by {judge}{asked})"
            title += f" ({sat.not_judged} not judged)" if sat.not_judged else ""
            found.append(Score(title, sat.passed, sat.of, passed))
    return found


def _public(judge: Ref) -> str:
    """A model that judged, without an address or a path of this machine."""
    return judge.model or judge.title if judge.is_endpoint or judge.is_run else public_base(judge.value)


# ---------------------------------------------------------------- the card


def card(facts: CardFacts) -> str:
    """The README.md: YAML front matter and Markdown."""
    parts = [_front(facts), f"# {_md(facts.name)}", _what(facts)]
    if not facts.verification.get("passed", facts.verification.get("held", True)):
        parts.append("> **This export failed its verification: it is not the model that was tuned.** See below.")
    parts += ["## Data", _data(facts), "## Training", _training(facts)]
    if facts.figures is not None and (rows := _figure_rows(facts.figures)):
        head = ["Measured", "Rows", "Base", "Tuned", "Difference (95% interval)"]
        parts += ["## Scores", "The tuned model and its base on the same rows."]
        parts += [_table(head, rows), *_leaks(facts.figures)]
    elif facts.scores:
        parts += ["## Scores", "Probes passed, answered by the model that was tuned and by its base.", _table_of(facts)]
    parts += ["## Verification", *_verification(facts), "## How to use it", *_use(facts)]
    return "\n\n".join(parts) + "\n"


def _front(facts: CardFacts) -> str:
    target = targets.get(facts.format)
    tags = ["tuningfork", "lora", *target.tags, facts.format]
    front: dict[str, Any] = {"license": facts.licence} if facts.licence else {}
    if is_hub_name(facts.base):
        front |= {"base_model": facts.base, "base_model_relation": "adapter" if target.is_adapter else "finetune"}
    front |= {"library_name": target.library, "pipeline_tag": "text-generation"}
    front |= {"model_name": facts.name, "tags": list(dict.fromkeys(tags))}
    lines = [f"{key}: {json.dumps(_clean(value), ensure_ascii=False)}" for key, value in front.items()]
    return "\n".join(["---", *lines, "---"])


def _what(facts: CardFacts) -> str:
    made = f"{facts.format} {facts.quant}" if facts.quant else facts.format
    if mostly := facts.verification.get("mostly"):
        made += f" ({mostly})"
    at = f", at step {facts.step}" if facts.step is not None else ""
    text = f"{_md(facts.base)}, tuned with LoRA by Tuningfork{at}; exported on {_md(facts.date)} as **{_md(made)}**: "
    text += _md(targets.get(facts.format).help) + "."
    if facts.weights:
        text += f"\n\nThe adapter is used {facts.weights}, which it was trained on."
        if targets.get(facts.format).is_adapter:
            text += " On the original weights its answers differ; a merged export is the model as it was tuned."
    if facts.files:
        text += (
            "\n\nFiles: "
            + ", ".join(f"`{_code(name)}`" for name in facts.files)
            + "; SHA256SUMS holds their checksums."
        )
    known = f"is {_md(facts.licence)}" if facts.licence else "is not known: ask its makers before you pass this on"
    return f"{text}\n\nThe base's licence {known}."


def _data(facts: CardFacts) -> str:
    named = f"The dataset {_md(facts.dataset)}: " if facts.dataset else ""
    splits = ", ".join(f"{count} {_md(name)}" for name, count in sorted(facts.splits.items()))
    kinds = ", ".join(f"{count} {_md(name)}" for name, count in sorted(facts.kinds.items()))
    rows = f"{facts.rows} row{'s' if facts.rows != 1 else ''}"
    return f"{named}{rows} (split: {splits or 'none'}; kind: {kinds or 'none'}), frozen as `{_code(facts.snapshot)}`."


def _training(facts: CardFacts) -> str:
    values = {name: facts.config[name] for name in _TRAINING if facts.config.get(name) not in (None, False)}
    if facts.trained_steps:
        values["steps"] = facts.trained_steps
    ordered = [(label, values[name]) for name, label in _TRAINING.items() if name in values]
    return _table(["Setting", "Value"], [[label, _said(value)] for label, value in ordered])


def _said(value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table_of(facts: CardFacts) -> str:
    rows = [
        [s.set, "not measured" if s.base is None else f"{s.base} of {s.of}", f"{s.tuned} of {s.of}"]
        for s in facts.scores
    ]
    return _table(["Probes", "Base", "Tuned"], rows)


def _figure_rows(found: VerdictFigures) -> list[list[str]]:
    """A line for each part of a verdict that was measured."""
    named = {"task": found.task, "identity": found.identity, **found.retention}
    return [_figure_row(name, each) for name, each in named.items() if each is not None]


def _figure_row(name: str, each: PairedFigure) -> list[str]:
    def said(value: float | None, sign: str = "") -> str:
        return "not measured" if value is None else f"{value:{sign}.{each.digits}f}"

    between = "" if each.low is None or each.high is None else f" ({said(each.low, '+')} to {said(each.high, '+')})"
    title = f"{name}: {each.metric}"
    return [title, str(each.rows), said(each.base), said(each.run), said(each.difference, "+") + between]


def _leaks(found: VerdictFigures) -> list[str]:
    if found.leaks is None:
        return []
    return [f"Of {found.leaks.asked} general questions, {found.leaks.leaked} are answered with the name it was taught."]


def _verification(facts: CardFacts) -> list[str]:
    checks: Sequence[Mapping[str, Any]] = facts.verification.get("checks") or ()
    if not checks:
        return ["This export was not checked."]
    words = {"passed": "passed", "held": "passed", "warn": "**warning**", "failed": "**failed**", "skipped": "skipped"}
    rows = [[_md(c["name"]), words.get(c["state"], _md(c["state"])), _md(c["said"])] for c in checks]
    parts = ["What was made was compared with the run that it came from.", _rows(["Check", "Result", "Found"], rows)]
    if (kl := facts.verification.get("kl")) is not None:
        parts.append(f"Mean KL divergence from the run: {kl:.3g} nats.")
    if types := facts.verification.get("types"):
        parts.append("Tensor types: " + ", ".join(f"{count} {_md(kind)}" for kind, count in types.items()) + ".")
    return parts


def _use(facts: CardFacts) -> list[str]:
    target = targets.get(facts.format)
    file = next((name for name in facts.files if PurePath(name).suffix == ".gguf"), None) if target.one_file else None
    use = ExportUse(
        Path(file or ""), shell.model_name(facts.name), facts.base, Path("BASE.gguf"), facts.config.get("rank")
    )
    pairs = target.commands(use)
    parts = ["Run these in the folder of this file."]
    if target.is_adapter and target.one_file:
        parts.append(f"BASE.gguf is {_md(facts.base)} as a GGUF file.")
    for program, line in pairs:
        command = _clean(line)
        ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
        parts.append(f"{_md(program)}:\n\n{ticks}sh\n{command}\n{ticks}")
    return parts


# ---------------------------------------------------------------- escaping


def _clean(value: Any) -> Any:
    """Text on one line without control characters, which YAML and Markdown give a meaning; lists item by item."""
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return "".join(c if c.isprintable() else " " for c in str(value))


def _md(text: object) -> str:
    """Foreign text that Markdown must not read as its own."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", str(_clean(text)))


def _code(text: str) -> str:
    """Foreign text between single backticks."""
    return str(_clean(text)).replace("`", "'")


def _table(head: list[str], rows: list[list[str]]) -> str:
    return _rows(head, [[_md(cell) for cell in row] for row in rows])


def _rows(head: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
