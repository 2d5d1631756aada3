"""Requests and renders leave the event loop to the ticks in between."""

from __future__ import annotations

import asyncio

from pairlab.services.rest.scheduler import RenderLock, RequestScheduler


async def test_four_requests_are_admitted_per_iteration_in_order() -> None:
    scheduler, loop = RequestScheduler(), asyncio.get_running_loop()
    iteration, admitted = 0, []

    def count() -> None:
        nonlocal iteration
        iteration += 1
        if len(admitted) < 20:
            loop.call_soon(count)

    async def request(number: int) -> None:
        await scheduler.admit()
        admitted.append((iteration, number))

    loop.call_soon(count)
    await asyncio.gather(*(request(number) for number in range(20)))
    assert [number for _, number in admitted] == list(range(20))
    per_iteration = [sum(at == n for at, _ in admitted) for n in range(iteration + 1)]
    assert max(per_iteration) <= 4
    await asyncio.sleep(0)
    await asyncio.wait_for(scheduler.admit(), 1)  # idle again: at once


async def test_a_request_that_was_cancelled_takes_no_place() -> None:
    scheduler = RequestScheduler()
    waiting = [asyncio.create_task(scheduler.admit()) for _ in range(6)]
    await asyncio.sleep(0)
    waiting[4].cancel()
    await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)
    assert [task.cancelled() for task in waiting] == [False] * 4 + [True, False]


async def test_two_renders_take_turns() -> None:
    lock, order = RenderLock(), []

    async def render(name: str) -> None:
        for piece in range(3):
            await lock.wait_turn()
            order.append(f"{name}{piece}")

    await asyncio.gather(render("a"), render("b"))
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
