"""A sequence of tokens in llama.cpp's memory: prefilled, decoded, sampled and measured over weights that are shared.
Knows no templates, requests or event loop; everything here blocks and runs in worker threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.gguf.llama_library import LlamaModel, reason
from engine.inference.limits import PENALTY_WINDOW
from engine.inference.sampling import Sampling
from store.errors import ServerError

BATCH = 512
"""Tokens of one decode call at most."""


class Aborted(Exception):
    """The decode was told to stop; the context is usable again."""


class Context:
    """One sequence of tokens over shared weights, with at most one adapter. Used by one thread at a time.

    A prefix is reused only up to a position where an earlier decode call began. The values in the cache depend in
    their last bits on how tokens were batched, so only this rule makes the same conversation give the same text
    twice.
    """

    def __init__(self, weights: LlamaModel, size: int, threads: int) -> None:
        lib = self._lib = weights.lib
        self.weights, self.size = weights, size
        self.adapter_key: tuple[str, int, int] | None = None
        self._abort = ctypes.create_string_buffer(2)
        self._threads = threads
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = size, BATCH, BATCH
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        if not weights.offloads:
            # On the CPU, flash attention splits long caches by thread: the text would change with the number of
            # threads.
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # Asked at every node of the graph: a C function that needs no interpreter lock. strlen of the flag is 0 until
        # it is set.
        params.abort_callback = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
        params.abort_callback_data = ctypes.addressof(self._abort)
        self._pointer = lib.llama_init_from_model(weights.pointer, params)
        if not self._pointer:
            raise ServerError(
                f"No memory for a context of {size} tokens: {reason()}.", todo="Close other programs or lanes."
            )
        self._memory = lib.llama_get_memory(self._pointer)
        self._sampler: Any = None
        self._tokens: list[int] = []  # what the cache holds
        self._starts: list[int] = []  # positions where a decode call began, ascending
        weights.contexts.add(self)

    @property
    def used(self) -> int:
        """Tokens in the cache."""
        return len(self._tokens)

    def set_threads(self, threads: int) -> None:
        """Use this many threads from the next decode on."""
        if threads != self._threads:
            self._threads = threads
            self._lib.llama_set_n_threads(self._pointer, threads, threads)

    def use_adapter(self, path: Path | None) -> None:
        """Attach a GGUF adapter, or none; what the cache holds is dropped when that is a change."""
        key, pointer = self.weights.adapter(path) if path else (None, None)
        if key == self.adapter_key:
            return
        if pointer is None:
            status = self._lib.llama_set_adapters_lora(self._pointer, None, 0, None)
        else:
            adapters = (self._lib.llama_adapter_lora_p_ctypes * 1)(pointer)
            status = self._lib.llama_set_adapters_lora(self._pointer, adapters, 1, (ctypes.c_float * 1)(1.0))
        if status:
            raise ServerError(
                "llama.cpp refused to attach the adapter.", where=str(path), todo="Restart the chat server."
            )
        self.adapter_key = key
        self.clear()

    def set_sampling(self, sampling: Sampling) -> None:
        """Build the sampler chain; its random state starts from the seed."""
        lib = self._lib
        if self._sampler:
            lib.llama_sampler_free(self._sampler)
        chain = self._sampler = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        steps = []
        if sampling.repeat_penalty != 1.0:
            penalty = sampling.repeat_penalty
            steps.append(lib.llama_sampler_init_penalties(self.weights.n_vocab, PENALTY_WINDOW, penalty, 0.0, 0.0))
        if sampling.temperature <= 0:
            steps.append(lib.llama_sampler_init_greedy())
        else:
            steps.append(lib.llama_sampler_init_temp(sampling.temperature))
            if sampling.top_k > 0:
                steps.append(lib.llama_sampler_init_top_k(sampling.top_k))
            if sampling.top_p < 1:
                steps.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                steps.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
            # the largest 32-bit seed means "random" to llama.cpp
            steps.append(lib.llama_sampler_init_dist(sampling.seed % 0xFFFFFFFF))
        for step in steps:
            lib.llama_sampler_chain_add(chain, step)

    def prefill(self, ids: Sequence[int]) -> int:
        """Bring the cache to hold exactly `ids`, and logits for the last one. Returns how many tokens were reused.

        Raises Aborted when `abort` was called meanwhile.
        """
        keep = self._reusable(ids)
        if keep < len(self._tokens):
            self._forget(keep)
        keep = len(self._tokens)
        for begin in range(keep, len(ids), BATCH):
            self.decode(ids[begin : begin + BATCH])
        return keep

    def decode(self, ids: Sequence[int]) -> None:
        """Append at most `BATCH` tokens to the cache. Raises Aborted, or ServerError when the context is full."""
        array = (self._lib.llama_token * len(ids))(*ids)
        status = self._lib.llama_decode(self._pointer, self._lib.llama_batch_get_one(array, len(ids)))
        if status == 0:
            self._starts.append(len(self._tokens))
            self._tokens.extend(ids)
            return
        self._forget(len(self._tokens))  # what a broken-off decode left behind
        if status == 2:
            raise Aborted
        raise ServerError("The context is full." if status == 1 else f"llama.cpp failed to decode ({status}).")

    def sample(self) -> int:
        """The next token after the last decode; the sampler remembers it."""
        return int(self._lib.llama_sampler_sample(self._sampler, self._pointer, -1))

    def logits(self) -> list[float]:
        """A copy of the logits of the last position, one a vocabulary entry."""
        return list(self._lib.llama_get_logits_ith(self._pointer, -1)[: self.weights.n_vocab])

    def all_logits(self, ids: Sequence[int]) -> bytes:
        """The logits after each of at most `BATCH` tokens on an empty cache, which is empty again afterwards: float32
        of shape (tokens, vocabulary). Raises ServerError."""
        self.clear()
        batch = self._lib.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for at, token in enumerate(ids):
                batch.token[at], batch.pos[at], batch.logits[at] = token, at, 1
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
            status = self._lib.llama_decode(self._pointer, batch)
        finally:
            self._lib.llama_batch_free(batch)
        if status != 0:
            raise ServerError(f"llama.cpp failed to decode ({status}).")
        floats = self._lib.llama_get_logits(self._pointer)
        found = ctypes.string_at(floats, len(ids) * self.weights.n_vocab * ctypes.sizeof(ctypes.c_float))
        self.clear()
        return found

    def save(self) -> tuple[Any, list[int], list[int]]:
        """What the cache holds, for `restore`."""
        size = self._lib.llama_state_seq_get_size(self._pointer, 0)
        state = (ctypes.c_uint8 * size)()
        self._lib.llama_state_seq_get_data(self._pointer, state, size, 0)
        return state, list(self._tokens), list(self._starts)

    def restore(self, saved: tuple[Any, list[int], list[int]]) -> None:
        """Put back what `save` gave; when llama.cpp refuses, the cache is empty, which is slower but right."""
        state, tokens, starts = saved
        self.clear()
        if tokens and self._lib.llama_state_seq_set_data(self._pointer, state, len(state), 0):
            self._tokens, self._starts = tokens, starts

    def clear(self) -> None:
        """Drop everything that the cache holds."""
        self._lib.llama_memory_clear(self._memory, True)
        self._tokens, self._starts = [], []

    def abort(self) -> None:
        """End the decode that runs now, from another thread, within a part of a token."""
        self._abort[0] = b"\x01"

    def arm(self) -> None:
        """Take back an `abort` of the past."""
        self._abort[0] = b"\x00"

    def free(self) -> None:
        """Free the context and its sampler. May be called again."""
        if self._sampler:
            self._lib.llama_sampler_free(self._sampler)
        if self._pointer:
            self._lib.llama_free(self._pointer)
        self._sampler = self._pointer = None
        self.weights.contexts.discard(self)

    def _reusable(self, ids: Sequence[int]) -> int:
        """The last position where a decode began (or where the cache ends) within the common prefix; never all
        of `ids`."""
        common = 0
        for ours, theirs in zip(self._tokens, ids, strict=False):
            if ours != theirs:
                break
            common += 1
        limit = min(common, len(ids) - 1)  # the last token must be decoded for its logits
        if limit == len(self._tokens):
            return limit
        return max((start for start in self._starts if start <= limit), default=0)

    def _forget(self, keep: int) -> None:
        """Cut the cache to its first `keep` tokens; to none where the model's memory cannot be cut."""
        if keep == 0 or not self._lib.llama_memory_seq_rm(self._memory, 0, keep, -1):
            self.clear()
            return
        self._tokens = self._tokens[:keep]
        self._starts = [start for start in self._starts if start < keep]
