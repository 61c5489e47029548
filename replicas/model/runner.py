"""Run steps on a model: the live executor's synchronous half.

Blocks are moved first, then one forward pass over all rows, then one choice per
sample. The only state is the KV, on the device and what was saved of it in host
memory (and what grammars remember to be quick); everything else comes with the
plan and leaves with the outcome. Not reentrant: one step at a time, from any one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch

from protos.messages import SampledToken
from replicas.engine.acceptance import accepted, samples_along
from replicas.engine.plan import BlockId, Row, StepOutcome, StepPlan
from replicas.model.errors import NonFiniteLogits
from replicas.model.grammar import Grammars
from replicas.model.host_memory import HostMemory
from replicas.model.kv_cache import KvCache
from replicas.model.loading import LoadedModel
from replicas.model.sampler import choose


class TorchRunner:
    """Owns the KV cache of one replica. `forward_ns` is how long the model took in the last
    step until its logits were there, by the clock that was given: what the rest of a step costs
    is host work. A device moves blocks in that time, too, as nobody waits for them before."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        blocks_total: int,
        block_size: int,
        host_blocks: int = 0,
        grammars: Grammars | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._model = model
        self._grammars = grammars
        self._clock_ns = clock_ns
        self.forward_ns = 0
        self.cache = KvCache(
            model.config,
            blocks_total=blocks_total,
            block_size=block_size,
            device=model.device,
            dtype=model.dtype,
        )
        self.host = HostMemory(self.cache, blocks_total=host_blocks)
        self._attention = model.kernels.attention(self.cache)

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepOutcome:
        """Compute the step. Any exception means that the KV can no longer be trusted."""
        assert plan.rows, "a step without rows"
        self.host.save(plan.saves)
        self.cache.copy(plan.copies)
        self.host.load(plan.loads)
        step = self._attention.lay_out(plan.rows)
        began_ns = self._clock_ns()
        logits = self._model.transformer.logits(step)
        # A device is asked, not waited for, until somebody looks at what came of it.
        is_sound = bool(torch.isfinite(logits).all())
        self.forward_ns = self._clock_ns() - began_ns
        if not is_sound:
            raise NonFiniteLogits(f"{self._model.name} computed logits that are not finite.")
        asked = [samples for row in plan.rows if row.samples for samples in samples_along(row)]
        chosen = iter(choose(logits, asked, self._grammars))
        return StepOutcome(
            tuple(_taken(row, chosen) if row.samples else () for row in plan.rows),
            forward_ns=self.forward_ns,
        )

    @torch.inference_mode()
    def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        """The KV of blocks, as a runner of the same model card can write it."""
        return self.cache.read(blocks)

    @torch.inference_mode()
    def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        """Put KV in place, of all blocks or, with a ValueError, of none."""
        self.cache.write(blocks, payloads)


def _taken(row: Row, chosen: Iterator[tuple[SampledToken, ...]]) -> tuple[SampledToken, ...]:
    """What a row got, of the choices that come in the order of the plan."""
    if not row.guesses:
        return next(chosen)
    along = [token for (token,) in islice(chosen, row.guesses + 1)]
    return accepted(row, along)
