"""DPO, direct preference optimisation: the model learns to prefer the chosen answer of each preference.

The loss of one preference is -log σ(β · margin). The margin is how much more the chosen answer has gained on the
rejected one than under the reference, the model that the run starts from: (log p(chosen) - log p_ref(chosen)) -
(log p(rejected) - log p_ref(rejected)), each the sum over the answer's tokens. At the first step it is 0, and the loss
log 2 = 0.693.

Sources: Rafailov et al., "Direct Preference Optimization", https://arxiv.org/abs/2305.18290; the losses `ipo`, Azar et
al., https://arxiv.org/abs/2310.12036; `hinge`, Zhao et al., "SLiC-HF", https://arxiv.org/abs/2305.10425; `apo_zero`,
D'Oosterlinck et al., "Anchored Preference Optimization", https://arxiv.org/abs/2408.06266.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.training.objectives.base import Objective

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from store.records import SnapshotRow

LOSSES = ("sigmoid", "hinge", "ipo", "apo_zero")
"""What `dpo_loss` may be: names of TRL's DPOConfig."""
UNUSED = {
    "rehearsal": "It would mix answers to learn among judged ones; beta holds the model to where it starts.",
    "lr_trial": "Losses of ten steps say little about a judgement's rate.",
    "packing": "Its rows are padded.",
    "train_turns": "Only the judged answer, which is the last, is trained.",
    "dropout": "The distance to the reference would be blurred by it.",
}
"""Fields that no objective on judged answers uses, and why."""


def _preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    from engine.training.judged import check_preferences  # loads the template engine: not for every command

    return check_preferences(rows, template, config)


DPO = Objective(
    name="dpo",
    title="Prefer answers",
    summary="Direct preference optimisation: prefer the chosen answer of each preference to the rejected one.",
    needs="preferences",
    preflight=_preflight,
    metrics={
        "loss": "loss",
        "val_loss": "validation",
        "accuracy": "preferred",
        "margin": "margin",
        "val_accuracy": "preferred (validation)",
        "val_margin": "margin (validation)",
    },
    fields=frozenset({"beta", "dpo_loss"}),
    unused=UNUSED,
    recipe="preference",
    passes=4 / 3,
)
