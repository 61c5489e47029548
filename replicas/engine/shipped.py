"""The engines that we ship: one bound for each device, the same in both worlds.

Whoever builds a replica, live or simulated, takes its engine's bounds from
here, so that what is simulated is what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import ModelCard
from replicas.engine.config import EngineConfig

# Of the blocks, 1 in 20 is left to the interactive class while somebody of it is here: some
# chats' prompts. The gateways keep more for it where more is asked for (ClusterConfig); this
# share holds whatever they believe.
BLOCKS_PER_HEADROOM_BLOCK = 20


@dataclass(frozen=True, slots=True)
class StepSize:
    """How much a device does at once."""

    tokens_max: int
    sequences_max: int
    # That a token of a prompt takes, roughly: it decides who goes first, and who is paused.
    prompt_token_ns: int


# A CPU is busy with few, a GPU idle.
CPU_STEP = StepSize(tokens_max=256, sequences_max=64, prompt_token_ns=1_000_000)
CUDA_STEP = StepSize(tokens_max=2048, sequences_max=256, prompt_token_ns=100_000)


def shipped(
    card: ModelCard,
    blocks_total: int,
    step: StepSize,
    *,
    takes_grammars: bool = False,
    guesses_max: int = 0,
    host_blocks: int = 0,
    host_block_ns: int = 0,
) -> EngineConfig:
    """The bounds of an engine with so many blocks on such a device."""
    return EngineConfig(
        card=card,
        blocks_total=blocks_total,
        step_tokens_max=step.tokens_max,
        sequences_max=step.sequences_max,
        prompt_token_ns=step.prompt_token_ns,
        headroom_blocks=blocks_total // BLOCKS_PER_HEADROOM_BLOCK,
        takes_grammars=takes_grammars,
        guesses_max=guesses_max,
        host_blocks=host_blocks,
        host_block_ns=host_block_ns,
    )
