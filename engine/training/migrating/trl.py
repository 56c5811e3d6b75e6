"""TRL's YAML for `trl sft --config` and its other commands: the keys of its script, model and training arguments.
The file does not name the command: it is known by its keys, else it is SFT."""

from __future__ import annotations

from engine.training.migrating.base import Migration, Program

_RATES = {"dpo": 1e-6, "kto": 1e-6, "grpo": 1e-6, "rloo": 1e-6, "reward": 1e-4, "sft": 2e-5}


def _move(found: Migration) -> None:
    by_keys = {
        "normalize_advantages": "rloo",
        "reward_clip_range": "rloo",
        "num_generations": "grpo",
        "desirable_weight": "kto",
        "center_rewards_coefficient": "reward",
        "beta": "dpo",
    }
    objective = next((name for key, name in by_keys.items() if key in found.keys), "sft")
    found.objective(objective, "beta")
    found.changed.append(f"The file does not name TRL's command; its keys mean {objective}.")
    peft = found.flag("use_peft")
    found.method(("qlora" if found.flag("load_in_4bit") else "lora") if peft else None, "use_peft")
    if found.flag("load_in_8bit"):
        found.leave(
            "load_in_8bit", "load_in_8bit has no counterpart: the base is kept in its number format, or in 4 bits."
        )
    targets = found.listed("lora_target_modules")
    found.values["targets"] = "all-linear" if targets in ([], ["all-linear"]) else tuple(targets)
    found.values |= {"lr": _RATES[objective], "rank": 16, "alpha": 32.0, "dropout": 0.05, "max_length": 1024}
    found.same(
        {
            "model_name_or_path": "model",
            "lora_r": "rank",
            "lora_alpha": "alpha",
            "lora_dropout": "dropout",
            "use_rslora": "rslora",
            "use_dora": "dora",
            "max_length": "max_length",
            "max_seq_length": "max_length",
            "learning_rate": "lr",
            "num_train_epochs": "epochs",
            "weight_decay": "weight_decay",
            "max_grad_norm": "max_grad_norm",
            "seed": "seed",
            "save_steps": "save_every",
            "save_total_limit": "keep_checkpoints",
            "eval_steps": "measure_every",
            "beta": "beta",
            "num_generations": "group_size",
            "max_completion_length": "answer_tokens",
            "temperature": "temperature",
            "desirable_weight": "good_weight",
            "undesirable_weight": "bad_weight",
        }
    )
    steps = found.number("max_steps")
    if steps is not None and steps > 0:
        found.set("steps", steps, "max_steps")
    found.batch("per_device_train_batch_size", "gradient_accumulation_steps", 8, 1)
    found.optimizer("optim")
    found.schedule("lr_scheduler_type", "linear")
    found.warm_up("warmup_ratio", "warmup_steps", 0.0)
    found.numbers("bf16", "fp16")
    found.sharding()
    if found.flag("packing"):
        found.changed.append("packing: rows are packed behind their common beginning, and do not see each other.")


TRL = Program(
    "trl", "TRL",
    frozenset({"use_peft", "dataset_name", "lora_target_modules", "model_name_or_path", "packing"}),
    _move,
)  # fmt: skip
