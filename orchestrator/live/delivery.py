"""How the models of a deployment are delivered to its processes."""

from __future__ import annotations

from orchestrator.config import Deployment
from replicas.delivery.config import Delivery
from replicas.delivery.contents import Part
from replicas.model.source import ModelSource, resolve_model


def delivery_of(deployment: Deployment) -> Delivery:
    return Delivery(
        cache=deployment.model_cache, needs_sums=deployment.model_checksums == "required"
    )


def tokenizer_source(deployment: Deployment) -> ModelSource:
    """What a gateway reads of the model, and no weights. Blocks while that is fetched."""
    delivery = delivery_of(deployment)
    return resolve_model(deployment.model, delivery=delivery, part=Part.TOKENIZER)
