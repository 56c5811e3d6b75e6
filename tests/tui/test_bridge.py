"""What was asked of the store while the app ends reaches no widget any more."""

from __future__ import annotations

import asyncio

import pytest

from store import runs
from store.db import Store
from store.errors import NotFound
from tui.bridge import Bridge


async def test_an_answer_that_comes_after_the_end_is_for_nobody(store: Store) -> None:
    ended = False
    bridge = Bridge(store, lambda: ended)
    assert await bridge.call(runs.all_runs) == []
    with pytest.raises(NotFound):
        await bridge.call(runs.get, "nobody")
    ended = True
    for call in (bridge.call, bridge.job):
        with pytest.raises(asyncio.CancelledError):
            await call(runs.all_runs)
    with pytest.raises(asyncio.CancelledError):
        await bridge.call(runs.get, "nobody")
    bridge.close()
