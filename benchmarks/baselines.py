"""The same two models through `llama_cpp.Llama` and through transformers with PEFT, in a process of its own.
Reads a JSON line for each request and answers with one; started by compare.py only."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

Generate = Callable[[list[int], int], int]
"""Prompt ids and the most tokens to make; how many were made."""


class Engine(Protocol):
    """Sides by name, each of which can generate alone or beside others."""

    sides: dict[str, Generate]


class Llama:
    """Every side a `llama_cpp.Llama`: `wide` has all cores, `base` and `tuned` half of them each."""

    def __init__(self, base: str, adapter: str, cores: int) -> None:
        from llama_cpp import Llama as Model

        half = max(1, cores // 2)
        self.sides = {
            "wide": self._side(Model(base, n_ctx=2048, n_threads=cores, n_threads_batch=cores, verbose=False)),
            "base": self._side(Model(base, n_ctx=2048, n_threads=half, n_threads_batch=half, verbose=False)),
            "tuned": self._side(
                Model(base, lora_path=adapter, n_ctx=2048, n_threads=half, n_threads_batch=half, verbose=False)
            ),
        }

    def _side(self, model: Any) -> Generate:
        def generate(ids: list[int], most: int) -> int:
            model.reset()  # else a prompt it has read before costs nothing
            made = 0
            for token in model.generate(ids, temp=0.0, repeat_penalty=1.0):
                if token == model.token_eos() or made == most:
                    break
                model.detokenize([token])
                made += 1
            return made

        return generate


class Transformers:
    """Both sides a bfloat16 model on half of the cores, `tuned` with the adapter."""

    def __init__(self, base: str, adapter: str, cores: int) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(max(1, cores // 2))
        one, two = (AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).eval() for _ in range(2))
        self.sides = {"base": self._side(one), "tuned": self._side(PeftModel.from_pretrained(two, adapter).eval())}

    def _side(self, model: Any) -> Generate:
        import torch

        def generate(ids: list[int], most: int) -> int:
            asked = torch.tensor([ids])
            with torch.inference_mode():
                out = model.generate(
                    input_ids=asked, attention_mask=torch.ones_like(asked), max_new_tokens=most, do_sample=False
                )
            return int(out.shape[1] - len(ids))

        return generate


def together(engine: Engine, names: Sequence[str], ids: list[int], most: int) -> dict[str, float]:
    """Let these sides answer at once, one thread each: the total of tokens and the seconds until the last one ends."""
    made: list[int] = []
    threads = [
        threading.Thread(target=lambda name=name: made.append(engine.sides[name](ids, most)), daemon=True)  # type: ignore[misc]
        for name in names
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tokens": sum(made), "seconds": time.perf_counter() - began}


class Baseline:
    """The other process, seen from the script."""

    def __init__(self, kind: str, base: Path, adapter: Path, cores: int) -> None:
        argv = [sys.executable, __file__, kind, str(base), str(adapter), str(cores)]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read()  # it says when it is ready

    def rate(self, names: Sequence[str], ids: list[int], most: int) -> float:
        """Tokens per second of these sides together, prompt reading included."""
        assert self._process.stdin is not None
        print(json.dumps({"names": list(names), "ids": ids, "most": most}), file=self._process.stdin, flush=True)
        said = self._read()
        return float(said["tokens"] / said["seconds"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The baseline process ended: {self._process.args!r}")
        return json.loads(line)


def main(kind: str, base: str, adapter: str, cores: str) -> None:
    """Load, report ready, then answer line by line until the input ends."""
    engine: Engine = (Llama if kind == "llama" else Transformers)(base, adapter, int(cores))
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(together(engine, asked["names"], asked["ids"], asked["most"])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
