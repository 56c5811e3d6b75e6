"""What objectives have in common that learn from rewards for the model's own answers: their fields, figures and checks.
What each of them makes of the rewards is its own module's: grpo.py, rloo.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from engine.training.objectives.dpo import UNUSED as UNUSED_BY_JUDGED
from store.errors import BadInput

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from engine.training.prompts import AnswerLimits
    from store.records import SnapshotRow

SOURCES = {
    "reward": "a reward model",
    "reward_file": "a function of yours",
    "reward_probes": "probes",
    "reward_judge": "a model that judges",
}
"""The fields of a TrainConfig that each name what rewards answers, and what that is. A run takes one of them."""

FIELDS = frozenset({"beta", *SOURCES, "reward_rubric", "group_size", "answer_tokens", "temperature"})
METRICS = {
    "reward": "reward",
    "reward_std": "spread of rewards",
    "kl": "distance",
    "answer_tokens": "tokens of an answer",
    "cut_off": "cut off",
    "loss": "loss",
}
UNUSED = UNUSED_BY_JUDGED | {
    "rehearsal": "Answers are the model's own; beta holds it to where it starts.",
    "train_turns": "The answers of the data are not trained.",
}


def preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    """See Objective.preflight."""
    from engine.training.prompts import check_prompts  # loads the template engine: not for every command

    return check_prompts(rows, template, cast("AnswerLimits", config))


def check(config: Any) -> None:
    """BadInput for a TrainConfig with two things that reward, or that waits for a validation loss."""
    given = [name for name in SOURCES if getattr(config, name) is not None]
    if len(given) > 1:
        named = " and ".join(f"{SOURCES[name]} ({name})" for name in given)
        what = f"Answers are rewarded by one thing, and here by {len(given)}: {named}."
        raise BadInput(what, where=given[1], todo="Leave all but one out.")
    for name in ("stop_when", "result"):
        if getattr(config, name) == "val-loss":
            kind = config.objective
            what = f"There is no validation loss in {kind}: its rows are prompts, and have no answer to measure."
            raise BadInput(what, where=name, todo="Use probes, or leave it out.")


def rows_of_pass(config: Any) -> int:
    """See Objective.rows_of_pass: a step takes all answers to its prompts at once."""
    return int(config.batch_size * config.group_size)
