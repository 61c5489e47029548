"""The Serve config inside a RayService, read more strictly than Serve reads it.

Ray's schema accepts fields that it does not know, so that a misspelt one is
lost in silence; here each is named. `args` are judged by the record that the
application makes of them.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from ray import serve
from ray.serve.schema import ServeDeploySchema

from orchestrator.config import Deployment
from tests.deploy.rendering import Manifest


def serve_config(service: Manifest) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    return config


def unknown_fields(service: Manifest) -> list[str]:
    """Paths of fields that Serve would ignore. ValidationError for values that it refuses."""
    config = serve_config(service)
    ServeDeploySchema.model_validate(config)
    return list(_unknown(config, ServeDeploySchema, ""))


def deployment(service: Manifest) -> Deployment:
    """What `orchestrator.live.app:build` gets. ValidationError when it would refuse."""
    (application,) = serve_config(service)["applications"]
    return Deployment.model_validate(application["args"])


def counts(service: Manifest) -> dict[str, int]:
    """How many actors Serve starts, by deployment, where the config says so."""
    (application,) = serve_config(service)["applications"]
    return {d["name"]: d["num_replicas"] for d in application["deployments"]}


def _unknown(config: dict[str, Any], model: type[BaseModel], path: str) -> Iterator[str]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in config.items():
        if key not in fields:
            yield f"{path}/{key}"
            continue
        models = list(_models(fields[key].annotation))
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and len(models) == 1:
                yield from _unknown(item, models[0], f"{path}/{key}")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)


def deployments_of(application: serve.Application) -> Iterator[serve.Deployment]:
    """The deployment of an application, and those bound to it."""
    bound = application._bound_deployment
    yield bound
    for argument in bound.init_args:
        if isinstance(argument, serve.Application):
            yield from deployments_of(argument)
