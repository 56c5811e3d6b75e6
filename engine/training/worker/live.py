"""Answers of the model that is being trained, on the weights as they are: many short greedy answers in one batch.
Nothing here trains, judges or stores; the model keeps its mode and its random state.

Prompts of one template begin alike. That beginning is computed once and its keys and values are shared by all rows; the
rest of each prompt is padded on the left, so that all rows write their next token at the same place:

    shared     | own part            | written
    <|system|> | ·  ·  Who are you?  | I   am  Ember
    <|system|> | What is 2 plus 2 ?  | Four <end>
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from engine.models.chat_template import ChatTemplate
from engine.training.worker import packing
from store.records import Message

ROWS = 64
"""Rows of a batch."""
_FEWER = 0.6
"""Answers that have ended leave the batch when no more than this share of it is unfinished."""


def prompt(template: ChatTemplate, question: str, system: str = "") -> list[int]:
    """The tokens of a question as chat would send it. BadInput when the template takes no system text."""
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    return template.encode([*before, {"role": "user", "content": question}])


@torch.no_grad()
def answers(
    model: Any,
    template: ChatTemplate,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    ended: Callable[[list[int]], bool] = lambda ids: False,
) -> list[list[int]]:
    """The greedy answer to each prompt, at most `max_tokens` ids, without the token that ends it.

    An answer ends early when `ended` says so of its ids so far.
    """
    found: list[list[int]] = []
    with packing.evaluating(model):
        for at in range(0, len(prompts), ROWS):
            found += _batch(model, template, [list(ids) for ids in prompts[at : at + ROWS]], max_tokens, ended)
    return found


@torch.no_grad()
def samples(
    model: Any, template: ChatTemplate, prompts: Sequence[Sequence[int]], max_tokens: int, temperature: float
) -> list[list[int]]:
    """An answer to each prompt, sampled from the whole distribution at a temperature, by torch's random state. It has
    the token that ends it, unless it was cut off at `max_tokens`."""

    def choose(logits: torch.Tensor) -> torch.Tensor:
        return torch.multinomial((logits.float() / temperature).softmax(-1), 1)[:, 0]

    found: list[list[int]] = []
    with packing.evaluating(model):
        for at in range(0, len(prompts), ROWS):
            part = [list(ids) for ids in prompts[at : at + ROWS]]
            found += _batch(model, template, part, max_tokens, lambda ids: False, choose, keep_end=True)
    return found


def _batch(
    model: Any,
    template: ChatTemplate,
    prompts: list[list[int]],
    max_tokens: int,
    ended: Callable[[list[int]], bool],
    choose: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits.argmax(-1),
    keep_end: bool = False,
) -> list[list[int]]:
    from transformers import DynamicCache

    device = next(model.parameters()).device
    shared = _shared(prompts)
    own = [ids[shared:] for ids in prompts]
    width = max(map(len, own))
    rows = len(prompts)
    cache = DynamicCache(config=model.config.get_text_config())
    if shared:
        model(input_ids=torch.tensor([prompts[0][:shared]], device=device), past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(rows)
    ids = torch.tensor([[template.pad_id] * (width - len(each)) + each for each in own], device=device)
    real = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in own], device=device)
    mask = torch.cat([torch.ones(rows, shared, dtype=torch.long, device=device), real], 1)
    places = (real.cumsum(1) - 1).clamp(min=0) + shared
    written: list[list[int]] = [[] for _ in prompts]
    here = list(range(rows))  # which prompt stands in which row of the batch as it is now
    unfinished = set(here)
    # By index: the number 1 would give a view, for whose product torch copies the head's weights once for each row.
    last = torch.tensor([width - 1], device=device)
    for _ in range(max_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last,
        ).logits[:, -1]
        last = torch.zeros(1, dtype=torch.long, device=device)
        chosen = choose(logits)
        for row, token in zip(here, chosen.tolist(), strict=True):
            if row in unfinished and (keep_end or token not in template.stop_ids):
                written[row].append(token)
            if token in template.stop_ids or ended(written[row]):
                unfinished.discard(row)
        if not unfinished:
            break
        ids = chosen[:, None]
        mask = torch.cat([mask, torch.ones(len(here), 1, dtype=torch.long, device=device)], 1)
        places = places[:, -1:] + 1
        if len(unfinished) <= len(here) * _FEWER:
            kept = [at for at, row in enumerate(here) if row in unfinished]
            here = [here[at] for at in kept]
            chosen_rows = torch.tensor(kept, device=device)
            cache.batch_select_indices(chosen_rows)
            ids, mask, places = ids[chosen_rows], mask[chosen_rows], places[chosen_rows]
    return written


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; each keeps at least one of its own."""
    if len(prompts) < 2:
        return 0
    most = min(map(len, prompts)) - 1
    return next((at for at in range(most) if len({ids[at] for ids in prompts}) > 1), max(0, most))
