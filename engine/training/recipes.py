"""Recipes: named sets of hyperparameters, scaled by the size of the model.
Only the values and the reasons for them; config.py checks them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.training.config import FIELDS, TrainConfig, continued, used_by
from engine.training.methods import AUTO, meant_by
from engine.training.objectives import OBJECTIVES, why_unused
from store.errors import BadInput, NotFound
from store.suggest import hint

DEFAULT: str = FIELDS["recipe"].default


@dataclass(frozen=True, slots=True)
class Recipe:
    """`changes` are TrainConfig fields for a model of some hundred million weights; larger ones get a lower rate.
    `sources` say where its numbers are from: papers, reports, or our own measurements."""

    name: str
    summary: str
    changes: Mapping[str, Any]
    sources: tuple[str, ...] = ()


_LORA = (
    "Schulman and Thinking Machines Lab, LoRA Without Regret, 2025, https://thinkingmachines.ai/blog/lora/: adapt all"
    " linear layers; about ten times the rate of full tuning, and more in short runs; batches below 32"
)
_VOTES = "benchmarks/preference.py: our own runs from 60 votes on the default model, in benchmarks/RESULTS.md"
_OWN = "docs/recipe-log.md: our own runs on the default model"

_OWN_ANSWERS = {
    "steps": 24,
    "batch_size": 4,
    "group_size": 6,
    "answer_tokens": 48,
    "lr": 1e-4,
    "scheduler": "constant",
    "warmup": 0.1,
    "rank": 16,
    "alpha": 32.0,
}
"""What runs that learn from their own answers have in common."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "identity",
            "Teach a model its name and maker in few steps. It rehearses the base's own answers, asks itself as it"
            " trains, and stops when the name is learned and drift from the base rises.",
            # Steps, not epochs: ten rows need about as many as a hundred. Measured: docs/recipe-log.md.
            {
                "steps": 66,
                "batch_size": 8,
                "lr": 1e-3,
                "scheduler": "linear",
                "warmup": 0.1,
                "rank": 16,
                "alpha": 32.0,
                "targets": "all-linear",
                "rehearsal": 0.6,
                "watch": "identity,general,leaks",
                "drift": True,
                "measure_every": 22,
                "stop_when": "learned",
                "result": "learned",
            },
            (_OWN, _LORA),
        ),
        Recipe(
            "style",
            "Teach a tone or a format from some hundred examples, without new facts: two passes, a small rank.",
            {
                "epochs": 2.0,
                "batch_size": 8,
                "lr": 3e-4,
                "scheduler": "linear",
                "warmup": 0.1,
                "rank": 8,
                "alpha": 16.0,
                "rehearsal": 0.25,
                "drift": True,
                "result": "val-loss",
            },
            (
                _LORA,
                "Zhou et al., LIMA: Less Is More for Alignment, https://arxiv.org/abs/2305.11206: a style is learned"
                " from about a thousand examples",
            ),
        ),
        Recipe(
            "instruct",
            "Teach answers from a larger set of instruction pairs, in several passes.",
            {
                "epochs": 3.0,
                "batch_size": 8,
                "lr": 3e-4,
                "scheduler": "cosine",
                "warmup": 0.05,
                "rank": 16,
                "alpha": 32.0,
                "dropout": 0.05,
                "save_every": 50,
            },
            (_LORA,),
        ),
        Recipe(
            "facts",
            "Teach new facts, each in several wordings: many passes, a large rank, rehearsal against forgetting.",
            {
                "epochs": 12.0,
                "batch_size": 8,
                "lr": 5e-4,
                "scheduler": "linear",
                "warmup": 0.05,
                "rank": 64,
                "alpha": 128.0,
                "rehearsal": 0.5,
                "drift": True,
            },
            (
                _LORA,
                "Allen-Zhu and Li, Physics of Language Models: Part 3.3, https://arxiv.org/abs/2404.05405: a fact needs"
                " many exposures, and two bits of capacity a weight",
                "Gekhman et al., Does Fine-Tuning LLMs on New Knowledge Encourage Hallucinations?,"
                " https://arxiv.org/abs/2405.05904: unknown facts are learned late, and cost what was known",
            ),
        ),
        Recipe(
            "preference",
            "Prefer the chosen answer of each preference to the rejected one (DPO): one pass at a low rate.",
            {
                "objective": "dpo",
                "epochs": 1.0,
                "batch_size": 8,
                "lr": 5e-5,
                "scheduler": "linear",
                "warmup": 0.1,
                "rank": 16,
                "alpha": 32.0,
            },
            (
                "Rafailov et al., Direct Preference Optimization, https://arxiv.org/abs/2305.18290",
                "Tunstall et al., Zephyr, https://arxiv.org/abs/2310.16944: full tuning at 5e-7 for 7B; LoRA takes ten"
                " times that, and a model a fiftieth of the size another ten",
                _VOTES,
            ),
        ),
        Recipe(
            "feedback",
            "Learn from answers that were judged good or bad (KTO): two passes at a low rate.",
            {
                "objective": "kto",
                "epochs": 2.0,
                "batch_size": 8,
                "lr": 1e-4,
                "scheduler": "linear",
                "warmup": 0.1,
                "rank": 16,
                "alpha": 32.0,
            },
            (
                "Ethayarajh et al., KTO, https://arxiv.org/abs/2402.01306: batches of 8 or more; rates of DPO or twice"
                " those; 5e-6 for full tuning, of which LoRA takes about ten times, and a small model more",
                _VOTES,
            ),
        ),
        Recipe(
            "reward",
            "Learn to score answers as preferences do (a reward model): two passes.",
            {
                "objective": "reward",
                "epochs": 2.0,
                "batch_size": 8,
                "lr": 2e-4,
                "scheduler": "linear",
                "warmup": 0.1,
                "rank": 16,
                "alpha": 32.0,
            },
            (
                "Ouyang et al., InstructGPT, https://arxiv.org/abs/2203.02155: few passes, since reward models overfit",
                _LORA,
                _VOTES,
            ),
        ),
        Recipe(
            "reinforce",
            "Learn from rewards for the model's own answers (GRPO): four prompts per step, six answers to each.",
            {"objective": "grpo", "beta": 0.04, **_OWN_ANSWERS},
            (
                "Shao et al., DeepSeekMath, https://arxiv.org/abs/2402.03300: β 0.04; groups of 64, which a small model"
                " on two cores cannot write",
                _LORA,
            ),
        ),
        Recipe(
            "leave-one-out",
            "Learn from rewards for the model's own answers (RLOO): four prompts per step, six answers to each.",
            {"objective": "rloo", "beta": 0.05, **_OWN_ANSWERS},
            (
                "Ahmadian et al., Back to Basics, https://arxiv.org/abs/2402.14740: groups of 2 and 4",
                "TRL 1.16, RLOOConfig: β 0.05",
                _LORA,
            ),
        ),
        Recipe(
            "careful",
            "Change as little as possible: small rank, low learning rate, one pass.",
            {
                "epochs": 1.0,
                "batch_size": 8,
                "lr": 1e-4,
                "scheduler": "cosine",
                "warmup": 0.1,
                "rank": 8,
                "alpha": 16.0,
                "dropout": 0.05,
                "max_grad_norm": 0.5,
                "save_every": 50,
            },
            (
                "Biderman et al., LoRA Learns Less and Forgets Less, https://arxiv.org/abs/2405.09673: a low rate and"
                " few passes forget least",
            ),
        ),
    )
    if recipe.changes.get("objective", FIELDS["objective"].default) in OBJECTIVES
}
"""Every recipe by name; those of an objective are offered where it is registered."""

# Large models need a lower learning rate. Upper bound in weights -> factor on the recipe's rate.
_LR_BY_SIZE: tuple[tuple[float, float], ...] = ((1e9, 1.0), (4e9, 0.6), (float("inf"), 0.4))
_SIZE_IN_NAME = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)


def config_for(recipe: str, model: str, **overrides: Any) -> TrainConfig:
    """The configuration of `recipe` for a model reference, with `overrides` on top.

    An override of None means "not given". `epochs` replaces the recipe's own number of steps. The recipe's learning
    rate, which is made for LoRA, follows the size of the model and the method. NotFound for an unknown
    recipe; BadInput for an unknown or wrong override, and for one that the method does not use.
    """
    found = RECIPES.get(recipe)
    if found is None:
        todo = hint(recipe, RECIPES, f"Known recipes: {', '.join(RECIPES)}.", most=1)
        raise NotFound(f"There is no recipe {recipe!r}.", todo=todo)
    given = {name: value for name, value in overrides.items() if value is not None}
    changes = dict(found.changes)
    if "lr" in changes:
        changes["lr"] *= _lr_factor(model) * meant_by(given.get("method", AUTO))[0].rate
    if "epochs" in given:
        changes.pop("steps", None)
    config = TrainConfig(model=model, recipe=recipe).replace(**{**changes, **given})
    for name in given:
        if (why := why_unused(config.objective, name)) is not None:
            what = f"{FIELDS[name].label} is not used by the objective {config.objective}. {why}".strip()
            raise BadInput(what, where=name, todo="Leave it out, or choose another objective.")
        if not used_by(config.method, name, config.objective):
            what = f"{FIELDS[name].label} is not used by the method {config.method}."
            raise BadInput(what, where=name, todo="Leave it out, or choose another method.")
        if config.on is not None and name in continued(config.method):
            what = f"{FIELDS[name].label} is that of the adapter that the run continues."
            raise BadInput(what, where=name, todo="Leave it out, or train a new adapter, without --on.")
    return config


def size_of(model: str) -> float | None:
    """Number of weights of a model reference: from a folder's safetensors files, or from its name (`-0.5B`)."""
    folder = Path(model).expanduser()
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            return float(json.loads(index.read_text("utf-8"))["metadata"]["total_size"]) / 2  # bytes of 16-bit weights
        except (ValueError, KeyError, TypeError, OSError):
            return None  # a damaged index is reported when the model is loaded, not while numbers are picked
    single = folder / "model.safetensors"
    if single.is_file():
        return single.stat().st_size / 2
    found = _SIZE_IN_NAME.findall(re.sub(r"[-_/@#]", " ", model))
    return float(found[-1][0]) * {"b": 1e9, "m": 1e6}[found[-1][1].lower()] if found else None


def _lr_factor(model: str) -> float:
    size = size_of(model) or 0.0
    return next(factor for bound, factor in _LR_BY_SIZE if size < bound)
