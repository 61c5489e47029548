"""kubectl makes of our words a container that may shape a pod's network, and waits for its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.chaos.faults import Delay
from orchestrator.live.chaos.kubectl import Kubectl, KubectlFailed, KubectlOptions
from orchestrator.live.chaos.steps import NET_ADMIN, OVER
from tests.deploy.kubectl_api import OnePod, one_pod
from tests.deploy.tools import program
from tests.unit.live.chaos.pods import STANDING, WITH_NETEM


async def debugged(server: OnePod, monkeypatch: pytest.MonkeyPatch) -> str:
    """What kubectl prints for the first of the commands that delay two members."""
    monkeypatch.setattr("orchestrator.live.chaos.kubectl.PROGRAM", program("kubectl"))
    kubectl = Kubectl(KubectlOptions("blockyard"))
    (step,) = WITH_NETEM.steps(Delay("gateway-0", "replica-1", 0.1, 5.0), STANDING)
    command = step.commands[0]
    return await kubectl.run(replace(command, words=("--server", server.url, *command.words)))


async def test_a_container_beside_a_member_may_shape_its_network_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with one_pod("blockyard-gateway-0", says=f"{OVER}\n") as server:
        assert OVER in await debugged(server, monkeypatch)
    (container,) = server.pod["spec"]["ephemeralContainers"]
    assert container["image"] == "tools:1"
    assert container["securityContext"] == NET_ADMIN["securityContext"]
    assert container["command"][:2] == ["sh", "-c"]
    assert "delay 100ms" in container["command"][2]


async def test_a_container_that_could_not_do_it_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        one_pod("blockyard-gateway-0", says="sh: tc: not found\n") as server,
        pytest.raises(KubectlFailed, match="tc: not found"),
    ):
        await debugged(server, monkeypatch)
