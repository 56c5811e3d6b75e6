"""A model in shards, one for each process of a run (FSDP2), and its whole weights and optimizer state for files.
What is trained, and what files are written, others know.

Each process keeps its part of every weight, gradient and moment. The weights of one layer are gathered while it
computes and given up again, and gradients are added up where their part is kept: Zhao et al., "PyTorch FSDP",
https://arxiv.org/abs/2304.11277. The gathered and the divided tensors are DTensors; plain models have none, and for
them every function here gives back what it gets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from engine.training.worker import memory

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def shard(model: Any, device: str, world: int) -> None:
    """Leave this process its part of a PEFT model that every process holds whole: each layer by itself, and what is
    outside of the layers together. Gradients are summed over the processes, in float32."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    options: dict[str, Any] = {
        "mesh": init_device_mesh(device, (world,)),
        "reshard_after_forward": True,
        "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32),
    }
    for part in (*_untrained_originals(model), *_layers(model.get_base_model())):
        fully_shard(part, **options)
    fully_shard(model, **options)
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    memory.give_back()


def _layers(base: nn.Module) -> list[nn.Module]:
    """The layers of a model, as transformers names what must stay together."""
    names = set(getattr(base, "_no_split_modules", None) or ())
    found: list[nn.Module] = []
    inside: set[int] = set()
    for module in base.modules():
        if type(module).__name__ in names and id(module) not in inside:
            found.append(module)
            inside.update(map(id, module.modules()))
    return found


def _untrained_originals(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that whole trained copies stand in for. Apart from the layers, they are gathered only where they
    compute: while the adapter is off. A table that two modules share stays with the rest."""
    from peft.utils.other import ModulesToSaveWrapper

    owners: dict[int, int] = {}
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            owners[id(weight)] = owners.get(id(weight), 0) + 1
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            original = module.original_module
            if all(owners[id(weight)] == 1 for weight in original.parameters()):
                yield original


def _divided(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether it is a DTensor. Before their module is imported, which takes a second, there are none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, which shares its memory."""
    return tensor.to_local() if _divided(tensor) else tensor


def part_of(like: Tensor, whole: Tensor) -> Tensor:
    """This process's part of a whole tensor, divided as `like` is; what is such a part already is given back."""
    if not _divided(like) or whole.shape != like.shape:
        return whole
    from torch.distributed.tensor import distribute_tensor

    there = whole.to(like.device)
    made: DTensor = distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)
    return made.to_local().clone()


def gather(like: Tensor, part: Tensor, keep: bool) -> Tensor | None:
    """The whole of a tensor of which every process has a part, divided as `like` is. It comes to the memory of the CPU,
    and only to those that `keep` it; all processes must ask for it."""
    if not _divided(like):
        return part
    from torch.distributed.tensor import DTensor

    made = DTensor.from_local(part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    whole = made.full_tensor()
    return whole.cpu() if keep else None


def is_sharded(model: Any) -> bool:
    """Whether each process has a part of the model."""
    return any(_divided(weight) for weight in model.parameters())


def trained_weights(model: Any, keep: bool) -> dict[str, Tensor] | None:
    """The whole trained weights of a sharded model by name, for those that `keep` them; None for a model that is not
    sharded. A weight of two modules is there under both names. All processes must ask for it."""
    if not is_sharded(model):
        return None
    wholes = {
        id(weight): gather(weight, local(weight.detach()), keep)
        for weight in model.parameters()
        if weight.requires_grad
    }
    named = [(name, wholes.get(id(weight))) for name, weight in model.named_parameters(remove_duplicate=False)]
    return {name: whole for name, whole in named if whole is not None}


@torch.no_grad()
def put(targets: dict[str, Tensor], read: Callable[[str], Tensor]) -> None:
    """Take over what `read` gives for each name into this process's part of the weights."""
    for name, target in targets.items():
        local(target).copy_(part_of(target, read(name)))
