"""What is examined: a deployment, and where its description comes from."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.config import Deployment

IMPORT_PATH = "orchestrator.live.app:build"


class NoSubject(ValueError):
    """There is no deployment to examine; says why, without a secret."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One deployment."""

    deployment: Deployment
    has_own_registry: bool = False  # an embedded one, whatever `redis_url` says
    config: Path | None = None  # the Serve config file that describes it

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach its ports."""
        return is_loopback(self.deployment.host)

    def has_elsewhere(self, path: Path) -> bool:
        """Whether the path is of machines that a config file describes, and cannot be seen here."""
        return self.config is not None and not path.exists()


def is_loopback(host: str) -> bool:
    """Whether the name or address never leaves the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_serve_config(path: Path) -> Subject:
    """Of a Serve config file, or of a RayService manifest. Raises NoSubject."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NoSubject(f"{path} cannot be read as YAML: {type(error).__name__}") from error
    for document in documents:
        args = _args(document)
        if args is not None:
            return Subject(validated(args), config=path)
    raise NoSubject(f"{path} has no application with the import_path {IMPORT_PATH}")


def validated(args: dict[str, Any]) -> Deployment:
    """Raises NoSubject in the words of what is wrong, without what was given."""
    try:
        return Deployment.model_validate(args)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)
        said = (f"{'.'.join(map(str, each['loc'])) or 'args'}: {each['msg']}" for each in wrong)
        raise NoSubject(f"this is no deployment: {'; '.join(said)}") from None


def _args(document: object) -> dict[str, Any] | None:
    match document:
        case {"spec": {"serveConfigV2": str(config)}}:
            return _args(yaml.safe_load(config))
        case {"applications": list(applications)}:
            for application in applications:
                if application.get("import_path") == IMPORT_PATH:
                    return dict(application.get("args") or {})
    return None
