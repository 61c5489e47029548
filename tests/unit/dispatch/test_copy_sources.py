"""Whom a replica is told to copy from: as placed, for this attempt, if he is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.policy.route import Placement, RouteConfig, route
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import CopySource, ReplicaId
from tests.unit.dispatch.virtual_time import LoopClock, run
from tests.unit.dispatch.world import (
    CARD,
    Answer,
    ScriptedReplica,
    World,
    request,
    tidy,
    tokens,
)

SOURCE = ReplicaId("c")


def from_c(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement | None:
    """The production choice among the others, with three blocks from c."""
    placement = route(view.without(frozenset({SOURCE})), subject, hits, config)
    return placement and replace(placement, source=SOURCE, source_blocks=3)


@asynccontextmanager
async def copying(*replicas: ScriptedReplica) -> AsyncIterator[World]:
    async with tidy(*replicas) as made:
        made.dispatch = Dispatch(
            made.fleet, made.cluster, made.registry, LoopClock(), DispatchConfig(), from_c
        )
        yield made


def test_the_request_is_sent_with_the_address_of_its_source() -> None:
    async def scenario() -> None:
        a, c = ScriptedReplica("a"), ScriptedReplica("c")
        async with copying(a, c) as made:
            await tokens(made, request())
            assert [each.copy_from for each in a.asked] == [CopySource(SOURCE, "c:1", 3)]

    run(scenario())


def test_a_source_that_is_gone_or_serves_something_else_is_left_out() -> None:
    async def scenario() -> None:
        other = replace(CARD, revision="r2")
        for sources in ((), (ScriptedReplica("c", card=other),)):
            a = ScriptedReplica("a")
            async with copying(a, *sources) as made:
                await tokens(made, request())
                assert [each.copy_from for each in a.asked] == [None]

    run(scenario())


def test_each_attempt_is_told_of_its_own_placement_also_when_it_resumes() -> None:
    async def scenario() -> None:
        a, b, c = ScriptedReplica("a", Answer(lost_before=2)), *map(ScriptedReplica, "bc")
        async with copying(a, b, c) as made:
            names = "pqrstu"
            for name in names:
                await tokens(made, request(name))
            asked = [*a.asked, *b.asked]
            assert len(asked) == len(names) + 1
            assert any(each.output for each in asked), "one has resumed"
            assert {each.copy_from for each in asked} == {CopySource(SOURCE, "c:1", 3)}
            assert not c.asked

    run(scenario())


def test_a_record_says_whom_blocks_were_to_come_from() -> None:
    async def scenario() -> None:
        async with copying(ScriptedReplica("a"), ScriptedReplica("c")) as made:
            asked = request()
            await tokens(made, asked)
            record = made.dispatch.decisions.of(asked.request_id)
            assert record is not None
            [placed] = record.to_json()["events"]
            assert placed["copied_from"] == SOURCE

    run(scenario())


def test_what_was_copied_does_not_vouch_for_the_registry() -> None:
    """Power: of blocks that only came by the copy the registry seems to have been right."""

    async def scenario() -> None:
        a, c = ScriptedReplica("a", Answer(hit_tokens=48)), ScriptedReplica("c")
        async with copying(a, c) as made:
            await made.hold("a", request().prompt)
            await tokens(made, request())
            assert made.dispatch.totals.registry_hit_blocks == 0

    run(scenario())
