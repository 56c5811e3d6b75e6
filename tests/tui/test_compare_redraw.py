"""What Compare does again while answers stream: the turn that grows is built and laid out, and no other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from engine.comparison.session import Comparison
from engine.inference.client import Done
from tests.tui.comparing import BASE, TUNED, answered, ask, screen
from tests.tui.scripted import ScriptedClient, by_model
from tui.screens.compare import lane as lane_module
from tui.screens.compare import rendering
from tui.screens.compare.block_cache import BlockCache
from tui.screens.compare.lane import Block, LaneView
from tui.widgets.flow import Flow

TURNS = 12


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each turn was built."""
    count: Counter[int] = Counter()
    build = rendering.turn_blocks

    def counted(comparison: Comparison, position: int, n: int, **how: Any) -> list[Block]:
        count[n] += 1
        return build(comparison, position, n, **how)

    monkeypatch.setattr(rendering, "turn_blocks", counted)
    return count


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a block of each text was looked at by a lane's layout."""
    count: Counter[str] = Counter()
    grow = Flow.grow

    def counted(flow: Flow, raw: str) -> int:
        count[raw] += 1
        return grow(flow, raw)

    monkeypatch.setattr(lane_module.Flow, "grow", counted)
    return count


def long_talk(app: Any) -> Comparison:
    """A conversation of some turns that both lanes have answered, as one that was opened again."""
    comparison = screen(app).comparison
    for n in range(TURNS):
        comparison.send(f"Question {n}")
        for request in comparison.due():
            comparison.feed(request.id, f"{request.lane} answers {n}")
            comparison.finish(request.id, rendering.Stats(tokens=3))
    screen(app).page.draw()
    return comparison


async def test_only_the_turn_that_streams_is_built_and_laid_out(
    comparing: Any, client: ScriptedClient, built: Counter[int], grown: Counter[str]
) -> None:
    client.script = by_model({BASE: [f"word{n} " for n in range(60)], TUNED: [f"name{n} " for n in range(60)]})
    async with comparing() as app:
        long_talk(app)
        client.gate.clear()
        await ask(app, "The last")
        await app.until(lambda: client.open == 2)
        await app.pilot.pause(0.3)
        built.clear(), grown.clear()
        pieces = 0
        for _ in range(8):
            client.gate.set()
            await app.until(lambda at=pieces: screen(app).conversation.runner.meters["a"].pieces > at)
            client.gate.clear()
            pieces = screen(app).conversation.runner.meters["a"].pieces
            await app.until(lambda: not screen(app).page._redraws._changes)
            await app.idle()
        assert built[TURNS] >= 4, "nothing was drawn: the test would say nothing"
        assert not [n for n in built if n != TURNS], "a turn that did not change was built again"
        assert not [text for text in grown if text.startswith(("Question", "a answers", "b answers"))]
        client.gate.set()
        await answered(app)
        assert "word59" in app.text and "name59" in app.text and "complete" in app.text


async def test_an_answer_in_the_middle_is_drawn_in_its_place(
    comparing: Any, client: ScriptedClient, built: Counter[int]
) -> None:
    client.script = lambda model, messages: [f"{model} now says {messages[-1]['content']}"]
    async with comparing((120, 60)) as app:
        comparison = long_talk(app)
        comparison.set_model("a", "smollm2-360m")  # it answers all turns again, from the first to the last
        screen(app).conversation.sync()
        await answered(app)
        lane = screen(app).page.panel(0).lane
        expected = [f"smollm2-360m now says Question {n}" for n in range(TURNS)]
        shown = lane.plain_text()
        assert [text for text in expected if text in shown] == expected
        assert shown.index("Question 0") < shown.index(expected[0]) < shown.index("Question 1")
        assert "a answers" not in shown


async def test_what_waited_behind_an_answer_that_failed_is_shown_as_stopped(
    comparing: Any, client: ScriptedClient
) -> None:
    client.script = by_model({BASE: ["Half a ", Done("", stop="error", error="gone")], TUNED: ["ok"]})
    async with comparing((120, 60)) as app:
        comparison = long_talk(app)
        comparison.set_model("a", BASE + "x")
        comparison.set_model("a", BASE)
        screen(app).conversation.sync()
        await answered(app)
        lane = screen(app).page.panel(0).lane
        await app.until(lambda: lane.plain_text().count("stopped before the first token") == TURNS - 1)


def test_the_cache_builds_what_changed_and_everything_when_the_conversation_is_another(built: Counter[int]) -> None:
    comparison, cache = Comparison(["base", "run:x"]), BlockCache()
    for prompt in ("One", "Two", "Three"):
        comparison.send(prompt)
    first = cache.blocks(comparison, 0)
    assert built == {0: 1, 1: 1, 2: 1}
    assert cache.blocks(comparison, 0, changed={2}) == first and built == {0: 1, 1: 1, 2: 2}
    assert cache.blocks(comparison, 0, changed=()) == first and built == {0: 1, 1: 1, 2: 2}
    same = cache.blocks(comparison, 0)
    assert all(now is before for now, before in zip(same, first, strict=True)), "what says the same is the same object"
    for change in (
        lambda: comparison.send("Four"), lambda: comparison.cut(2), lambda: comparison.add_lane("other"),
        lambda: comparison.drop_lane("c"),
    ):  # fmt: skip
        built.clear()
        change()
        cache.blocks(comparison, 0, changed=())
        assert set(built) == set(range(len(comparison.turns)))
    built.clear()
    cache.blocks(comparison.fork(2), 0, changed=())
    assert set(built) == {0, 1}


def test_a_late_change_of_the_conversation_before_draws_nothing() -> None:
    cache, empty = BlockCache(), Comparison([BASE, TUNED])
    assert cache.blocks(empty, 0) == []
    assert cache.blocks(empty, 0, changed={0, 3}) == []


async def test_a_lane_looks_only_at_blocks_that_are_new(grown: Counter[str]) -> None:
    from tests.tui.test_lane import Page

    async with Page().run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        lane = pilot.app.query_one(LaneView)
        kept = [Block("prompt" if n % 2 == 0 else "answer", f"text {n}") for n in range(40)]
        lane.show([*kept, Block("answer", "It", live=True)])
        grown.clear()
        lane.show([*kept, Block("answer", "It grows", live=True)])
        assert set(grown) == {"text 39", "It grows"}, "the last block of those kept is looked at for its blank line"
        grown.clear()
        lane.show([*kept[:20], Block("note", "instead"), *kept[20:]])
        text = lane.plain_text()
        assert text.index("text 19") < text.index("instead") < text.index("text 20") and "text 39" in text
        assert "text 10" not in grown
