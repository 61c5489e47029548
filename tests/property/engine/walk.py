"""A seeded random walk over everything that can be done to two engines."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from protos.messages import Request, RequestClass, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from tests.property.engine.fleet import STAGES, Fleet
from tests.property.engine.shadow import VOCAB_SIZE, World, card

SALTS = (b"", b"", b"", b"tenant")
MOVES = {
    "submit": 3.0,
    "cancel": 0.4,
    "resume": 0.4,
    "crash": 0.1,
    "begin": 4.0,
    "advance": 5.0,
    "hand back": 0.3,
    "warm": 0.8,
    "cordon": 0.15,
    "open": 0.5,
    "begin step": 1.0,
    "step": 5.0,
}
# With prefixes that are copied before their request begins.
COPIES = {**MOVES, "submit held": 2.0, "fetch": 2.0}
# With more than there is room for, most of the time.
CROWDED = {**MOVES, "submit": 9.0, "crash": 0.02, "step": 12.0}
TRUNK = tuple(position % 3 for position in range(40))  # what prompts have in common


DEADLINES_MS = (None, 45, 8)  # some beyond the engine's patience, of 20


def config(rng: random.Random, block_size: int) -> EngineConfig:
    """A small engine, mostly one that is short of something."""
    return EngineConfig(
        card=card(block_size),
        blocks_total=rng.randint(3, rng.choice((40, 80)) // block_size + 6),
        step_tokens_max=rng.choice((1, 3, 8, 64)),
        sequences_max=rng.choice((3, 4, 8)),
        waiting_max=rng.choice((2, 8)),
        watermark_blocks=rng.choice((0, 1)),
        headroom_blocks=rng.choice((0, 0, 2)),
        headroom_steps=rng.choice((1, 8)),
        yielding_tokens_max=2,
        patience_ms=20,
        steps_max=9,
        prompt_token_ns=2,
    )


def with_host(rng: random.Random, bounds: EngineConfig) -> EngineConfig:
    """The same with host memory: none, little, or enough; and worth it for some or for all."""
    return replace(
        bounds,
        host_blocks=rng.choice((0, 1, 3, 99)),
        host_block_ns=rng.choice((0, 1, bounds.card.block_size)),
    )


def request(rng: random.Random, number: int) -> Request:
    """A prompt that leaves the common trunk somewhere, and modest wishes."""
    tail = tuple(rng.randrange(VOCAB_SIZE) for _ in range(rng.randrange(4)))
    tokens_max = rng.randint(1, rng.choice((6, 20)))
    return Request(
        request_id=RequestId(f"r{number}"),
        prompt=TRUNK[: rng.randint(1, 20)] + tail,
        sampling=SamplingParams(
            tokens_max=tokens_max,
            tokens_min=rng.randint(0, min(2, tokens_max)),
            seed=rng.randrange(3),
            stop_token_ids=rng.choice(((), (1, 5))),
        ),
        choices=rng.choice((1, 1, 2, 3)),
        salt=rng.choice(SALTS),
        request_class=rng.choice(tuple(RequestClass)),
        deadline_ms=DEADLINES_MS[number % len(DEADLINES_MS)],
    )


def walk(
    seed: int,
    moves: int = 110,
    make: Callable[[EngineConfig], World] = World,
    likely: Mapping[str, float] = MOVES,
) -> Fleet:
    """Do `moves` random things to two random engines, then let them finish."""
    rng, steps = random.Random(seed), random.Random(-1 - seed)
    block_size = rng.choice((1, 2, 3, 4, 4, 16))
    bounds = [with_host(steps, config(rng, block_size)) for _ in range(2)]
    bounds = [replace(each, guesses_max=steps.choice((0, 2, 5, 5))) for each in bounds]
    fleet = Fleet(bounds, make)
    for number in range(moves):
        source, target = rng.sample(fleet.worlds, 2)
        client = rng.choice(list(source.clients.values())) if source.clients else None
        match rng.choices(list(likely), list(likely.values()))[0]:
            case "submit":
                source.submit(request(rng, number))
            case "submit held":
                asked = request(rng, number)
                if client and not client.request.output:
                    asked = replace(client.request, request_id=asked.request_id)
                if fleet.submit(source, target, asked, rng.choice((1, 3, 99))) is None:
                    for fetch in fleet.fetches[-1:]:
                        fleet.fetch(fetch, rng.choice((1, 2, 99)))
            case "fetch" if fleet.fetches:
                fleet.fetch(rng.choice(fleet.fetches), rng.choice((0, 1, 2, 99)))
            case "cancel" if client:
                source.cancel(client.request.request_id)
            case "resume" if client:
                source.resume(client.request.request_id)
            case "crash":
                fleet.crash(source)
            case "begin" if client:
                choice = rng.choice(sorted(client.open))
                fleet.begin(source, target, client.request.request_id, choice)
            case "advance" if fleet.transfers:
                fleet.advance(rng.choice(fleet.transfers), rng.choice(STAGES))
            case "hand back" if client:
                choice = rng.choice(sorted(client.open))
                fleet.hand_back(source, target, client.request.request_id, choice)
            case "warm":
                fleet.warm(source, target, rng.randint(1, 8))
            case "cordon":
                source.engine.drain()
                assert source.submit(request(rng, number)) is not None
            case "open":
                source.engine.open()
            case "step" | "begin step" if source.is_mid_step:
                source.apply(steps.choice((1, 2, 99)))
            case "begin step":
                source.schedule()
            case "step" if source.schedule():
                source.apply(steps.choice((1, 2, 99)))
    fleet.finish()
    return fleet
