"""The replica's stream to the control plane, against a small real gRPC server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from grpc import aio

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.convert import record_from_proto
from protos.convert_moves import move_order_to_proto, peer_to_proto, sequence_from_proto
from protos.messages import Handoff, ReplicaId, RequestId, SequenceId, SequenceReport, Standing
from protos.moves import MoveId, MoveOrder, MoveOutcome, Peer
from replicas.serving import control_link
from tests.integration.replica.gateway import WITHIN_S, running
from tests.ports import free_ports
from tests.unit.shell.counting import CARD, CONFIG, answer, request
from tests.unit.shell.eventually import eventually, eventually_answers

QUICK = replace(CONFIG, retry_ms_max=20)
# So that an order comes in time, and the sequence does not end before its move.
STEP_S = 0.05


class ControlPlane(control_pb2_grpc.ControlPlaneServicer):
    """Keeps what each stream reported; sends what it is told to."""

    def __init__(self) -> None:
        self.streams: list[list[control_pb2.ReplicaReport]] = []
        self.commands: asyncio.Queue[control_pb2.ControlCommand] = asyncio.Queue()
        self.leads = True
        self.breaks = False  # the stream, with its next report
        self.turned_away = 0

    async def Attach(
        self,
        request_iterator: AsyncIterator[control_pb2.ReplicaReport],
        context: aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand],
    ) -> None:
        if not self.leads:
            self.turned_away += 1
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another one leads")
        reports: list[control_pb2.ReplicaReport] = []
        self.streams.append(reports)
        sending = asyncio.create_task(self._send(context))
        try:
            async for report in request_iterator:
                reports.append(report)
                if self.breaks:
                    self.breaks = False
                    return
        finally:
            sending.cancel()

    async def _send(
        self, context: aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand]
    ) -> None:
        while True:
            await context.write(await self.commands.get())

    def stand(self, standing: Standing, *, epoch: int = 0, term: int = 1) -> None:
        command = control_pb2.ControlCommand(epoch=epoch, term=term, standing=standing.value)
        self.commands.put_nowait(command)

    def has_reports(self, stream: int, count: int = 1) -> bool:
        return len(self.streams) > stream and len(self.streams[stream]) >= count


@asynccontextmanager
async def listening(plane: ControlPlane, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    control_pb2_grpc.add_ControlPlaneServicer_to_server(  # type: ignore[no-untyped-call]
        plane, server
    )
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def registry() -> MemoryRegistry:
    return MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=600_000))


async def test_the_first_report_names_the_replica_and_the_others_do_not() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.lead("plane", address)
        async with running(QUICK, directory=known) as served:
            await eventually(lambda: plane.has_reports(0, 3), "three reports")
            first, *others = plane.streams[0]
            record = record_from_proto(first.record)
            assert (record.address, record.card) == (served.address, CARD)
            assert not any(report.HasField("record") for report in others)
            numbers = [report.snapshot.number for report in plane.streams[0]]
            assert numbers == sorted(set(numbers))


async def test_a_standing_is_taken_up_and_reported_at_once_and_can_be_ended() -> None:
    plane, known = ControlPlane(), registry()
    slow = replace(QUICK, report_interval_ms=600_000)
    async with listening(plane) as address:
        await known.lead("plane", address)
        async with running(slow, directory=known) as served:
            await eventually(lambda: plane.has_reports(0), "the first report")

            async def takes_up(standing: Standing) -> None:
                plane.stand(standing)
                await eventually(
                    lambda: plane.streams[0][-1].standing == standing.value,
                    "a report long before the interval is over",
                )
                is_draining = plane.streams[0][-1].snapshot.draining
                assert is_draining == (standing is not Standing.OPEN)

            await takes_up(Standing.CORDONED)
            await takes_up(Standing.LEAVING)
            await takes_up(Standing.OPEN)
            assert not served.engine.draining


async def test_what_nobody_may_order_any_more_is_ignored() -> None:
    """Another epoch, an earlier term, a word without meaning; then a word that counts."""
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.lead("plane", address)
        async with running(QUICK, directory=known) as served:
            await eventually(lambda: plane.has_reports(0), "the first report")
            plane.stand(Standing.OPEN, term=7)
            plane.stand(Standing.CORDONED, term=9, epoch=41)
            plane.stand(Standing.CORDONED, term=6)
            plane.commands.put_nowait(control_pb2.ControlCommand(term=7, standing="upright"))
            plane.commands.put_nowait(control_pb2.ControlCommand(term=7))
            plane.stand(Standing.LEAVING, term=7)
            await eventually(lambda: served.engine.draining, "the last one is obeyed")
            words = [report.standing for report in plane.streams[0]]
            assert Standing.CORDONED.value not in words


async def test_a_leaving_replica_is_leaving_to_the_next_leader_too() -> None:
    former, leader, known = ControlPlane(), ControlPlane(), registry()
    async with listening(leader) as second, running(QUICK, directory=known) as served:
        async with listening(former) as first:
            await known.lead("former", first)
            await eventually(lambda: former.has_reports(0), "the first leader")
            former.stand(Standing.LEAVING, term=5)
            await eventually(lambda: served.engine.draining, "it leaves")
        await known.resign("former")
        await known.lead("leader", second)
        await eventually(lambda: leader.has_reports(0), "the next leader")
        assert leader.streams[0][0].standing == Standing.LEAVING.value
        leader.stand(Standing.OPEN, term=4)  # said by a leader of before
        leader.stand(Standing.CORDONED, term=6)
        await eventually(
            lambda: leader.streams[0][-1].standing == Standing.CORDONED.value, "obeyed"
        )
        assert Standing.OPEN.value not in [report.standing for report in leader.streams[0]]


async def test_sequences_are_reported_under_their_clients_names() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.lead("plane", address)
        async with running(QUICK, directory=known) as served, served.attached() as gateway:
            served.executor.hold()
            asked = replace(request("a", prompt_tokens=9), tenant="t", first_choice=2)
            await gateway.submit(request("small"), asked)
            await eventually(lambda: served.sequences == 2, "both are in")

            def reported() -> list[SequenceReport]:
                return [
                    sequence_from_proto(sequence)
                    for stream in plane.streams
                    for report in stream[-1:]
                    for sequence in report.sequences
                ]

            await eventually(lambda: len(reported()) == 2, "both are reported")
            one = next(each for each in reported() if each.request_id == "a")
            assert (one.choice, one.tenant, one.tokens) == (2, "t", 9)
            assert one.sequence_id not in ("a/2", "")


async def test_an_order_to_hand_back_is_carried_out_and_its_end_reported() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.lead("plane", address)
        async with running(QUICK, directory=known) as served, served.attached() as gateway:
            served.executor.step_s = STEP_S
            await gateway.submit(request("a", tokens_max=200))
            await eventually(
                lambda: any(report.sequences for s in plane.streams for report in s), "reported"
            )
            order = control_pb2.MoveOrder(move_id="m", sequence_id="1:a/0", deadline_ms=60_000)
            plane.commands.put_nowait(control_pb2.ControlCommand(term=1, move=order))
            await gateway.read_until(lambda: bool(gateway.handoffs))
            (handoff,) = gateway.handoffs
            assert replace(handoff, account=None) == Handoff(RequestId("a"), 0, 1, None)
            await eventually(
                lambda: (
                    [m.outcome for s in plane.streams for r in s for m in r.moves]
                    == [MoveOutcome.HANDED_BACK.value]
                ),
                "how it ended is reported once",
            )


async def test_how_moves_ended_is_told_again_to_the_next_leader_and_after_a_broken_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_link, "LOOK_MS", 10)
    former, leader, known = ControlPlane(), ControlPlane(), registry()

    def ends(stream: list[control_pb2.ReplicaReport]) -> list[str]:
        return [move.outcome for report in stream for move in report.moves]

    async with listening(former) as first, listening(leader) as second:
        await known.lead("former", first)
        async with running(QUICK, directory=known):
            order = control_pb2.MoveOrder(move_id="m", sequence_id="9:a/0", deadline_ms=60_000)
            former.commands.put_nowait(control_pb2.ControlCommand(term=1, move=order))
            await eventually(lambda: any(map(ends, former.streams)), "it has ended")
            former.breaks = True
            await eventually(lambda: former.has_reports(1, 3), "it is back")
            await known.resign("former")
            await known.lead("leader", second)
            await eventually(lambda: leader.has_reports(0), "the next leader")
    for stream in (*former.streams, leader.streams[0]):
        assert ends(stream) == [MoveOutcome.UNKNOWN.value], "once on each stream"
    assert ends(former.streams[1][:1]) == ends(leader.streams[0][:1]) != []


async def test_a_running_sequence_moves_by_order_and_goes_on_token_for_token() -> None:
    """Its KV comes along: the executor asserts that every row finds it in its blocks."""
    plane, known = ControlPlane(), registry()
    other = replace(QUICK, replica_id=ReplicaId("r-1"))
    async with (
        listening(plane) as address,
        running(QUICK, directory=known) as source,
        running(other) as target,
        source.attached() as here,
        target.attached() as there,
    ):
        await known.lead("plane", address)
        source.executor.step_s = STEP_S
        asked = request("a", prompt_tokens=40, tokens_max=200)
        await here.submit(asked)
        await here.read_until(lambda: len(here.tokens("a")) > 3)
        peer = Peer(other.replica_id, target.address, epoch=0)
        order = MoveOrder(MoveId("m"), SequenceId("1:a/0"), peer, deadline_ms=60_000)
        message = move_order_to_proto(order)
        plane.commands.put_nowait(control_pb2.ControlCommand(term=1, move=message))
        await here.read_until(lambda: bool(here.handoffs))
        (handoff,) = here.handoffs
        assert replace(handoff, account=None) == Handoff(RequestId("a"), 0, 1, other.replica_id)
        told = len(here.tokens("a"))
        assert 3 < told < 200
        await there.adopt(asked, next_index=told)
        await there.finished(asked)
        assert here.tokens("a") + there.tokens("a", first_index=told) == answer(asked)
        assert target.replica.snapshot().counters.prefill_tokens == 0, "nothing is computed again"
        assert source.engine.is_idle


async def test_a_replica_that_stops_is_emptied_by_order_long_before_its_grace_is_over() -> None:
    plane, known = ControlPlane(), registry()
    other = replace(QUICK, replica_id=ReplicaId("r-1"))
    async with (
        listening(plane) as address,
        running(QUICK, directory=known) as source,
        running(other) as target,
        source.attached() as here,
    ):
        await known.lead("plane", address)
        source.executor.hold()
        source.executor.step_s = STEP_S
        await here.submit(request("a", tokens_max=200))
        await eventually(lambda: source.blocks_used > 0, "it runs")
        stopping = asyncio.create_task(source.replica.stop(600))
        await eventually(
            lambda: any(s and s[-1].standing == Standing.LEAVING.value for s in plane.streams),
            "it says that it leaves",
        )
        source.executor.release()
        peer = Peer(other.replica_id, target.address, epoch=0)
        order = MoveOrder(MoveId("m"), SequenceId("1:a/0"), peer, deadline_ms=60_000)
        message = move_order_to_proto(order)
        plane.commands.put_nowait(control_pb2.ControlCommand(term=1, move=message))
        await here.read_to_the_end()
        assert [handoff.target for handoff in here.handoffs] == [other.replica_id]
        await asyncio.wait_for(stopping, WITHIN_S)


async def test_a_new_replica_opens_when_it_has_the_blocks_that_most_requests_begin_with() -> None:
    plane, known = ControlPlane(), registry()
    cold = replace(QUICK, replica_id=ReplicaId("r-1"), warm_ms=600_000)
    async with listening(plane) as address, running(QUICK) as old, old.attached() as here:
        await known.lead("plane", address)
        asked = request("a", prompt_tokens=40)
        for name in "abc":
            await here.submit(replace(asked, request_id=RequestId(name)))
            await here.finished(replace(asked, request_id=RequestId(name)))
        async with running(cold, registry=known, directory=known) as new:
            await eventually(lambda: plane.has_reports(0), "it asks")
            report = plane.streams[0][0]
            assert (report.standing, report.snapshot.draining) == (Standing.OPEN.value, True)

            async def is_draining() -> bool:
                return [member.draining for member in await known.members()] == [True]

            await eventually_answers(is_draining, "the registry knows that it takes no work yet")
            peers = [
                Peer(ReplicaId("r-9"), "127.0.0.1:1", 0),
                Peer(ReplicaId("r-0"), old.address, 0),
            ]
            warm = control_pb2.WarmOrder(peers=map(peer_to_proto, peers))
            epoch = new.replica.snapshot().epoch
            plane.commands.put_nowait(control_pb2.ControlCommand(epoch=epoch, term=1, warm=warm))
            await eventually(lambda: not new.engine.draining, "it opens")
            async with new.attached() as there:
                await there.submit(asked)
                await there.finished(asked)
                assert there.tokens("a") == answer(asked)
                assert there.deltas("a")[0].hit_tokens == 36, "all but the block of the last token"


async def test_where_nobody_leads_a_new_replica_opens_cold() -> None:
    async with running(replace(QUICK, warm_ms=600_000), directory=registry()) as served:
        await eventually(lambda: not served.engine.draining, "it opens")


async def test_a_new_epoch_is_a_new_stream_with_the_record() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.lead("plane", address)
        quick = replace(QUICK, lease_ms=60)  # renews every 20 ms, and so notices
        async with running(quick, registry=known, directory=known):
            await eventually(
                lambda: any(s and s[0].snapshot.epoch == 1 for s in plane.streams), "epoch 1"
            )
            await known.join(record_from_proto(plane.streams[-1][0].record))  # fences epoch 1
            await eventually(
                lambda: any(s and s[0].snapshot.epoch == 3 for s in plane.streams), "epoch 3"
            )
            for stream in plane.streams:
                assert len({report.snapshot.epoch for report in stream}) <= 1
                assert all(report.HasField("record") for report in stream[:1])


async def test_a_control_plane_that_comes_late_or_comes_back_is_found() -> None:
    plane, known = ControlPlane(), registry()
    async with running(QUICK, directory=known) as served, served.attached() as gateway:
        asked = request("a")
        await gateway.submit(asked)
        await gateway.finished(asked)  # nobody was needed for that
        address = f"127.0.0.1:{free_ports(1)[0]}"  # nobody is given it meanwhile
        async with listening(plane, address):
            await known.lead("plane", address)
            await eventually(lambda: plane.has_reports(0), "it came late")
        async with listening(plane, address):
            await eventually(lambda: plane.has_reports(1), "it came back")
        served.replica.check_health()


async def test_who_does_not_lead_yet_is_asked_again() -> None:
    plane, known = ControlPlane(), registry()
    plane.leads = False
    async with listening(plane) as address:
        await known.lead("plane", address)
        async with running(QUICK, directory=known):
            await eventually(lambda: plane.turned_away > 2, "it is turned away")
            plane.leads = True
            await eventually(lambda: plane.has_reports(0), "it is back")


async def test_it_follows_the_directory_to_another_control_plane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_link, "LOOK_MS", 10)
    former, leader, known = ControlPlane(), ControlPlane(), registry()
    async with listening(former) as first, listening(leader) as second:
        await known.lead("former", first)
        async with running(QUICK, directory=known):
            await eventually(lambda: former.has_reports(0), "the first leader")
            await known.resign("former")
            await known.lead("leader", second)
            await eventually(lambda: leader.has_reports(0), "the next leader")
