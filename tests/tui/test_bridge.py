"""A call that was waiting when the app ends is cancelled, so its result reaches no widget."""

from __future__ import annotations

import asyncio

import pytest

from store import runs
from store.db import Store
from store.errors import NotFound
from tui.bridge import Bridge


async def test_a_result_after_the_end_cancels_its_caller(store: Store) -> None:
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
