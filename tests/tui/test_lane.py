"""What a lane sends to the terminal is what changed, and with it the terminal shows what the lane holds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from tests.seeds import seeds
from tui import themes
from tui.screens.compare.lane import Block, LaneView

WORDS = [
    "the",
    "keeper",
    "climbed",
    "the",
    "stairs",
    "灯台守は",
    "while",
    "it",
    "rained\n",
    "and\n\n-",
    "he",
    "counted",
]


class Watched(LaneView):
    """A lane beside the cells that its terminal shows, which change only where the lane asks for it."""

    def __init__(self) -> None:
        super().__init__(id="lane")
        self.terminal: dict[int, list[str]] = {}
        self.rows_sent = 0

    def refresh(self, *regions: Region, **how: Any) -> Watched:
        for region in regions or (self.size.region,):
            self.rows_sent += region.height
            for y in range(region.y, min(region.bottom, self.size.height)):
                shown = self.terminal.setdefault(y, [" "] * self.size.width)
                shown[: region.right] = self.held(y)[: region.right]
        return super().refresh(*regions, **how)

    def held(self, y: int) -> list[str]:
        """The cells of a row as the lane has it; the second cell of a wide letter is empty."""
        return [cell for letter in self.render_line(y).text for cell in [letter, *[""] * (cell_len(letter) - 1)]]

    @property
    def true(self) -> bool:
        return all(self.terminal[y] == self.held(y) for y in range(self.size.height))


class Page(App[None]):
    """A lane and nothing else."""

    def compose(self) -> ComposeResult:
        yield Watched()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.VARIABLES


@asynccontextmanager
async def lane_of(size: tuple[int, int]) -> AsyncIterator[tuple[Watched, Pilot[None]]]:
    async with Page().run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot.app.query_one(Watched), pilot


@pytest.mark.parametrize("seed", seeds(4))
async def test_the_terminal_shows_what_the_lane_holds(seed: int) -> None:
    chance = random.Random(seed)
    async with lane_of((40, 16)) as (lane, pilot):
        blocks, moves, grew = [Block("prompt", "Go on")], 0, ""
        acts = 0
        while acts < 250 or (moves <= 10 and acts < 2500):  # a rare draw needs more actions for enough moves
            acts += 1
            act = chance.random()
            if act < 0.9:
                grew += " ".join(chance.choices(WORDS, k=chance.randint(1, 12))) + " "
                lane.show([*blocks, Block("answer", grew, live=True)], rows=chance.choice([0, 3, 5, None]))
            elif act < 0.94:
                blocks += [Block("answer", grew), Block("prompt", chance.choice(WORDS))]
                grew = ""
                lane.show(blocks, rows=4)
            elif act < 0.96:
                del blocks[1:]
                lane.show(blocks, rows=None)
            elif act < 0.98:
                lane.scroll_to(y=chance.randint(0, 30), animate=False, force=True)
            else:
                lane.follow()
            moves += lane.moving
            if not lane.moving:
                assert lane.true
        assert moves > 10
        for _ in range(16):
            lane.show(blocks, rows=1)
        await pilot.pause()
        assert not lane.moving and lane.true


async def test_a_move_is_drawn_a_few_rows_at_a_time() -> None:
    async with lane_of((60, 20)) as (lane, _):
        lines = [f"line {n}" for n in range(19)]
        lane.show([Block("answer", "\n".join(lines), live=True)])
        lines += ["line 19", "line 20"]
        drawn = [lane.show([Block("answer", "\n".join(lines), live=True)], rows=6)]
        while lane.moving:
            assert len(drawn) < 6
            drawn.append(lane.show([Block("answer", "\n".join(lines), live=True)], rows=6))
        assert drawn[:-1] == [6] * (len(drawn) - 1) and lane.true


async def test_a_lane_that_is_hidden_in_the_middle_of_a_move_asks_for_no_more() -> None:
    async with lane_of((60, 20)) as (lane, pilot):
        block = Block("answer", "\n".join(f"line {n}" for n in range(25)), live=True)
        lane.show([Block("answer", "line 0", live=True)])
        lane.show([block], rows=2)
        assert lane.moving
        lane.display = False
        await pilot.pause()
        lane.show([block], rows=2)
        assert not lane.moving


async def test_what_did_not_change_is_not_sent() -> None:
    async with lane_of((60, 20)) as (lane, _):
        said = "The keeper climbed the stairs"
        lane.show([Block("prompt", "Go on"), Block("answer", said, live=True)])
        lane.rows_sent = 0
        lane.show([Block("prompt", "Go on"), Block("answer", said + " again", live=True)])
        assert lane.rows_sent == 1
        lane.show([Block("prompt", "Go on"), Block("answer", said + " again", live=True)])
        assert lane.rows_sent == 1
