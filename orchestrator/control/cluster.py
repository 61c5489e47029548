"""What one gateway knows of the cluster: members, their reports, its own promises.

Facts come in with the time at which they were learned; `view(now_ns)` folds
them into the frozen picture that policies decide on. Nothing here awaits.

- A report counts if it is newer than the last one: by epoch, then by number.
  A first report of an older epoch than the replica's membership is a ghost's, and
  so is what was reported from another address.
- A replica is alive while its link is up and its last report is recent.
- A *debit* is what a placement was promised. It is charged when the request
  is sent, because reports show it only later, and ends with the first delta,
  the refusal or the loss. It also ends when reports must contain it: two
  newer reports have come, and some time has passed. Counted twice for a
  moment it makes the replica look fuller than it is, never emptier.
- What other gateways announce to have promised is a debit as well. Of its end
  nobody tells, so it ends with the reports, or when it should have settled. None
  is charged while no reports come, or they would pile up.
- Reports that turn out to be old (report_lag.py) show no debit for as long, and
  the queue that they tell of is gone: it is reckoned (reckoning.py).
- Headroom is what interactive requests took of late, up to a share of each
  pool. Others leave it free; what they have grown into, replicas take back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.control.demand import Demand
from orchestrator.control.prefill_rate import FleetRate, PrefillRate, fleet_rate
from orchestrator.control.reckoning import Reckoning
from orchestrator.control.report_lag import Given, ReportLag
from orchestrator.policy.route import Placement
from orchestrator.policy.scores import PREFILL_TOKENS_PER_S
from orchestrator.policy.view import ClusterView, ReplicaView
from protos.messages import ModelCard, ReplicaId, Snapshot
from protos.registry import Announcement, Member

NS_PER_MS = 1_000_000
# Reports come by the thousand in a large cluster, and each would look at all replicas.
RATES_AGE_NS_MAX = 100_000_000


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    # A replica that lives reports several times a second.
    report_age_ns_max: int = 3_000_000_000
    # Two hops and a step: within this time a sent request is in the reports.
    debit_settle_ns: int = 100_000_000
    # Of each pool: as much is kept for interactive requests, if they asked for it of late.
    headroom_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Debit:
    """One promise. Equal only to itself, by `number`."""

    number: int
    replica_id: ReplicaId
    blocks: int
    prefill_tokens: int
    sequences: int
    charged_ns: int
    shown_by: int  # the report number that must contain it
    ends_ns: int | None = None  # at the latest; None: whoever charged it releases it


@dataclass(slots=True)
class ReplicaState:
    """What is known of one replica; the Cluster's own."""

    member: Member
    snapshot: Snapshot | None = None
    reported_ns: int = 0
    prefill_rate: PrefillRate = field(default_factory=PrefillRate)
    given: Given = field(default_factory=Given)
    reckoning: Reckoning = field(default_factory=Reckoning)
    debits: dict[int, Debit] = field(default_factory=dict)


class Cluster:
    """Facts in, views out. Owner of members, snapshots and debits."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._replicas: dict[ReplicaId, ReplicaState] = {}
        self._members: tuple[Member, ...] = ()
        self._debits_charged = 0
        self._interactive = Demand()
        self._lag = ReportLag()
        self._rates: dict[ModelCard, FleetRate | None] = {}
        self._rated_ns: int | None = None

    # ---- facts

    def observe_members(self, members: Iterable[Member]) -> None:
        """Exactly these replicas exist. What is known of others is forgotten."""
        known = self._replicas
        self._replicas = {}
        for member in members:
            replica_id = member.record.replica_id
            state = known.get(replica_id) or ReplicaState(member)
            if is_another_process(state, member):
                state.snapshot = None
            state.member = member
            self._replicas[replica_id] = state
        listed = tuple(self._replicas[replica_id].member for replica_id in sorted(self._replicas))
        if listed != self._members:
            self._members = listed

    def observe_report(self, snapshot: Snapshot, now_ns: int) -> bool:
        """Whether the report was news. Late, repeated and foreign ones change nothing."""
        state = self._replicas.get(snapshot.replica_id)
        if state is None or not is_news(state, snapshot):
            return False
        if state.snapshot is not None and state.snapshot.epoch == snapshot.epoch:
            state.prefill_rate.observe(state.snapshot, snapshot)
        state.snapshot = snapshot
        state.reported_ns = now_ns
        state.given.report(snapshot, now_ns, self._lag)
        if lag_ns := self._lag.lag_ns:
            fleet = self._recent_rates(now_ns).get(state.member.record.card)
            state.reckoning.report(work_waiting(snapshot, fleet), now_ns, lag_ns)
        settle_ns = self._config.debit_settle_ns + lag_ns
        state.debits = {
            debit.number: debit
            for debit in state.debits.values()
            if not is_shown(debit, snapshot, now_ns, settle_ns)
        }
        return True

    def observe_loss(self, replica_id: ReplicaId) -> None:
        """The link to the replica is down: not alive until it reports again."""
        state = self._replicas.get(replica_id)
        if state is not None:
            state.snapshot = None

    # ---- promises

    def charge(self, placement: Placement, now_ns: int) -> Debit:
        """Promise the placement's blocks and tokens. Release it, whatever happens."""
        return self._charge(placement, now_ns, ends_ns=None)

    def hear(self, announcement: Announcement, now_ns: int) -> bool:
        """Another gateway has promised this. False: to a replica of which we know better.

        Of a replica that is not heard it is not charged: nothing is sent there,
        and no report would come that ends the debit.
        """
        state = self._replicas.get(announcement.replica_id)
        if state is None or announcement.epoch != state.member.epoch:
            return False
        if state.snapshot is not None and self._is_recent(state, now_ns):
            self._charge(announcement, now_ns, ends_ns=now_ns + announcement.settle_ms * NS_PER_MS)
        return True

    def _charge(
        self, promised: Placement | Announcement, now_ns: int, *, ends_ns: int | None
    ) -> Debit:
        state = self._replicas.get(promised.replica_id)
        reported = state.snapshot.number if state is not None and state.snapshot is not None else 0
        self._debits_charged += 1
        if promised.is_interactive:
            self._interactive.add(promised.blocks, now_ns)
        debit = Debit(
            number=self._debits_charged,
            replica_id=promised.replica_id,
            blocks=promised.blocks,
            prefill_tokens=promised.prefill_tokens,
            sequences=promised.sequences,
            charged_ns=now_ns,
            shown_by=reported + 2,
            ends_ns=ends_ns,
        )
        if state is not None:
            state.debits[debit.number] = debit
            state.given.place(debit.sequences, now_ns)
            state.reckoning.place(debit.prefill_tokens, now_ns)
        return debit

    def observe_first_token(self, debit: Debit, now_ns: int) -> None:
        """What was promised is being kept: the prompt is computed."""
        state = self._replicas.get(debit.replica_id)
        if state is not None and self._lag.lag_ns:
            state.reckoning.begin(debit.charged_ns, now_ns)

    def release(self, debit: Debit) -> None:
        """End a promise. Safe to repeat, and after its replica was forgotten."""
        state = self._replicas.get(debit.replica_id)
        if state is not None:
            state.debits.pop(debit.number, None)

    @property
    def debits(self) -> tuple[Debit, ...]:
        """Own promises that no report shows yet."""
        debits = (debit for state in self._replicas.values() for debit in state.debits.values())
        return tuple(debit for debit in debits if debit.ends_ns is None)

    # ---- the picture

    def reports(self) -> tuple[Snapshot, ...]:
        """What each replica that is heard said last, by replica id."""
        newest = (state.snapshot for _, state in sorted(self._replicas.items()))
        return tuple(snapshot for snapshot in newest if snapshot is not None)

    def members(self) -> tuple[Member, ...]:
        """All known replicas, by replica id. The same tuple until they change."""
        return self._members

    def epochs(self) -> dict[ReplicaId, int]:
        """Of each replica that is heard."""
        return {
            replica_id: state.member.epoch
            for replica_id, state in self._replicas.items()
            if state.snapshot is not None
        }

    def view(self, now_ns: int) -> ClusterView:
        """Everything known, as of `now_ns`, by replica id. Replicas never heard of are left out."""
        fleet_rates = self._fleet_rates()
        return ClusterView(
            now_ns,
            tuple(
                self._replica_view(
                    state, state.snapshot, fleet_rates[state.member.record.card], now_ns
                )
                for _, state in sorted(self._replicas.items())
                if state.snapshot is not None
            ),
        )

    def _is_recent(self, state: ReplicaState, now_ns: int) -> bool:
        return now_ns - state.reported_ns <= self._config.report_age_ns_max

    def _headroom(self, snapshot: Snapshot, now_ns: int) -> int:
        """Blocks to keep for interactive requests: their demand of late, spread evenly."""
        demand = self._interactive.at(now_ns) / len(self._replicas)
        return round(min(demand, snapshot.blocks_total * self._config.headroom_share))

    def _fleet_rates(self) -> dict[ModelCard, FleetRate | None]:
        """How fast the replicas of each card are together."""
        fleets: dict[ModelCard, list[PrefillRate]] = {}
        for state in self._replicas.values():
            fleets.setdefault(state.member.record.card, []).append(state.prefill_rate)
        return {card: fleet_rate(rates) for card, rates in fleets.items()}

    def _recent_rates(self, now_ns: int) -> dict[ModelCard, FleetRate | None]:
        """The same as of late; a card that has just come is not among them."""
        if self._rated_ns is None or now_ns - self._rated_ns > RATES_AGE_NS_MAX:
            self._rates, self._rated_ns = self._fleet_rates(), now_ns
        return self._rates

    def _replica_view(
        self, state: ReplicaState, snapshot: Snapshot, fleet: FleetRate | None, now_ns: int
    ) -> ReplicaView:
        promised = [debit for debit in state.debits.values() if not is_over(debit, now_ns)]
        rate = None if fleet is None else state.prefill_rate.among(fleet)
        sequences_waiting = snapshot.sequences_waiting
        tokens_waiting = work_waiting(snapshot, fleet)
        tokens_promised = sum(debit.prefill_tokens for debit in promised)
        sequences_promised = sum(debit.sequences for debit in promised)
        if self._lag.lag_ns:
            known_rate = rate or PREFILL_TOKENS_PER_S
            tokens_waiting = state.reckoning.tokens_ahead(known_rate, now_ns)
            sequences_waiting = state.reckoning.prompts_ahead(tokens_waiting)
            tokens_promised = sequences_promised = 0
        return ReplicaView(
            replica_id=snapshot.replica_id,
            epoch=snapshot.epoch,
            alive=self._is_recent(state, now_ns),
            draining=snapshot.draining or state.member.draining,
            blocks_total=snapshot.blocks_total,
            blocks_free=snapshot.blocks_free,
            blocks_cached=snapshot.blocks_cached,
            blocks_used=snapshot.blocks_used,
            blocks_waiting=snapshot.blocks_waiting,
            blocks_promised=sum(debit.blocks for debit in promised),
            sequences_running=snapshot.sequences_running,
            sequences_waiting=sequences_waiting,
            sequences_promised=sequences_promised,
            prefill_tokens_waiting=tokens_waiting,
            prefill_tokens_promised=tokens_promised,
            prefill_tokens_per_s=rate,
            residence_ns=residence_ns(snapshot),
            blocks_reserved=self._headroom(snapshot, now_ns),
            blocks_yielding=snapshot.blocks_yielding,
            copy_start_ns=snapshot.copy_start_ns,
            copy_block_ns=snapshot.copy_block_ns,
            context_weight=context_weight(fleet),
        )


def is_another_process(state: ReplicaState, member: Member) -> bool:
    """Whether what was reported is not of the member that is listed now.

    A registry that forgot a replica gives it a new epoch where it is: what it
    last said holds until it says more, else a flush would leave no replica for a moment.
    """
    if state.snapshot is None or state.snapshot.epoch == member.epoch:
        return False
    return state.member.record.address != member.record.address


def is_news(state: ReplicaState, snapshot: Snapshot) -> bool:
    """Newer than the last report, and not of an epoch that ended."""
    if state.snapshot is None:
        return snapshot.epoch >= state.member.epoch
    last = state.snapshot
    return (snapshot.epoch, snapshot.number) > (last.epoch, last.number)


def is_shown(debit: Debit, snapshot: Snapshot, now_ns: int, settle_ns: int) -> bool:
    """Whether the report must contain what the debit stands for, or the debit is over."""
    old_enough = now_ns - debit.charged_ns >= settle_ns
    return (old_enough and snapshot.number >= debit.shown_by) or is_over(debit, now_ns)


def is_over(debit: Debit, now_ns: int) -> bool:
    """Whether it has lived as long as it may."""
    return debit.ends_ns is not None and now_ns >= debit.ends_ns


def work_waiting(snapshot: Snapshot, fleet: FleetRate | None) -> int:
    """Prompt tokens that wait, and what attention over their contexts costs in tokens."""
    context = round(context_weight(fleet) * snapshot.prefill_context_waiting)
    return snapshot.prefill_tokens_waiting + context


def context_weight(fleet: FleetRate | None) -> float:
    """What attending to one token costs, in tokens; nothing before it was measured."""
    return 0.0 if fleet is None else fleet.context_weight


def residence_ns(snapshot: Snapshot) -> int | None:
    """How long a sequence decodes: mean steps of those that finished, times the step.

    A guess that came true is a token without a step of its own. None before the
    first has finished. A replica that stands still keeps the last mean, so a lull
    does not make the next spike look hopeless.
    """
    counters = snapshot.counters
    if counters.requests_finished == 0:
        return None
    steps = counters.decode_tokens - counters.accepted_tokens
    return max(1, steps // counters.requests_finished) * max(1, snapshot.step_ns)
