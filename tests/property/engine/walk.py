"""A seeded random walk over everything that can be done to an engine."""

from __future__ import annotations

import random
from collections.abc import Callable

from protos.messages import Request, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from tests.property.engine.shadow import VOCAB_SIZE, World, card

SALTS = (b"", b"", b"", b"tenant")
MOVES = ("submit", "cancel", "move", "crash", "step")
WEIGHTS = (3, 0.5, 0.5, 0.1, 6)
TRUNK = tuple(position % 3 for position in range(40))  # what prompts have in common


def config(rng: random.Random) -> EngineConfig:
    """A small engine, mostly one that is short of something."""
    block_size = rng.choice((1, 2, 3, 4, 4, 16))
    return EngineConfig(
        card=card(block_size),
        blocks_total=rng.randint(3, 40 // block_size + 6),
        step_tokens_max=rng.choice((1, 3, 8, 64)),
        sequences_max=rng.choice((3, 4, 8)),
        waiting_max=rng.choice((2, 8)),
        watermark_blocks=rng.choice((0, 1)),
    )


def request(rng: random.Random, number: int) -> Request:
    """A prompt that leaves the common trunk somewhere, and modest wishes."""
    tail = tuple(rng.randrange(VOCAB_SIZE) for _ in range(rng.randrange(4)))
    tokens_max = rng.randint(1, 12)
    return Request(
        request_id=RequestId(f"r{number}"),
        prompt=TRUNK[: rng.randint(1, 20)] + tail,
        sampling=SamplingParams(
            tokens_max=tokens_max,
            tokens_min=rng.randint(0, min(2, tokens_max)),
            seed=rng.randrange(3),
            stop_token_ids=rng.choice(((), (5,))),
        ),
        choices=rng.choice((1, 1, 2, 3)),
        salt=rng.choice(SALTS),
    )


def walk(seed: int, moves: int = 60, make: Callable[[EngineConfig], World] = World) -> World:
    """Do `moves` random things to a random engine, then let it finish."""
    rng = random.Random(seed)
    world = make(config(rng))
    drains = rng.random() < 0.1
    for number in range(moves):
        match rng.choices(MOVES, WEIGHTS)[0]:
            case "submit":
                world.submit(request(rng, number))
            case "cancel" if world.clients:
                world.cancel(rng.choice(list(world.clients)))
            case "move" if world.clients:
                world.move(rng.choice(list(world.clients)))
            case "crash":
                world.crash()
            case "step" if world.is_mid_step:
                world.apply()
            case "step":
                world.schedule()
    if drains:
        world.engine.drain()
        assert world.submit(request(rng, moves)) is not None
    world.finish()
    return world
