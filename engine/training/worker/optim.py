"""The optimizer, AdamW with float32 masters of weights that the model computes with in bf16, and the learning rate's
curve. Nothing here knows models or data.

Sources: AdamW, Loshchilov and Hutter, https://arxiv.org/abs/1711.05101; float32 masters, Micikevicius et al., "Mixed
Precision Training", https://arxiv.org/abs/1710.03740; the cosine, Loshchilov and Hutter, "SGDR",
https://arxiv.org/abs/1608.03983, without restarts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import Parameter

from engine.training.config import TrainConfig
from engine.training.worker.sharding import gather, local, part_of
from store.errors import Unsupported


class MasterAdamW(torch.optim.AdamW):
    """AdamW on float32 copies of low-precision parameters, which follow after each step.

    A bf16 weight has 8 bits: late, small updates would be rounded away. Keeping the adapter itself in float32 instead
    costs a fifth of a step on the CPU (the default model, two cores), because every product then casts its input.
    `state_dict` carries the masters, so that a resumed run continues exactly. Of a sharded model each process keeps and
    updates its part; files hold the whole (`gather`).
    """

    _gathered: dict[str, Any] | None = None

    def __init__(self, parameters: Iterable[Parameter] | Sequence[dict[str, Any]], **options: Any) -> None:
        given = list(parameters)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        self._low: list[Parameter] = []
        copies = []
        for group in groups:
            low = [parameter for parameter in group["params"] if parameter.requires_grad]
            if low:
                masters = [Parameter(local(p.detach()).to(torch.float32, copy=True)) for p in low]
                copies.append({**group, "params": masters})
                self._low += low
        super().__init__(copies, fused=True, **options)

    @property
    def _masters(self) -> list[Parameter]:
        return [master for group in self.param_groups for master in group["params"]]

    @torch.no_grad()
    def follow(self) -> None:
        """Take over what was changed in float32 parameters outside of the steps."""
        for master, low in zip(self._masters, self._low, strict=True):
            if low.dtype == torch.float32:
                master.copy_(local(low))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update from the gradients of the low-precision parameters."""
        masters = self._masters
        for master, low in zip(masters, self._low, strict=True):
            master.grad = None if low.grad is None else local(low.grad).to(torch.float32)
        loss = super().step(closure)
        torch._foreach_copy_([local(low) for low in self._low], masters)
        for master in masters:
            master.grad = None
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the low-precision parameters."""
        for low in self._low:
            low.grad = None

    def state_dict(self) -> dict[str, Any]:
        """AdamW's state and the masters: of a sharded model this process's part, or inside of `gathered` the whole."""
        if self._gathered is not None:
            return self._gathered
        return {**super().state_dict(), "masters": [master.detach() for master in self._masters]}

    @contextlib.contextmanager
    def gathered(self, keep: bool) -> Iterator[None]:
        """While inside, `state_dict` is that of the whole model in processes that `keep` it. All of them must enter."""
        own = self.state_dict()
        whole: dict[str, Any] = {**own, "state": {}}
        for number, low in enumerate(self._low):
            of_one = own["state"].get(number, {})
            whole["state"][number] = {
                name: gather(low, value, keep) if name != "step" else value for name, value in of_one.items()
            }
        whole["state"] = {number: found for number, found in whole["state"].items() if found}
        pairs = zip(self._low, own["masters"], strict=True)
        whole["masters"] = [gather(low, master, keep) for low, master in pairs]
        self._gathered = whole if keep else None
        try:
            yield
        finally:
            self._gathered = None

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; the low-precision parameters follow. What is whole there is divided as they
        are."""
        rest = dict(state_dict)
        saved = rest.pop("masters")
        rest["state"] = {
            number: {
                name: value if name == "step" else part_of(self._low[number], value) for name, value in found.items()
            }
            for number, found in rest["state"].items()
        }
        super().load_state_dict(rest)
        for master, low, value in zip(self._masters, self._low, saved, strict=True):
            master.copy_(part_of(low, value))
            local(low).copy_(master)


def optimizer_of(config: TrainConfig, model: Any, rate: float) -> torch.optim.Optimizer:
    """The optimizer of a run for a model's trainable weights, at a peak rate; with LoRA+ B has a multiple of it.

    Unsupported where the machine has not what it needs.
    """
    kind, options = _KINDS[config.optimizer](), {"lr": rate}
    if config.lora_plus == 1:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return kind(trained, weight_decay=config.weight_decay, **options)
    from peft.optimizers import create_loraplus_optimizer

    plus = {"loraplus_lr_ratio": config.lora_plus, "loraplus_weight_decay": config.weight_decay}
    return create_loraplus_optimizer(model, kind, loraplus_lr_embedding=rate, **plus, **options)


def _paged_8bit() -> type[torch.optim.Optimizer]:
    if not torch.cuda.is_available():
        raise Unsupported(
            "The optimizer paged_adamw_8bit needs a CUDA GPU, and this machine has none.",
            where="optimizer",
            todo="Take adamw.",
        )
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit


_KINDS: dict[str, Callable[[], type[torch.optim.Optimizer]]] = {
    "adamw": lambda: MasterAdamW,
    "paged_adamw_8bit": _paged_8bit,
}
"""By the names of engine.training.config.OPTIMIZERS."""


def schedule(shape: str, warmup: int, total: int) -> Callable[[int], float]:
    """Share of the peak rate at step 0, 1, …: up in `warmup` steps, then `linear` or `cosine` down, or `constant`.

    No step has a rate of zero: the first would be wasted, and so would the last.
    """

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        left = (total - step) / max(1, total - warmup)  # 1 at the end of the warm-up, 1 / (total - warmup) at the last
        left = min(1.0, max(0.0, left))
        return {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[shape]

    return share
