"""GRPO, group relative policy optimisation: reinforcement learning on the model's own answers.

For each prompt of the data the model writes a group of answers, and something rewards each: a reward model, or a
function of yours. An answer's advantage is how far its reward lies from its group's mean, in standard deviations; its
tokens become more likely by that much, or less. β times the KL divergence from the model that the run started from is
added, which keeps it a language model. A group whose answers are all rewarded alike teaches nothing.

Sources: Shao et al., "DeepSeekMath", https://arxiv.org/abs/2402.03300; the loss over all tokens of a step, Yu et al.,
"DAPO", https://arxiv.org/abs/2503.14476.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from engine.training.objectives.base import Objective
from engine.training.objectives.dpo import UNUSED
from store.errors import BadInput

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from engine.training.prompts import AnswerLimits
    from store.records import SnapshotRow


def _preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    from engine.training.prompts import check_prompts  # loads the template engine: not for every command

    return check_prompts(rows, template, cast("AnswerLimits", config))


def _check(config: Any) -> None:
    if config.reward is not None and config.reward_file is not None:
        what = "Answers are rewarded by a reward model or by a function of yours, not by both."
        raise BadInput(what, where="reward", todo="Leave one of them out.")
    for name in ("stop_when", "result"):
        if getattr(config, name) == "val-loss":
            what = "There is no validation loss in grpo: its rows are prompts, and have no answer to measure."
            raise BadInput(what, where=name, todo="Use probes, or leave it out.")


GRPO = Objective(
    name="grpo",
    title="Earn rewards",
    summary="Reinforcement learning (GRPO): answer the questions of a dataset and learn from what each answer earns.",
    needs="pairs",
    preflight=_preflight,
    metrics={
        "reward": "reward",
        "reward_std": "spread of rewards",
        "kl": "distance",
        "answer_tokens": "tokens of an answer",
        "cut_off": "cut off",
        "loss": "loss",
    },
    fields=frozenset({"beta", "reward", "reward_file", "group_size", "answer_tokens", "temperature"}),
    unused=UNUSED
    | {
        "rehearsal": "Answers are the model's own; beta holds it to where it starts.",
        "train_turns": "The answers of the data are not trained.",
    },
    recipe="reinforce",
    passes=4.0,
    check=_check,
)
