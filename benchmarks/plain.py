"""The same training as one would write it: TRL's SFTTrainer with a PEFT LoRA on padded rows.
Prints one JSON object when it is done; started by train.py only."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main(folder: str, config_file: str, rows_file: str) -> None:
    """Train `folder` on the rows (a JSON list of conversations) by our configuration's numbers; print when each step
    ended, in seconds."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    config = json.loads(Path(config_file).read_text("utf-8"))
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ended.append(time.time())

    conversations = json.loads(Path(rows_file).read_text("utf-8"))
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as out:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16),
            args=SFTConfig(
                output_dir=out,
                per_device_train_batch_size=config["batch_size"],
                max_steps=config["steps"],
                learning_rate=config["lr"],
                max_grad_norm=config["max_grad_norm"],
                max_length=config["max_length"],
                seed=config["seed"],
                bf16=False,  # the weights are bfloat16 already; autocast makes it slower
                gradient_checkpointing=False,  # the default, on, makes it slower
                use_cpu=True,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=Dataset.from_list([{"prompt": row[:-1], "completion": row[-1:]} for row in conversations]),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=LoraConfig(
                r=config["rank"], lora_alpha=config["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(json.dumps({"ended": ended, "losses": losses}))


if __name__ == "__main__":
    main(*sys.argv[1:])
