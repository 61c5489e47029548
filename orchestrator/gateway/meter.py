"""Rate limits: what a key may use in a minute, of requests, tokens and block-seconds.

Calls are counted when they come in, a prompt's tokens before it is sent to a
replica; both are refused where they do not fit. What nobody knows before
the end is charged then: the tokens of the answer, and block-seconds, which are
the blocks that the request brought (its prompt's that no cache had, and on
average half of its answer's), times the seconds from first token to end. It is
what the line charges tenants by, too (policy/usage.py). So what runs at one
time may go beyond a limit, and nothing new begins until that has slid out of
the last minute.

A call is one request however many prompts it has. One that was refused later,
for whatever reason, has been counted, as OpenAI does it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from orchestrator.gateway.caller import Caller, Limits
from orchestrator.gateway.errors import RateLimited, Unservable
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.gateway.rate_window import Window

NS_PER_MS = 1_000_000
MS_PER_S = 1_000


class Limit(Enum):
    """What is limited, in the words of the headers."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    BLOCK_SECONDS = "block-seconds"


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit of one caller. Block-seconds are counted in thousandths."""

    limit: Limit
    amount: int
    counter: str
    unit: int = 1

    def headers(self, window: Window) -> dict[str, str]:
        """As OpenAI names them."""
        word = self.limit.value
        return {
            f"x-ratelimit-limit-{word}": str(self.amount // self.unit),
            f"x-ratelimit-remaining-{word}": str(window.remaining(self.amount) // self.unit),
            f"x-ratelimit-reset-{word}": f"{window.reset_s()}s",
        }


class Used(Protocol):
    """A generation, as far as it is billed."""

    completion_tokens: int
    known_tokens: int  # of these, what its client came with

    def held_block_ns(self) -> int: ...


class RateLimits:
    """The limits of all callers, over one place where use is counted."""

    def __init__(self, counts: RateCounts) -> None:
        self.counts = counts
        self.refusals: Counter[Limit] = Counter()
        self._charging: set[asyncio.Task[None]] = set()

    def meter(self, caller: Caller) -> Meter:
        """For one call of his."""
        return Meter(self, allowances_of(caller))

    def charge(self, allowance: Allowance, amount: int) -> None:
        """Count what was used, without waiting for it."""
        name, limit = allowance.counter, allowance.amount
        charging = asyncio.create_task(self.counts.charge(name, limit, amount))
        self._charging.add(charging)
        charging.add_done_callback(self._charging.discard)

    async def settle(self) -> None:
        """Wait until all that was charged is counted."""
        await asyncio.gather(*self._charging)


class Meter:
    """What one call uses. RateLimited where that is more than its key has left."""

    def __init__(self, limits: RateLimits, allowances: Mapping[Limit, Allowance]) -> None:
        self._limits = limits
        self._allowances = allowances
        self._windows: dict[Limit, Window] = {}

    def headers(self) -> dict[str, str]:
        """What is left of each limit, as last seen."""
        return {
            name: value
            for limit, window in self._windows.items()
            for name, value in self._allowances[limit].headers(window).items()
        }

    async def begin(self) -> None:
        """Count this call, unless some limit is used up already. Raises RateLimited."""
        await asyncio.gather(*map(self._look, self._allowances.values()))
        for limit, allowance in self._allowances.items():
            if self._windows[limit].wait_s(1, allowance.amount):
                raise self._refusal(allowance, 1)
        await self._take(Limit.REQUESTS, 1)

    async def take_prompt(self, tokens: int) -> None:
        """Count a prompt that is about to be sent to a replica. Raises RateLimited, Unservable."""
        await self._take(Limit.TOKENS, tokens)

    def ended(self, used: Used) -> None:
        """Charge what is known only at the end of a request, whichever way it ended."""
        new_tokens = used.completion_tokens - used.known_tokens
        for limit, amount in (
            (Limit.TOKENS, new_tokens),
            (Limit.BLOCK_SECONDS, used.held_block_ns() // NS_PER_MS),
        ):
            if limit in self._allowances and amount > 0:
                self._limits.charge(self._allowances[limit], amount)

    async def _take(self, limit: Limit, amount: int) -> None:
        allowance = self._allowances.get(limit)
        if allowance is None:
            return
        if amount > allowance.amount:
            raise _never_fits(allowance, amount)
        if not await self._limits.counts.take(allowance.counter, allowance.amount, amount):
            await self._look(allowance)
            raise self._refusal(allowance, amount)
        self._windows[limit] = self._windows[limit].plus(amount)

    async def _look(self, allowance: Allowance) -> None:
        counts = self._limits.counts
        self._windows[allowance.limit] = await counts.window(allowance.counter, allowance.amount)

    def _refusal(self, allowance: Allowance, amount: int) -> RateLimited:
        limit = allowance.limit
        self._limits.refusals[limit] += 1
        amount = min(amount, allowance.amount)
        wait_s = max(1, self._windows[limit].wait_s(amount, allowance.amount))
        return RateLimited(
            f"this key's limit of {allowance.amount // allowance.unit} {limit.value} a minute "
            f"is reached; try again in {wait_s} s",
            retry_after_s=wait_s,
            headers=self.headers(),
        )


def allowances_of(caller: Caller) -> dict[Limit, Allowance]:
    """The limits that he has."""
    limits: Limits = caller.limits
    given = (
        (Limit.REQUESTS, limits.requests, 1),
        (Limit.TOKENS, limits.tokens, 1),
        (Limit.BLOCK_SECONDS, limits.block_seconds, MS_PER_S),
    )
    return {
        limit: Allowance(limit, amount * unit, f"{caller.name}/{limit.value}", unit)
        for limit, amount, unit in given
        if amount is not None
    }


def _never_fits(allowance: Allowance, amount: int) -> Unservable:
    return Unservable(
        f"{amount} {allowance.limit.value} are more than this key's limit of {allowance.amount} "
        "a minute ever allows at once",
        code="exceeds_rate_limit",
    )
