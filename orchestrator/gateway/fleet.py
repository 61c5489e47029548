"""The replicas that this gateway can reach: who is there, and a link to each.

The registry says who exists, links say who lives. A background task lists the
members a few times a second and opens a link to each new (replica, address);
the reports that arrive on links feed the Cluster.

- A new epoch at the same address keeps the link: a lost lease cuts no stream.
- A member that is missing from a listing stays as long as its link reports,
  for a grace period: a registry that lost its memory must not empty the
  fleet. After that it gets no new requests, and its link closes once it is
  down; a process that still streams is left to finish.
- While the registry is unavailable the last listing stands.
- A member that serves another model gets no requests; the log says so once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from orchestrator.control.cluster import Cluster
from orchestrator.control.seams import Clock, ReplicaClient
from orchestrator.gateway.own_model import OwnModel
from orchestrator.policy.view import ClusterView
from protos.messages import ModelCard, ReplicaId
from protos.registry import Member, RegistryReader, RegistryUnavailable, ReplicaRecord

log = logging.getLogger(__name__)
MEETING_POLL_S = 0.01

# Opens a link. It calls back whenever its snapshot() has changed, None included.
Connect = Callable[[ReplicaRecord, Callable[[], None]], ReplicaClient]


@dataclass(frozen=True, slots=True)
class FleetConfig:
    refresh_s: float = 0.25
    listing_timeout_s: float = 1.0
    absence_grace_ns: int = 5_000_000_000  # a registry that restarted has its members back by then


class LinkKey(NamedTuple):
    """What a link leads to. An epoch is not part of it."""

    replica_id: ReplicaId
    address: str


class Fleet:
    """Owner of the links. `start` before use, `stop` once."""

    def __init__(
        self,
        registry: RegistryReader,
        connect: Connect,
        cluster: Cluster,
        clock: Clock,
        config: FleetConfig,
        model: OwnModel | None = None,
    ) -> None:
        """Without a `model` of its own it serves what the first member does."""
        self._registry = registry
        self._connect = connect
        self._cluster = cluster
        self._clock = clock
        self._config = config
        self._model = model
        self._strangers: dict[ReplicaId, ModelCard] = {}  # listed, and serving another model
        self._members: dict[ReplicaId, Member] = {}
        self._listed_ns: dict[ReplicaId, int] = {}  # when a listing last had it
        self._links: dict[LinkKey, ReplicaClient] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._on_change: Callable[[], None] = lambda: None

    # ---- what it knows

    def view(self) -> ClusterView:
        """The fleet now, debits included."""
        return self._cluster.view(self._clock.now_ns())

    def card(self) -> ModelCard | None:
        """What the fleet serves: its first member's card."""
        return next((member.record.card for member in self._cluster.members()), None)

    def client(self, replica_id: ReplicaId) -> ReplicaClient | None:
        """The link to a replica, up or down."""
        member = self._members.get(replica_id)
        return self._links.get(key_of(member)) if member is not None else None

    def links(self) -> tuple[tuple[Member, ReplicaClient], ...]:
        """The members that can be asked something now, by replica id."""
        known = [(self._members[name], self.client(name)) for name in sorted(self._members)]
        return tuple((m, link) for m, link in known if link is not None and link.snapshot())

    def member(self, replica_id: ReplicaId) -> Member | None:
        """A replica as it is listed."""
        return self._members.get(replica_id)

    def others_than(self, card: ModelCard) -> frozenset[ReplicaId]:
        """Replicas that serve something else: during an update, another revision."""
        return frozenset(
            replica_id for replica_id, member in self._members.items() if member.record.card != card
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        """Be told, by one callback, whenever the view may have changed."""
        self._on_change = callback

    # ---- life

    async def start(self) -> None:
        """List the members once, then keep doing so in the background."""
        await self.refresh()
        self._refreshing = asyncio.create_task(self._refresh_forever())

    async def meet(self, within_s: float) -> None:
        """Until every replica that is listed has spoken, or so long.

        A gateway that takes requests before would refuse them for want of a replica.
        """
        try:
            async with asyncio.timeout(within_s):
                while any(link.snapshot() is None for link in self._links.values()):
                    await self._clock.sleep(MEETING_POLL_S)
        except TimeoutError:
            log.info("not every replica that is listed has spoken yet")

    def let_go(self) -> None:
        """What is given up from now on waits at its replica for another gateway."""
        for link in self._links.values():
            link.let_go()

    async def stop(self) -> None:
        """Close every link, and with it every request on it."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.close() for link in links))

    async def refresh(self) -> None:
        """List the members and follow; a registry out of reach changes nothing."""
        try:
            async with asyncio.timeout(self._config.listing_timeout_s):
                listed = await self._registry.members()
        except (RegistryUnavailable, TimeoutError):
            return
        await self._follow(listed)

    async def _refresh_forever(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "refreshes in a task"
        # The client of a server that times out may take a cancellation for that timeout.
        while not task.cancelling():
            await self._clock.sleep(self._config.refresh_s)
            try:
                await self.refresh()
            except Exception:
                # A fleet that stops following is an outage later on; one bad listing is not.
                log.exception("could not follow the registry's members")

    async def _follow(self, listed: tuple[Member, ...]) -> None:
        now_ns = self._clock.now_ns()
        members = self._of_one_model(listed)
        present = {member.record.replica_id: member for member in members}
        self._listed_ns |= dict.fromkeys(present, now_ns)
        missed = {
            replica_id: member
            for replica_id, member in self._members.items()
            if replica_id not in present and self._is_graced(member, now_ns)
        }
        self._members = present | missed
        self._listed_ns = {
            replica_id: at
            for replica_id, at in self._listed_ns.items()
            if replica_id in self._members
        }
        self._cluster.observe_members(self._members.values())
        for member in self._members.values():
            if key_of(member) not in self._links:
                self._open(member.record)
            self._observe(key_of(member))
        await self._close_departed()
        self._on_change()

    def _of_one_model(self, listed: tuple[Member, ...]) -> tuple[Member, ...]:
        """Members that serve what this gateway does; strangers are named in the log."""
        model = self._model
        ours = tuple(m for m in listed if model is None or model.is_served_by(m.record.card))
        members = serving_one_model(ours, self.card())
        serving = {member.record.replica_id for member in members}
        strangers = {
            member.record.replica_id: member.record.card
            for member in listed
            if member.record.replica_id not in serving
        }
        for replica_id, card in strangers.items():
            if self._strangers.get(replica_id) != card:
                log.warning(
                    "replica %s gets no requests: it serves %s, this gateway %s",
                    replica_id,
                    card,
                    members[0].record.card if members else model,
                )
        self._strangers = strangers
        return members

    def _is_graced(self, member: Member, now_ns: int) -> bool:
        """Whether a member that was not listed still counts."""
        link = self._links.get(key_of(member))
        is_up = link is not None and link.snapshot() is not None
        absent_ns = now_ns - self._listed_ns[member.record.replica_id]
        return is_up and absent_ns <= self._config.absence_grace_ns

    def _open(self, record: ReplicaRecord) -> None:
        key = LinkKey(record.replica_id, record.address)
        self._links[key] = self._connect(record, lambda: self._heard(key))

    async def _close_departed(self) -> None:
        current = {key_of(member) for member in self._members.values()}
        departed = [
            key
            for key, link in self._links.items()
            if key not in current and link.snapshot() is None
        ]
        await asyncio.gather(*(self._links.pop(key).close() for key in departed))

    def _heard(self, key: LinkKey) -> None:
        """A link's report changed. Links that were superseded are not listened to."""
        member = self._members.get(key.replica_id)
        if member is not None and key_of(member) == key:
            self._observe(key)
            self._on_change()

    def _observe(self, key: LinkKey) -> None:
        """Tell the cluster what the link shows now."""
        link = self._links.get(key)
        snapshot = link.snapshot() if link is not None else None
        if snapshot is None:
            self._cluster.observe_loss(key.replica_id)
        else:
            self._cluster.observe_report(snapshot, self._clock.now_ns())


def key_of(member: Member) -> LinkKey:
    return LinkKey(member.record.replica_id, member.record.address)


def serving_one_model(listed: tuple[Member, ...], serving: ModelCard | None) -> tuple[Member, ...]:
    """Members of one model: the one served so far, else the first member's.

    One gateway serves one model: to a member with another card its tokens
    would mean something else. Revisions may differ, during an update.
    """
    cards = [same_for_all_revisions(member.record.card) for member in listed]
    wanted = same_for_all_revisions(serving) if serving is not None else None
    chosen = wanted if wanted in cards else next(iter(cards), None)
    return tuple(m for m, card in zip(listed, cards, strict=True) if card == chosen)


def same_for_all_revisions(card: ModelCard) -> ModelCard:
    return replace(card, revision="")
