"""Working ahead: everything comes in order, errors come where they happened, and stopping early ends the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from store.ahead import ahead


def test_everything_comes_in_order_from_one_other_thread() -> None:
    threads = set()

    def made() -> Iterator[int]:
        for n in range(20):
            threads.add(threading.current_thread())
            yield n

    assert list(ahead(made())) == list(range(20))
    assert len(threads) == 1 and threading.current_thread() not in threads
    assert list(ahead(iter([None, 0, ""]))) == [None, 0, ""], "what is empty is an item too"


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def made() -> Iterator[int]:
        yield 1
        raise ValueError("here")

    seen = []
    with pytest.raises(ValueError, match="here"):
        for each in ahead(made()):
            seen.append(each)  # what came before the error counts
    assert seen == [1]


def test_stopping_early_leaves_no_thread() -> None:
    made = []

    def source() -> Iterator[int]:
        for n in range(1_000):
            made.append(n)
            yield n

    before = threading.active_count()
    for each in (items := ahead(source(), most=2)):
        if each == 3:
            break
    items.close()
    assert threading.active_count() == before and len(made) <= 6
