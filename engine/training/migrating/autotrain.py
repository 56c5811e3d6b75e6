"""AutoTrain's YAML: `task`, `base_model`, and the groups `data`, `params` and `hub`.
Values that a file leaves out are its defaults."""

from __future__ import annotations

from engine.training.migrating.base import Migration, Program

_TRAINERS = {"default": "sft", "generic": "sft", "sft": "sft", "dpo": "dpo", "reward": "reward"}


def _move(found: Migration) -> None:
    task = (found.text("task") or "llm").replace(":", "-")
    trainer = found.text("params.trainer") or (task.removeprefix("llm-") if task.startswith("llm-") else "sft")
    if not task.startswith("llm"):
        found.objective(None, "task")
    found.objective(_TRAINERS.get(trainer, trainer), "params.trainer" if "params.trainer" in found.keys else "task")
    bits = found.text("params.quantization")
    if bits not in (None, "int4", "none"):
        found.leave("params.quantization", f"quantization {bits} has no counterpart: only int4 (NF4) is trained.")
    peft = found.flag("params.peft")
    found.method(("qlora" if bits == "int4" else "lora") if peft else None, "params.peft")
    targets = found.listed("params.target_modules")
    found.values["targets"] = "all-linear" if targets in ([], ["all-linear"]) else tuple(targets)
    found.values |= {"lr": 3e-5, "epochs": 1.0, "rank": 16, "alpha": 32.0, "dropout": 0.05, "max_length": 2048}
    found.same(
        {
            "base_model": "model",
            "params.lora_r": "rank",
            "params.lora_alpha": "alpha",
            "params.lora_dropout": "dropout",
            "params.model_max_length": "max_length",
            "params.lr": "lr",
            "params.epochs": "epochs",
            "params.weight_decay": "weight_decay",
            "params.max_grad_norm": "max_grad_norm",
            "params.seed": "seed",
            "params.save_total_limit": "keep_checkpoints",
            "params.dpo_beta": "beta",
        }
    )
    block = found.number("params.block_size")
    if block is not None and 0 < block < found.values["max_length"]:
        found.set("max_length", block, "params.block_size")
    found.batch("params.batch_size", "params.gradient_accumulation", 2, 4)
    found.optimizer("params.optimizer")
    found.schedule("params.scheduler", "linear")
    found.warm_up("params.warmup_ratio", "params.warmup_steps", 0.1)
    mixed = found.text("params.mixed_precision")
    if mixed == "fp16":
        found.changed.append("mixed_precision fp16 became dtype auto: bf16 where the hardware has it, else fp32.")
    found.values["dtype"] = "bf16" if mixed == "bf16" else "auto"
    if name := found.text("data.chat_template"):
        found.changed.append(f"chat_template {name}: the model's own is used; --template names another.")
    if name := found.text("project_name"):
        found.run["name"] = name


AUTOTRAIN = Program(
    "autotrain", "AutoTrain", frozenset({"task", "project_name", "backend", "hub.push_to_hub", "params.trainer"}), _move
)
