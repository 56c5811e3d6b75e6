"""Attention in a prefix-tree pack, row by row: every row's own tokens look at that row's tokens, and at no others.
One autograd function on the CPU; what a pack is, packing.py knows.

In a pack of n rows a full score matrix is n times as large as what the rows need. Here the queries are gathered to
[rows, own tokens] and the keys to [rows, all tokens]. Two rows `s t R` and `s u v`, packed as s t R u v (0 to 4):

    row      own tokens (queries)      all tokens (keys)
    s t R    0 1 2                     0 1 2
    s u v    3 4 ·                     0 3 4

The second row has padding where a dot stands. Token 0 is a key of both, so its gradient is the sum over both. Rows are
taken in blocks of similar length, so that a long one does not pad the short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_SIMILAR = 1.5  # the longest row of a block is at most so many times as long as its shortest


@dataclass(frozen=True)
class _Block:
    """Rows computed together: `queries` and `keys` are places in [tokens * heads], `mask` is added to the scores,
    `padding` are the places in the gathered queries that stand for no token."""

    rows: int
    wide: int
    long: int
    queries: Tensor
    keys: Tensor
    mask: Tensor
    padding: Tensor


@dataclass(frozen=True)
class _Tables:
    """`back`: where each token's output is; `sources` and `offsets`: the gathered keys that each token's is made of."""

    blocks: list[_Block]
    back: Tensor
    sources: Tensor
    offsets: Tensor


class RowPlan:
    """The rows of one pack of `tokens` tokens: (own, path) for each, places in the pack. `own` are the last of `path`,
    and every place is some row's own exactly once."""

    def __init__(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]], tokens: int) -> None:
        self._rows, self._tokens = sorted(rows, key=lambda row: -len(row[1])), tokens
        self._made: dict[tuple[int, int, torch.dtype], _Tables] = {}

    def tables(self, heads: int, groups: int, dtype: torch.dtype) -> _Tables:
        """Made once for each shape."""
        wanted = heads, groups, dtype
        if wanted not in self._made:
            self._made[wanted] = self._make(*wanted)
        return self._made[wanted]

    def _blocks(self) -> list[list[tuple[Sequence[int], Sequence[int]]]]:
        blocks = [[self._rows[0]]]
        for row in self._rows[1:]:
            if len(row[1]) * _SIMILAR < len(blocks[-1][0][1]):
                blocks.append([])
            blocks[-1].append(row)
        return blocks

    def _make(self, heads: int, groups: int, dtype: torch.dtype) -> _Tables:
        blocks: list[_Block] = []
        back = torch.zeros(self._tokens * heads, dtype=torch.long)
        keys_of: list[Tensor] = []
        places_of: list[Tensor] = []
        query_at = key_at = 0
        head, group = torch.arange(heads), torch.arange(groups)
        for rows in self._blocks():
            many, wide, long = len(rows), max(len(own) for own, _ in rows), max(len(path) for _, path in rows)
            queries = torch.tensor([[*own, *[0] * (wide - len(own))] for own, _ in rows])
            keys = torch.tensor([[*path, *[0] * (long - len(path))] for _, path in rows])
            is_query = torch.arange(wide) < torch.tensor([[len(own)] for own, _ in rows])
            is_key = torch.arange(long) < torch.tensor([[len(path)] for _, path in rows])
            before = torch.tensor([len(path) - len(own) for own, path in rows]).view(-1, 1, 1)
            sees = torch.arange(long) <= torch.arange(wide)[:, None] + before  # padding sees something: no row of NaN
            mask = torch.zeros(many, 1, wide, long, dtype=dtype).masked_fill(~sees[:, None], float("-inf"))
            queries = (queries[:, None] * heads + head[:, None]).flatten()
            keys = (keys[:, None] * groups + group[:, None]).flatten()
            real = is_query[:, None].expand(many, heads, wide).flatten()
            back[queries[real]] = real.nonzero().flatten() + query_at
            query_at += len(queries)
            real_keys = is_key[:, None].expand(many, groups, long).flatten()
            keys_of.append(keys[real_keys])
            places_of.append(real_keys.nonzero().flatten() + key_at)
            key_at += len(keys)
            blocks.append(_Block(many, wide, long, queries, keys, mask, (~real).nonzero().flatten()))
        used = torch.cat(keys_of)
        order = used.argsort(stable=True)
        counts = used.bincount(minlength=self._tokens * groups)
        return _Tables(blocks, back, torch.cat(places_of)[order], counts.cumsum(0) - counts)


class RowAttention(torch.autograd.Function):
    """Query [1, heads, tokens, width], key and value [1, groups, tokens, width], a RowPlan, a scaling; returns
    [1, tokens, heads, width]. Scores are kept in the model's dtype."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: RowPlan, scaling: float) -> Tensor:
        heads, groups, tokens, width = query.shape[1], key.shape[1], query.shape[2], query.shape[3]
        tables = plan.tables(heads, groups, query.dtype)
        q, k, v = (each[0].transpose(0, 1).reshape(-1, width) for each in (query, key, value))
        kept: list[Tensor] = []
        out: list[Tensor] = []
        for block in tables.blocks:
            own = q.index_select(0, block.queries).mul_(scaling).view(block.rows * groups, -1, width)
            seen = k.index_select(0, block.keys).view(-1, block.long, width)
            held = v.index_select(0, block.keys).view(-1, block.long, width)
            scores = own @ seen.transpose(1, 2)
            scores.view(block.rows, heads, block.wide, block.long).add_(block.mask)
            weights = scores.softmax(-1)
            out.append((weights @ held).view(-1, width))
            kept += [own, seen, held, weights]
        ctx.save_for_backward(*kept)
        ctx.tables, ctx.scaling, ctx.shapes = tables, scaling, (query.shape, key.shape)
        return _joined(out).index_select(0, tables.back).view(1, tokens, heads, width)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        """With S the scores and P their softmax: dV = Pᵀ dO, dP = dO Vᵀ, dQ = dS K, dK = dSᵀ Q."""
        tables, ((_, heads, tokens, width), (_, groups, _, _)) = ctx.tables, ctx.shapes
        flat, kept = grad.reshape(-1, width), ctx.saved_tensors
        dqs, dks, dvs = [], [], []
        for number, block in enumerate(tables.blocks):
            own, seen, held, weights = kept[4 * number : 4 * number + 4]
            dout = flat.index_select(0, block.queries).index_fill_(0, block.padding, 0)
            dout = dout.view(block.rows * groups, -1, width)
            dscores = torch._softmax_backward_data(dout @ held.transpose(1, 2), weights, -1, weights.dtype)
            dqs.append((dscores @ seen).view(-1, width))
            dks.append((dscores.transpose(1, 2) @ own).view(-1, width))
            dvs.append((weights.transpose(1, 2) @ dout).view(-1, width))
        dq = _joined(dqs).index_select(0, tables.back).mul_(ctx.scaling).view(1, tokens, heads, width)
        dk, dv = (
            torch.embedding_bag(_joined(each), tables.sources, tables.offsets)[0].view(1, tokens, groups, width)
            for each in (dks, dvs)
        )
        return dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2), None, None


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
