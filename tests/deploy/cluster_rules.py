"""What must be true of our RayService although its operator takes anything else.

Each rule has a trap behind it that somebody fell into: the incremental upgrade
knows no gRPC, a head with CPUs is given a replica that dies with it, a pod
that is killed before its drain ends cuts streams. Sentences say which.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from orchestrator.live.app import STOP_MARGIN_S
from tests.deploy.rendering import Manifest, groups, only
from tests.deploy.serve_config import deployment

DRAINS = {"gateway", "replica"}  # what runs for a client; a control plane just goes


def broken_rules(objects: list[Manifest]) -> list[str]:
    """Sentences, one for each broken rule."""
    service = only(objects, "RayService")
    return [
        *_of_upgrades(service, groups(objects)),
        *_of_the_head(service),
        *_of_the_state(service),
        *(s for role, group in groups(objects).items() for s in _of_workers(role, group, service)),
        *_of_cards(service, groups(objects)["replica"]),
        *_of_scaling(objects),
    ]


def _of_upgrades(service: Manifest, workers: dict[str, Manifest]) -> Iterator[str]:
    upgrade = service["spec"].get("upgradeStrategy", {}).get("type")
    if upgrade != "NewCluster":
        yield f"upgradeStrategy.type is {upgrade}: no other than NewCluster keeps serving gRPC"
    delay = service["spec"].get("rayClusterDeletionDelaySeconds", 60)
    longest = max(drain_seconds(group) for group in workers.values())
    if delay <= longest:
        yield f"rayClusterDeletionDelaySeconds {delay} ends drains that take {longest}"


def _of_the_head(service: Manifest) -> Iterator[str]:
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]
    if service["spec"].get("excludeHeadPodFromServeSvc") is not True:
        yield "the head is behind the Serve Service"
    if head["rayStartParams"].get("num-cpus") != "0":
        yield "the head has CPUs, and gets actors of ours that die with it"
    spec = head["template"]["spec"]
    stop = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {})
    match stop.get("command"):
        case ["sleep", str(seconds)] if seconds.isdecimal():
            if not _longest_drain(service) <= int(seconds) < spec["terminationGracePeriodSeconds"]:
                yield f"the head goes after {seconds} s, before those that it drains or too late"
        case other:
            yield f"the head does not wait for those that it drains: {other}"


def _longest_drain(service: Manifest) -> int:
    workers = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return max(drain_seconds(group) for group in workers)


def _of_the_state(service: Manifest) -> Iterator[str]:
    """Who may give orders to Ray, and where its state survives a head."""
    cluster = service["spec"]["rayClusterConfig"]
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "Ray's dashboard and job API are open to whoever reaches them"
    options = cluster.get("gcsFaultToleranceOptions", {})
    if urlsplit(options.get("redisAddress", "")).scheme != "rediss":
        yield "Ray's state is kept nowhere, or goes there in the clear"
    for name in ("redisUsername", "redisPassword"):
        if "secretKeyRef" not in options.get(name, {}).get("valueFrom", {}):
            yield f"{name} comes from no Secret"


def _of_workers(role: str, group: Manifest, service: Manifest) -> Iterator[str]:
    spec = group["template"]["spec"]
    (container,) = spec["containers"]
    waits, grace = drain_seconds(group), spec.get("terminationGracePeriodSeconds", 30)
    if not waits < grace:
        yield f"{role} is killed after {grace} s while it may drain for {waits} s"
    drain_s = deployment(service).drain_s
    if role in DRAINS and not drain_s + STOP_MARGIN_S < waits:
        yield f"{role} waits {waits} s for actors that drain for {drain_s} s"
    stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    if stop != ["drain-pod"]:
        yield f"{role} leaves without a drain: {stop}"
    if "readinessProbe" not in container:
        yield f"{role} is ready when the Serve proxy of its node is"
    serving = [p["name"] for p in container["ports"] if p["name"].split("-")[0] == "serve"]
    if serving:
        yield f"{role} has ports {serving}, which are the head's"


def _of_cards(service: Manifest, replica: Manifest) -> Iterator[str]:
    """A replica has a whole card where it wants one, and stands where one is."""
    spec = replica["template"]["spec"]
    resources = spec["containers"][0]["resources"]
    asked, limit = (resources[of].get("nvidia.com/gpu") for of in ("requests", "limits"))
    wanted = "1" if deployment(service).device == "cuda" else None
    if not asked == limit == wanted:
        yield f"a replica wants {wanted} GPU, asks for {asked} and is limited to {limit}"
    tolerated = {one["key"] for one in spec.get("tolerations", ())}
    if wanted and "nvidia.com/gpu" not in tolerated:
        yield "a replica may not stand on a node with GPUs"


def _of_scaling(objects: list[Manifest]) -> Iterator[str]:
    """One scaler: Ray's, since it knows which node is idle."""
    cluster = only(objects, "RayService")["spec"]["rayClusterConfig"]
    if not cluster.get("enableInTreeAutoscaling"):
        yield "nobody adds pods while actors wait for a place"
    if cluster.get("autoscalerOptions", {}).get("version") != "v2":
        yield "the autoscaler is not v2, and drains no node before it takes it"
    for kind in {o["kind"] for o in objects} & {"ScaledObject", "HorizontalPodAutoscaler"}:
        yield f"a {kind} beside Ray's autoscaler"


def drain_seconds(group: Manifest) -> int:
    (container,) = group["template"]["spec"]["containers"]
    (value,) = (e["value"] for e in container["env"] if e["name"] == "DRAIN_SECONDS")
    return int(value)
