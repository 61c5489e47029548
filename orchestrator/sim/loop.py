"""An asyncio event loop whose clock jumps to the next timer instead of sleeping.

Time is an integer of nanoseconds, so it does not drift. Everything built on
timers works as ever: `timeout`, `wait_for`, `TaskGroup`, cancellation. Timers
of one instant go off in the order in which they were set.

A world in which nothing can run and no timer is set would wait for ever; here
that raises Deadlock. There is no outside: no file, thread or signal wakes this
loop. So one turn of it needs no selector, and its timers are ordered by plain
numbers: a simulation does little else than turn.

Tasks are numbered, and a task's number is its hash. Asyncio keeps tasks in
sets, and cancels those of a group in the order of the set; by address that
order would be another one in each process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVarTuple, Unpack

NS_PER_S = 1_000_000_000
Arguments = TypeVarTuple("Arguments")


class Deadlock(RuntimeError):
    """Nothing is runnable and no timer is pending."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Starts at 0 ns. `now_ns` and `time()` are the same clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self._soon: deque[_Call] = deque()
        self._timers: list[tuple[int, int, _Call]] = []  # a heap, by time and then by number
        self._timers_set = count()
        self._tasks_made = count()
        self.set_task_factory(self._number_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.now_ns / NS_PER_S

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        call = _Call(self.now_ns, callback, args, context)
        self._soon.append(call)
        return call

    call_soon_threadsafe = call_soon  # for a runner that is interrupted, in the one thread there is

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        due_ns = round(when * NS_PER_S)
        if due_ns <= self.now_ns and when > self.time():
            due_ns = self.now_ns + 1  # a wait too short for the clock must not be one for ever
        call = _Call(due_ns, callback, args, context)
        heappush(self._timers, (call.due_ns, next(self._timers_set), call))
        return call

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_ns / NS_PER_S + delay, callback, *args, context=context)

    def close(self) -> None:
        self._soon.clear()
        self._timers.clear()
        super().close()

    def _run_once(self) -> None:
        """One turn: what is due by now, after a jump if there is nothing else to do."""
        soon, timers = self._soon, self._timers
        while timers and timers[0][2].callback is None:
            heappop(timers)
        if not soon:
            if not timers:
                raise Deadlock("nothing is runnable and no timer is pending")
            self.now_ns = max(self.now_ns, timers[0][0])
        while timers and timers[0][0] <= self.now_ns:
            soon.append(heappop(timers)[2])
        for _ in range(len(soon)):
            call = soon.popleft()
            if call.callback is None:
                continue
            try:
                call.context.run(call.callback, *call.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                message = f"exception in {call.callback}"
                self.call_exception_handler({"message": message, "exception": error})

    def _number_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        return _NumberedTask(next(self._tasks_made), work, loop=loop, **more)


class _Call(asyncio.TimerHandle):
    """What is to be called, and when; nothing once it is cancelled."""

    __slots__ = ("args", "callback", "context", "due_ns")

    def __init__(
        self,
        due_ns: int,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: Context | None,
    ) -> None:
        self.due_ns = due_ns
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context or copy_context()

    def when(self) -> float:
        return self.due_ns / NS_PER_S

    def cancel(self) -> None:
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        return self.callback is None


class _NumberedTask(asyncio.Task[Any]):
    def __init__(self, number: int, work: Coroutine[Any, Any, Any], **more: Any) -> None:
        self._number = number
        super().__init__(work, **more)

    def __hash__(self) -> int:
        return self._number
