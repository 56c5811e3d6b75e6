"""Axolotl's YAML: one level, with a list of data sets.
Values that a file leaves out are its defaults."""

from __future__ import annotations

from engine.training.migrating.base import Migration, Program

_RL = {None: "sft", "dpo": "dpo", "ipo": "dpo", "kto": "kto", "grpo": "grpo"}


def _move(found: Migration) -> None:
    wanted = found.text("rl")
    found.objective("reward" if found.flag("reward_model") else _RL.get(wanted, wanted), "rl")
    if wanted == "ipo":
        found.values["dpo_loss"] = "ipo"
    kind, four = found.text("adapter"), found.flag("load_in_4bit")
    if kind == "lora" and four:
        kind = "qlora"
    found.method(kind, "adapter")
    if found.flag("load_in_8bit"):
        found.leave(
            "load_in_8bit", "load_in_8bit has no counterpart: the base is kept in its number format, or in 4 bits."
        )
    found.values["targets"] = tuple(found.listed("lora_target_modules")) or "all-linear"
    if found.flag("lora_target_linear"):
        found.values["targets"] = "all-linear"
    found.values |= {"epochs": 1.0, "max_length": 512}
    found.same(
        {
            "base_model": "model",
            "lora_model_dir": "on",
            "lora_r": "rank",
            "lora_alpha": "alpha",
            "lora_dropout": "dropout",
            "peft_use_rslora": "rslora",
            "peft_use_dora": "dora",
            "sequence_len": "max_length",
            "learning_rate": "lr",
            "num_epochs": "epochs",
            "max_steps": "steps",
            "weight_decay": "weight_decay",
            "max_grad_norm": "max_grad_norm",
            "seed": "seed",
            "save_steps": "save_every",
            "save_total_limit": "keep_checkpoints",
            "eval_steps": "measure_every",
            "rl_beta": "beta",
        }
    )
    found.batch("micro_batch_size", "gradient_accumulation_steps", 1, 1)
    found.optimizer("optimizer")
    found.schedule("lr_scheduler", "cosine")
    found.warm_up("warmup_ratio", "warmup_steps", 0.0)
    found.numbers("bf16", "fp16")
    found.sharding()
    if found.flag("train_on_inputs"):
        found.leave("train_on_inputs", "train_on_inputs has no counterpart: only answers are trained.")
    if name := found.text("chat_template"):
        found.changed.append(f"chat_template {name}: the model's own is used; --template names another.")
    if found.flag("sample_packing"):
        found.changed.append(
            "sample_packing: rows are packed behind their common beginning, and do not see each other."
        )


AXOLOTL = Program(
    "axolotl", "Axolotl",
    frozenset({"micro_batch_size", "sequence_len", "lora_r", "adapter", "lora_target_linear", "datasets"}),
    _move,
)  # fmt: skip
