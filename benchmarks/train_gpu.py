"""Training on a GPU, rows and tokens per second and peak memory: ours, plain TRL and, where it is installed, Unsloth,
with LoRA and QLoRA, on models of real shapes with random weights that are made on the spot. Needs no network.

    python -m benchmarks.train_gpu [--shapes 0.5b,1.5b,8b] [--rounds 1] [--steps 8] [--seconds 360] [--json]

Every measurement is a process of its own; all take turns in each round. The sample identity and general rows, sixteen
per step, rank 16 on all linear layers, bf16. The tokenizer is a small one of bytes, so that rows have about three times
the tokens of a real one; the output matrix has its real size. The first two steps are not timed; loading and saving
are not, either. What no longer fits into `--seconds` is left out and named. `--shapes tiny` tries the script
itself, also on a CPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.report import Row

BATCH, RATE, RANK, WARM = 16, 2e-4, 16, 2
METHODS = ("lora", "qlora")
WHO = ("ours", "trl", "unsloth")
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """A model's dimensions, from its published config.json."""

    kind: str
    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool


SHAPES = {
    "tiny": Shape("llama", 2, 64, 128, 4, 2, 512, True),
    "0.5b": Shape("qwen2", 24, 896, 4864, 14, 2, 151_936, True),  # Qwen2.5-0.5B
    "1.5b": Shape("qwen2", 28, 1536, 8960, 12, 2, 151_936, True),  # Qwen2.5-1.5B
    "8b": Shape("llama", 32, 4096, 14_336, 32, 8, 128_256, False),  # Llama 3.1 8B
}


@dataclass
class Measured:
    """Rows a second, peak memory in MB and the first and last loss, a number for each round."""

    speed: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="0.5b,1.5b,8b")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=360.0, help="begin no measurement after this long")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("WHO", "METHOD", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        who, method, folder = options.one
        print(json.dumps(one(who, method, Path(folder), options.steps)))
        return
    until = time.monotonic() + options.seconds
    found: dict[tuple[str, str, str], Measured] = {}
    left_out: list[str] = []
    for name in options.shapes.split(","):
        with tempfile.TemporaryDirectory() as place:
            folder = make(SHAPES[name], Path(place))
            for _ in range(options.rounds):
                for who in WHO:
                    for method in METHODS:
                        measure(name, who, method, folder, until, options.steps, found, left_out)
    show(found, sorted(set(left_out)), options)


def measure(
    name: str, who: str, method: str, folder: Path, until: float, steps: int,
    found: dict[tuple[str, str, str], Measured], left_out: list[str],
) -> None:  # fmt: skip
    """One measurement in a process of its own, or the reason why there is none."""
    title = f"{name} {who} {method}"
    if who == "unsloth" and importlib.util.find_spec("unsloth") is None:
        left_out.append(f"{name} unsloth: not installed")
        return
    if time.monotonic() > until:
        left_out.append(f"{title}: the time was up")
        return
    argv = [sys.executable, "-m", "benchmarks.train_gpu", "--steps", str(steps), "--one", who, method, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=report.ROOT)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        left_out.append(f"{title}: failed ({last[:200]})")
        print(done.stderr[-2000:], file=sys.stderr)
        return
    made = json.loads(done.stdout.splitlines()[-1])
    kept = found.setdefault((name, who, method), Measured())
    kept.speed.append(made["rows_per_s"])
    kept.memory.append(made["memory_mb"])
    kept.losses.append((made["first_loss"], made["last_loss"]))
    print(f"{title}: {made['rows_per_s']:.1f} rows/s, {made['memory_mb']:.0f} MB", file=sys.stderr)


def show(found: dict[tuple[str, str, str], Measured], left_out: list[str], options: argparse.Namespace) -> None:
    """All figures, with how many times as fast ours is as the others of the same round."""
    rows = []
    for (name, who, method), made in found.items():
        first, last = made.losses[-1]
        rows.append(
            Row(f"{name} {who} {method}", median(made.speed), "rows/s", None, f"loss {first:.3f} to {last:.3f}")
        )
        rows.append(Row(f"{name} {who} {method}: peak memory", median(made.memory), "MB"))
    for (name, who, method), made in found.items():
        ours = found.get((name, "ours", method))
        if who != "ours" and ours and len(ours.speed) == len(made.speed):
            times = median(a / b for a, b in zip(ours.speed, made.speed, strict=True))
            rows.append(Row(f"{name} ours {method} against {who}", times, "times", None, "as fast, in the same round"))
    remarks = [f"{card()}. {options.rounds} round(s) of {options.steps} steps of {BATCH} rows, all taking turns."]
    remarks += [f"Left out: {'; '.join(left_out)}."] if left_out else []
    if not rows:
        raise SystemExit(f"Nothing was measured. {' '.join(remarks)}")
    report.show("benchmarks/train_gpu.py", rows, remarks, json_only=options.json)


def card() -> str:
    """The GPU and the versions that were measured."""
    import torch
    import transformers

    where = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU (the script was only tried)"
    return f"{where}, torch {torch.__version__}, transformers {transformers.__version__}"


def make(shape: Shape, folder: Path) -> Path:
    """Write a model of that shape with random bf16 weights, made on the GPU where there is one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.tiny import make_tokenizer

    make_tokenizer(folder)
    config = AutoConfig.for_model(
        shape.kind, num_hidden_layers=shape.layers, hidden_size=shape.hidden, intermediate_size=shape.mlp,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return folder


def one(who: str, method: str, base: Path, steps: int) -> dict[str, float]:
    """Train in this process, and say how fast."""
    import torch

    with tempfile.TemporaryDirectory() as place, kept_peak() as peak:
        run = {"ours": ours, "trl": trl, "unsloth": unsloth}[who]
        ends, losses = run(method, base, Path(place), steps)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    timed = ends[WARM - 1 :]
    return {
        "rows_per_s": BATCH * (len(timed) - 1) / (timed[-1] - timed[0]),
        "memory_mb": peak[0],
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


@contextmanager
def kept_peak() -> Iterator[list[float]]:
    """The most memory that torch reserved on the card, in MB."""
    import torch

    peak = [0.0]
    yield peak
    if torch.cuda.is_available():
        peak[0] = torch.cuda.max_memory_reserved() / 1e6


def ours(method: str, base: Path, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """When each step ended, and its loss."""
    from benchmarks.forgetting import rows_of
    from benchmarks.train_cpu import Timed
    from engine.training.recipes import config_for
    from engine.training.worker import trainer
    from engine.training.worker.contracts import TrainingJob

    chosen = {"batch_size": BATCH, "lr": RATE, "rank": RANK, "alpha": 2.0 * RANK, "steps": steps, "dropout": 0.0}
    config = config_for("instruct", str(base), method=method, save_every=0, scheduler="linear", dtype="bf16", **chosen)
    told = Timed()
    trainer.run(TrainingJob(config, rows_of("sample"), base, folder, None, told))
    return told.ends, [float(loss) for loss in told.numbers["loss"].values() if loss is not None]


def trl(method: str, base: Path, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """TRL's SFTTrainer as its documentation has it: bf16 weights, or NF4 with double quantisation."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=torch.bfloat16,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
        quantization_config=four_bit if method == "qlora" else None,
    )
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    return sft(model, AutoTokenizer.from_pretrained(base), folder, steps, lora)


def unsloth(method: str, base: Path, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """Unsloth's patched model in the same trainer, as its documentation has it."""
    import unsloth as peer

    model, tokenizer = peer.FastLanguageModel.from_pretrained(
        str(base), max_seq_length=1024, load_in_4bit=method == "qlora", dtype=None
    )
    model = peer.FastLanguageModel.get_peft_model(
        model, r=RANK, lora_alpha=2 * RANK, lora_dropout=0, target_modules=list(TARGETS)
    )
    return sft(model, tokenizer, folder, steps, None)


def sft(model: Any, tokenizer: Any, folder: Path, steps: int, lora: Any) -> tuple[list[float], list[float]]:
    """TRL's SFTTrainer on prompts and completions."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from benchmarks.forgetting import rows_of

    ends: list[float] = []
    losses: list[float] = []

    class Watch(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                ends.append(time.monotonic())
                losses.append(float(logs["loss"]))

    def plain(messages: list[Any]) -> list[dict[str, str]]:
        return [{"role": each["role"], "content": each["content"]} for each in messages]

    data = Dataset.from_list(
        [{"prompt": plain(r.messages[:-1]), "completion": plain(r.messages[-1:])} for r in rows_of("sample")]
    )
    args = SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=BATCH, max_steps=steps, learning_rate=RATE, logging_steps=1,
        save_strategy="no", report_to=[], bf16=torch.cuda.is_available(), use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True, gradient_checkpointing=False, seed=0,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=data, processing_class=tokenizer, peft_config=lora, callbacks=[Watch()]
    )
    trainer.train()
    return ends, losses


if __name__ == "__main__":
    main()
