"""Floors count what must be read and computed, no more."""

from __future__ import annotations

from replicas.bench.floor import Stretch, Work, layer_weights, step_work, total_floor_ns
from replicas.bench.machine import Rates
from replicas.model.stored import tensor_shapes
from tests.unit.model.checkpoints import SMALL


def test_the_layers_weights_are_those_that_are_stored() -> None:
    stored = [
        shape[0] * shape[1]
        for name, shape in tensor_shapes(SMALL).items()
        if ".layers." in name and len(shape) == 2
    ]
    assert SMALL.layers * layer_weights(SMALL) == sum(stored)


def test_pairs_are_those_below_the_diagonal() -> None:
    seen = sum(1 for query in range(5, 9) for key in range(9) if key <= query)
    assert Stretch(tokens=4, cached=5, sampled=True).pairs == seen


def test_a_step_reads_weights_once_and_kv_once_per_sequence() -> None:
    alone = step_work(SMALL, [Stretch(1, 10, True)], element_bytes=4)
    three = step_work(SMALL, [Stretch(1, 10, True)] * 3, element_bytes=4)
    slot = 4 * 2 * SMALL.layers * SMALL.kv_size
    assert three.bytes_read - alone.bytes_read == 2 * 11 * slot
    assert three.flop == 3 * alone.flop


def test_shared_tokens_are_read_once() -> None:
    rows = [Stretch(1, 10, True)] * 3
    apart, together = (step_work(SMALL, rows, element_bytes=4, shared=n) for n in (0, 8))
    slot = 4 * 2 * SMALL.layers * SMALL.kv_size
    assert apart.bytes_read - together.bytes_read == 2 * 8 * slot
    assert apart.flop == together.flop


def test_the_head_is_free_where_nothing_is_sampled() -> None:
    head = SMALL.vocab_size * SMALL.hidden_size
    sampled, silent = (step_work(SMALL, [Stretch(4, 0, s)], element_bytes=2) for s in (True, False))
    assert sampled.bytes_read - silent.bytes_read == 2 * head
    assert sampled.flop - silent.flop == 2 * head


def test_the_slower_of_reading_and_computing_is_the_floor() -> None:
    rates = Rates(read_bytes_per_s=1e9, flop_per_s=2e9)
    reading, computing = Work(bytes_read=300, flop=100), Work(bytes_read=100, flop=1000)
    assert reading.floor_ns(rates) == 300
    assert computing.floor_ns(rates) == 500
    assert total_floor_ns([reading, computing], rates) == 800
