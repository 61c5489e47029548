"""Which blocks replicas will soon hold because somebody was placed there, and held of late.

A prompt that is sent to a replica will leave its blocks there; the registry
shows them when they are computed, which may take seconds. Until then they are
*intended*: a second request with the same beginning that arrives meanwhile is
better off behind the first one, whose work it need not do again, wherever that
costs less than elsewhere. Intentions come from this gateway's placements and
from what others announce. One ends when the registry shows the block, at the
time by which it should have come true, or with the replica's epoch. One that
never comes true costs a recompute, and is true from then on.

The names stay after that, as a memory of what went where: that is what
requests are routed by when there is no registry to ask.

Bounds: of each member as many names as it has blocks, and all members' names
together, shared out evenly. Of each the longest unused are forgotten first,
and of a chain the leaf first. Who is no member any more is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import Member

NAMES_MAX = 1 << 20  # about 200 MiB, where there are as many blocks: 64 replicas of 16,384
COME_TRUE = 0

Members = tuple[Member, ...]


@dataclass(slots=True)
class _Memory:
    """Of one replica in one epoch: name -> until when it is intended. The last used is last."""

    epoch: int
    until_ns: OrderedDict[BlockHash, int] = field(default_factory=OrderedDict)


class IntendedBlocks:
    """Of one gateway. Epochs that it is asked with are those of the replicas that live.

    `members` answers with the same tuple until they change.
    """

    def __init__(self, members: Callable[[], Members], *, names_max: int = NAMES_MAX) -> None:
        self._members = members
        self._names_max = names_max
        self._shared_among: Members = ()
        self._shares: dict[ReplicaId, int] = {}  # how many names of each may be remembered
        self._memories: dict[ReplicaId, _Memory] = {}

    def expect(
        self,
        replica_id: ReplicaId,
        epoch: int,
        hashes: Sequence[BlockHash],
        *,
        held: int,
        until_ns: int,
    ) -> None:
        """A prompt was sent there. Of these blocks the first `held` are there already."""
        if (members := self._members()) is not self._shared_among:
            self._share_out(members)
        if replica_id not in self._shares:
            return
        memory = self._memories.get(replica_id)
        if memory is None or memory.epoch < epoch:
            memory = self._memories[replica_id] = _Memory(epoch)
        if memory.epoch > epoch:
            return
        known = memory.until_ns
        for index in range(len(hashes) - 1, -1, -1):  # so that a leaf is older than its parent
            name = hashes[index]
            before = known.pop(name, COME_TRUE)
            known[name] = before if index < held else max(before, until_ns)
        while len(known) > self._shares[replica_id]:
            known.popitem(last=False)

    def foresee(
        self,
        registered: Mapping[ReplicaId, int],
        hashes: Sequence[BlockHash],
        epochs: Mapping[ReplicaId, int],
        now_ns: int,
    ) -> dict[ReplicaId, int]:
        """Leading blocks that each replica holds by what the registry said, or soon will."""
        blocks = dict(registered)
        for replica_id, until_ns in self._living(epochs):
            shown = count = registered.get(replica_id, 0)
            while count < len(hashes) and until_ns.get(hashes[count], COME_TRUE) > now_ns:
                count += 1
            if count > shown:
                blocks[replica_id] = count
        return blocks

    def recall(
        self, hashes: Sequence[BlockHash], epochs: Mapping[ReplicaId, int]
    ) -> dict[ReplicaId, int]:
        """Leading blocks that each replica was last known to hold, or to be about to."""
        blocks = {}
        for replica_id, known in self._living(epochs):
            count = next((i for i, name in enumerate(hashes) if name not in known), len(hashes))
            if count:
                blocks[replica_id] = count
        return blocks

    def confirm(self, registered: Mapping[ReplicaId, int], hashes: Sequence[BlockHash]) -> None:
        """The registry has shown these: should it show them no more, they are gone."""
        for replica_id, count in registered.items():
            memory = self._memories.get(replica_id)
            if memory is None:
                continue
            for index in range(count - 1, -1, -1):
                if not memory.until_ns.get(hashes[index], COME_TRUE):
                    break  # and those before it have come true, too
                memory.until_ns[hashes[index]] = COME_TRUE

    def _share_out(self, members: Members) -> None:
        """These are the members now: forget the others, and what is too much of each."""
        self._shared_among = members
        each_max = self._names_max // max(1, len(members))
        records = [member.record for member in members]
        self._shares = {r.replica_id: min(r.blocks_total, each_max) for r in records}
        self._memories = {r: memory for r, memory in self._memories.items() if r in self._shares}
        for replica_id, memory in self._memories.items():
            while len(memory.until_ns) > self._shares[replica_id]:
                memory.until_ns.popitem(last=False)

    def _living(
        self, epochs: Mapping[ReplicaId, int]
    ) -> list[tuple[ReplicaId, OrderedDict[BlockHash, int]]]:
        return [
            (replica_id, memory.until_ns)
            for replica_id, memory in self._memories.items()
            if epochs.get(replica_id) == memory.epoch
        ]
