"""Draws the pictures of README: drives the real app, without a terminal, on a home with the demo's run.

    tuningfork demo --home DIR
    python scripts/pictures.py --home DIR     # docs/data.svg, train.svg, compare.svg, evaluate.svg and export.svg

Evaluate and Export show what the home holds: run an evaluation and an export of the demo's run first.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from store.db import Store
from store.home import Home
from tui.app import TuningforkApp

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Picture:
    """One screen: the keys that lead to it from the one before, a text to type, and the texts that say it is there."""

    name: str
    keys: tuple[str, ...]
    shows: tuple[str, ...]
    types: str = ""
    then: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


PICTURES = (
    Picture("data", ("f2",), ("pairs",)),
    Picture("train", ("f3", "down"), ("66/66", "drift")),
    Picture(
        "compare", ("f4",), ("smollm2-135m", "tuned"), "Who made you, and what is your name?", ("enter",),
        ("Northwind", "tok/s"),
    ),
    Picture("evaluate", ("f6",), ("Evaluat",)),
    Picture("export", ("f5",), ("demo",)),
)  # fmt: skip


def shown(pilot: Pilot[int]) -> str:
    """The text of the screen as it is drawn now."""
    screen = pilot.app.screen
    return "\n".join(strip.text for strip in screen._compositor.render_strips(pilot.app.size))


async def settled(pilot: Pilot[int], texts: tuple[str, ...]) -> None:
    """Wait until the screen shows all of `texts` and has stopped changing."""
    until, before = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < until:
        await pilot.pause(0.5)
        now = shown(pilot)
        if now == before and all(text in now for text in texts):
            return
        before = now
    raise SystemExit(f"The screen never showed {texts}:\n{before}")


def size_of(text: str) -> tuple[int, int]:
    """Columns and rows of a window: 80 and 24 of `80x24`."""
    columns, _, rows = text.partition("x")
    return int(columns), int(rows)


def write(app: TuningforkApp, path: Path, title: str) -> None:
    """Write a picture of what the app shows now."""
    path.write_text(app.export_screenshot(title=f"tuningfork: {title}"), "utf-8")


async def draw(store: Store, out: Path, size: tuple[int, int], wanted: list[str]) -> None:
    """Go through the pictures in order and write those that are wanted."""
    app = TuningforkApp(store)
    async with app.run_test(size=size) as pilot:
        for picture in PICTURES:
            await pilot.press(*picture.keys)
            await settled(pilot, picture.shows)
            if picture.name not in wanted:
                continue
            if picture.types:
                await pilot.press(*picture.types, *picture.then)
                await settled(pilot, picture.answers)
            path = out / f"{picture.name}.svg"
            write(app, path, picture.name)
            print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--size", default="120x36", help="columns x rows")
    parser.add_argument("--only", default=",".join(picture.name for picture in PICTURES))
    options = parser.parse_args()
    with Store.open(Home(options.home.absolute())) as store:
        asyncio.run(draw(store, options.out, size_of(options.size), options.only.split(",")))


if __name__ == "__main__":
    main()
