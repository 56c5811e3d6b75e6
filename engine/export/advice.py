"""What to export instead of something that failed its verification: never what was tried already.
A pure function; make.py knows what was tried."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from engine.export import targets
from engine.export.request import Target

_BY_NUMBERS = frozenset({"logits", "answers", "stops", "probes"})
"""Checks that finer numbers can pass; the others fail whatever the quant."""
_ADAPTER, _MERGED, _FOLDER = Target("gguf-adapter"), Target("merged"), Target("adapter")
_WHY = {
    _ADAPTER: "which changes no weight of the base",
    _MERGED: "which keeps the base's own number types, tokenizer and template",
    _FOLDER: "which is what was trained, unchanged",
}


def advise(tried: Target, failed: Collection[str], others: Mapping[Target, str], *, plain: bool, official: bool) -> str:
    """What to export in place of `tried`, whose checks `failed`.

    `others` is the state (done or rejected) of what else was made of the same weights and verified; `plain` whether the
    adapter can be a GGUF adapter, `official` whether llama.cpp's own converter was used already.
    """
    rejected = {target for target, state in others.items() if state == "rejected"} | {tried}
    if near := _finer(tried, failed, {t for t, state in others.items() if state == "done"} - {tried}):
        return f"{near.title} of this run passed its verification: export that{_or_adapter(rejected, plain)}."
    finer, other = _candidates(tried, failed, plain)
    found = [next(iter([t for t in finer if t not in rejected]), None), *(t for t in other if t not in rejected)]
    words = [_words(target) for target in found if target][:2]
    if tried.quant and not official and not set(failed) <= _BY_NUMBERS:
        words.insert(0, "--converter official with the same format")
    if not words:
        return "Everything else of this run failed too: check the run's answers in Compare, or train it again."
    return f"Try {' or '.join(words[:2])}."


def _finer(tried: Target, failed: Collection[str], made: Collection[Target]) -> Target | None:
    """The nearest finer quant among `made`, when finer numbers can help at all."""
    if not set(failed) <= _BY_NUMBERS:
        return None
    return next((t for q in reversed(_better(tried)) for t in (Target(tried.format, q),) if t in made), None)


def _better(tried: Target) -> tuple[str, ...]:
    """The quants that lose less, best first."""
    quants = targets.get(tried.format).quants
    return quants[: quants.index(tried.quant)] if tried.quant in quants else ()


def _candidates(tried: Target, failed: Collection[str], plain: bool) -> tuple[list[Target], list[Target]]:
    """Finer quants of the same format, and targets of another kind: what may do better, the likeliest first."""
    finer = [Target(tried.format, q) for q in ("q8_0", "bf16", "f32") if q in _better(tried)]
    file = [Target("gguf", tried.quant)] if set(failed) == {"Modelfile"} else []
    other = [*file, *([_ADAPTER] if plain else []), _MERGED, _FOLDER]
    return (finer if set(failed) <= _BY_NUMBERS else []), other


def _or_adapter(rejected: Collection[Target], plain: bool) -> str:
    return ", or the adapter (--to gguf-adapter)" if plain and _ADAPTER not in rejected else ""


def _words(target: Target) -> str:
    quant = f" --quant {target.quant}" if target.quant else ""
    why = f", {_WHY[target]}" if target in _WHY else ""
    return f"--to {target.format}{quant}{why}"
