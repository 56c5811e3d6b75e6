"""Which context answers for which lane: kept, grown, dropped, never shared by two at once, never lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from engine.inference.backends.context_pool import ContextPool, size_for
from tests.seeds import seeds


class Fake:
    """A context that knows whether it is in use or freed."""

    made: list[Fake]

    def __init__(self, size: int) -> None:
        self.size, self.used, self.freed = size, False, False

    def free(self) -> None:
        assert not self.used and not self.freed
        self.freed = True


class Pool:
    def __init__(self, limit: int) -> None:
        self.made: list[Fake] = []
        self.lanes: ContextPool[Fake] = ContextPool(self.make, limit)

    async def make(self, size: int) -> Fake:
        await asyncio.sleep(0)
        self.made.append(Fake(size))
        return self.made[-1]

    @property
    def alive(self) -> int:
        return sum(not one.freed for one in self.made)

    async def use(self, lane: str | None, size: int = 10, pause: float = 0.0) -> Fake:
        async with self.lanes.use(lane, size) as context:
            assert not context.used and not context.freed, "two requests on one context"
            context.used = True
            try:
                await asyncio.sleep(pause)
            finally:
                context.used = False
            return context


async def test_a_lane_keeps_its_context_and_gets_a_larger_one_when_it_grows() -> None:
    pool = Pool(4)
    first = await pool.use("a")
    assert await pool.use("a") is first
    assert await pool.use("b") is not first
    larger = await pool.use("a", size=20)
    assert first.freed and larger.size == 20
    assert await pool.use("a", size=10) is larger


async def test_requests_without_a_lane_share_spare_contexts_but_never_a_lanes() -> None:
    pool = Pool(4)
    lane = await pool.use("a")
    spare = await pool.use(None)
    assert spare is not lane
    assert await pool.use(None) is spare
    one, two = await asyncio.gather(pool.use(None, pause=0.01), pool.use(None, pause=0.01))
    assert one is not two and lane not in (one, two)


async def test_the_least_recently_used_context_goes_first() -> None:
    pool = Pool(2)
    a, b = await pool.use("a"), await pool.use("b")
    await pool.use("a")
    await pool.use("c")
    assert b.freed and not a.freed
    assert pool.alive == 2


async def test_a_lane_answers_one_request_after_the_other() -> None:
    pool = Pool(4)
    contexts = await asyncio.gather(*(pool.use("a", pause=0.001) for _ in range(5)))
    assert len(set(map(id, contexts))) == 1


async def test_a_failing_make_leaves_nothing_behind() -> None:
    async def broken(size: int) -> Fake:
        raise RuntimeError("no memory")

    lanes: ContextPool[Fake] = ContextPool(broken, 2)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with lanes.use("a", 1):
                raise AssertionError("not reached")
    assert lanes.busy == 0 and len(lanes) == 0


@pytest.mark.parametrize("seed", seeds(5))
async def test_random_use_and_cancelling_leaks_no_context(seed: int) -> None:
    dice, pool = random.Random(seed), Pool(3)
    tasks: list[asyncio.Task] = []
    for _ in range(200):
        match dice.randrange(3):
            case 0 | 1:
                lane = dice.choice([None, "a", "b", "c", "d"])
                tasks.append(asyncio.create_task(pool.use(lane, dice.choice([10, 20]), pause=dice.choice([0, 0.001]))))
            case 2 if tasks:
                dice.choice(tasks).cancel()
        if dice.random() < 0.3:
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [r for r in results if isinstance(r, AssertionError)]
    assert pool.lanes.busy == 0
    assert not pool.lanes._turns, "nobody waits any more"
    assert pool.alive == len(pool.lanes) <= 3
    pool.lanes.free_idle()
    assert pool.alive == 0


def test_context_sizes_double_up_to_the_largest() -> None:
    assert [size_for(n, 8192) for n in (1, 2048, 2049, 5000, 99999)] == [2048, 2048, 4096, 8192, 8192]
    assert size_for(100, 512) == 512
