"""Virtual tokens before rows of any kind: packed, padded, or answered step by step. PEFT makes and saves them.

In a prefix tree (packing.py) virtual tokens are one more beginning that all rows share: they stand there once, every
token sees them, and they count as the first positions. So packing stays exact. PEFT's own forward takes neither a mask
of four dimensions nor positions nor a cache that is already filled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def attach(model: Any) -> None:
    """Let a PeftModel with virtual tokens take packed rows: its forward becomes `VirtualTokens`. `disable_adapter`
    switches it off and on as it does PEFT's own."""
    model.forward = VirtualTokens(model)


class VirtualTokens:
    """The forward of a model whose adapter is virtual tokens: embeddings, or keys and values of every layer.

    Takes what the base's forward takes. The virtual tokens are put in where nothing came before: without a cache, or
    with an empty one; masks and positions never count them, and logits are only those of the real tokens.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._base = model, model.base_model
        self._options = model.peft_config["default"]
        self._many = int(self._options.num_virtual_tokens)
        self._deep = str(self._options.peft_type.value) == "PREFIX_TUNING"

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        logits_to_keep: int | Tensor = 0,
        row_plan: Any = None,  # a shorter way through the tree's mask, which virtual tokens are not in
        **options: Any,
    ) -> Any:
        first = past_key_values is None or past_key_values.get_seq_length() == 0
        inputs: dict[str, Any] = {"input_ids": input_ids}
        if first and self._deep:
            past_key_values = self._filled(past_key_values, len(input_ids))
        elif first:
            inputs = {"inputs_embeds": self._before(input_ids)}
            logits_to_keep = self._shifted(logits_to_keep, input_ids.shape[1])
        inside = first and not self._deep
        if attention_mask is not None:
            inputs["attention_mask"] = self._seen(attention_mask, inside)
        if position_ids is not None:
            inputs["position_ids"] = self._counted(position_ids, inside)
        return self._base(**inputs, past_key_values=past_key_values, logits_to_keep=logits_to_keep, **options)

    def _made(self) -> Tensor:
        """What the adapter holds, [1, virtual tokens, width], in the base's dtype."""
        name = self._model.active_adapter
        encoder = self._model.prompt_encoder[name]
        numbers = self._model.prompt_tokens[name][: self._many].to(self._base.device)
        return encoder(numbers[None]).to(self._base.get_input_embeddings().weight.dtype)

    def _before(self, input_ids: Tensor) -> Tensor:
        embedded = self._base.get_input_embeddings()(input_ids)
        return torch.cat([self._made().expand(len(input_ids), -1, -1), embedded], 1)

    def _filled(self, cache: Any, rows: int) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache(config=self._base.config.get_text_config()) if cache is None else cache
        heads = self._options.num_attention_heads
        shape = (1, self._many, self._options.num_layers * 2, heads, self._options.token_dim // heads)
        both = self._made().view(shape).expand(rows, -1, -1, -1, -1).permute(2, 0, 3, 1, 4)
        for layer in range(self._options.num_layers):
            cache.update(both[2 * layer], both[2 * layer + 1], layer)
        return cache

    def _shifted(self, keep: int | Tensor, length: int) -> int | Tensor:
        """Which logits are wanted, counted with the virtual tokens."""
        if isinstance(keep, Tensor):
            return keep + self._many
        return keep or length  # the last `keep`, or all of the real ones

    def _seen(self, mask: Tensor, inside: bool) -> Tensor:
        """The mask with the virtual tokens, which everything sees; `inside`: they are computed in this pass, too."""
        if mask.dim() == 2:
            return torch.cat([mask.new_ones(len(mask), self._many), mask], 1)
        seen = torch.cat([mask.new_zeros(*mask.shape[:-1], self._many), mask], -1)
        if not inside:
            return seen
        own = mask.new_full((*mask.shape[:-2], self._many, self._many + mask.shape[-1]), float("-inf"))
        return torch.cat([own.triu(1), seen], -2)

    def _counted(self, positions: Tensor, inside: bool) -> Tensor:
        counted = positions + self._many
        if not inside:
            return counted
        own = torch.arange(self._many, device=positions.device).expand(len(positions), -1)
        return torch.cat([own, counted], 1)
