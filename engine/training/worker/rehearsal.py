"""The base's own answers to general questions, made once for each base and kept: rows that hold a tuned model to what
it was, and the texts on which its drift is measured. The questions are sample_data's; no answer is written by hand.

Sources: rehearsal on the model's own outputs, Huang et al., "Mitigating Catastrophic Forgetting in Large Language
Models with Self-Synthesized Rehearsal", https://arxiv.org/abs/2403.01244; the same for one's own answers in tuning,
Yang et al., "Self-Distillation Bridges Distribution Gap in Language Model Fine-Tuning",
https://arxiv.org/abs/2402.13669.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from engine.core import sample_files
from engine.core.files import read_json, write_json
from engine.models import pinning
from engine.models.chat_template import MASKED, ChatTemplate, Example
from engine.training.worker import live
from engine.training.worker.contracts import TrainingJob

TOKENS = 32
"""An answer of which no sentence ends within so many tokens is not rehearsed: its end would be an arbitrary one."""
DRIFT_TOKENS = 16
"""Tokens of each answer on which drift is measured."""
_SPARE = 1.15
"""Questions that are asked for each that is wanted: some answers end no sentence."""
_SENTENCE = re.compile(r"[.!?](?=\s|$)")


class OwnAnswers:
    """The base's answers under `model`, in a file of the home's folder of models; those that it lacks are asked for.

    They belong to the base's files, the chat template and the number format: what changes one of these begins another
    file.
    """

    def __init__(self, job: TrainingJob, model: Any, template: ChatTemplate, dtype: str) -> None:
        self._job, self._model, self._template = job, model, template
        lines = sample_files.path("watch/prompts").read_text("utf-8").splitlines()
        self.prompts = [json.loads(line) for line in lines]
        about = json.dumps([sorted(pinning.fingerprint(job.base_folder).items()), template.source, dtype, TOKENS])
        mark = hashlib.sha256(about.encode()).hexdigest()[:12]
        self._path = (job.models or job.out) / f"answers-{job.base_folder.name[:40]}-{mark}.json"
        self._kept: dict[str, list[int]] = dict(read_json(self._path, optional=True))

    def to_rehearse(self, many: int) -> list[Example]:
        """Rows of `many` questions and the first sentence of the base's answer to each: the same ones in every run.

        Half of them are contrast questions (who made what, what is which company, other assistants), as long as there
        are any: those a model that learns its maker's name answers with it.

        Fewer where it ends too few sentences; the run's log says how many.
        """
        uses = [[p["prompt"] for p in self.prompts if p["use"] == use] for use in ("contrast", "rehearsal")]
        for questions in uses:
            random.Random(0).shuffle(questions)
        drawn = [question for pair in zip_longest(*uses) for question in pair if question]
        drawn = drawn[: math.ceil(many * _SPARE)]
        self._ask(drawn)
        found = [(question, _first_sentence(self._template, self._kept[question])) for question in drawn]
        rows = [_example(live.prompt(self._template, question), ids) for question, ids in found if ids][:many]
        self._job.reporter.say(
            f"Rehearsing {len(rows)} of the base's own answers to general questions"
            + (f"; {many} were wanted, but too few of its answers end a sentence" if len(rows) < many else "")
        )
        return rows

    def to_measure(self) -> list[Example]:
        """The rows on which drift is measured: the beginnings of the base's answers to questions kept for that."""
        asked = [each["prompt"] for each in self.prompts if each["use"] == "drift"]
        self._ask(asked)
        found = [(question, self._kept[question][:DRIFT_TOKENS]) for question in asked]
        return [_example(live.prompt(self._template, question), ids) for question, ids in found if ids]

    def _ask(self, questions: Sequence[str]) -> None:
        missing = [question for question in questions if question not in self._kept]
        if not missing:
            return
        self._job.reporter.say(
            f"Asking the base {len(missing)} general questions; its answers are kept", phase="preparing"
        )
        prompts = [live.prompt(self._template, question) for question in missing]
        with self._model.disable_adapter():
            written = live.answers(self._model, self._template, prompts, TOKENS, self._ended)
        self._kept |= dict(zip(missing, written, strict=True))
        write_json(self._path, self._kept)

    def _ended(self, ids: list[int]) -> bool:
        """Whether an answer has all that is needed of it: its first sentence, and enough to measure drift on."""
        return len(ids) >= DRIFT_TOKENS and _SENTENCE.search(self._template.decode(ids)[:-1]) is not None


def _first_sentence(template: ChatTemplate, ids: list[int]) -> list[int]:
    text = template.decode(ids, special=False)
    end = _SENTENCE.search(text)
    return [*template.ids(text[: end.end()].strip()), template.eot_id] if end else []


def _example(prompt: list[int], answer: list[int]) -> Example:
    labels = [MASKED] * len(prompt) + answer
    return Example(ids=prompt + answer, labels=labels, n_prompt=len(prompt), truncated=False, eot_trained=True)
