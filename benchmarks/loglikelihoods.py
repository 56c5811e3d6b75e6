"""Are the log-likelihoods that lm_eval got from the chat server those of transformers on the same weights?

    python -m benchmarks.loglikelihoods --home DIR --model smollm2-135m --samples OUT/samples_tf_choice_*.jsonl

Reads what `lm_eval --model local-completions --log_samples` kept of a multiple-choice task, computes each continuation
again with transformers, and prints how far they are apart and how often both prefer the same choice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from engine.models.prepare import prepare
from store.db import Store
from store.home import Home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--samples", type=Path, required=True)
    options = parser.parse_args()
    with Store.open(Home(options.home).ensure()) as store:
        folder = prepare(store, options.model, on_line=print)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    apart, same, rows = [], 0, 0
    for line in options.samples.read_text("utf-8").splitlines():
        row = json.loads(line)
        asked = [row["arguments"][key] for key in sorted(row["arguments"])]
        theirs = [float(one[0][0]) for one in row["resps"]]
        ours = [_loglikelihood(model, tokenizer, each["arg_0"], each["arg_1"]) for each in asked]
        apart += [abs(a - b) for a, b in zip(theirs, ours, strict=True)]
        same += theirs.index(max(theirs)) == ours.index(max(ours))
        rows += 1
    print(json.dumps({
        "continuations": len(apart), "mean_apart": sum(apart) / len(apart), "most_apart": max(apart),
        "same_choice": same, "rows": rows,
    }))  # fmt: skip


def _loglikelihood(model: torch.nn.Module, tokenizer: Tokenizer, context: str, continuation: str) -> float:
    """The sum of log p of the continuation's tokens, in nats, as lm_eval splits the text."""
    whole = tokenizer.encode(context + continuation, add_special_tokens=False).ids
    first = len(tokenizer.encode(context, add_special_tokens=False).ids)
    with torch.inference_mode():
        logits = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(logits[at - 1, whole[at]]) for at in range(first, len(whole)))


if __name__ == "__main__":
    main()
