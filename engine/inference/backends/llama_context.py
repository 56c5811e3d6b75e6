"""A sequence of tokens in llama.cpp's memory: prefilled, decoded, sampled and measured over weights that are shared.
Knows no templates, requests or event loop; everything here blocks and runs in worker threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.gguf.llama_library import LlamaModel, reason
from engine.inference.limits import PENALTY_WINDOW
from engine.inference.records import ScoredBatch, ScoredToken, TokenLogprob
from engine.inference.sampling import Sampling
from store.errors import BadInput, ServerError

BATCH = 512
"""Tokens of one decode call at most."""


class Aborted(Exception):
    """The decode was stopped; the context can be used again."""


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
        self._grammar: Any = None
        self._top_logprobs: int | None = None
        self._candidates: Any = None  # one record for each token, made when a grammar first needs them
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

    def set_sampling(self, sampling: Sampling, grammar: str | None = None) -> None:
        """Build the sampler chain; its random state starts from the seed. `grammar` (GBNF) bounds what may be said.

        Raises BadInput naming `logit_bias` or `response_format` when this model cannot follow it.
        """
        lib = self._lib
        self._free_samplers()
        chain = self._sampler = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._top_logprobs = sampling.top_logprobs
        if grammar is not None:
            self._grammar = lib.llama_sampler_init_grammar(self.weights.vocab, grammar.encode(), b"root")
            if not self._grammar:
                raise BadInput(
                    f"llama.cpp cannot follow this schema: {reason()}.",
                    where="response_format",
                    todo="Simplify the schema.",
                )
        steps = []
        if sampling.logit_bias:
            steps.append(self._bias(sampling.logit_bias))
        if sampling.repeat_penalty != 1.0:
            penalty = sampling.repeat_penalty
            steps.append(lib.llama_sampler_init_penalties(self.weights.n_vocab, PENALTY_WINDOW, penalty, 0.0, 0.0))
        if sampling.frequency_penalty or sampling.presence_penalty:
            both = sampling.frequency_penalty, sampling.presence_penalty
            steps.append(lib.llama_sampler_init_penalties(self.weights.n_vocab, self.size, 1.0, *both))
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
        """The next token after the last decode; the samplers remember it. Raises ServerError when the grammar leaves
        no token of the model's vocabulary."""
        if self._grammar is None:
            return int(self._lib.llama_sampler_sample(self._sampler, self._pointer, -1))
        return self._sample_within_grammar()

    def accept(self, token: int) -> None:
        """Let the samplers remember a token that they did not choose."""
        for sampler in (self._grammar, self._sampler):
            if sampler:
                self._lib.llama_sampler_accept(sampler, token)

    def logprobs(self, token: int) -> TokenLogprob | None:
        """The log probability of a token after the last decode, when the sampling asks for it."""
        if self._top_logprobs is None:
            return None
        import numpy as np  # 0.1 s that other answers need not pay

        logits = self._logits_array().astype(np.float64)
        values = logits - logits.max()
        values -= np.log(np.exp(values).sum())
        best = np.argsort(-values, kind="stable")[: self._top_logprobs]
        piece = partial(self.weights.piece, special=True)
        return TokenLogprob(
            piece(token), float(values[token]), tuple((piece(int(one)), float(values[one])) for one in best)
        )

    def _sample_within_grammar(self) -> int:
        """llama.cpp's samplers by hand: its own call ends the whole process when the grammar leaves no token."""
        import numpy as np

        lib, n = self._lib, self.weights.n_vocab
        if self._candidates is None:
            self._candidates = (lib.llama_token_data * n)()
        rows = np.frombuffer(self._candidates, np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")]))
        rows["id"], rows["logit"], rows["p"] = np.arange(n), self._logits_array(), 0
        array = lib.llama_token_data_array(self._candidates, n, -1, False)
        lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        allowed = np.zeros(n, bool)
        allowed[rows["id"][: array.size]] = np.isfinite(rows["logit"][: array.size])
        chosen = -1
        if allowed.any():
            lib.llama_sampler_apply(self._sampler, ctypes.byref(array))
            chosen = int(array.data[array.selected].id)
        if chosen < 0 or not allowed[chosen]:
            raise ServerError(
                "The answer cannot go on: no token of this model fits the response format here.",
                todo="Change the schema, or leave logit_bias out.",
            )
        lib.llama_sampler_accept(self._grammar, chosen)
        lib.llama_sampler_accept(self._sampler, chosen)
        return chosen

    def _logits_array(self) -> Any:
        """A view on the logits of the last position: float32 of shape (vocabulary,)."""
        import numpy as np

        return np.ctypeslib.as_array(self._lib.llama_get_logits_ith(self._pointer, -1), (self.weights.n_vocab,))

    def _bias(self, biases: Sequence[tuple[int, float]]) -> Any:
        beyond = next((token for token, _ in biases if token >= self.weights.n_vocab), None)
        if beyond is not None:
            raise BadInput(
                f"The model has no token {beyond}: its vocabulary has {self.weights.n_vocab:,}.", where="logit_bias"
            )
        array = (self._lib.llama_logit_bias * len(biases))(*biases)
        return self._lib.llama_sampler_init_logit_bias(self.weights.n_vocab, len(biases), array)

    def _free_samplers(self) -> None:
        for sampler in (self._sampler, self._grammar):
            if sampler:
                self._lib.llama_sampler_free(sampler)
        self._sampler = self._grammar = None

    def logits(self) -> list[float]:
        """A copy of the logits of the last position, one per vocabulary entry."""
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

    def score(self, ids: Sequence[int], begin: int, first: int, top: int) -> ScoredBatch:
        """Read at most `BATCH` of `ids` from `begin` on, and score those of `ids[first:]` that come after one of them.

        Begins with an empty cache at 0 and continues where the last call ended; the caller clears the cache at the end.
        Raises Aborted or ServerError.
        """
        if begin == 0:
            self.clear()
        end = min(begin + BATCH, len(ids) - 1)
        batch = self._lib.llama_batch_init(end - begin, 0, 1)
        try:
            batch.n_tokens = end - begin
            for at, token in enumerate(ids[begin:end]):
                batch.token[at], batch.pos[at], batch.logits[at] = token, begin + at, begin + at + 1 >= first
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
            status = self._lib.llama_decode(self._pointer, batch)
        finally:
            self._lib.llama_batch_free(batch)
        if status == 2:
            raise Aborted
        if status != 0:
            raise ServerError(f"llama.cpp failed to decode ({status}).")
        after = range(max(begin, first - 1), end)
        return ScoredBatch(end, tuple(self._scored(at - begin, ids[at + 1], top) for at in after))

    def _scored(self, row: int, token: int, top: int) -> ScoredToken:
        """`token` by the logits of row `row` of the last batch."""
        import numpy as np

        logits = self._lib.llama_get_logits_ith(self._pointer, row)
        values = np.ctypeslib.as_array(logits, (self.weights.n_vocab,)).astype(np.float64)
        values -= values.max()
        values -= np.log(np.exp(values).sum())
        top = min(top, len(values))
        best = np.argpartition(-values, top - 1)[:top] if top else ()
        return ScoredToken(
            token, float(values[token]), tuple(sorted(((int(n), float(values[n])) for n in best), key=_best_first))
        )

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
        """Clear an earlier `abort`."""
        self._abort[0] = b"\x00"

    def free(self) -> None:
        """Free the context and its sampler. May be called again."""
        self._free_samplers()
        if self._pointer:
            self._lib.llama_free(self._pointer)
        self._pointer = None
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


def _best_first(scored: tuple[int, float]) -> tuple[float, int]:
    """A key that sorts tokens by their log probabilities; equal ones by their ids."""
    return -scored[1], scored[0]
