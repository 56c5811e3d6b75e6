"""Measures a run between its steps: validation loss, drift from the base, probes answered by the live adapter. Ends it
early by its rule, and keeps the weights of the best measurement, which become its result.

Drift is KL(tuned || base), the mean over the tokens of the base's own answers to general questions that are never
trained on. Adapter on and off are computed on the same shared-prefix packs; the base's side does not change, and is
kept where it fits in memory.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from engine.core.files import read_json, write_json
from engine.models.chat_template import ChatTemplate
from engine.training import stop_rules, watched_probes
from engine.training.estimate import MEASUREMENTS
from engine.training.stop_rules import Measurement
from engine.training.worker import adapter_files, live, memory, packing, sharding
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.packing import Pack
from store.records import Probe
from store.terms import passes

ANSWER_TOKENS = 24
"""Tokens of an answer to a probe at most: short ones show a name or a fact, and cost little."""
_STATE, _BEST = "watch.json", "best"
_KEPT_BYTES = 256 * 1024**2
_AT_A_TIME = 64
"""Positions whose divergence is computed together: each has the whole vocabulary."""


def probe_sets(job: TrainingJob) -> dict[str, list[Probe]]:
    """The probes that this run asks, by set: those kept in its folder. Only the first process asks them, or all of them
    together where the model is sharded."""
    if not _measures(job):
        return {}
    return watched_probes.from_json(read_json(job.out / watched_probes.FILE, optional=True))


def _measures(job: TrainingJob) -> bool:
    """Whether this process measures: the first one does it for all, unless none can without the others."""
    return job.ranks.first or job.config.shard


class Drift:
    """KL(tuned || base) on packs, in nats per token; see the module."""

    def __init__(self, model: Any, device: str, packs: Sequence[Pack]) -> None:
        self._model, self._packs = model, [packing.to_device(pack, device) for pack in packs]
        vocabulary = int(model.config.get_text_config().vocab_size)
        self._keep = sum(pack.trained for pack in packs) * vocabulary * 4 <= _KEPT_BYTES
        self._base: list[Tensor] = []

    @torch.no_grad()
    def measure(self) -> float:
        """How far the adapter as it is moves the model from its base."""
        with packing.evaluating(self._model):
            if self._keep and not self._base:
                self._base = [self._of_base(pack) for pack in self._packs]
            total = 0.0
            for number, pack in enumerate(self._packs):
                tuned = packing.log_probabilities(self._model, pack)
                base = self._base[number] if self._keep else self._of_base(pack)
                parts = zip(tuned.split(_AT_A_TIME), base.split(_AT_A_TIME), strict=True)
                total += sum(float((one.exp() * (one - other)).sum()) for one, other in parts)
        return total / max(1, sum(pack.trained for pack in self._packs))

    def _of_base(self, pack: Pack) -> Tensor:
        with self._model.disable_adapter():
            return packing.log_probabilities(self._model, pack)


class Watcher:
    """Measures at the steps that are due, and remembers what it saw across attempts.

    `validate` gives the validation loss after a step, None when there is nothing to validate on.
    """

    def __init__(
        self,
        job: TrainingJob,
        model: Any,
        template: ChatTemplate,
        total: int,
        validate: Callable[[int], float | None],
        drift: Drift | None,
    ) -> None:
        self._job, self._model, self._template, self._total = job, model, template, total
        self._validate, self._drift = validate, drift
        self._probes = probe_sets(job)
        self._prompts = {
            name: [live.prompt(template, probe.question, probe.system) for probe in asked]
            for name, asked in self._probes.items()
        }
        self.seen: list[Measurement] = []
        self.seconds = 0.0
        self._remember()
        self._say_what_lacks()

    @property
    def active(self) -> bool:
        """Whether there is more to measure than the validation loss, or a rule that needs it."""
        config = self._job.config
        return bool(self._probes or self._drift or config.stop_when != "never" or config.result != "last")

    def due(self, step: int) -> bool:
        """Whether to measure after this step."""
        every = self._job.config.measure_every or max(1, self._total // MEASUREMENTS)
        return step % every == 0 or step == self._total

    def measure(self, step: int) -> str:
        """Measure, report, keep the best weights; returns why the run ends now, "" when it goes on."""
        val_loss = self._validate(step)
        if not _measures(self._job):
            return ""
        if not self.active or (self.seen and self.seen[-1].step >= step):
            return ""
        began = time.monotonic()
        memory.give_back()  # answers are written in blocks of other sizes than steps take: each would keep its own
        drift = self._drift.measure() if self._drift else None
        passed = self._ask()
        memory.give_back()
        if self._job.config.shard:  # all of them must come to the same decisions
            drift, passed = self._job.ranks.from_first(lambda: (drift, passed))
        now = Measurement(step, val_loss, drift, passed)
        self.seen.append(now)
        self.seconds += time.monotonic() - began
        values = {stop_rules.PROBE_METRIC + name: share for name, share in passed.items()}
        self._job.reporter.metrics(step, {**values, **({"drift": drift} if drift is not None else {})})
        self._job.reporter.say(f"Step {step}: {_words(now, self._probes)}", step=step, phase="training")
        if self._job.config.result != "last" and stop_rules.best(self._job.config.result, self.seen) is now:
            self._keep_best(now)
        if self._job.ranks.first:
            write_json(self._job.out / _STATE, {"seen": [asdict(each) for each in self.seen]})
        return stop_rules.reason_to_stop(self._job.config.stop_when, self.seen)

    def best_step(self, step: int) -> int:
        """The step whose weights are the run's result, when it has ended after `step`."""
        if self._job.config.result == "last" or not self.seen:
            return step
        best = stop_rules.best(self._job.config.result, self.seen).step
        kept = read_json(self._job.out / _BEST / "step.json", optional=True).get("step")
        return best if kept == best else step

    def take_best(self, step: int) -> int:
        """Put the weights of the best measurement into the model, and say so; returns the step they are from."""
        best = self.best_step(step)
        if best != step:
            adapter_files.read(self._model, self._job.out / _BEST)
            words = _words(next(each for each in self.seen if each.step == best), self._probes)
            self._job.reporter.say(f"The result is step {best} of {step}, by {self._job.config.result}: {words}")
        return best

    def say_cost(self) -> None:
        """Say how long the measurements took."""
        if self.seen and self.seconds >= 1:
            n = len(self.seen)
            measured = f"{n} measurement{'s' if n != 1 else ''}"
            self._job.reporter.say(f"{measured} took {self.seconds:.1f} s of the run")

    def forget_best(self) -> None:
        """Delete the kept weights: the finished adapter has them."""
        shutil.rmtree(self._job.out / _BEST, ignore_errors=True)

    def _ask(self) -> dict[str, float]:
        """The share of each set that passes; all sets are answered in one batch."""
        prompts = [prompt for each in self._prompts.values() for prompt in each]
        written = iter(live.answers(self._model, self._template, prompts, ANSWER_TOKENS) if prompts else ())
        found = {}
        for name, asked in self._probes.items():
            good = [passes(probe, self._template.decode(next(written), special=False)) for probe in asked]
            found[name] = sum(good) / len(good)
        return found

    def _keep_best(self, now: Measurement) -> None:
        weights = sharding.trained_weights(self._model, self._job.ranks.first)
        if not self._job.ranks.first:
            return
        part, final = self._job.out / f"{_BEST}.part", self._job.out / _BEST
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        adapter_files.write(self._model, part, weights)
        write_json(part / "step.json", {"step": now.step})
        shutil.rmtree(final, ignore_errors=True)
        part.replace(final)

    def _say_what_lacks(self) -> None:
        """Warn where a rule or the choice of the result looks at something that this run does not measure."""
        config = self._job.config
        lacks = {
            "val-loss": "" if any(row.split == "val" for row in self._job.rows) else "no row is in the val split",
            "probes": "" if self._probes else "no probes are asked",
            "drift": "" if self._drift else "drift is not measured",
            "learned": "" if stop_rules.IDENTITY in self._probes else "the identity probes are not asked",
        }
        for what, value, then in (
            ("Stop when", config.stop_when, "the run takes all of its steps"),
            ("Result", config.result, "the result is the last step"),
        ):
            if lacks.get(value):
                self._job.reporter.say(f"{what} is {value}, but {lacks[value]}: {then}.", level="warning")

    def _remember(self) -> None:
        """What earlier attempts saw, up to the step that this one continues from."""
        resumed = self._job.resume_from
        if not _measures(self._job):
            return
        if resumed is None:
            if self._job.ranks.first:
                (self._job.out / _STATE).unlink(missing_ok=True)
            return
        step = int(read_json(resumed / "manifest.json", optional=True).get("step", 0))
        for each in read_json(self._job.out / _STATE, optional=True).get("seen", ()):
            if each["step"] <= step:
                self.seen.append(Measurement(**each))


def _words(now: Measurement, sets: Mapping[str, Sequence[Probe]]) -> str:
    """`identity 19 of 20, no leak 12 of 12, drift 0.213`."""
    parts = [
        f"{watched_probes.title(name)} {round(share * len(sets[name]))} of {len(sets[name])}"
        for name, share in now.passed.items()
    ]
    parts += [f"drift {now.drift:.3f}"] if now.drift is not None else []
    parts += [f"validation loss {now.val_loss:.4f}"] if now.val_loss is not None else []
    return ", ".join(parts)
