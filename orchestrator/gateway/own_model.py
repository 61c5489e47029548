"""The model whose tokenizer a gateway carries, and whether a replica serves it.

To a replica of another model this gateway's token ids would mean something
else, and its answers would be noise. The registry is shared by whoever knows
its address, so that such replicas do appear.
"""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import ModelCard


@dataclass(frozen=True, slots=True)
class OwnModel:
    """Its name in the cluster, and the size of its tokenizer's vocabulary."""

    name: str
    vocab_size: int

    def is_served_by(self, card: ModelCard) -> bool:
        """By name; and every token must be one of the model's, which may have more."""
        return card.name == self.name and card.vocab_size >= self.vocab_size
