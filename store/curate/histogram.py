"""Lengths as figures and as a histogram of few bars, whose bounds are numbers that are easily read.
Pure; how a bar is drawn is the interface's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MOST_BARS = 10
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class LengthBin:
    """How many lengths are at least `low` and below `high`; `high` is None for the last bar, which has no end."""

    low: int
    high: int | None
    n: int

    @property
    def label(self) -> str:
        """The lengths that it counts.

        >>> LengthBin(0, 20, 3).label, LengthBin(5, 6, 3).label, LengthBin(1_000, None, 3).label
        ('0-19', '5', '1,000 and more')
        """
        if self.high == self.low + 1:
            return f"{self.low:,}"
        return f"{self.low:,} and more" if self.high is None else f"{self.low:,}-{self.high - 1:,}"


@dataclass(frozen=True, slots=True)
class LengthSpread:
    """The lengths of some texts: the least, the median, the most, their sum, and the bars of a histogram."""

    least: int = 0
    median: int = 0
    most: int = 0
    total: int = 0
    bars: list[LengthBin] = field(default_factory=list)


def spread(lengths: Iterable[int]) -> LengthSpread:
    """The figures of the lengths; of none, zeros without bars.

    >>> found = spread([9, 12, 14, 31])
    >>> found.median, [(bar.label, bar.n) for bar in found.bars]
    (14, [('5-9', 1), ('10-14', 2), ('15-19', 0), ('20-24', 0), ('25-29', 0), ('30-34', 1)])
    """
    ordered = sorted(lengths)
    if not ordered:
        return LengthSpread()
    return LengthSpread(ordered[0], ordered[len(ordered) // 2], ordered[-1], sum(ordered), _bars(ordered))


def _bars(ordered: list[int]) -> list[LengthBin]:
    """At most `MOST_BARS` bars of one width, which is 1, 2 or 5 times a power of ten.

    The longest twentieth does not stretch them: all that is longer than the others reach is in the last bar.
    """
    low, usual = ordered[0], ordered[-(-len(ordered) * 19 // 20) - 1]
    width = next(width for width in _widths() if usual // width - low // width < MOST_BARS - 1)
    first = low // width * width
    ends = range(first, usual // width * width + width + 1, width)
    bars, at = [], 0
    for start in ends[:-1]:
        to = bisect_right(ordered, start + width - 1)
        bars.append(LengthBin(start, start + width, to - at))
        at = to
    return [*bars, LengthBin(ends[-1], None, len(ordered) - at)] if at < len(ordered) else bars


def _widths() -> Iterator[int]:
    power = 1
    while True:
        yield from (power * step for step in _STEPS)
        power *= 10
