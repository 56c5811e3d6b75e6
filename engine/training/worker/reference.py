"""Logits and greedy answers of a model in transformers and PEFT, which exports are compared with.
One request gives one file of arrays; engine.export judges them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.core import child
from engine.training.worker import error_messages


def main(request: Path) -> int:
    """`engine.training.worker reference FILE`: the file is a JSON object, the result `FILE` with the suffix .npz.

    `folder` is a model, `adapter` a PEFT folder or null; `rows` lists of token ids whose logits are wanted (saved as
    `row0` … of shape (tokens, vocabulary), float32), `prompts` lists of ids to answer greedily (saved as `answer0` …)
    until one of `stop` or `max_tokens`. Prints one JSON error line and returns 1 when it cannot be done.
    """
    wanted, out = json.loads(request.read_text("utf-8")), request.with_suffix(".npz")
    return child.report_errors(lambda: _compute(wanted, out), error_messages.sentence)


def _compute(wanted: dict[str, Any], out: Path) -> None:
    import numpy as np
    import torch

    from engine.training.worker import loading

    loading.quiet()
    folder = Path(wanted["folder"])
    model = loading.load_whole(folder, dtype=_dtype(folder))
    if wanted["adapter"]:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, wanted["adapter"])
    model = model.eval().to(loading.device())
    arrays: dict[str, Any] = {}
    with torch.inference_mode():
        for number, row in enumerate(wanted["rows"]):
            ids = torch.tensor([row], device=model.device)
            # Virtual tokens have logits, too, and come first.
            arrays[f"row{number}"] = model(ids).logits[0, -len(row) :].float().cpu().numpy()
        for number, prompt in enumerate(wanted["prompts"]):
            ids = torch.tensor([prompt], device=model.device)
            said = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=wanted["max_tokens"],
                eos_token_id=wanted["stop"],
                pad_token_id=wanted["stop"][0],
            )
            arrays[f"answer{number}"] = said[0, len(prompt) :].cpu().numpy()
    part = out.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(out)


def _dtype(folder: Path) -> Any:
    """float32 where it fits into memory, for a reference that rounds nothing; else the checkpoint's own type."""
    import psutil
    import torch

    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
    return torch.float32 if 2.5 * size < free else "auto"
