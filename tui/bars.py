"""Bars of text: how long a bar is, drawn in blocks that need no colour.
Pure; used by the command line and the app."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, cells: int) -> str:
    """A bar of `share` (0 to 1) of so many cells, to an eighth of a cell; what is more than nothing is seen.

    >>> bar(0.5, 4), bar(0.001, 4), bar(0.0, 4), bar(0.55, 5)
    ('██', '▏', '', '██▊')
    """
    eighths = min(8 * cells, max(round(8 * cells * share), 1 if share > 0 else 0))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def percent(share: float) -> str:
    """A share as it is read.

    >>> percent(0.5), percent(0.001), percent(0.0)
    ('50%', '<1%', '0%')
    """
    return "<1%" if 0 < share < 0.005 else f"{100 * share:.0f}%"
