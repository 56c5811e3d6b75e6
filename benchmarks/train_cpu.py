"""Training on the CPU, rows per second and peak memory: ours with LoRA and QLoRA, plain TRL in fp32 and bf16, and
LLaMA-Factory where a virtual environment that has it is given.

    python -m benchmarks.train_cpu --home DIR [--rounds 3] [--steps 6] [--identity FILE] [--llama-factory VENV] [--json]

Two sets of rows: (a) FILE, rows of {"instruction", "output"} with `{{name}}` and `{{author}}`, left out without one,
and (b) the sample identity and general rows. Every measurement is a process of its own; all take turns in each round,
so that a machine that slows down slows all of them. Eight rows per step, rank 16 on all linear layers, rate 5e-4. The
first step is not timed; loading and saving are not, either. About seven minutes for one round with FILE on two idle
cores. LLaMA-Factory times itself, all steps, without loading.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.forgetting import MODEL, Quiet, rows_of
from benchmarks.report import Row
from engine.models.prepare import prepare
from store.db import Store
from store.home import Home

BATCH, RATE, RANK = 8, 5e-4, 16
OURS = ("ours lora", "ours qlora")
TRL = ("trl fp32", "trl bf16")
FACTORY = "llama-factory"
LEAST = {"a": 3.0, "b": 4.5}
"""How many times as fast as LLaMA-Factory ours should be."""


class Timed(Quiet):
    """Also keeps when each step ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        """Stdout is for the result."""

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        super().metrics(step, values)
        if "loss" in values:
            self.ends.append(time.monotonic())


@dataclass
class Measured:
    """Rows a second, peak memory in MB and mean loss, a number for each round."""

    speed: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="where the default model is prepared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--identity", type=Path, help="the file of set (a)")
    parser.add_argument("--llama-factory", type=Path, help="a virtual environment with llamafactory-cli")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("WHO", "DATA"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    home = Home(options.home.absolute()).ensure()
    with Store.open(home) as store:
        base = prepare(store, MODEL, on_line=lambda line: print(line, file=sys.stderr))
    if options.one:
        who, rows = options.one
        if who == FACTORY:
            print(json.dumps(factory(options.llama_factory, rows, base, options.steps)))
        else:
            print(json.dumps(one(who, rows, base, home, options.steps)))
        return
    data = {"a": str(options.identity.absolute())} if options.identity else {}
    data["b"] = "sample"
    who = [*OURS, *TRL, *([FACTORY] if options.llama_factory else [])]
    found: dict[tuple[str, str], Measured] = {}
    for number in range(options.rounds):
        for name, rows in data.items():
            for each in who:
                made = child(each, rows, options)
                kept = found.setdefault((name, each), Measured())
                kept.speed.append(made["rows_per_s"])
                kept.memory.append(made["memory_mb"])
                kept.loss.append(made["loss"])
                print(f"round {number + 1} ({name}) {each}: {made['rows_per_s']:.2f} rows/s", file=sys.stderr)
    show(found, options)


def show(found: dict[tuple[str, str], Measured], options: argparse.Namespace) -> None:
    """All figures, with how many times as fast ours is as the others of the same round."""
    rows = []
    for (name, each), made in found.items():
        span = f"{min(made.speed):.2f} to {max(made.speed):.2f}; mean loss {median(made.loss):.3f}"
        rows.append(Row(f"({name}) {each}", median(made.speed), "rows/s", None, span))
        rows.append(Row(f"({name}) {each}: peak memory", median(made.memory), "MB"))
    for (name, each), made in found.items():
        if each in OURS:
            continue
        for our in OURS:
            times = median(a / b for a, b in zip(found[name, our].speed, made.speed, strict=True))
            least = (">=", LEAST[name]) if each == FACTORY else None
            rows.append(Row(f"({name}) {our} against {each}", times, "times", least, "as fast, in the same round"))
    text = (
        f"{options.rounds} rounds of {options.steps} steps of {BATCH} rows, in which all take turns; (b) the sample "
        f"identity and general rows{', (a) 91 identity rows of LLaMA-Factory' if options.identity else ''}."
    )
    report.show("benchmarks/train_cpu.py", rows, [text], json_only=options.json)


def child(who: str, rows: str, options: argparse.Namespace) -> dict[str, float]:
    """One measurement, in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.train_cpu", "--home", str(options.home), "--steps", str(options.steps)]
    argv += ["--llama-factory", str(options.llama_factory.absolute())] if options.llama_factory else []
    done = subprocess.run([*argv, "--one", who, rows], capture_output=True, text=True, check=False, cwd=report.ROOT)
    if done.returncode:
        raise SystemExit(f"{who} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(who: str, rows: str, base: Path, home: Home, steps: int) -> dict[str, float]:
    """Train in this process, and say how fast."""
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        run = ours if who in OURS else trl
        ends, losses = run(who.split()[1], rows, base, Path(folder), steps)
    speed = BATCH * (len(ends) - 1) / (ends[-1] - ends[0])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"rows_per_s": speed, "memory_mb": memory, "loss": sum(losses) / len(losses)}


def ours(method: str, rows: str, base: Path, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """When each step ended, and its loss."""
    from engine.training.recipes import config_for
    from engine.training.worker import trainer
    from engine.training.worker.contracts import TrainingJob

    chosen = {"batch_size": BATCH, "lr": RATE, "rank": RANK, "alpha": 2.0 * RANK, "steps": steps, "dropout": 0.0}
    config = config_for("instruct", MODEL, method=method, save_every=0, scheduler="linear", **chosen)
    told = Timed()
    trainer.run(TrainingJob(config, rows_of(rows), base, folder, None, told))
    return told.ends, [float(loss) for loss in told.numbers["loss"].values() if loss is not None]


def trl(kind: str, rows: str, base: Path, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """TRL's SFTTrainer as its documentation has it, on prompts and completions: bf16 takes bf16 weights."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    ends: list[float] = []
    losses: list[float] = []

    class Watch(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                ends.append(time.monotonic())
                losses.append(float(logs["loss"]))

    pairs = [{"prompt": row.messages[:-1], "completion": row.messages[-1:]} for row in rows_of(rows)]
    kept = [[{k: m[k] for k in ("role", "content")} for m in pair[part]] for pair in pairs for part in pair]
    data = Dataset.from_list([{"prompt": kept[n], "completion": kept[n + 1]} for n in range(0, len(kept), 2)])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16 if kind == "bf16" else torch.float32)
    args = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=RATE,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=False,
        seed=0,
    )
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=lora,
        callbacks=[Watch()],
    )
    trainer.train()
    return ends, losses


def factory(venv: Path, rows: str, base: Path, steps: int) -> dict[str, float]:
    """`llamafactory-cli train`, with what trains this model best there: bf16 autocast, on the CPU."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pairs = [{"instruction": r.messages[0]["content"], "output": r.messages[-1]["content"]} for r in rows_of(rows)]
        (folder / "rows.json").write_text(json.dumps(pairs), "utf-8")
        (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), "utf-8")
        settings = {
            "model_name_or_path": str(base), "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "lora_rank": RANK, "lora_alpha": 2 * RANK, "lora_target": "all", "dataset": "rows",
            "dataset_dir": place, "template": "smollm2", "output_dir": str(folder / "out"),
            "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1, "max_steps": steps,
            "learning_rate": RATE, "bf16": True, "use_cpu": True, "logging_steps": 1, "save_strategy": "no",
            "report_to": "none", "preprocessing_num_workers": 1,
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
        environment = {**os.environ, "DISABLE_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1"}
        argv = [str(venv / "bin" / "llamafactory-cli"), "train", str(folder / "settings.json")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=place, env=environment)
        if done.returncode:
            raise SystemExit(f"{FACTORY} failed:\n{done.stderr[-3000:]}")
        result = json.loads((folder / "out" / "train_results.json").read_text("utf-8"))
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        return {
            "rows_per_s": BATCH * steps / result["train_runtime"], "memory_mb": memory, "loss": result["train_loss"],
        }  # fmt: skip


if __name__ == "__main__":
    main()
