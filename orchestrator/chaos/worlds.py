"""Which world plays: the simulator, processes of this machine, or a cluster at a URL.

Worlds are found by name when they are needed, so that one does not load what
another one needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import Any, Protocol, cast

from orchestrator.chaos.world import World

SIMULATED = "orchestrator.sim.chaos.world:simulated"
LOCAL = "orchestrator.live.chaos.local:local_cluster"
TARGET = "orchestrator.live.chaos.target:target_cluster"
KUBECTL = "orchestrator.live.chaos.kubectl:KubectlOptions"


class Where(Protocol):
    """A choice of world."""

    @property
    def is_simulated(self) -> bool: ...

    @property
    def model(self) -> str | None:
        """Whose words are heard; None: none's, or whatever is served there."""
        ...

    def words(self) -> str:
        """The options that choose it again."""
        ...

    def open(self) -> AbstractContextManager[World]: ...


@dataclass(frozen=True, slots=True)
class Simulated:
    is_simulated = True
    model = None

    def words(self) -> str:
        return "--sim"

    def open(self) -> AbstractContextManager[World]:
        return cast(AbstractContextManager[World], named(SIMULATED)())


@dataclass(frozen=True, slots=True)
class Local:
    model: str
    keep: Path  # for the logs of servers
    is_simulated = False

    def words(self) -> str:
        return options({"--local": "", "--model": self.model})

    def open(self) -> AbstractContextManager[World]:
        return cast(AbstractContextManager[World], named(LOCAL)(self.model, self.keep))


@dataclass(frozen=True, slots=True)
class Cluster:
    """In which kubectl may act: in this namespace, under this context."""

    namespace: str
    context: str | None
    netem_image: str | None

    def options(self) -> dict[str, str | None]:
        return {
            "--kubectl": self.namespace,
            "--kubectl-context": self.context,
            "--netem-image": self.netem_image,
        }


@dataclass(frozen=True, slots=True)
class Target:
    url: str
    model: str | None
    control: str | None
    cluster: Cluster | None
    tls_ca: Path | None = None
    internal_tls: Path | None = None
    is_simulated = False

    def words(self) -> str:
        own = {
            "--target": self.url,
            "--model": self.model,
            "--control": self.control,
            "--tls-ca": None if self.tls_ca is None else str(self.tls_ca),
            "--internal-tls": None if self.internal_tls is None else str(self.internal_tls),
        }
        return options(own | ({} if self.cluster is None else self.cluster.options()))

    def open(self) -> AbstractContextManager[World]:
        kubectl = None
        if self.cluster is not None:
            kubectl = named(KUBECTL)(
                namespace=self.cluster.namespace,
                context=self.cluster.context,
                netem_image=self.cluster.netem_image,
            )
        opened = named(TARGET)(
            self.url,
            model=self.model,
            control=self.control,
            kubectl=kubectl,
            tls_ca=self.tls_ca,
            internal_tls=self.internal_tls,
        )
        return cast(AbstractContextManager[World], opened)


def options(given: Mapping[str, str | None]) -> str:
    """As a shell takes them: without those that were not given, and flags without a value."""
    words = (
        f"{name} {quote(value)}" if value else name
        for name, value in given.items()
        if value is not None
    )
    return " ".join(words)


def named(place: str) -> Any:
    """What a module has under a name: `package.module:name`."""
    module, name = place.split(":")
    return getattr(import_module(module), name)
