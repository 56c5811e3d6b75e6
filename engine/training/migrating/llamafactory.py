"""LLaMA-Factory's YAML: the keys of its training arguments, all in one level.
Values that a file leaves out are its defaults, which are transformers' where it has none of its own."""

from __future__ import annotations

from engine.training.migrating.base import Migration, Program

_STAGES = {"sft": "sft", "dpo": "dpo", "kto": "kto", "rm": "reward", "ppo": "ppo", "pt": "pt"}
_LOSSES = {"sigmoid", "hinge", "ipo"}


def _move(found: Migration) -> None:
    found.objective(_STAGES.get(found.text("stage") or "sft"), "stage")
    kind = found.text("finetuning_type") or "lora"
    bits = found.number("quantization_bit")
    if bits == 4 and kind == "lora":
        kind = "qlora"
    elif bits is not None:
        found.leave("quantization_bit", f"quantization_bit {bits:g} has no counterpart: only 4 bits (NF4) are trained.")
    found.method(None if kind == "full" else kind, "finetuning_type")
    rank = found.number("lora_rank") or 8.0
    found.set("rank", rank, "lora_rank")
    found.set("alpha", found.number("lora_alpha") or 2 * rank, "lora_alpha")
    targets = found.listed("lora_target")
    found.values["targets"] = "all-linear" if targets in ([], ["all"]) else tuple(targets)
    found.same(
        {
            "model_name_or_path": "model",
            "adapter_name_or_path": "on",
            "lora_dropout": "dropout",
            "use_rslora": "rslora",
            "use_dora": "dora",
            "cutoff_len": "max_length",
            "learning_rate": "lr",
            "num_train_epochs": "epochs",
            "weight_decay": "weight_decay",
            "max_grad_norm": "max_grad_norm",
            "seed": "seed",
            "save_steps": "save_every",
            "save_total_limit": "keep_checkpoints",
            "eval_steps": "measure_every",
            "pref_beta": "beta",
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
    if name := found.text("template"):
        found.changed.append(f"template {name}: the model's own chat template is used; --template names another.")
    found.flag("do_train")


LLAMA_FACTORY = Program(
    "llamafactory", "LLaMA-Factory",
    frozenset({"stage", "finetuning_type", "cutoff_len", "lora_rank", "lora_target", "quantization_bit"}),
    _move,
)  # fmt: skip
