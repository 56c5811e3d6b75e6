"""Working ahead in another thread: what comes next is made while what came last is used.
Knows nothing of rows or files."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def ahead(source: Iterator[Made], most: int = 3) -> Generator[Made]:
    """The items of `source`, made in another thread while those before are used; at most `most` wait.

    That pays where the user spends its time outside Python, as SQLite does. An error of the source is raised where its
    item would have come. Whoever stops early closes it, and waits until what is being made is done. `source` must not
    use the store: each thread has a connection of its own.
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = deque(pool.submit(_next, source) for _ in range(most))
        try:
            while found := coming.popleft().result():
                coming.append(pool.submit(_next, source))
                yield found[0]
        finally:
            for each in coming:
                each.cancel()


def _next(source: Iterator[Made]) -> tuple[Made] | tuple[()]:
    for made in source:
        return (made,)
    return ()
