"""A replica from the name of a model: load it, size its memory, put the parts together.

The same for every way to start a replica. It may run in any thread; the
replica is started later, on the event loop that it will live on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from protos.registry import ControlDirectory, RegistryWriter
from replicas.config import ReplicaConfig
from replicas.delivery.config import Delivery
from replicas.delivery.progress import Watch
from replicas.engine.engine import Engine
from replicas.engine.shipped import CPU_STEP, CUDA_STEP, shipped
from replicas.model.grammar import Grammars, Vocabulary
from replicas.model.kv_cache import block_bytes, blocks_that_fit
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import resolve_model
from replicas.serving.executor import ThreadExecutor
from replicas.serving.replica import Replica
from replicas.serving.server import message_bytes_for

CPU_BLOCKS = 1024
# What is free once the weights are in memory, less what a step's activations may need.
CUDA_BLOCKS_SHARE = 0.85
BYTES_PER_GIB = 1 << 30


class DoesNotFit(Exception):
    """The device has no memory for the blocks that were asked for."""


def build_replica(
    config: ReplicaConfig,
    *,
    model: str,
    device: str = "auto",
    dtype: str = "auto",
    deterministic: bool = False,
    block_size: int = 16,
    blocks_total: int | None = None,
    guesses_max: int = 0,
    host_gib: float = 0.0,
    registry: RegistryWriter | None = None,
    directory: ControlDirectory | None = None,
    vocabulary: Callable[[Path], Vocabulary] | None = None,
    delivery: Delivery | None = None,
    watch: Watch | None = None,
) -> Replica:
    """Everything but the start. Raises ModelError or DoesNotFit, with a sentence for its user.

    `device` auto is CUDA where there is one; `blocks_total` None is what suits it. Into
    `host_gib` of the host's memory sequences are paused where that is quicker: a block's way there
    is measured here, what it takes to compute is the device's rough constant.
    Without a `vocabulary`, which is read from the model's path, requests with a grammar are
    refused. A model that is elsewhere is fetched first; `watch` hears how that goes.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        # Replicas of one machine share its cores; OpenMP barriers stall between them.
        torch.set_num_threads(1)
    source = resolve_model(model, delivery=delivery, watch=watch)
    loaded = load_model(source, device=device, dtype=dtype, deterministic=deterministic)
    blocks = blocks_total or _default_blocks(loaded, block_size)
    card = loaded.card(block_size)
    step = CPU_STEP if loaded.device.type == "cpu" else CUDA_STEP
    grammars = Grammars(partial(vocabulary, source.path)) if vocabulary is not None else None
    of_block = block_bytes(loaded.config, block_size=block_size, dtype=loaded.dtype)
    host_blocks = int(host_gib * BYTES_PER_GIB) // of_block
    runner = _allocate(loaded, grammars, blocks, block_size, host_blocks)
    bounds = shipped(
        card,
        blocks,
        step,
        takes_grammars=vocabulary is not None,
        guesses_max=guesses_max,
        host_blocks=host_blocks,
        host_block_ns=runner.host.block_ns(time.perf_counter_ns),
    )
    return Replica(
        config,
        Engine(bounds),
        ThreadExecutor(runner),
        card,
        registry,
        directory,
        message_bytes_for(of_block),
    )


def _default_blocks(model: LoadedModel, block_size: int) -> int:
    if model.device.type == "cpu":
        return CPU_BLOCKS
    bytes_free, _ = torch.cuda.mem_get_info(model.device)
    blocks = blocks_that_fit(
        model.config,
        bytes_available=int(bytes_free * CUDA_BLOCKS_SHARE),
        block_size=block_size,
        dtype=model.dtype,
    )
    if blocks == 0:
        raise DoesNotFit(f"{model.name} leaves no memory for KV blocks on {model.device}.")
    return blocks


def _allocate(
    model: LoadedModel,
    grammars: Grammars | None,
    blocks: int,
    block_size: int,
    host_blocks: int,
) -> TorchRunner:
    try:
        return TorchRunner(
            model,
            blocks_total=blocks,
            block_size=block_size,
            host_blocks=host_blocks,
            grammars=grammars,
        )
    except RuntimeError as error:  # how torch says on either device that memory is short
        beside = f" beside {host_blocks} in the host's memory" if host_blocks else ""
        raise DoesNotFit(
            f"{blocks} blocks of {block_size} tokens of {model.name} do not fit on"
            f" {model.device}{beside}."
        ) from error
