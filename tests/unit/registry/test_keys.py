"""Keys belong to one Cluster slot, values read back as they were written."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from orchestrator.registry.keys import Keys, Lease, LeaseState, bit_offset, lease_value
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import Membership


def test_all_keys_live_on_one_node_of_a_cluster() -> None:
    keys = Keys("orch:")
    names = [keys.holders, keys.numbers, keys.records, keys.slots, keys.epoch]
    names += [keys.leader, keys.term, keys.lease(7), keys.held(1023)]
    raw = [name.encode() for name in names]
    raw += [keys.block(BlockHash(block)) for block in (b"}" * 16, b"{x}" + bytes(13))]
    assert len({key_slot(name) for name in raw}) == 1
    assert len(set(raw)) == len(raw)
    assert all(name.startswith(b"orch:") for name in raw)


@pytest.mark.parametrize("slot", [0, 1, 7, 8, 13, 1023])
def test_a_bitmap_read_little_endian_has_the_bit_of_its_slot(slot: int) -> None:
    """Redis counts bits from the highest of the first byte."""
    offset = bit_offset(slot)
    bitmap = bytearray(offset // 8 + 1)
    bitmap[offset // 8] = 0x80 >> offset % 8
    assert int.from_bytes(bitmap, "little") == 1 << slot


def test_a_lease_reads_back_as_it_was_written() -> None:
    membership = Membership(ReplicaId("rack 4, réplica 2"), slot=3, epoch=1_800_000_000_000)
    value = lease_value(LeaseState.DRAINING, membership).encode()
    assert Lease.decode(value) == Lease(
        LeaseState.DRAINING, membership.epoch, membership.replica_id
    )
