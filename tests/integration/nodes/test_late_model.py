"""A model that is not there when actors start, and then is."""

from __future__ import annotations

import copy
import re

import pytest

from orchestrator.live.app import STARTS_MAX
from replicas.model.tiny import write_tiny
from tests.integration.nodes import manifests
from tests.integration.nodes.cluster import NodeCluster
from tests.integration.nodes.patience import TAKES_MINUTES

pytestmark = [pytest.mark.ray, TAKES_MINUTES]

# More than Serve grants by itself: three for each replica that there shall be.
STARTS = 3 * manifests.REPLICAS + 1


def test_a_model_that_comes_late_is_found_by_the_next_start(cluster: NodeCluster) -> None:
    before = cluster.config
    model = cluster.folder / "models"
    late = copy.deepcopy(before)
    (application,) = late["applications"]
    application["args"]["model"] = str(model)
    try:
        cluster.put(late)
        cluster.wait_for(lambda: starts(cluster) >= STARTS, "more starts than Serve grants")
        model.symlink_to(write_tiny())
        cluster.wait_for(cluster.is_whole, "everything serves the model")
    finally:
        cluster.put(before)
        cluster.wait_for(cluster.is_whole, "everything is as it was")


def starts(cluster: NodeCluster) -> int:
    """How often Serve has tried to start a replica, and it found no model."""
    application = cluster.application()
    assert application.get("status") != "DEPLOY_FAILED", application
    replica = application.get("deployments", {}).get("replica", {})
    left = re.search(
        r"Retrying (\d+) more.*There is no model", replica.get("message", ""), re.DOTALL
    )
    return STARTS_MAX - int(left[1]) if left else 0
