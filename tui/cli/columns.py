"""Two texts side by side in the cells of a terminal, or one above the other.
Pure text: measures by cells, prints nothing."""

from __future__ import annotations

from rich.cells import cell_len, chop_cells

from tui.text import clean

_GAP = " │ "
NARROWEST = 60


def side_by_side(left: str, right: str, width: int) -> list[str]:
    """The lines of two texts in two columns that fill `width` cells together."""
    each = (width - len(_GAP)) // 2
    a, b = wrap(left, each), wrap(right, each)
    rows = max(len(a), len(b))
    a += [""] * (rows - len(a))
    b += [""] * (rows - len(b))
    return [f"{x}{' ' * (each - cell_len(x))}{_GAP}{y}".rstrip() for x, y in zip(a, b, strict=True)]


def wrap(text: str, width: int) -> list[str]:
    """Clean text in lines of at most `width` cells, broken between words where there are any."""
    lines: list[str] = []
    for paragraph in clean(text).expandtabs(4).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and cell_len(line) + 1 + cell_len(word) > width:
                lines.append(line)
                line = ""
            joined = f"{line} {word}" if line else word
            *full, line = chop_cells(joined, width) or [""]
            lines += full
        lines.append(line)
    return lines
