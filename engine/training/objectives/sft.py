"""SFT, supervised fine-tuning: the model learns to write the answers of pairs, token by token.
The loss is the cross-entropy of the answers' tokens and of the token that ends the turn; questions are only read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.training.objectives.base import Objective

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from store.records import SnapshotRow


def _preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    from engine.training.preflight import check  # loads the template engine: not for every command

    return check(rows, template, config)


SFT = Objective(
    name="sft",
    title="Learn answers",
    summary="Supervised fine-tuning: learn to write the answers of a dataset's pairs.",
    needs="pairs",
    preflight=_preflight,
    metrics={"loss": "loss", "val_loss": "validation"},
    fields=frozenset({"accumulation", "neftune"}),
)
