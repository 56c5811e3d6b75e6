"""A reward model: the base with a head that gives an answer one number, higher for what was preferred.

The loss of a preference is -log σ(r(chosen) - r(rejected)), the Bradley-Terry likelihood; only differences between
answers to one prompt mean something. The last token of the answer is read, the one that ends the turn. It scores
answers (`tuningfork score`) and rewards a run towards grpo or rloo; it cannot chat.

Sources: Bradley and Terry, 1952; Ouyang et al., "Training language models to follow instructions with human feedback",
https://arxiv.org/abs/2203.02155, section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.training.objectives.base import Objective
from engine.training.objectives.dpo import ADAPTED, UNUSED
from engine.training.stop_rules import RESULTS, STOP_RULES
from store.errors import BadInput

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from store.records import SnapshotRow

_SILENT = "A reward model writes no answers that could be asked for."


def _preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    from engine.training.judged import check_preferences  # loads the template engine: not for every command

    return check_preferences(rows, template, config, whole=True)


def _check(config: Any) -> None:
    for name, known in (("stop_when", STOP_RULES), ("result", RESULTS)):
        if getattr(config, name) not in (known[0], "val-loss"):
            raise BadInput(
                f"A reward model cannot be judged by {getattr(config, name)}: {_SILENT[:1].lower()}{_SILENT[1:]}",
                where=name,
                todo=f"Use {known[0]} or val-loss.",
            )


REWARD = Objective(
    name="reward",
    title="Score answers",
    summary="A reward model: learn to score answers as the preferences of a dataset do.",
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
    unused={
        **UNUSED,
        "rehearsal": "A reward model learns no answers.",
        "watch": _SILENT,
        "drift": _SILENT,
        "dropout": "Two answers are compared, and chance should not decide between them.",
    },
    recipe="reward",
    answers=False,
    check=_check,
    rows_of_pass=lambda config: 2 * config.batch_size,
    methods=ADAPTED,
)
