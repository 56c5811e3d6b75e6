"""RLOO, REINFORCE leave-one-out: reinforcement learning on the model's own answers, without a scale.

As in GRPO the model writes a group of answers to each prompt, and something rewards each. β times how much more likely
an answer has become than under the model that the run started from is taken off its reward: the KL penalty, summed over
its tokens. Its advantage is what is left less the mean of the other answers of its group; a whole answer becomes more
likely by that much, or less. Rewards keep their size: twice the reward is twice the step, where GRPO divides by the
group's spread.

Rewards 1, 0, 0, 3 of a group: the first answer's advantage is 1 - (0 + 0 + 3) / 3 = 0, the second's and the third's
0 - (1 + 0 + 3) / 3 = -4/3, the last one's 3 - 1/3 = 8/3.

Source: Ahmadian et al., "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in
LLMs", https://arxiv.org/abs/2402.14740.
"""

from __future__ import annotations

from engine.training.objectives import reinforced
from engine.training.objectives.base import Objective
from engine.training.objectives.dpo import ADAPTED

RLOO = Objective(
    name="rloo",
    title="Earn rewards, one left out",
    summary="Reinforcement learning (RLOO): as grpo, each answer compared with the mean of the others to its prompt.",
    needs="pairs",
    preflight=reinforced.preflight,
    metrics=reinforced.METRICS,
    fields=reinforced.FIELDS,
    unused=reinforced.UNUSED,
    recipe="leave-one-out",
    chart="reward",
    passes=4.0,
    check=reinforced.check,
    rows_of_pass=reinforced.rows_of_pass,
    methods=ADAPTED,
)
