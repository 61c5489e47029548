"""The faults of a run on Kubernetes: planned before, made to happen, and undone.

`prepare` looks at the cluster once, plans every fault and asks whether each
command would be allowed: what cannot be done is told before anything is
broken. A fault is planned anew when it strikes, since pods have changed their
names by then. `heal` leaves the namespace as it was and waits until as many
pods serve as in the beginning.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

from orchestrator.chaos.faults import Fault, Scale
from orchestrator.chaos.world import CannotDo
from orchestrator.live.chaos import in_pod
from orchestrator.live.chaos.kubectl import Command, Kubectl, KubectlFailed, Permission
from orchestrator.live.chaos.standing import PART_OF, Standing, pods_in, service_in
from orchestrator.live.chaos.steps import (
    EXEC,
    POLICIES,
    Planner,
    Step,
    configured,
    execute,
    forget_policies,
    run_python,
)

# Weights are loaded anew where a pod was deleted.
READY_S = 600
LOOK_EVERY_S = 1.0
NOBODY = Standing(())
PODS = Command(
    ("get", "pods", "--selector", PART_OF, "--output", "json"), (Permission("list", "pods"),)
)
SERVICES = Command(
    ("get", "rayservices", "--output", "json"), (Permission("list", "rayservices.ray.io"),)
)
POLICY_NAMES = Command(
    ("get", "networkpolicies", "--output", "name"), (Permission("list", POLICIES),)
)
METRICS = "wget -qO- http://127.0.0.1:8800/metrics"


@dataclass(slots=True)
class Kubernetes:
    """One namespace, for one run."""

    kubectl: Kubectl
    planner: Planner
    _before: Standing = NOBODY
    _wanted: dict[str, int] = field(default_factory=dict)  # ready pods, by role

    async def prepare(self, faults: Sequence[Fault]) -> None:
        """Look and plan. Raises CannotDo before anything has changed."""
        await self._demand((*PODS.needs, *SERVICES.needs, *POLICY_NAMES.needs, *EXEC))
        self._before = await self._look(with_leader=any(map(names_leader, faults)))
        self._wanted = dict(self._before.ready())
        steps = [step for fault in faults for step in self._planned(fault, self._before)]
        await self._demand(need for step in steps for one in step.commands for need in one.needs)

    async def strike(self, fault: Fault) -> None:
        """Make it happen; returns when it is over. Raises CannotDo."""
        if isinstance(fault, Scale):
            self._wanted["replica"] = fault.replicas
        try:
            steps = self._planned(fault, await self._look(with_leader=names_leader(fault)))
        except CannotDo:  # an earlier fault took the member away: wait for its successor
            await self._serves_again()
            steps = self._planned(fault, await self._look(with_leader=names_leader(fault)))
        for step in steps:
            await self._take(step)

    async def heal(self) -> tuple[str, ...]:
        """As it was before; a sentence for each role that does not serve as it did."""
        service = self._before.service
        now = await self._look()
        if service is not None and now.service != service:
            await self.kubectl.run(configured(service, service.serve_config))
        if not self._before.has_policies and now.has_policies:
            await self.kubectl.run(forget_policies())
        self._wanted = dict(self._before.ready())
        if await self._serves_again():
            return ()
        ready = (await self._look()).ready()
        return tuple(
            f"{ready[role]} of {wanted} pods of role {role} are ready {READY_S} s after the run"
            for role, wanted in self._wanted.items()
            if ready[role] < wanted
        )

    async def gateway_metrics(self) -> Mapping[str, str]:
        """What each gateway that is ready counts, by its pod's name."""
        gateways = [pod for pod in (await self._look()).of_role("gateway") if pod.is_ready]
        texts = await asyncio.gather(*(self.kubectl.run(execute(p, METRICS)) for p in gateways))
        return {pod.name: text for pod, text in zip(gateways, texts, strict=True)}

    def _planned(self, fault: Fault, standing: Standing) -> tuple[Step, ...]:
        """Raises CannotDo with the name of the fault."""
        try:
            return self.planner.steps(fault, standing)
        except CannotDo as cannot:
            raise CannotDo(f"{fault}: {cannot}") from cannot

    async def _demand(self, needs: Iterable[Permission]) -> None:
        """Raises CannotDo unless all of it is allowed."""
        asked = sorted(set(needs), key=str)
        answers = await asyncio.gather(*map(self.kubectl.may, asked))
        missing = [str(need) for need, may in zip(asked, answers, strict=True) if not may]
        if missing:
            namespace = self.kubectl.options.namespace
            raise CannotDo(f"not allowed in namespace {namespace}: {', '.join(missing)}")

    async def _look(self, *, with_leader: bool = False) -> Standing:
        pods, services, policies = await asyncio.gather(
            *map(self.kubectl.run, (PODS, SERVICES, POLICY_NAMES))
        )
        standing = Standing(pods_in(pods), service_in(services), bool(policies.strip()))
        planes = standing.of_role("control-plane")
        if with_leader and planes:
            leader = await self.kubectl.run(run_python(planes[0], in_pod.LEADER))
            standing = replace(standing, leader=leader.strip())
        return standing

    async def _take(self, step: Step) -> None:
        await asyncio.gather(*map(self.kubectl.run, step.commands))
        await asyncio.sleep(step.then_s)
        if step.until_ready:
            await self._serves_again()

    async def _serves_again(self) -> bool:
        """Whether as many pods are ready as should be, within a bound."""
        for _ in range(round(READY_S / LOOK_EVERY_S)):
            if await self._is_whole():
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False

    async def _is_whole(self) -> bool:
        try:
            ready = pods_in(await self.kubectl.run(PODS))
        except KubectlFailed:  # the API server's own bad moment: ask again, within the bound
            return False
        counts = Standing(ready).ready()
        return all(counts[role] >= wanted for role, wanted in self._wanted.items())


def names_leader(fault: Fault) -> bool:
    """Whether somebody has to say who leads."""
    return '"leader"' in json.dumps(astuple(fault))
