"""A short rate trial: ten steps each at a third of the rate, the rate and three times it; the best one trains the run.

A trial of some steps finds a rate that is far off, not the last factor of two: Smith, "Cyclical Learning Rates for
Training Neural Networks", https://arxiv.org/abs/1506.01186 (the range test). Each try begins at the same weights, with
the same rows, and is judged by the loss on rows that it did not see, where there are any.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch

from engine.core.files import read_json, write_json
from engine.models.chat_template import Example
from engine.training.worker import packing
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.optim import MasterAdamW
from engine.training.worker.packing import Packer

STEPS = 10
FACTORS = (1 / 3, 1.0, 3.0)
_HELD_OUT = 32  # rows at most on which a try is judged
_FILE = "rate.json"
_WARMUP = 2  # steps


def rate_of(
    job: TrainingJob, model: Any, device: str, packer: Packer, train: Sequence[Example], val: Sequence[Example]
) -> float:
    """The peak learning rate of a run: its configuration's, or the best of a trial, which is made at its first attempt
    and kept in the run's folder. The model and the random state are as before."""
    config = job.config
    if not config.lr_trial:
        return config.lr
    path = job.out / _FILE
    if found := read_json(path, optional=True).get("lr"):
        return float(found)
    rates = [min(1.0, config.lr * factor) for factor in FACTORS]
    job.reporter.say(f"Trying the learning rates {', '.join(f'{rate:.2g}' for rate in rates)}", phase="trying rates")
    losses = _try(model, device, packer, train, val, rates, config.batch_size, config.seed)
    best = min(range(len(rates)), key=lambda at: losses[at])
    if not math.isfinite(losses[best]):
        best = 0  # all of them diverged: the lowest can do the least harm
    tried = ", ".join(f"{loss:.3f} at {rate:.2g}" for rate, loss in zip(rates, losses, strict=True))
    at_end = best in (0, len(rates) - 1)
    job.reporter.say(
        f"After {STEPS} steps the loss is {tried}: the run takes {rates[best]:.2g}"
        + (f"; a rate further {'down' if best == 0 else 'up'} may be better still" if at_end else ""),
    )
    write_json(
        path, {"lr": rates[best], "rates": rates, "losses": [loss if math.isfinite(loss) else None for loss in losses]}
    )
    return rates[best]


def _try(
    model: Any,
    device: str,
    packer: Packer,
    train: Sequence[Example],
    val: Sequence[Example],
    rates: Sequence[float],
    batch: int,
    seed: int,
) -> list[float]:
    """The loss after a try of each rate, infinite where it is no number."""
    drawn = list(train)
    random.Random(seed).shuffle(drawn)
    held = list(val[:_HELD_OUT])
    if not held and len(drawn) > 2 * batch:
        many = min(_HELD_OUT, len(drawn) // 4)
        held, drawn = drawn[:many], drawn[many:]
    batches = [[drawn[(step * batch + n) % len(drawn)] for n in range(min(batch, len(drawn)))] for step in range(STEPS)]
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    found = []
    was_training = model.training
    with torch.random.fork_rng(devices=[torch.device(device)] if device == "cuda" else []):
        for rate in rates:
            found.append(_one(model, device, packer, batches, held or drawn, rate, weights))
            with torch.no_grad():
                for weight, value in zip(weights, before, strict=True):
                    weight.copy_(value)
                    weight.grad = None
    model.train(was_training)
    return found


def _one(
    model: Any,
    device: str,
    packer: Packer,
    batches: Sequence[Sequence[Example]],
    held: Sequence[Example],
    rate: float,
    weights: list[Any],
) -> float:
    optimizer = MasterAdamW(weights, lr=rate, weight_decay=0.0)
    model.train()
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / (_WARMUP + 1))
        packs = packer(rows)
        trained = max(1, sum(pack.trained for pack in packs))
        for pack in packs:
            (packing.loss_sum(model, packing.to_device(pack, device)) / trained).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    packs = packer(held)
    with packing.evaluating(model), torch.no_grad():
        total = sum(packing.loss_sum(model, packing.to_device(pack, device)).item() for pack in packs)
    loss = total / max(1, sum(pack.trained for pack in packs))
    return loss if math.isfinite(loss) else math.inf
