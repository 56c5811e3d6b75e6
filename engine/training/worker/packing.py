"""Prefix-tree packing: rows that begin alike share those tokens, computed once, and the gradients stay exact.
Turns examples into tensors for one forward pass; padded batches for models that take no mask. No files, no training.

Chat rows begin with the same template and system text, often with the same question. Packed into one long row, each
such beginning stands there once, and every other token sees what it would see in its own row: the beginnings it
continues, and itself. Three rows, one letter a token, small letters the prompt and capitals the answer that is trained:

    s t R            s ─┬─ t R
    s u v Z             └─ u ─┬─ v Z
    s u w X Y                 └─ w X Y

The tree is written depth first. Position ids count along each row, so that every token keeps its own; a token predicts
what follows it in its row, and is trained to where that is a capital:

    >>> asked = (("st", "R"), ("suv", "Z"), ("suw", "XY"))
    >>> rows = [Example([*map(ord, q + a)], [MASKED] * len(q) + [*map(ord, a)], len(q), False, True) for q, a in asked]
    >>> (pack,) = pack_shared(rows, 100, torch.float32)
    >>> letters = [chr(id) for id in pack.inputs["input_ids"][0]]
    >>> targets = {int(at): chr(id) for at, id in zip(pack.keep, pack.targets)}
    >>> for at, letter in enumerate(letters):
    ...     if at == 0:
    ...         print("sees", *letters, " position  trained to")
    ...     sees = ["■" if allowed else "·" for allowed in pack.inputs["attention_mask"][0, 0, at] == 0]
    ...     print(f"{letter:>4}", *sees, f"{pack.inputs['position_ids'][0, at]:9}", "", targets.get(at, "-"))
    sees s t R u v Z w X Y  position  trained to
       s ■ · · · · · · · ·         0  -
       t ■ ■ · · · · · · ·         1  R
       R ■ ■ ■ · · · · · ·         2  -
       u ■ · · ■ · · · · ·         1  -
       v ■ · · ■ ■ · · · ·         2  Z
       Z ■ · · ■ ■ ■ · · ·         3  -
       w ■ · · ■ · · ■ · ·         2  X
       X ■ · · ■ · · ■ ■ ·         3  Y
       Y ■ · · ■ · · ■ ■ ■         4  -
    >>> pack.real, pack.computed, pack.trained
    (12, 9, 4)

A row shares at most its prompt but for the last token: that one predicts the first trained token, which differs between
rows. A conversation with several trained turns shares what comes before the first of them.

Sources: rows packed behind each other with a block-diagonal mask, Krell et al., "Efficient Sequence Packing without
Cross-contamination", https://arxiv.org/abs/2107.02027; one shared prefix with exact gradients, Liu et al., "Prefix
Grouper", https://arxiv.org/abs/2506.05433. Here the prefixes form a tree of any depth, and the mask is an ordinary one,
so that any model that honours masks and position ids can be trained as it is; `agrees` finds out whether it does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.chat_template import MASKED, Example
from engine.training.worker.chunked_loss import ChunkedLoss
from engine.training.worker.tree_attention import RowAttention, RowPlan

ATTENTION = "prefix_tree"
"""Name under which `register` offers the attention below to transformers."""
_AGREE = {torch.float32: 1e-3, torch.bfloat16: 0.08, torch.float16: 0.02}
"""How far packed logits may lie from those of single rows, relative to these. Measured on the architectures of
tests/archs.py, the tiny Llama of the tests and the default model, with each kind of attention: at most 2.5e-6 in fp32
and 0.030 in bf16, and at least 0.13 in either when the mask is only causal. fp16 has three bits more than bf16."""


@dataclass(frozen=True)
class Pack:
    """One forward pass: `inputs` go to the model, and its logits at the positions `keep` predict `targets`.

    A packed batch is one row, so `keep` and `targets` have equal length. In a padded batch every row keeps the same
    positions, `targets` is [rows, positions], MASKED where a row has nothing to predict. `trained` counts targets,
    `real` the examples' tokens, `computed` those that the pass really takes. `plan` is what `ATTENTION` computes by.
    """

    inputs: dict[str, Tensor]
    keep: Tensor
    targets: Tensor
    trained: int
    real: int
    computed: int
    plan: RowPlan | None = None


Packer = Callable[[Sequence[Example]], list[Pack]]


# --- prefix tree ------------------------------------------------------------------------------------------------------


@dataclass
class _Segment:
    """A run of tokens that some rows have in common: `row`'s ids from `start` to `end`, after the segment `parent`."""

    row: Example
    start: int
    end: int
    parent: int


def pack_shared(examples: Sequence[Example], max_tokens: int, dtype: torch.dtype) -> list[Pack]:
    """Pack rows into as few passes of at most `max_tokens` as they need (a longer row gets a pass of its own)."""
    rows = sorted(examples, key=lambda example: example.ids)  # rows that begin alike become neighbours
    return [_pack(group, dtype) for group in _groups(rows, max_tokens)]


def _groups(rows: list[Example], max_tokens: int) -> list[list[Example]]:
    """Cut sorted rows into as few groups of at most `max_tokens` as there can be, the largest of them as small as it
    can be: a full pass and a tiny one would waste the second. A longer row is a group by itself."""
    shared = [0] + [_common(a, b) for a, b in pairwise(rows)]

    def cut(limit: int) -> list[list[Example]]:
        groups: list[list[Example]] = []
        used = limit + 1
        for row, common in zip(rows, shared, strict=True):
            if used + len(row.ids) - common > limit:
                groups.append([])
                used, common = 0, 0  # the first row of a pass brings all of its tokens
            groups[-1].append(row)
            used += len(row.ids) - common
        return groups

    fewest = len(cut(max_tokens))
    low, high = 1, max_tokens
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(cut(middle)) <= fewest else (middle + 1, high)
    return cut(low)


def _common(a: Example, b: Example) -> int:
    """How many tokens two rows can share. Each keeps the last of its prompt, which predicts its first trained one."""
    limit = min(a.n_prompt, b.n_prompt) - 1
    for at in range(limit):
        if a.ids[at] != b.ids[at]:
            return at
    return max(limit, 0)


def _tree(rows: Sequence[Example], start: int, parent: int, out: list[_Segment]) -> None:
    """Append the segments of sorted `rows` from position `start` on; they agree on all before it."""
    while rows:
        head = rows[0]
        many, end = 1, len(head.ids)
        for row in rows[1:]:
            common = _common(head, row)
            if common <= start:
                break
            many, end = many + 1, min(end, common)
        here = len(out)
        out.append(_Segment(head, start, end, parent))
        if many > 1:
            _tree(rows[:many], end, here, out)
        rows = rows[many:]


def _pack(rows: Sequence[Example], dtype: torch.dtype) -> Pack:
    segments: list[_Segment] = []
    _tree(rows, 0, -1, segments)
    ids: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    for number, segment in enumerate(segments):
        part = range(segment.start, segment.end)
        ids += segment.row.ids[segment.start : segment.end]
        positions += part
        # A shared token is followed by another prompt token in every row, which is never trained: any row will do.
        targets += [segment.row.labels[at + 1] if at + 1 < len(segment.row.labels) else MASKED for at in part]
        owner += [number] * len(part)
    keep = [at for at, target in enumerate(targets) if target != MASKED]
    inputs = {"input_ids": torch.tensor([ids])}
    plan = None
    if len(segments) > 1:  # a single row needs no mask: models are causal by themselves
        inputs |= {"position_ids": torch.tensor([positions]), "attention_mask": _mask(segments, owner, dtype)}
        plan = RowPlan(_rows_of(segments), len(ids))
    real = sum(len(row.ids) for row in rows)
    chosen = torch.tensor(keep, dtype=torch.long)
    return Pack(inputs, chosen, torch.tensor(targets)[chosen], len(keep), real, len(ids), plan)


def _rows_of(segments: Sequence[_Segment]) -> list[tuple[list[int], list[int]]]:
    """Each row as (its own tokens, all of its tokens), by their places in the pack. Tokens that several rows begin with
    are the first one's own."""
    parts: list[range] = []
    for segment in segments:
        start = parts[-1].stop if parts else 0
        parts.append(range(start, start + segment.end - segment.start))
    inner = {segment.parent for segment in segments}
    taken: set[int] = set()
    rows = []
    for number in range(len(segments)):
        if number in inner:
            continue
        chain = [number]
        while (parent := segments[chain[-1]].parent) >= 0:
            chain.append(parent)
        chain.reverse()
        path = [place for each in chain for place in parts[each]]
        own = [place for each in chain if each not in taken for place in parts[each]]
        taken.update(chain)
        rows.append((own, path))
    return rows


def _mask(segments: Sequence[_Segment], owner: Sequence[int], dtype: torch.dtype) -> Tensor:
    """[1, 1, T, T] to add to scores: 0 where a token may look (its segment so far and those before it), else -inf."""
    count = len(segments)
    sees = torch.eye(count, dtype=torch.bool)
    for number, segment in enumerate(segments):
        if segment.parent >= 0:  # parents come first, so theirs is complete
            sees[number] |= sees[segment.parent]
    of = torch.tensor(owner)
    allowed = sees[of][:, of].tril()
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, float("-inf"))[None, None]


# --- padded -----------------------------------------------------------------------------------------------------------


def pack_padded(examples: Sequence[Example], max_tokens: int, pad_id: int) -> list[Pack]:
    """Padded batches of rows of similar length, at most `max_tokens` each with their padding (one row at least)."""
    rows = sorted(examples, key=lambda example: len(example.ids))
    groups: list[list[Example]] = [[]]
    for row in rows:
        if groups[-1] and len(row.ids) * (len(groups[-1]) + 1) > max_tokens:
            groups.append([])
        groups[-1].append(row)
    return [_pad(group, pad_id) for group in groups]


def _pad(rows: Sequence[Example], pad_id: int) -> Pack:
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [pad_id] * (width - len(row.ids)) for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    after = torch.tensor([row.labels[1:] + [MASKED] * (width - len(row.labels) + 1) for row in rows])
    keep = (after != MASKED).any(0).nonzero().flatten()
    targets = after[:, keep]
    real = sum(len(row.ids) for row in rows)
    return Pack(
        {"input_ids": ids, "attention_mask": mask}, keep, targets, int((targets != MASKED).sum()), real, ids.numel()
    )


# --- loss -------------------------------------------------------------------------------------------------------------


def loss_sum(model: Any, pack: Pack) -> Tensor:
    """Sum of the cross-entropies of all trained tokens, in float32; logits exist at their positions only."""
    head = _CHUNKED.get(model)
    if head is not None:
        with _bare(head):
            hidden = logits_of(model, pack).flatten(0, 1)
        targets = pack.targets.flatten()
        trained = targets != MASKED
        if not trained.all():
            hidden, targets = hidden[trained], targets[trained]
        total: Tensor = ChunkedLoss.apply(hidden, head.weight, targets)
        return total
    logits = logits_of(model, pack)
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), pack.targets.flatten(), ignore_index=MASKED, reduction="sum"
    )


_CHUNKED: WeakKeyDictionary[Any, nn.Linear] = WeakKeyDictionary()


@contextlib.contextmanager
def _bare(head: nn.Linear) -> Iterator[None]:
    """While inside, the model's head passes on what it gets."""
    head.forward = lambda hidden: hidden  # type: ignore[method-assign]
    try:
        yield
    finally:
        del head.forward


@torch.no_grad()
def chunk_losses(model: Any, pack: Pack, dtype: torch.dtype) -> bool:
    """Let `loss_sum` take this model's losses in chunks, if its logits are its frozen head times hidden states and no
    more, as it turns out on `pack`. Some models scale or cap their logits."""
    head = model.get_base_model().get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None or head.weight.requires_grad:
        return False
    with evaluating(model):
        logits = logits_of(model, pack).float()
        with _bare(head):
            made = (logits_of(model, pack) @ head.weight.t()).float()
    if made.shape == logits.shape and (made - logits).norm() <= _AGREE[dtype] * logits.norm():
        _CHUNKED[model] = head
    return model in _CHUNKED


def logits_of(model: Any, pack: Pack) -> Tensor:
    """The logits at the pack's kept positions, in the model's dtype: [rows, kept, vocabulary]."""
    ours = pack.plan is not None and model.config.get_text_config()._attn_implementation == ATTENTION
    more = {"row_plan": pack.plan} if ours else {}
    logits: Tensor = model(**pack.inputs, **more, logits_to_keep=pack.keep, use_cache=False).logits
    return logits


def log_probabilities(model: Any, pack: Pack) -> Tensor:
    """The log-probabilities of the whole vocabulary at each trained position: [trained, vocabulary], in float32."""
    logits = logits_of(model, pack)
    return logits.flatten(0, 1)[pack.targets.flatten() != MASKED].float().log_softmax(-1)


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model without dropout while inside, and in its own mode again afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def to_device(pack: Pack, device: str | torch.device) -> Pack:
    """The same pack with its tensors on `device`."""
    inputs = {name: tensor.to(device) for name, tensor in pack.inputs.items()}
    return Pack(
        inputs, pack.keep.to(device), pack.targets.to(device), pack.trained, pack.real, pack.computed, pack.plan
    )


# --- attention --------------------------------------------------------------------------------------------------------


def register() -> None:
    """Offer `ATTENTION` to transformers: grouped-query attention for short packed rows on the CPU.

    torch's fused kernel is made for long rows: on some hundred tokens with a mask, its backward takes four times as
    long as three plain products (the default model, two cores, bf16). Scores are kept in the model's dtype, as in
    transformers' own eager attention.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Shapes as in transformers: query [B, H, T, D], key and value [B, K, T, D]; returns [B, T, H, D].

    ValueError for what it does not do: capped scores, attention sinks.
    """
    if options.get("softcap") is not None or options.get("s_aux") is not None:
        raise ValueError("this attention neither caps scores nor has sinks")
    plan = options.pop("row_plan", None)
    if plan is not None and not dropout:
        return RowAttention.apply(
            query, key, value, plan, query.shape[-1] ** -0.5 if scaling is None else scaling
        ), None
    if attention_mask is None or attention_mask.dtype == torch.bool or dropout:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return out, None
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    scaled = query * (width**-0.5 if scaling is None else scaling)
    scores = scaled.reshape(batch, groups, -1, width) @ key.transpose(2, 3)
    scores = scores.view(batch, heads, length, -1) + attention_mask
    weights = functional.softmax(scores, dim=-1).view(batch, groups, -1, scores.shape[-1])
    return (weights @ value).view(batch, heads, length, -1).transpose(1, 2), None


# --- check ------------------------------------------------------------------------------------------------------------


def trial(vocabulary: int) -> list[Example]:
    """Three random rows of 24 tokens to try a model out with; they share 12, and 8 of each are trained."""
    seeded = torch.Generator().manual_seed(0)
    rows = torch.randint(min(vocabulary, 1000), (3, 24), generator=seeded).tolist()
    rows = [rows[0][:12] + row[12:] for row in rows]
    return [Example(row, [MASKED] * 16 + row[16:], 16, False, True) for row in rows]


@torch.no_grad()
def agrees(model: Any, vocabulary: int, dtype: torch.dtype) -> bool:
    """Whether this model predicts the same for three packed rows as for each alone: that it honours mask and positions,
    and that the loss of training, in train mode, takes them.

    Some architectures (recurrent, sliding windows shorter than a row, position biases, mixtures of experts that compute
    a balance of their router from an ordinary mask) do not; they get padded batches.
    """
    examples = trial(vocabulary)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        pack = pack_shared(examples, 10_000, dtype)[0]
        packed = _states(model, pack, device)
        alone = torch.cat(
            [_states(model, _pack([row], dtype), device) for row in sorted(examples, key=lambda e: e.ids)]
        )
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # dropout must not change a run
            model.train()
            loss = loss_sum(model, to_device(pack, device))
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False  # it takes no such mask or positions at all
    finally:
        model.train(was_training)
    return bool(loss.isfinite() and (packed - alone).norm() <= _AGREE[dtype] * alone.norm())


def _states(model: Any, pack: Pack, device: torch.device) -> Tensor:
    logits = logits_of(model, to_device(pack, device))[0].float()
    return logits - logits.mean(-1, keepdim=True)
