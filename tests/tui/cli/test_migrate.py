"""`tuningfork migrate`: files in the shape that each program documents, written for these tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tui.cli.conftest import Cli

Write = Callable[[str, str | bytes], str]

LLAMA_FACTORY = """\
### model
model_name_or_path: org/Base-1B
trust_remote_code: true
### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
### dataset
dataset: mine, yours
template: llama3
cutoff_len: 2048
max_samples: 500
### output
output_dir: saves/mine
save_steps: 250
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
resume_from_checkpoint: null
"""
AXOLOTL = """\
base_model: org/Base-1B
load_in_4bit: true
adapter: qlora
datasets:
  - path: rows.jsonl
    type: alpaca
val_set_size: 0.05
sequence_len: 1024
sample_packing: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
gradient_accumulation_steps: 4
micro_batch_size: 2
max_steps: 200
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
warmup_steps: 10
wandb_project: mine
"""
TRL = """\
model_name_or_path: org/Base-1B
dataset_name: mine
use_peft: true
lora_r: 64
learning_rate: 2e-4
max_length: 512
per_device_train_batch_size: 2
lr_scheduler_type: polynomial
beta: 0.2
hub_token: hf_secret
"""
AUTOTRAIN = """\
task: llm-sft
base_model: org/Base-1B
project_name: my-run
log: tensorboard
backend: local
data:
  path: data/
  train_split: train
  chat_template: tokenizer
  column_mapping:
    text_column: messages
params:
  block_size: 1024
  epochs: 2
  batch_size: 1
  lr: 1e-5
  peft: true
  quantization: int4
  target_modules: all-linear
  padding: right
  optimizer: paged_adamw_8bit
  scheduler: cosine
  gradient_accumulation: 8
  mixed_precision: bf16
hub:
  username: ${HF_USERNAME}
  token: hf_secret
  push_to_hub: true
"""
CASES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "llamafactory": (
        LLAMA_FACTORY,
        {"method": "lora", "rank": 8, "alpha": 16.0, "targets": "all-linear", "batch_size": 8, "lr": 1e-4,
         "max_length": 2048, "epochs": 3.0, "warmup": 0.1, "dtype": "bf16", "save_every": 250, "seed": 42},
        {"trust_remote_code", "dataset", "max_samples", "output_dir"},
    ),
    "axolotl": (
        AXOLOTL,
        {"method": "qlora", "rank": 32, "alpha": 16.0, "batch_size": 8, "steps": 200, "warmup": 0.05,
         "max_length": 1024, "scheduler": "cosine", "dtype": "auto", "lr": 2e-4},
        {"datasets", "val_set_size", "wandb_project"},
    ),
    "trl": (
        TRL,
        {"objective": "dpo", "method": "lora", "rank": 64, "alpha": 32.0, "lr": 2e-4, "beta": 0.2, "batch_size": 2,
         "scheduler": "linear", "max_length": 512},
        {"dataset_name", "hub_token"},
    ),
    "autotrain": (
        AUTOTRAIN,
        {"method": "qlora", "max_length": 1024, "epochs": 2.0, "batch_size": 8, "lr": 1e-5, "rank": 16,
         "dropout": 0.05, "warmup": 0.1, "dtype": "bf16", "scheduler": "cosine"},
        {"log", "backend", "data.path", "data.train_split", "data.column_mapping.text_column", "params.padding",
         "hub.username", "hub.token", "hub.push_to_hub"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", CASES)
def test_a_documented_shape(tf: Cli, write: Write, program: str) -> None:
    text, wanted, missing = CASES[program]
    found = tf.json("migrate", write("theirs.yaml", text))
    assert found["from"] == program
    assert {name: found["config"].get(name) for name in wanted} == wanted
    assert found["config"]["model"] == "org/Base-1B"
    assert {each["key"] for each in found["no_counterpart"]} == missing
    assert "hf_secret" not in str(found)


@pytest.mark.parametrize("program", CASES)
def test_the_result_is_a_file_for_train(tf: Cli, write: Write, tmp_path: Path, program: str) -> None:
    theirs, out = write("theirs.yaml", CASES[program][0]), tmp_path / "run.yaml"
    result = tf("migrate", theirs, "--out", str(out))
    assert result.exit_code == 0 and "no counterpart: " in result.stderr and "changed: " in result.stderr
    config = tf.json("train", "--config", str(out), "--print-config")["config"]
    assert config == tf.json("migrate", theirs)["config"]
    assert tf.error("migrate", theirs, "--out", str(out))["where"] == str(out)


def test_what_changes_its_meaning_is_told(tf: Cli, write: Write) -> None:
    changed = "\n".join(tf.json("migrate", write("a.yaml", AXOLOTL))["changed"])
    assert "warmup_steps 10 of 200 steps became warmup 0.05" in changed
    assert "micro_batch_size × gradient_accumulation_steps became batch_size 8" in changed
    assert "adamw_bnb_8bit became AdamW" in changed
    changed = "\n".join(tf.json("migrate", write("t.yaml", TRL))["changed"])
    assert "polynomial became scheduler linear" in changed
    assert "leaves these to TRL, which takes:" in changed and "alpha 32" in changed


FSDP = """\
fsdp_version: 2
fsdp_config:
  offload_params: true
  reshard_after_forward: true
  transformer_layer_cls_to_wrap: LlamaDecoderLayer
"""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (AXOLOTL.replace("load_in_4bit: true\nadapter: qlora\n", "") + FSDP, "fsdp_config.offload_params"),
        (AXOLOTL.replace("load_in_4bit: true\nadapter: qlora", "adapter: lora") + "fsdp:\n  - full_shard\n", "fsdp"),
        (LLAMA_FACTORY + "fsdp: full_shard auto_wrap\n", "fsdp"),
    ],
    ids=["axolotl, full", "axolotl, lora", "llamafactory"],
)
def test_a_sharded_model_stays_one(tf: Cli, write: Write, text: str, key: str) -> None:
    found = tf.json("migrate", write("theirs.yaml", text))
    config = found["config"]
    assert (config["launcher"], config["processes"], config["shard"]) == ("torchrun", 2, True)
    changed = "\n".join(found["changed"])
    assert f"{key} became shard" in changed and "does not say how many: set processes" in changed
    assert ("nothing is moved to the CPU's memory" in changed) == ("offload" in text)
    assert not [each for each in found["no_counterpart"] if "fsdp" in each["key"]]


def test_what_is_not_sharded_here_says_so(tf: Cli, write: Write) -> None:
    found = tf.json("migrate", write("a.yaml", AXOLOTL + FSDP))
    assert "shard" not in found["config"] and "launcher" not in found["config"]
    assert "no counterpart for the method qlora" in "\n".join(found["changed"])
    assert "fsdp_config.offload_params" in {each["key"] for each in found["no_counterpart"]}


@pytest.mark.parametrize(("key", "objective"), [("temperature", "grpo"), ("normalize_advantages", "rloo")])
def test_trl_is_known_by_what_only_its_loss_takes(tf: Cli, write: Write, key: str, objective: str) -> None:
    text = f"model_name_or_path: org/Base-1B\nuse_peft: true\nnum_generations: 8\n{key}: 1\n"
    found = tf.json("migrate", write("t.yaml", text))
    assert (found["config"]["objective"], found["config"]["group_size"]) == (objective, 8)


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        (LLAMA_FACTORY.replace("stage: sft", "stage: pt"), "stage pt has no counterpart", ", line 5"),
        (LLAMA_FACTORY.replace("1.0e-4", "fast"), "learning_rate is 'fast'", ", line 21"),
        (AXOLOTL.replace("lora_r: 32", "lora_r: 0"), "lora_r: LoRA rank is 0", ", line 10"),
        (AXOLOTL.replace("base_model: org/Base-1B\n", ""), "names no model", ".yaml"),
        (AUTOTRAIN.replace("llm-sft", "llm-orpo"), "task llm-orpo has no counterpart", ", line 1"),
        (AUTOTRAIN.replace("llm-sft", "text-classification"), "has no counterpart", ", line 1"),
        ("a: 1\nb: 2\n", "which program", ".yaml"),
    ],
)
def test_what_cannot_be_migrated_is_refused(tf: Cli, write: Write, text: str, what: str, where: str) -> None:
    error = tf.error("migrate", write("theirs.yaml", text))
    assert what in error["what"] and error["where"].endswith(where)


def test_steps_of_warm_up_without_a_total_have_no_counterpart(tf: Cli, write: Write) -> None:
    text = AXOLOTL.replace("max_steps: 200", "num_epochs: 2")
    found = tf.json("migrate", write("theirs.yaml", text))
    assert "warmup_steps" in {each["key"] for each in found["no_counterpart"]}
    assert found["config"]["warmup"] == 0.0
