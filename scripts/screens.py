"""Draws every screen and dialog of the app, with prepared data and without a model, to look at them side by side.

    python scripts/screens.py OUT                        # OUT/index.html and OUT/NAME-SIZE-THEME.svg
    python scripts/screens.py OUT --only data --themes dark,catppuccin-mocha --sizes 100x30

How each screen is opened is in tests/tui/every_screen.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pictures import ROOT, size_of, write

sys.path.insert(0, str(ROOT))

from tests.tui.every_screen import WAYS, Way, opened, prepared
from tui import themes

THEMES = "dark,light,high-contrast,16"
SIZES = "80x24,120x40,200x50"
PREFIX = "tuningfork-"


def picture(way: Way, size: str, theme: str) -> str:
    """The name of a picture's file."""
    return f"{way.name}-{size}-{theme}.svg"


async def draw(ways: Sequence[Way], sizes: Sequence[str], named: Sequence[str], out: Path) -> dict[str, str]:
    """Write the pictures. Returns why a screen could not be opened, by its name and the size."""
    failed = {}
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as homes:
        for way in ways:
            for size in sizes:
                try:
                    async with opened(way, homes, size_of(size)) as driver:
                        for theme in named:
                            driver.app.theme = PREFIX + theme
                            await driver.pilot.pause(0.05)
                            write(driver.app, out / picture(way, size, theme), way.name)
                except Exception as error:  # the others are still drawn, and the reason is shown at the end
                    failed[f"{way.name} at {size}"] = f"{type(error).__name__}: {error}"
            print(way.name, file=sys.stderr)
    return failed


def index(ways: Sequence[Way], sizes: Sequence[str], named: Sequence[str]) -> str:
    """A page that shows the pictures of a screen beside each other: a line for each size, a column for each theme."""
    style = "body{font-family:sans-serif} div{display:flex;gap:8px} img{flex:1 1 0;min-width:0}"
    parts = [f"<!doctype html><meta charset=utf-8><title>Tuningfork: every screen</title><style>{style}</style>"]
    for way in ways:
        parts.append(f"<h2 id='{way.name}'>{escape(way.name)} ({way.screen})</h2>")
        for size in sizes:
            names = [picture(way, size, theme) for theme in named]
            shown = "".join(f"<img loading=lazy src='{name}' alt='{name}' title='{name}'>" for name in names)
            parts.append(f"<div>{shown}</div>")
    return "\n".join(parts)


def main() -> None:
    known = [theme.name.removeprefix(PREFIX) for theme in themes.ALL]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder for the pictures")
    parser.add_argument("--themes", default=THEMES, help=f"of {', '.join(known)} (default: {THEMES})")
    parser.add_argument("--sizes", default=SIZES, help=f"columns x rows (default: {SIZES})")
    parser.add_argument("--only", help=f"names, separated by commas: {', '.join(way.name for way in WAYS)}")
    options = parser.parse_args()
    named, sizes = options.themes.split(","), options.sizes.split(",")
    wanted = options.only.split(",") if options.only else [way.name for way in WAYS]
    if unknown := {*named} - {*known} | {*wanted} - {way.name for way in WAYS}:
        parser.error(f"There is no {', '.join(sorted(unknown))}. See --help.")
    ways = [way for way in WAYS if way.name in wanted]
    options.out.mkdir(parents=True, exist_ok=True)
    failed = asyncio.run(draw(ways, sizes, named, options.out))
    (options.out / "index.html").write_text(index(ways, sizes, named), "utf-8")
    for what, why in failed.items():
        print(f"Could not open {what}: {why}", file=sys.stderr)
    many = (len(ways) * len(sizes) - len(failed)) * len(named)
    print(f"{many} pictures of {len({way.screen for way in ways})} screens are in {options.out}.")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
