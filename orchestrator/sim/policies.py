"""The policies that `simulate` can compare, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.policy.route import Route, route
from orchestrator.sim.baselines.dynamo_like import DynamoLike
from orchestrator.sim.baselines.load import RandomChoice, RoundRobin, least_requests, least_tokens
from orchestrator.sim.baselines.load_and_copy import load_and_copy
from orchestrator.sim.baselines.longest_prefix import longest_prefix
from orchestrator.sim.baselines.preble_like import PrebleLike
from orchestrator.sim.baselines.sglang_like import SglangLike

OURS = "blockyard"
LOAD_AND_COPY = "load-and-copy"
CEILING = "ceiling"  # ours over an infinite shared cache; sim/world.py builds that cache

# Makes one gateway's policy from a seed.
POLICIES: Mapping[str, Callable[[int], Route]] = {
    OURS: lambda seed: route,
    "random": RandomChoice,
    "round-robin": lambda seed: RoundRobin(),
    "least-requests": lambda seed: least_requests,
    "least-tokens": lambda seed: least_tokens,
    LOAD_AND_COPY: lambda seed: load_and_copy,
    "longest-prefix": lambda seed: longest_prefix,
    "dynamo-like": lambda seed: DynamoLike(1.0),  # its default
    "dynamo-like-4": lambda seed: DynamoLike(4.0),
    "sglang-like": lambda seed: SglangLike(),
    "preble-like": lambda seed: PrebleLike(),
    CEILING: lambda seed: route,
}
