"""KTO, Kahneman-Tversky optimisation: the model learns from single answers that were judged good or bad.

The reward of an answer is how much more likely it is than under the reference, the model that the run starts from:
r = log p(answer) - log p_ref(answer). The loss is 1 - σ(β (r - z)) for a good answer and 1 - σ(β (z - r)) for a bad
one. z estimates how far the model has moved from the reference at all: the mean reward of answers that belong to other
prompts of the same batch, at least 0. So a good answer must gain more than any answer does, and a bad one less.

Source: Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", https://arxiv.org/abs/2402.01306.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from engine.training.objectives.base import Objective
from engine.training.objectives.dpo import UNUSED
from store.errors import BadInput

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.judged import FeedbackLimits
    from engine.training.preflight import Preflight, RowLimits
    from store.records import SnapshotRow


def _preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    from engine.training.judged import check_feedback  # loads the template engine: not for every command

    return check_feedback(rows, template, cast("FeedbackLimits", config))


def _check(config: Any) -> None:
    if config.batch_size < 2:
        what = "KTO compares each answer with the others of its batch, so one row per step is too few."
        raise BadInput(what, where="batch_size", todo="Choose a batch size of 2 or more.")


KTO = Objective(
    name="kto",
    title="Learn from thumbs",
    summary="Kahneman-Tversky optimisation: learn from answers that were judged good or bad, one by one.",
    needs="feedback",
    preflight=_preflight,
    metrics={
        "loss": "loss",
        "val_loss": "validation",
        "margin": "margin",
        "reward_good": "reward of good",
        "reward_bad": "reward of bad",
        "kl": "distance",
    },
    fields=frozenset({"beta", "good_weight", "bad_weight"}),
    unused=UNUSED,
    recipe="feedback",
    passes=2.0,
    check=_check,
)
