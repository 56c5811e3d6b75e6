"""Fused products and elementwise work for training an adapter on the CPU; every gradient stays what autograd gives.
Replaces the forward of single modules of a loaded model, where trying it out shows that nothing changes.

A layer with an adapter computes Y = X Wᵀ + s (X Aᵀ) Bᵀ. PEFT takes three products, a scaling and an addition for it,
and autograd five more products; q, k and v do all of that on the same X, and so do gate and up. Written as one matrix,

    X' = [X | X Aᵀ]      W' = [W | s B]      Y = X' W'ᵀ

a group of layers that share X needs two products forward: A's of all layers stand below each other, B's on a block
diagonal, and W beside them. Backward, dX' = dY W' holds both the gradient of X through W and that of H = X Aᵀ; small
products give the rest:

    dX = dX'[X] + dX'[H] A      dA = dX'[H]ᵀ X      dB = s dYᵀ H

Two layers of one output each, on one token x = (1, 2), with W = (1, 1) and (0, 1), A = (1, 0) and (0, 1), B = 3 and 4,
s = 2:

    >>> layers = [_layer([[1.0, 1.0]], [[1.0, 0.0]], [[3.0]], 2.0), _layer([[0.0, 1.0]], [[0.0, 1.0]], [[4.0]], 2.0)]
    >>> group = LayerGroup(layers)
    >>> wide, _, y = _forward(group, torch.tensor([[1.0, 2.0]]))
    >>> wide.tolist(), group.whole().tolist(), y.tolist()
    ([[1.0, 2.0, 1.0, 2.0]], [[1.0, 1.0, 6.0, 0.0], [0.0, 1.0, 0.0, 8.0]], [[9.0, 18.0]])

W lives in W' from then on, and the layers' weights are views of it: no memory is taken twice. In low precision the sum
is rounded once instead of three times. Norms, SwiGLU and the rotation of positions get a backward of their own that
keeps fewer tensors and passes over memory less often, as in Hsu et al., "Liger Kernel",
https://arxiv.org/abs/2410.10989, whose kernels are for GPUs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.chat_template import MASKED
from engine.training.worker import four_bit, packing

_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that get the same input."""


class LayerGroup:
    """Layers that share their input, as one product; see the module.

    `layers` are LoRA layers that `_fits` takes. A's and B's are read at each call: the optimizer or a loaded checkpoint
    may have changed them. Outputs are in the order of the layers.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        weights = [_weight(layer) for layer in layers]
        self.layers = list(layers)
        self.inputs = weights[0].shape[1]
        self.spans: list[tuple[slice, slice, float]] = []
        row = column = 0
        for layer, weight in zip(layers, weights, strict=True):
            end, last = row + weight.shape[0], column + layer.lora_A[_name(layer)].weight.shape[0]
            self.spans.append((slice(row, end), slice(column, last), float(layer.scaling[_name(layer)])))
            row, column = end, last
        self.dtype = weights[0].dtype
        self._whole = weights[0].new_zeros(row, self.inputs + column)
        self._kept = not any(_in_blocks(layer) for layer in layers)
        if self._kept:
            for layer, weight, (rows, _, _) in zip(layers, weights, self.spans, strict=True):
                self._whole[rows, : self.inputs] = weight
                _put(layer, self._whole[rows, : self.inputs])
        else:
            self._whole = self._whole[:, self.inputs :].contiguous()
        self.bias: Tensor | None = None
        biases = [layer.get_base_layer().bias for layer in layers]
        if any(bias is not None for bias in biases):
            filled = [w.new_zeros(len(w)) if b is None else b.detach() for b, w in zip(biases, weights, strict=True)]
            self.bias = torch.cat(filled).to(self.dtype)
        self._set = [layer.get_base_layer().__dict__.get("forward") for layer in layers]
        self.state: tuple[Any, ...] = ()
        self._a = torch.empty(0)

    @property
    def adapters(self) -> list[Tensor]:
        """All A, then all B."""
        kinds = [(layer.lora_A, layer.lora_B, _name(layer)) for layer in self.layers]
        return [a[name].weight for a, _, name in kinds] + [b[name].weight for _, b, name in kinds]

    def applies(self) -> bool:
        """Whether the layers still compute what this group does: an adapter that is on, apart from the weights, without
        dropout, on the weights that were there at first."""
        return all(
            not layer.disable_adapters
            and not layer.merged
            and (not layer.training or isinstance(layer.lora_dropout[_name(layer)], nn.Identity))
            and layer.get_base_layer().__dict__.get("forward") is forward
            for layer, forward in zip(self.layers, self._set, strict=True)
        )

    @torch.no_grad()
    def read(self) -> Tensor:
        """Put the B of now into W'; returns all A below each other."""
        parts = self.adapters
        state = tuple((part.data_ptr(), part._version) for part in parts)
        if state != self.state:
            half = len(self.layers)
            for (rows, columns, scale), b in zip(self.spans, parts[half:], strict=True):
                torch.mul(b.to(self.dtype), scale, out=self.b[rows, columns])
            self._a = torch.cat([a.detach().to(self.dtype) for a in parts[:half]])
            self.state = state
        return self._a

    @property
    def dropout(self) -> bool:
        """Whether a layer drops inputs in training, which is left to PEFT."""
        return any(not isinstance(layer.lora_dropout[_name(layer)], nn.Identity) for layer in self.layers)

    @property
    def b(self) -> Tensor:
        """s B of all layers, on a block diagonal."""
        return self._whole[:, self.inputs :] if self._kept else self._whole

    @torch.no_grad()
    def whole(self) -> Tensor:
        """W' as `read` left it. Weights in 4-bit blocks are dequantised at each call, when memory is short."""
        if self._kept:
            return self._whole
        weights = torch.cat([_weight(layer) for layer in self.layers])
        return torch.cat([weights, self._whole], 1)

    def require(self, state: tuple[Any, ...]) -> None:
        """RuntimeError when the adapter is not that of the forward pass: W' has changed with it."""
        if state != self.state:
            raise RuntimeError("the adapter was changed between a forward pass and its backward pass")


def _name(layer: Any) -> str:
    return str(layer.active_adapters[0])


def _weight(layer: Any) -> Tensor:
    """The frozen weight that a LoRA layer's base multiplies with; see `_fits`."""
    base = layer.get_base_layer()
    if _in_blocks(layer):
        return four_bit.plain_weight(base)
    own = base.__dict__.get("forward")
    weight: Tensor = base.weight.data if own is None else own.weight
    return weight


def _in_blocks(layer: Any) -> bool:
    base = layer.get_base_layer()
    return hasattr(base.weight, "quant_state") and "forward" not in base.__dict__


def _put(layer: Any, weight: Tensor) -> None:
    base = layer.get_base_layer()
    own = base.__dict__.get("forward")
    if own is None:
        base.weight.data = weight
    else:
        own.weight = weight


def _layer(weight: list[list[float]], a: list[list[float]], b: list[list[float]], scale: float) -> Any:
    """A LoRA layer with these weights, for the example above."""
    from peft.tuners.lora import LoraConfig
    from peft.tuners.lora.layer import Linear

    base = nn.Linear(len(weight[0]), len(weight), bias=False)
    layer = Linear(base, "default", LoraConfig(r=len(a), lora_alpha=round(scale * len(a))), r=len(a), lora_alpha=scale)
    for parameter, values in ((base, weight), (layer.lora_A["default"], a), (layer.lora_B["default"], b)):
        parameter.weight.data = torch.tensor(values)
    layer.scaling["default"] = scale
    return layer


def _forward(group: LayerGroup, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X', all A, and Y for X of shape [tokens, inputs]."""
    a = group.read()
    wide = torch.cat([x, x @ a.t()], 1)
    whole = group.whole()
    y = wide @ whole.t() if group.bias is None else torch.addmm(group.bias, wide, whole.t())
    return wide, a, y


def _backward(
    group: LayerGroup, wide: Tensor, a: Tensor, dy: Tensor, with_x: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradient of X (None unless `with_x`), and those of all A and all B."""
    n = group.inputs
    x, h = wide[:, :n], wide[:, n:]
    if with_x:
        dwide = dy @ group.whole()
        dh = dwide[:, n:]
        dx = torch.addmm(dwide[:, :n], dh, a)
    else:
        dx, dh = None, dy @ group.b
    da = dh.t() @ x
    grads = [da[columns] for _, columns, _ in group.spans]
    grads += [(dy[:, rows].t() @ h[:, columns]).mul_(scale) for rows, columns, scale in group.spans]
    return dx, [grad.to(part.dtype) for grad, part in zip(grads, group.adapters, strict=True)]


class Products(torch.autograd.Function):
    """Y of each layer of a group. Inputs: the group, X [..., inputs], all A and all B."""

    @staticmethod
    def forward(ctx: Any, group: LayerGroup, x: Tensor, *adapters: Tensor) -> tuple[Tensor, ...]:
        wide, a, y = _forward(group, x.reshape(-1, group.inputs))
        ctx.save_for_backward(wide, a)
        ctx.group, ctx.state, ctx.shape = group, group.state, x.shape
        return tuple(y[:, rows].view(*x.shape[:-1], -1) for rows, _, _ in group.spans)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        ctx.group.require(ctx.state)
        wide, a = ctx.saved_tensors
        flat = [grad.reshape(-1, grad.shape[-1]) for grad in grads]
        dy = flat[0] if len(flat) == 1 else torch.cat(flat, 1)
        dx, rest = _backward(ctx.group, wide, a, dy, ctx.needs_input_grad[1])
        return None, None if dx is None else dx.view(ctx.shape), *rest


class SwiGlu(torch.autograd.Function):
    """down(silu(gate(x)) * up(x)). Inputs: the groups of gate and up and of down, X [..., inputs], all adapters."""

    @staticmethod
    def forward(ctx: Any, first: LayerGroup, second: LayerGroup, x: Tensor, *adapters: Tensor) -> Tensor:
        wide, a, y = _forward(first, x.reshape(-1, first.inputs))
        half = y.shape[1] // 2
        wide2, a2, out = _forward(second, functional.silu(y[:, :half]).mul_(y[:, half:]))
        ctx.save_for_backward(wide, a, y, wide2, a2)
        ctx.groups, ctx.states, ctx.shape = (first, second), (first.state, second.state), x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        first, second = ctx.groups
        first.require(ctx.states[0])
        second.require(ctx.states[1])
        wide, a, y, wide2, a2 = ctx.saved_tensors
        inner, rest2 = _backward(second, wide2, a2, grad.reshape(-1, grad.shape[-1]), True)
        assert inner is not None
        half = y.shape[1] // 2
        gate, up = y[:, :half], y[:, half:]
        dy = torch.empty_like(y)
        torch.mul(inner, functional.silu(gate), out=dy[:, half:])
        torch.ops.aten.silu_backward.grad_input(inner.mul_(up), gate, grad_input=dy[:, :half])
        dx, rest = _backward(first, wide, a, dy, ctx.needs_input_grad[2])
        return None, None, None if dx is None else dx.view(ctx.shape), *rest, *rest2


class RmsNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x²) + eps), in float32 inside; the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        out, scale = torch.ops.aten._fused_rms_norm(x, weight.shape, weight, eps)
        ctx.save_for_backward(x, scale, weight)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        """With g = weight grad and y = x r: dx = r (g - y mean(g y)). Torch's layer norm, told a mean of 0, gives
        r (g - mean(g) - y mean(g y)) in one pass, so r mean(g) comes back."""
        x, scale, weight = ctx.saved_tensors
        width = weight.shape[0]
        flat, rows, r = grad.reshape(-1, width), x.reshape(-1, width), scale.reshape(-1, 1)
        wide = weight.float()
        dx = torch.ops.aten.native_layer_norm_backward(
            flat, rows, [width], torch.zeros_like(r), r, wide, None, [True, False, False]
        )[0]
        mean = (flat @ weight).float().div_(width)[:, None]
        return dx.add_(mean.mul_(r).to(dx.dtype)).view(x.shape), None, None


class Rotation(torch.autograd.Function):
    """x cos + (-x₂, x₁) sin for x = (x₁, x₂), halves of the last dimension; cos and sin broadcast and are constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        half = x.shape[-1] // 2
        y = x * cos
        y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        y[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        half = grad.shape[-1] // 2
        dx = grad * cos
        dx[..., :half].addcmul_(grad[..., half:], sin[..., half:])
        dx[..., half:].addcmul_(grad[..., :half], sin[..., :half], value=-1)
        return dx, None, None


def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """What transformers' `apply_rotary_pos_emb` of most architectures returns."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return Rotation.apply(q, cos, sin), Rotation.apply(k, cos, sin)


# --- putting it on a model --------------------------------------------------------------------------------------------


def put_on(model: Any, dtype: torch.dtype, packs: Sequence[packing.Pack]) -> str:
    """Replace what can be replaced on a model with an adapter on the CPU; returns a sentence for the run's log.

    Tried out on a few packs with random adapter weights: where the loss or a gradient differs by more than rounding,
    everything stays off. Draws no random number of the run, and leaves the adapter as it was.
    """
    fused = Fused(model)
    if not fused.parts:
        return "Nothing of this model could be fused: it trains by PEFT's own products, which is slower."
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(0)
    was_training = model.training
    model.eval()  # without dropout
    try:
        with torch.no_grad():
            for weight in weights:
                weight.add_(torch.randn(weight.shape, generator=generator).to(weight.dtype), alpha=0.02)
        ours = _gradients(model, weights, packs)
        fused.on = False
        theirs = _gradients(model, weights, packs)
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
        model.train(was_training)
    off = float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))
    fused.on = off <= max(_AGREE[kind] for kind in {dtype, *(weight.dtype for weight in weights)})
    if not fused.on:
        return f"Fused products give other gradients on this model ({off:.2g}): it trains by PEFT's own, slower ones."
    done = ", ".join(f"{many} {name}" for name, many in fused.parts.items())
    if fused.dropout:
        done += "; with LoRA dropout, training steps take PEFT's own products, which are slower"
    return f"Fused for speed: {done}."


_AGREE = {torch.float32: 1e-4, torch.bfloat16: 0.15, torch.float16: 0.03}
"""How far gradients may lie from those without fusing, relative to these. Both round differently in low precision: the
default model in bf16 has 0.07, and a term that is left out gives 0.3 and more."""


def _gradients(model: Any, weights: Sequence[Tensor], packs: Sequence[packing.Pack]) -> Tensor:
    losses = [
        functional.cross_entropy(
            packing.logits_of(model, pack).flatten(0, 1).float(), pack.targets.flatten(), ignore_index=MASKED
        )
        for pack in packs
    ]
    grads = torch.autograd.grad(sum(losses), weights)
    return torch.cat([grad.flatten().float() for grad in grads])


class Fused:
    """What was replaced on a model. `on` switches all of it; `parts` counts it, by name."""

    def __init__(self, model: Any) -> None:
        self.on = True
        self.parts: Counter[str] = Counter()
        self._groups: dict[int, LayerGroup] = {}
        base = model.get_base_model()
        for module in list(base.modules()):
            self._products(module)
        for module in list(base.modules()):
            self._mlp(module)
            self._norm(module)
            self._rotation(module)

    @property
    def dropout(self) -> bool:
        """Whether some of it is left to PEFT in training."""
        return any(group.dropout for group in self._groups.values())

    def _products(self, parent: nn.Module) -> None:
        """LayerGroup the parent's adapted layers that share their input; the others get a group each."""
        left = {name: layer for name, layer in parent.named_children() if _fits(layer)}
        for names in _TOGETHER:
            if all(name in left for name in names) and len({_kind(left[name]) for name in names}) == 1:
                self._group([left.pop(name) for name in names])
        for layer in left.values():
            self._group([layer])

    def _group(self, layers: list[Any]) -> None:
        group = LayerGroup(layers)
        shared = _Shared(group)
        for number, layer in enumerate(layers):
            self._groups[id(layer)] = group
            own = type(layer).forward.__get__(layer)
            layer.forward = self._switch(own, partial(shared.output, number), partial(_takes, group))
        self.parts["projections"] += len(layers)

    def _mlp(self, module: nn.Module) -> None:
        gate, up, down = (getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj"))
        first, second = self._groups.get(id(gate)), self._groups.get(id(down))
        silu = type(getattr(module, "act_fn", None)).__name__ in ("SiLU", "SiLUActivation")
        if first is None or second is None or first is not self._groups.get(id(up)) or not silu:
            return

        def ours(x: Tensor) -> Tensor:
            out: Tensor = SwiGlu.apply(first, second, x, *first.adapters, *second.adapters)
            return out

        own = type(module).forward.__get__(module)
        if len(first.layers) == 2 and _alike(own, ours, _sample(first.b, first.inputs)):
            takes = lambda x: _takes(first, x) and second.applies()  # noqa: E731
            module.forward = self._switch(own, ours, takes)
            self.parts["MLPs"] += 1

    def _norm(self, module: nn.Module) -> None:
        weight = getattr(module, "weight", None)
        eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if not type(module).__name__.endswith("RMSNorm") or weight is None or eps is None or weight.requires_grad:
            return
        own = type(module).forward.__get__(module)

        def ours(x: Tensor) -> Tensor:
            out: Tensor = RmsNorm.apply(x, weight, eps)
            return out

        if _alike(own, ours, _sample(weight, len(weight))):
            module.forward = self._switch(own, ours, lambda x: x.dtype == weight.dtype)
            self.parts["norms"] += 1

    def _rotation(self, module: nn.Module) -> None:
        """Give an attention module a forward whose `apply_rotary_pos_emb` is ours: the same code with another name."""
        forward = type(module).forward
        theirs = getattr(forward, "__globals__", {}).get("apply_rotary_pos_emb")
        if theirs is None or "apply_rotary_pos_emb" not in forward.__code__.co_names:
            return
        q, cos, sin = (_sample(torch.empty(0), 8, seed) for seed in range(3))
        q, cos, sin = q[None, None], cos[None], sin[None]
        try:
            same = all(
                torch.allclose(a, b) for a, b in zip(theirs(q, q, cos, sin), rotate(q, q, cos, sin), strict=True)
            )
        except (TypeError, ValueError, RuntimeError):
            return  # another signature
        if same:
            mine = lambda *args, **named: (rotate if self.on else theirs)(*args, **named)  # noqa: E731
            names = {**forward.__globals__, "apply_rotary_pos_emb": mine}
            made = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
            made.__kwdefaults__ = forward.__kwdefaults__
            module.forward = made.__get__(module)
            self.parts["rotations"] += 1

    def _switch(
        self, own: Callable[..., Any], ours: Callable[[Tensor], Tensor], takes: Callable[[Tensor], bool]
    ) -> Callable[..., Any]:
        """A module's forward: ours for one tensor that it takes, its own for everything else."""

        def forward(*args: Any, **named: Any) -> Any:
            x = args[0] if len(args) == 1 and not named else None
            return ours(x) if x is not None and self.on and takes(x) else own(*args, **named)

        return forward


class _Shared:
    """The outputs of a group on its last input: its layers are called one after the other with the same tensor."""

    def __init__(self, group: LayerGroup) -> None:
        self._group = group
        self._outputs: dict[int, Tensor] = {}
        self._of: tuple[Any, ...] = ()

    def output(self, number: int, x: Tensor) -> Tensor:
        now = (x, x._version, torch.is_grad_enabled())
        same = self._of and self._of[0] is x and self._of[1:] == now[1:] and number in self._outputs
        if not same:
            self._outputs = dict(enumerate(Products.apply(self._group, x, *self._group.adapters)))
            self._of = now
        found = self._outputs.pop(number)
        if not self._outputs:
            self._of = ()  # nothing is kept longer than the layers need it
        return found


def _takes(group: LayerGroup, x: Tensor) -> bool:
    return x.dtype == group.dtype and group.applies()


def _fits(layer: nn.Module) -> bool:
    """Whether a module is a plain LoRA layer on a frozen linear weight in the compute dtype, which a group can take."""
    from peft.tuners.adalora import AdaLoraLayer
    from peft.tuners.lora import LoraLayer

    if not isinstance(layer, LoraLayer) or isinstance(layer, AdaLoraLayer):
        return False
    if len(layer.active_adapters) != 1 or layer.merged:
        return False
    name, base = _name(layer), layer.get_base_layer()
    own = base.__dict__.get("forward")
    plain = type(base) is nn.Linear if own is None else isinstance(getattr(own, "weight", None), Tensor)
    return bool(
        base.weight.device.type == "cpu"
        and (plain or _in_blocks(layer))
        and name in layer.lora_A
        and name not in layer.lora_variant
        and not layer.lora_bias.get(name)
        and not getattr(layer, "fan_in_fan_out", False)
        and not base.weight.requires_grad
        and _weight(layer).is_floating_point()
    )


def _kind(layer: Any) -> tuple[int, torch.dtype]:
    weight = _weight(layer)
    return weight.shape[1], weight.dtype


def _sample(like: Tensor, width: int, seed: int = 0) -> Tensor:
    """Random rows [5, width] in the dtype of `like`, from a generator of their own."""
    return torch.randn(5, width, generator=torch.Generator().manual_seed(seed)).to(like.dtype)


def _alike(theirs: Callable[[Tensor], Tensor], ours: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether both give the same for `x`, but for rounding."""
    with torch.no_grad():
        a, b = theirs(x).float(), ours(x).float()
    return bool((a - b).norm() <= 8 * torch.finfo(x.dtype).eps * b.norm())
