"""A second bookkeeping of the KV, kept by the plans alone, to hold the engine to its word.

`ShadowKv` executes plans as a GPU would, on an array of slots that remember
which token was written, at which position, after which prefix. Nothing is ever
erased, so memory that the engine hands out too early, or reads too late, is
stale rather than empty. The next token is a pure function of the tokens read
*through* the block table: any wrong slot changes what the client is told.

`World` drives an engine, knows what an undisturbed run of each request would
have said, and compares after every call. It looks inside the engine only to
learn block tables, reference counts and which block has which name.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from protos.hashing import BlockHash, block_hashes, reusable_blocks
from protos.messages import (
    BlockEvent,
    BlockRemoved,
    BlockStored,
    Delta,
    FinishReason,
    ModelCard,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SamplingParams,
    Snapshot,
)
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.plan import BlockId, HostSlot, Row, Sample, StepOutcome, StepPlan
from replicas.engine.sequence import SequenceState
from replicas.engine.step_times import StepTimes

NS_PER_MS = 1_000_000
VOCAB_SIZE = 7
CONTEXT = 48

Slot = tuple[int, int, int]  # token, position, digest of the prefix up to and including it
Payload = tuple[Slot | None, ...]  # of a block; None where nothing was ever written


def card(block_size: int) -> ModelCard:
    """A model of few words."""
    return ModelCard("shadow", "1", "none", block_size, CONTEXT, VOCAB_SIZE)


def digest(parent: int, token: int) -> int:
    """Identity of a prefix, from that of the prefix before and one token."""
    return zlib.crc32(struct.pack("<II", parent, token))


def next_token(tokens: Sequence[int], seed: int, params: SamplingParams, generated: int) -> int:
    """The model: any function of all tokens and the seed will do. Even seeds like to repeat."""
    mixed = zlib.crc32(bytes(tokens), seed) >> 3
    banned = params.stop_token_ids if generated < params.tokens_min else ()
    words = [word for word in range(VOCAB_SIZE) if word not in banned]
    if seed % 2 == 0 and mixed % 4 and tokens[-3:][0] in words:
        return tokens[-3:][0]
    return words[mixed % len(words)]


@lru_cache(maxsize=10_000)
def expected_slots(tokens: tuple[int, ...]) -> list[Slot]:
    """What the KV of these tokens looks like. Nobody may change it: it is told again."""
    slots: list[Slot] = []
    identity = 0
    for position, token in enumerate(tokens):
        identity = digest(identity, token)
        slots.append((token, position, identity))
    return slots


class ShadowKv:
    """Slots written by plans. Reads what is there, right or wrong."""

    def __init__(self, block_size: int) -> None:
        self._size = block_size
        self._slots: dict[tuple[BlockId, int], Slot] = {}
        self._host: dict[HostSlot, Payload] = {}

    def execute(self, plan: StepPlan, steps: int = 1) -> StepOutcome:
        """Move, write, then sample, in the order that the contract names; so often in a row."""
        self._move(plan)
        said: list[list[SampledToken]] = [[] for _ in plan.rows]
        for number in range(steps):
            rows = plan.rows
            if number:  # each feeds what it chose last
                fed = ((each[-1].token,) for each in said)
                rows = tuple(
                    replace(row, tokens=tokens, start=row.start + number)
                    for row, tokens in zip(rows, fed, strict=True)
                )
            for row in rows:
                self._write(row)
            for each, row in zip(said, rows, strict=True):
                each.extend(self._sampled(row, number))
        return StepOutcome(tuple(map(tuple, said)), steps)

    def _move(self, plan: StepPlan) -> None:
        for save in plan.saves:
            (self._host[save.slot],) = self.read_blocks([save.block])
        for copy in plan.copies:
            for offset in range(copy.slots):
                self._slots[copy.target, offset] = self._slots[copy.source, offset]
        for load in plan.loads:
            assert load.slot in self._host, "a load of what was never saved"
            self.write_blocks([load.block], [self._host[load.slot]])

    def read(self, table: Sequence[BlockId], tokens: int) -> list[Slot]:
        """The first slots of a block table."""
        places = [self._at(table, position) for position in range(tokens)]
        assert all(place in self._slots for place in places), "a slot that was never written"
        return [self._slots[place] for place in places]

    def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[Payload, ...]:
        """Everything in some blocks, to be written elsewhere."""
        return tuple(
            tuple(self._slots.get((block, offset)) for offset in range(self._size))
            for block in blocks
        )

    def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[Payload]) -> None:
        """Put it there, over whatever was there."""
        for block, payload in zip(blocks, payloads, strict=True):
            for offset, slot in enumerate(payload):
                if slot is not None:
                    self._slots[block, offset] = slot

    def _write(self, row: Row) -> None:
        identity = 0
        if row.start:
            identity = self._slots[self._at(row.block_table, row.start - 1)][2]
        for position, token in enumerate(row.tokens, row.start):
            identity = digest(identity, token)
            self._slots[self._at(row.block_table, position)] = (token, position, identity)

    def _sampled(self, row: Row, number: int) -> list[SampledToken]:
        stop = row.start + len(row.tokens)
        if not row.guesses:
            return [self._sample(row, sample, number, stop) for sample in row.samples]
        (sample,) = row.samples
        said: list[SampledToken] = []
        for read in range(stop - row.guesses, stop + 1):
            said.append(self._sample(row, sample, len(said), read))
            if read < stop and row.tokens[read - row.start] != said[-1].token:
                break  # what was written from here on is about something else
        return said

    def _sample(self, row: Row, sample: Sample, number: int, stop: int) -> SampledToken:
        tokens = [token for token, _, _ in self.read(row.block_table, stop)]
        generated = len(sample.output) + number
        return SampledToken(next_token(tokens, sample.seed, sample.params, generated))

    def _at(self, table: Sequence[BlockId], position: int) -> tuple[BlockId, int]:
        assert position < len(table) * self._size, "a position beyond the table"
        return table[position // self._size], position % self._size


@dataclass(slots=True)
class Client:
    """A request that was taken, and what its client was told so far."""

    request: Request
    received: dict[int, list[int]]  # by choice
    open: set[int]  # choices that are here and have not finished
    is_moved: bool = False  # came with its KV, or stood still to leave: no measure of order
    due_ns: int = 0  # when its turn is due
    deadline_ns: int | None = None  # None also where it had begun before it came
    passed_by: list[RequestId] = field(default_factory=list)  # later ones, due before

    @classmethod
    def of(cls, request: Request) -> Client:
        """Who sent this request, and has what it resumes with."""
        choices = range(request.first_choice, request.first_choice + request.choices)
        return cls(request, {choice: list(request.output) for choice in choices}, set(choices))

    @property
    def was_served(self) -> bool:
        """Whether this engine has told it anything."""
        return any(len(said) > len(self.request.output) for said in self.received.values())

    def rests(self) -> list[Request]:
        """What is left to ask for when the replica is lost now: each open choice for itself."""
        return [
            replace(
                self.request,
                request_id=RequestId(f"{self.request.request_id}/{choice}"),
                choices=1,
                output=tuple(self.received[choice]),
                first_choice=choice,
            )
            for choice in sorted(self.open)
        ]

    def expects(self, choice: int) -> tuple[int, FinishReason | None]:
        """The next token of a choice in an undisturbed run, and whether it is the last."""
        params, said = self.request.sampling, self.received[choice]
        tokens = (*self.request.prompt, *said)
        token = next_token(tokens, params.seed + choice, params, len(said))
        if token in params.stop_token_ids and len(said) >= params.tokens_min:
            return token, FinishReason.STOP
        if len(said) + 1 == params.tokens_max or len(tokens) + 1 == CONTEXT:
            return token, FinishReason.LENGTH
        return token, None


@dataclass(slots=True)
class Names:
    """What every block name means, and which are findable by the events so far."""

    card: ModelCard
    meaning: dict[BlockHash, tuple[bytes, tuple[int, ...]]] = field(default_factory=dict)
    findable: set[BlockHash] = field(default_factory=set)
    ever_stored: set[BlockHash] = field(default_factory=set)

    def learn(self, salt: bytes, tokens: tuple[int, ...]) -> None:
        """Name the full blocks of something that was said."""
        for index, name in enumerate(self.of(salt, tokens)):
            self.meaning[name] = (salt, tokens[: (index + 1) * self.card.block_size])

    def of(self, salt: bytes, tokens: tuple[int, ...]) -> tuple[BlockHash, ...]:
        """Names of the full blocks of a prefix."""
        size = self.card.block_size
        return block_hashes(tokens, block_size=size, root=self.card.scope(salt))

    def fold(self, events: Sequence[BlockEvent]) -> None:
        """Follow the engine's reports, as the registry would."""
        for event in events:
            match event:
                case BlockStored(name):
                    assert name in self.meaning, "stored under a name that means nothing"
                    assert name not in self.findable, "stored twice"
                    self.findable.add(name)
                    self.ever_stored.add(name)
                case BlockRemoved(name):
                    assert name in self.findable, "removed, and was not there"
                    self.findable.remove(name)


class World:
    """An engine, its shadow, and its clients. Every call ends with `verify`."""

    def __init__(self, config: EngineConfig) -> None:
        assert config.card.context_tokens_max == CONTEXT
        self._config = config
        self.engine = Engine(config)
        self.clients: dict[RequestId, Client] = {}  # of requests that are not over
        self.steps = 0
        self.repeated = 0  # steps by the plan of the one before
        self.now_ns = 0
        self.passed_by = self.overdue = 0
        self.resumed = 0  # choices taken that had begun before
        self._size = config.card.block_size
        self.kv = ShadowKv(self._size)
        self.names = Names(config.card)
        self._plan: StepPlan | None = None

    @property
    def is_mid_step(self) -> bool:
        """Whether a plan is being computed."""
        return self._plan is not None

    @property
    def snapshot(self) -> Snapshot:
        """The engine's report."""
        return self.engine.snapshot(replica_id=ReplicaId("r"), epoch=1, number=1, times=StepTimes())

    def submit(self, request: Request) -> Refusal | None:
        """Offer a request to the engine, and follow it if it is taken."""
        refused = self.engine.submit(request, now_ns=self.now_ns)
        if refused is None:
            self._expect(request)
            self.resumed += bool(request.output)
            self.names.learn(request.salt, (*request.prompt, *request.output))
        self.verify()
        return refused

    def _expect(self, request: Request) -> None:
        """Note its turn: before those of its class that are due later and have not begun."""
        client = Client.of(request)
        patience_ms, left_ms = self._config.patience_ms, request.deadline_ms
        due_ms = patience_ms if left_ms is None else min(left_ms, patience_ms)
        client.due_ns = self.now_ns + due_ms * NS_PER_MS + self._prompt_ns(request)
        if left_ms is not None and not request.output:
            client.deadline_ns = self.now_ns + left_ms * NS_PER_MS
        for other_id in self._not_begun():
            other = self.clients.get(other_id)
            is_alike = other and other.request.request_class is request.request_class
            if other and is_alike and other.due_ns > client.due_ns:
                other.passed_by.append(request.request_id)
                self.passed_by += 1
        self.clients[request.request_id] = client

    def _prompt_ns(self, request: Request) -> int:
        """By how much its prompt makes it due later."""
        line = self.engine._scheduler.line
        found = next(
            each.found
            for each in (*line.waiting, *line.running)
            if each.request.request_id == request.request_id
        )
        tokens = request.given_tokens - found * self._config.card.block_size
        return tokens * self._config.prompt_token_ns

    def _not_begun(self) -> list[RequestId]:
        line = self.engine._scheduler.line
        waiting = (*line.waiting, *line.held)
        return [each.request.request_id for each in waiting if not each.has_begun]

    def give_up(self) -> None:
        """A millisecond passes; what nobody wants any more is refused, and nothing else."""
        self.now_ns += NS_PER_MS
        had_not_begun = self._not_begun()
        for refused in self.engine.give_up(self.now_ns):
            assert refused.reason is RefusalReason.OVERDUE
            client = self.clients.pop(refused.request_id)
            assert refused.request_id in had_not_begun and not client.request.output, (
                "given up, and had begun"
            )
            assert client.deadline_ns is not None and client.deadline_ns <= self.now_ns
            self.overdue += 1
        for request_id in self._not_begun():
            deadline_ns = self.clients[request_id].deadline_ns
            assert deadline_ns is None or deadline_ns > self.now_ns, "waits beyond its deadline"
        self.verify()

    def cancel(self, request_id: RequestId) -> None:
        """End a request; the engine knows it exactly if it is not over."""
        client = self.clients.pop(request_id, None)
        assert self.engine.cancel(request_id) == (client is not None)
        self.verify()

    def resume(self, request_id: RequestId) -> None:
        """Break a request off and resume it here, where its blocks may still be found."""
        rests = self.clients[request_id].rests()
        self.cancel(request_id)
        for rest in rests:
            self.submit(rest)

    def withdraw(self, request_id: RequestId, choice: int) -> Request | None:
        """Take a choice out, with its unforked siblings: what is left to ask for elsewhere."""
        client = self.clients[request_id]
        withdrawn = self.engine.withdraw(request_id, choice)
        assert (withdrawn is not None) == (choice in client.open), "withdrawn, and not here"
        if withdrawn is None:
            return None
        first, choices = withdrawn
        rest = replace(
            client.request,
            choices=choices,
            first_choice=first,
            output=tuple(client.received[first]),
        )
        for each in range(first, first + choices):
            assert choices == 1 or not client.received[each], "forked choices taken together"
            self.lose(request_id, each)
        self.verify()
        return rest

    def lose(self, request_id: RequestId, choice: int) -> None:
        """A choice is here no longer, and nothing more will be said of it."""
        client = self.clients[request_id]
        client.open.remove(choice)
        if not client.open:
            del self.clients[request_id]

    def enter(self, request: Request) -> None:
        """A choice runs on here with its KV, and with the output that the request tells."""
        client = self.clients[request.request_id] = Client.of(request)
        client.is_moved = True
        self.names.learn(request.salt, (*request.prompt, *request.output))
        self.verify()

    def crash(self) -> None:
        """Lose the engine and whatever it computed; its clients resume on an empty one."""
        rests = [rest for client in self.clients.values() for rest in client.rests()]
        self.clients.clear()
        self._plan = None
        self.names.findable.clear()
        self.engine = Engine(self._config)
        for rest in rests:
            self.submit(rest)

    def schedule(self) -> bool:
        """Ask for a plan and check its writes; False when there is nothing to do."""
        self.give_up()
        plan = self.engine.schedule()
        if plan is None:
            line = self.engine._scheduler.line
            is_still = all(sequence.state is SequenceState.FROZEN for sequence in line.running)
            is_stuck = is_still and (line.running or (line.held and not line.waiting))
            assert not self.clients or is_stuck, "work and no plan"
            self.verify()
            return False
        assert self.clients, "a plan and no work"
        self._check_writes(plan)
        self._plan = plan
        self.verify()
        return True

    def apply(self, steps_max: int = 1) -> None:
        """Compute the plan on the shadow KV and hand back what was sampled.

        Repeat it, if it allows that, up to so many steps.
        """
        assert self._plan is not None
        steps = min(steps_max, self._plan.steps_max)
        outcome = self.kv.execute(self._plan, steps)
        self._plan = None
        for delta in self.engine.apply(outcome):
            self._receive(delta)
        self.steps += steps
        self.repeated += steps - 1
        self.verify()

    def finish(self) -> None:
        """Run to the end, in no more steps than one sequence after another would take."""
        if self.is_mid_step:
            self.apply()
        steps_left = sum(
            client.request.choices
            * (len(client.request.prompt) + client.request.sampling.tokens_max)
            for client in self.clients.values()
        )
        while self.schedule():
            self.apply()
            steps_left -= 1
            assert steps_left >= 0, "no progress"
        assert self.engine.is_idle
        assert self.snapshot.blocks_used == 0
        assert self.snapshot.host_blocks_used == 0, "nobody is here, and host memory is in use"

    def verify(self) -> None:
        """Everything that must hold between any two calls."""
        self.engine.check()
        snapshot = self.snapshot
        blocks = snapshot.blocks_free + snapshot.blocks_cached + snapshot.blocks_used
        assert blocks == snapshot.blocks_total, "blocks were lost"
        # Within a step a table may name a block whose copy is still to come.
        for sequence in () if self.is_mid_step else self.engine._scheduler.running:
            found = self.kv.read(sequence.block_table, sequence.computed)
            told = sequence.tokens(0, sequence.computed)
            assert found == expected_slots(told), f"stale KV under {sequence.request}"
        self._check_inventory()

    def _receive(self, delta: Delta) -> None:
        """A delta is the next thing that an undisturbed run would have said."""
        assert delta.request_id in self.clients, "a delta of a request that is over"
        client = self.clients[delta.request_id]
        assert delta.choice in client.open, "a delta after the finish"
        said = client.received[delta.choice]
        assert delta.first_index == len(said), "a gap or a repetition"
        self._check_hits(client.request, delta.hit_tokens)
        self._check_turn(client)
        assert delta.tokens, "a delta that says nothing"
        for left in reversed(range(len(delta.tokens))):
            token = delta.tokens[-1 - left].token
            finish = None if left else delta.finish
            assert (token, finish) == client.expects(delta.choice), (
                "not what an undisturbed run would say"
            )
            said.append(token)
        self.names.learn(client.request.salt, (*client.request.prompt, *said))
        if delta.finish is not None:
            client.open.remove(delta.choice)
            if not client.open:
                del self.clients[delta.request_id]

    def _check_turn(self, client: Client) -> None:
        """Nobody before it has yet to be served.

        That is who is older and of a better class, or of its own and due no
        later; and who came while it waited and is due before it.
        """
        if client.was_served or client.is_moved:
            return
        for request_id in client.passed_by:
            other = self.clients.get(request_id)
            is_done = other is None or other.was_served or other.is_moved
            assert is_done, "overtaken by one that is due later"
        rank = client.request.request_class.rank
        for older in self.clients.values():
            if older is client:
                return
            other_rank = older.request.request_class.rank
            if other_rank < rank or (other_rank == rank and older.due_ns <= client.due_ns):
                assert older.was_served or older.is_moved, "an older request was overtaken"

    def _check_hits(self, request: Request, hit_tokens: int) -> None:
        blocks, rest = divmod(hit_tokens, self._size)
        limit = reusable_blocks(request.given_tokens, block_size=self._size)
        assert rest == 0 and blocks <= limit, "a hit on the last token or on half a block"
        given = (*request.prompt, *request.output)
        found = self.names.of(request.salt, given[:hit_tokens])
        assert self.names.ever_stored.issuperset(found), "a hit on what was never stored"

    def _check_writes(self, plan: StepPlan) -> None:
        """Rows write where nobody else reads, and no block twice."""
        pool = self.engine._pool
        written: set[BlockId] = set()
        for row in plan.rows:
            stop = row.start + len(row.tokens)
            assert row.tokens and stop <= len(row.block_table) * self._size, "a row without slots"
            stop += plan.steps_max - 1
            assert not row.guesses or plan.steps_max == 1, "guesses in a plan that is repeated"
            for block in row.block_table[row.start // self._size : -(-stop // self._size)]:
                assert pool.references(block) == 1, "a write into a shared block"
                assert pool.content(block) is None, "a write into a findable block"
                assert block not in written, "two rows write into one block"
                written.add(block)
        for copy in plan.copies:
            assert copy.target in written and 0 < copy.slots < self._size, "a pointless copy"
        for load in plan.loads:
            assert pool.references(load.block) == 1, "a load into a shared block"
            assert pool.content(load.block) is None, "a load into a findable block"
        loaded = [load.block for load in plan.loads]
        assert len(set(loaded)) == len(loaded), "two loads into one block"
        saved = [save.slot for save in plan.saves]
        assert len(set(saved)) == len(saved), "two saves into one slot"

    def _check_inventory(self) -> None:
        """The events add up to the inventory; each name has its parent and tells the truth."""
        self.names.fold(self.engine.block_events())
        inventory = self.engine.inventory()
        assert len(inventory) == len(self.names.findable), "events and inventory disagree"
        assert set(inventory) == self.names.findable, "events and inventory disagree"
        told: set[tuple[bytes, tuple[int, ...]]] = set()
        for name in inventory:
            salt, prefix = self.names.meaning[name]
            parent = prefix[: -self._size]
            assert not parent or (salt, parent) in told, "a child without its parent"
            told.add((salt, prefix))
            block = self.engine._pool.find(name)
            assert block is not None
            # What stands before it has been looked at, under the name of its parent.
            here = self.kv.read([block], self._size)
            assert here == expected_slots(prefix)[-self._size :], "a stale name"
