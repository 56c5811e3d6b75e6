"""What is recommended after a failed verification: something finer or of another kind, and never what was tried."""

from __future__ import annotations

import itertools

import pytest

from engine.export import targets
from engine.export.advice import advise
from engine.export.request import Target

EVERY = [Target(name, quant) for name, kind in targets.REGISTRY.items() for quant in (kind.quants or (None,))]
Q8, Q4, F16, ADAPTER = (Target("gguf", "q8_0"), Target("gguf", "q4_k_m"), Target("gguf", "f16"), Target("gguf-adapter"))


def given(text: str) -> set[Target]:
    """The targets that a text recommends."""
    words = text.replace(",", " ").replace(".", " ").split()
    found = set()
    for n, word in enumerate(words):
        if word == "--to":
            quant = words[n + 3] if words[n + 2 : n + 3] == ["--quant"] else None
            found.add(Target(words[n + 1], quant))
    return found


FAILED = [{"answers"}, {"tokens"}, {"logits", "stops"}, {"template", "answers"}]


@pytest.mark.parametrize("tried", EVERY, ids=lambda target: target.title)
@pytest.mark.parametrize("failed", FAILED, ids=lambda names: "+".join(sorted(names)))
def test_what_was_tried_is_never_recommended(tried: Target, failed: set[str]) -> None:
    rejected = dict.fromkeys((Q8, ADAPTER, Target("merged")), "rejected")
    for others, plain, official in itertools.product(({}, rejected), (True, False), (True, False)):
        text = advise(tried, failed, others, plain=plain, official=official)
        assert not given(text) & {tried, *others}, text
        assert official is False or "official" not in text
        if not plain:
            assert ADAPTER not in given(text)


def test_the_nearest_finer_quant_that_passed_comes_first() -> None:
    made = {Q8: "done", F16: "done", Target("gguf", "q4_0"): "done"}
    assert advise(Q4, {"answers"}, made, plain=True, official=False).startswith("gguf q8_0 of this run passed")
    assert advise(Q8, {"answers"}, made, plain=True, official=False).startswith("gguf f16 of this run passed")


def test_a_finer_quant_is_no_way_out_of_a_wrong_vocabulary() -> None:
    text = advise(Q4, {"tokens"}, {Q8: "done"}, plain=True, official=False)
    assert "q8_0" not in text and "--converter official" in text
    assert "gguf q4_k_m" not in advise(Q4, {"Modelfile"}, {}, plain=True, official=True)
    assert given(advise(Target("ollama", "q4_0"), {"Modelfile"}, {}, plain=True, official=True)) >= {
        Target("gguf", "q4_0")
    }


def test_nothing_left_to_try_is_said() -> None:
    rejected = dict.fromkeys(EVERY, "rejected")
    assert "failed too" in advise(Q4, {"answers"}, rejected, plain=True, official=True)
