"""Worlds in which sequences guess say what they say without, sooner.

Simulated tokens are made up, so nothing ever repeats itself: here sequences are told
what they will say, with a wrong token among it now and then.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.exact_executor import completion
from orchestrator.sim.report import report
from orchestrator.sim.world import History, simulate
from orchestrator.workload.tokens import VOCAB_SIZE, tokens_after
from protos.messages import Request
from replicas.engine.sequence import Sequence
from tests.simulation.workloads import small_config, small_traffic


def by_name(sequence: Sequence, count: int) -> tuple[int, ...]:
    """What a cost executor says next."""
    (last,) = sequence.tokens(sequence.length - 1, sequence.length)
    seed = sequence.request.sampling.seed + sequence.choice
    return tuple(islice(tokens_after(seed, last, sequence.length), count))


def by_content(sequence: Sequence, count: int) -> tuple[int, ...]:
    """What an exact executor says next."""
    said = len(sequence.output)
    return completion(sequence.request, choice=sequence.choice, count=said + count)[said:]


def first_choice(request: Request, count: int) -> tuple[int, ...]:
    return completion(request, choice=0, count=count)


def tokens(history: History) -> dict[int, tuple[int, ...]]:
    return {o.number: o.tokens for o in history.outcomes if isinstance(o, Answered)}


@pytest.mark.parametrize("is_exact", [True, False], ids=["exact", "by cost"])
@pytest.mark.parametrize("seed", range(3))
def test_everybody_hears_the_same_and_sooner(
    is_exact: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    foretold = by_content if is_exact else by_name
    original = Sequence.guesses

    def guesses(self: Sequence, limit: int) -> tuple[int, ...]:
        original(self, 0)
        wrong = len(self.output) % 5
        right = foretold(self, limit)
        return tuple((each + (n == wrong)) % VOCAB_SIZE for n, each in enumerate(right))

    monkeypatch.setattr(Sequence, "guesses", guesses)
    traffic = small_traffic(seed)
    config = replace(small_config(seed), exact=is_exact)
    checkers = Checkers(expected=first_choice) if is_exact else Checkers()
    without = simulate(config, traffic, checkers)
    guessing = simulate(replace(config, guesses_max=3), traffic, checkers)
    assert len(tokens(without)) == len(traffic.arrivals)
    assert tokens(guessing) == tokens(without)
    counters = [snapshot.counters for snapshot in guessing.snapshots]
    accepted = sum(each.accepted_tokens for each in counters)
    assert 50 < accepted < sum(each.guessed_tokens for each in counters)
    tpot = [report(each, wall_s=1).tpot_s["p50"] for each in (without, guessing)]
    assert tpot[1] < tpot[0]
