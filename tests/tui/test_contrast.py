"""Every theme can be read: whatever is drawn on the screens has the contrast that WCAG 2.2 asks for.
Measured on the cells as they are drawn; the 16-colour theme is the terminal's own affair."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.color import Color

from store.db import Store
from tests.tui.conftest import Driver
from tests.tui.every_screen import WAYS, Way, opened, prepared
from tui import themes

TEXT, FAINT = 4.5, 3.0


def ratio(one: Color, other: Color) -> float:
    """The contrast ratio of WCAG 2.2: from 1, no contrast, to 21, black on white.

    >>> round(ratio(Color.parse("#000000"), Color.parse("#ffffff")), 3)
    21.0
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    parts = [part / 255 for part in color.get_truecolor()]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def unreadable(app: Driver, faint: str) -> dict[tuple[str, str, float], str]:
    """Colour, ground and contrast of each text that is hard to read, with the text."""
    found = {}
    screen = app.app.screen
    for y, strip in enumerate(screen._compositor.render_strips(app.app.size)):
        x = 0
        for text, style, _ in strip:
            start, x = x, x + cell_len(text)
            if screen.is_modal and not any(each.region.contains(start, y) for each in screen.children):
                continue  # what a dialog dims is not read
            if style is None or style.color is None or style.bgcolor is None or not any(map(str.isalnum, text)):
                continue
            ink, ground = (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)
            contrast = ratio(ink, ground)
            if contrast < (FAINT if ink.name.lower() == faint.lower() else TEXT):
                found[ink.name, ground.name, round(contrast, 2)] = text.strip()
    return found


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    with prepared(tmp_path_factory.mktemp("screens")) as made:
        yield made


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.slow
async def test_all_text_of_every_theme_can_be_read(homes: tuple[Store, Store], way: Way) -> None:
    found = {}
    async with opened(way, homes, (120, 40)) as app:
        for theme in themes.ALL:
            if not theme.ansi:
                app.app.theme = theme.name
                await app.pilot.pause(0.05)
                if bad := unreadable(app, theme.variables["faint"]):
                    found[theme.name] = bad
    assert not found


def test_black_on_white_and_a_known_grey_have_the_published_ratios() -> None:
    white = Color.parse("#ffffff")
    assert round(ratio(white, Color.parse("#000000")), 2) == 21
    assert round(ratio(Color.parse("#767676"), white), 2) == 4.54
