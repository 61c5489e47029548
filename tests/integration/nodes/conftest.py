"""One cluster of seven nodes for all tests of this folder, since to start one costs a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.deploy.redis_server import running
from tests.integration.nodes import manifests
from tests.integration.nodes.audience import Audience
from tests.integration.nodes.cluster import NodeCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[NodeCluster]:
    """A head, and a node for each pod that the manifests want, all serving."""
    # Not pytest's folders: the path of a Unix socket has 107 characters.
    with (
        TemporaryDirectory(prefix="by-") as folder,
        TemporaryDirectory(prefix="by-") as data,
        running(Path(data), tls=True) as redis,
    ):
        keys_file = Path(folder) / "keys.toml"
        keys_file.write_text(redis.secrets["blockyard-api-keys"]["keys.toml"])
        config = manifests.serve_config(keys_file)
        with NodeCluster(Path(folder), redis, config) as nodes:
            nodes.start_head()
            nodes.add(*(role for role in manifests.ROLES for _ in range(nodes.wanted(role))))
            nodes.put(config)
            nodes.wait_for(nodes.is_whole, "everything serves")
            yield nodes


@pytest.fixture(scope="session")
def operators_key(cluster: NodeCluster) -> str:
    return cluster.redis.secrets["blockyard-operator-key"]["key"]


@pytest.fixture(scope="session")
def audience(cluster: NodeCluster, operators_key: str) -> Audience:
    """Clients who have heard every story once, while nothing happened."""
    listeners = Audience(
        urls=lambda: [cluster.url(gateway) for gateway in cluster.of("gateway")],
        key=operators_key,
    )
    listeners.rehearse()
    return listeners
