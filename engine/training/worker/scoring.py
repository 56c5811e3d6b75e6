"""Scores of answers by a finished reward model: for `tuningfork score`, and as the reward of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.core import child
from engine.models.chat_template import ChatTemplate
from engine.training.config import TrainConfig
from engine.training.preflight import template_of
from engine.training.worker import adapter_files, error_messages, loading

_ROWS = 16


def main(request: Path) -> int:
    """`engine.training.worker score FILE`: sends {"progress": n, "of": m}, then {"scores": [...]}.

    FILE is a JSON object: `folder` of the base, `adapter` folder, `config` of the run, `answers` as lists of messages
    that end with the answer.
    """
    wanted = json.loads(request.read_text("utf-8"))
    return child.report_errors(lambda: _compute(wanted), error_messages.sentence)


def _compute(wanted: dict[str, Any]) -> None:
    config = TrainConfig.from_json(wanted["config"])
    loading.set_up_process(config.threads)
    loading.quiet()
    scorer = Scorer(config, Path(wanted["folder"]), Path(wanted["adapter"]))

    def progress(done: int, of: int) -> None:
        child.send({"progress": done, "of": of})

    child.send({"scores": scorer.of_messages(wanted["answers"], progress)})


class Scorer:
    """A reward model in memory: the base that `config` names from `folder`, with the run's adapter and head."""

    def __init__(self, config: TrainConfig, folder: Path, adapter: Path) -> None:
        self._config, self._template = config, template_of(folder, config)
        torch.manual_seed(config.seed)
        self._model = loading.load(config, folder, loading.device()).model
        adapter_files.read(self._model, adapter)
        self._pad = pad_of(self._template)
        self._model.config.get_text_config().pad_token_id = self._pad
        self._model.eval()

    def of_messages(
        self, answers: Sequence[Any], progress: Callable[[int, int], None] = lambda done, of: None
    ) -> list[float]:
        """The score of each conversation's last answer, read as the run read its rows."""
        limit = self._config.max_length
        rows = [self._template.example(messages, limit, last_turn=True).ids for messages in answers]
        return self.of_ids(rows, progress)

    @torch.no_grad()
    def of_ids(
        self, rows: Sequence[Sequence[int]], progress: Callable[[int, int], None] = lambda done, of: None
    ) -> list[float]:
        """The score of each row of tokens: rows of like length share a batch, padded on the right."""
        device = next(self._model.parameters()).device
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        scores = [0.0] * len(rows)
        for at in range(0, len(order), _ROWS):
            part = order[at : at + _ROWS]
            width = max(len(rows[n]) for n in part)
            ids = torch.tensor([[*rows[n], *[self._pad] * (width - len(rows[n]))] for n in part], device=device)
            mask = torch.tensor([[1] * len(rows[n]) + [0] * (width - len(rows[n])) for n in part], device=device)
            for n, value in zip(part, last_scores(self._model, ids, mask), strict=True):
                scores[n] = value
            progress(min(at + _ROWS, len(rows)), len(rows))
        return scores


def pad_of(template: ChatTemplate) -> int:
    """A token to pad rows with that ends none of them. transformers reads the number at the last token that is not
    padding; many models pad with the very token that ends a turn, whose place would be passed over."""
    ending = {template.eot_id, *template.stop_ids}
    return next(id for id in range(len(ending) + 1) if id not in ending)


def last_scores(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """The head's number at the last token of each row."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return [float(value) for value in logits.squeeze(-1)]
