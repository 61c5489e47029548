"""What can go wrong with a model, as one small tree.

Every message is a sentence that names the file or the setting at fault and,
where there is one, the way out. Nothing here is about requests: a request
that a model cannot serve is refused as a value, long before it gets here.
"""

from __future__ import annotations

MESSAGE_MAX = 1000


class ModelError(Exception):
    """A model could not be found, understood, loaded or run.

    A message quotes what files say, and files may say anything: a long one is cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= MESSAGE_MAX else f"{message[:MESSAGE_MAX]}...")


class ModelNotFound(ModelError):
    """The name or path leads to no model."""


class UnsupportedModel(ModelError):
    """A well-formed model, or a way to run one, that this engine does not implement."""


class CorruptConfig(ModelError):
    """A configuration whose values are missing, out of range or at odds with each other."""


class CorruptWeights(ModelError):
    """Weight files that are damaged, incomplete or at odds with the configuration."""


class NonFiniteLogits(ModelError):
    """A step produced NaN or infinity: the weights or the memory cannot be trusted."""
