"""Metrics: what is measured on answers. A module for each family, a line for each metric in `_MADE`, and which of them
belong to which type of answer in `BY_TYPE`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.evaluation.metrics import labels, matching, overlap, running
from engine.evaluation.metrics.answer_types import AnswerType, labels_of
from engine.evaluation.metrics.base import AnswerMetric, ScoredAnswer
from store.errors import BadInput

__all__ = ["BY_TYPE", "NAMES", "AnswerMetric", "ScoredAnswer", "chosen", "primary"]

_Maker = Callable[[AnswerType, Sequence[str]], AnswerMetric]

_MADE: dict[str, _Maker] = {
    "exact": lambda kind, refs: matching.ExactMatch(),
    "match": lambda kind, refs: matching.NormalisedMatch(),
    "token_f1": lambda kind, refs: matching.TokenF1(),
    "accuracy": lambda kind, refs: labels.Accuracy(*_classes(kind, refs)),
    "macro_f1": lambda kind, refs: labels.MacroF1(*_classes(kind, refs)),
    "label_found": lambda kind, refs: labels.LabelFound(*_classes(kind, refs)),
    "mae": lambda kind, refs: labels.MeanAbsoluteError(*_classes(kind, refs)),
    "bleu": lambda kind, refs: overlap.CorpusBleu(refs),
    "chrf": lambda kind, refs: overlap.CorpusChrf(),
    "rouge1": lambda kind, refs: overlap.Rouge("rouge1"),
    "rouge2": lambda kind, refs: overlap.Rouge("rouge2"),
    "rougel": lambda kind, refs: overlap.Rouge("rougeL"),
    "passed": lambda kind, refs: running.Passed(),
    "loss": lambda kind, refs: running.ReferenceLoss(),
    "perplexity": lambda kind, refs: running.Perplexity(),
    "length": lambda kind, refs: running.AnswerLength(),
    "prompt_length": lambda kind, refs: running.PromptLength(),
    "stop_rate": lambda kind, refs: running.StopRate(),
    "seconds": lambda kind, refs: running.Latency(),
    "tokens_per_s": lambda kind, refs: running.Speed(),
}
NAMES = tuple(_MADE)
"""Every metric by its name."""
_ALWAYS = ("loss", "perplexity", "length", "prompt_length", "stop_rate", "seconds", "tokens_per_s")
BY_TYPE: dict[AnswerType, tuple[str, ...]] = {
    "rating": ("mae", "accuracy", "macro_f1", "label_found", *_ALWAYS),
    "label": ("accuracy", "macro_f1", "label_found", *_ALWAYS),
    "short": ("token_f1", "match", "exact", "chrf", *_ALWAYS),
    "text": ("chrf", "token_f1", "bleu", "rouge1", "rouge2", "rougel", *_ALWAYS),
    "check": ("passed", "length", "stop_rate"),
}
"""The metrics of each type of answer; the first is the one that decides."""
_NEEDS = {"mae": ("rating",), "accuracy": ("rating", "label"), "macro_f1": ("rating", "label"),
          "label_found": ("rating", "label"), "passed": ("check",)}  # fmt: skip


def chosen(kind: AnswerType, references: Sequence[str], names: Sequence[str] = ()) -> list[AnswerMetric]:
    """The metrics of a type of answer, or those that are named, made for these references.

    BadInput for a name that there is not, or one that does not fit the type.
    """
    check(kind, names)
    return [_MADE[name](kind, references) for name in names or BY_TYPE[kind]]


def check(kind: AnswerType, names: Sequence[str]) -> None:
    """BadInput for a metric that there is not, or that does not fit the type of answer."""
    for name in names:
        if name not in _MADE:
            raise BadInput(f"There is no metric {name!r}.", where="metrics", todo=f"Use some of: {', '.join(NAMES)}.")
        if kind not in _NEEDS.get(name, (kind,)):
            what = f"The metric {name} needs answers of the type {' or '.join(_NEEDS[name])}; these are {kind}."
            raise BadInput(what, where="metrics", todo=f"Choose the type yourself, or some of: {_fitting(kind)}.")


def primary(kind: AnswerType, names: Sequence[str] = ()) -> str:
    """The metric that decides which model is better, and by which rows are sorted."""
    return (names or BY_TYPE[kind])[0]


def _fitting(kind: AnswerType) -> str:
    return ", ".join(name for name in NAMES if kind in _NEEDS.get(name, (kind,)))


def _classes(kind: AnswerType, references: Sequence[str]) -> tuple[list[str], bool]:
    return labels_of(kind, references), kind == "rating"
