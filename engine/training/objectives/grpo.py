"""GRPO, group relative policy optimisation: reinforcement learning on the model's own answers.

For each prompt of the data the model writes a group of answers, and something rewards each: a reward model, a function
of yours, probes, or a model that judges. An answer's advantage is how far its reward lies from its group's mean, in
standard deviations; its tokens become more likely by that much, or less. β times the KL divergence from the model that
the run started from is added, which keeps it a language model. A group whose answers are all rewarded alike teaches
nothing.

Sources: Shao et al., "DeepSeekMath", https://arxiv.org/abs/2402.03300; the loss over all tokens of a step, Yu et al.,
"DAPO", https://arxiv.org/abs/2503.14476.
"""

from __future__ import annotations

from engine.training.objectives import reinforced
from engine.training.objectives.base import Objective
from engine.training.objectives.dpo import ADAPTED

GRPO = Objective(
    name="grpo",
    title="Earn rewards",
    summary="Reinforcement learning (GRPO): answer the questions of a dataset and learn from what each answer earns.",
    needs="pairs",
    preflight=reinforced.preflight,
    metrics=reinforced.METRICS,
    fields=reinforced.FIELDS,
    unused=reinforced.UNUSED,
    recipe="reinforce",
    chart="reward",
    passes=4.0,
    check=reinforced.check,
    rows_of_pass=reinforced.rows_of_pass,
    methods=ADAPTED,
)
