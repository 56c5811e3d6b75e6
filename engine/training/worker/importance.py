"""Activation statistics of a model: how large what each matrix is multiplied by is, column by column.
A quantiser that knows them keeps the columns that matter; engine.export.importance asks and names the tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.core import child
from engine.training.worker import error_messages


def main(request: Path) -> int:
    """`engine.training.worker importance FILE`: the file is a JSON object, the result `FILE` with the suffix .npz.

    `folder` is a model, `adapter` a PEFT folder or null, `rows` lists of token ids. The result has one float32 array
    of shape (inputs,) for each linear layer, under the name of its weight in the checkpoint: the mean of the squared
    inputs over all positions. Sends {"progress": [done, total]} for each row. Prints one JSON error line and returns 1
    when it cannot be done.
    """
    wanted, out = json.loads(request.read_text("utf-8")), request.with_suffix(".npz")
    return child.report_errors(lambda: _compute(wanted, out), error_messages.sentence)


def _compute(wanted: dict[str, Any], out: Path) -> None:
    import numpy as np
    import torch

    from engine.training.worker import loading

    loading.quiet()
    model = loading.load_whole(Path(wanted["folder"]), dtype="auto")
    if wanted["adapter"]:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, wanted["adapter"])
    model = model.eval().to(loading.device())
    sums = _watch(model)
    positions = 0
    with torch.inference_mode():
        for number, row in enumerate(wanted["rows"], start=1):
            model(torch.tensor([row], device=model.device))
            positions += len(row)
            child.send({"progress": [number, len(wanted["rows"])]})
    part = out.with_suffix(".part.npz")
    np.savez(part, **{name: (total / positions).float().cpu().numpy() for name, total in sums.items()})
    part.replace(out)


def _watch(model: Any) -> dict[str, Any]:
    """Add up the squared inputs of every linear layer, in double precision, while the model runs."""
    import torch

    sums: dict[str, Any] = {}

    def hook(name: str) -> Any:
        def add(_: Any, given: tuple[Any, ...]) -> None:
            rows = given[0].detach().reshape(-1, given[0].shape[-1]).float()
            sums[name] = sums.get(name, 0) + rows.square().sum(0).double()

        return add

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and ".lora_" not in name:  # an adapter's factors are merged by then
            own = name.removeprefix("base_model.model.").removesuffix(".base_layer")
            module.register_forward_pre_hook(hook(f"{own}.weight"))
    return sums
