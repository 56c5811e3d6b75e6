"""Which rows taught an answer: the gradient of the adapter on the answer beside its gradient on each row.

The score is the cosine of the two, in float32 over all weights of the adapter. Sources: TracIn, Pruthi et al.,
"Estimating Training Data Influence by Tracing Gradient Descent", https://arxiv.org/abs/2002.08484, with the finished
adapter as its only checkpoint; on adapters and normalised, Xia et al., "LESS", https://arxiv.org/abs/2402.04333.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.core import child
from engine.models.chat_template import Example
from engine.training.config import TrainConfig
from engine.training.preflight import template_of
from engine.training.worker import adapter_files, error_messages, loading, packing

_EVERY = 5  # rows between two reports of progress


def main(request: Path) -> int:
    """`engine.training.worker taught FILE`: sends {"progress": n, "of": m}, then {"scores": {ord: cosine}}.

    FILE is a JSON object: `folder` of the base, `adapter` folder, `config` of the run, `rows` as [ord, messages],
    `answers` as lists of messages that end with the answer. Of several answers, `scores` is a list.
    """
    wanted = json.loads(request.read_text("utf-8"))
    return child.report_errors(lambda: _compute(wanted), error_messages.sentence)


def _compute(wanted: dict[str, Any]) -> None:
    config, folder = TrainConfig.from_json(wanted["config"]), Path(wanted["folder"])
    loading.set_up_process(config.threads)
    loading.quiet()
    template = template_of(folder, config)
    rows = [(ord, template.example(messages, config.max_length)) for ord, messages in wanted["rows"]]
    answers = [template.example(messages, config.max_length) for messages in wanted["answers"]]
    model = loading.load(config, folder, loading.device()).model
    adapter_files.read(model, Path(wanted["adapter"]))

    def progress(done: int) -> None:
        if done % _EVERY == 0:
            child.send({"progress": done, "of": len(rows)})

    child.send({"scores": similarities(model, answers, rows, progress)})


def similarities(
    model: Any,
    answers: Sequence[Example],
    rows: Sequence[tuple[int, Example]],
    progress: Callable[[int], None] = lambda done: None,
) -> list[dict[int, float]]:
    """For each answer the cosine of its gradient with each row's, by the row's number. 0 where nothing is trained.

    Gradients of all answers are kept at once: the adapter's weights in float32 for each.
    """
    with packing.evaluating(model):
        wanted = [_direction(model, answer) for answer in answers]
        found: list[dict[int, float]] = [{} for _ in answers]
        for done, (ord, row) in enumerate(rows, 1):
            direction = _direction(model, row)
            for scores, each in zip(found, wanted, strict=True):
                scores[ord] = float(each @ direction)
            progress(done)
    return found


def _direction(model: Any, row: Example) -> Tensor:
    """The gradient of a row's loss by the adapter's weights, of length one."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not row.n_trained:
        return torch.zeros(sum(weight.numel() for weight in weights), device=weights[0].device)
    (pack,) = packing.pack_shared([row], len(row.ids), weights[0].dtype)
    loss = packing.loss_sum(model, packing.to_device(pack, weights[0].device)) / row.n_trained
    gradients = torch.autograd.grad(loss, weights)
    flat = torch.cat([gradient.flatten().float() for gradient in gradients])
    return flat / flat.norm().clamp(min=1e-12)
