"""Whether a budget lets one pod go, and never all.

Ray's pods belong to a RayCluster, which has no subresource `scale`: nobody can
tell the disruption controller how many there should be. It can count only
those that must stay, so `maxUnavailable` and percentages let no pod go, ever,
and the node of one can not be drained. A StatefulSet can be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.deploy.rendering import Manifest, groups, pods, selects

# Requests flow without one of the others; of the head there is one.
BUDGETED = {"gateway", "replica"}


def bad_budgets(objects: list[Manifest]) -> list[str]:
    """Sentences, one for each."""
    budgets = [o for o in objects if o["kind"] == "PodDisruptionBudget"]
    return [
        *(sentence for budget in budgets for sentence in _of_one(budget, objects)),
        *_of_roles(budgets, objects),
    ]


def _of_one(budget: Manifest, objects: list[Manifest]) -> Iterator[str]:
    name, spec = budget["metadata"]["name"], budget["spec"]
    chosen = _chosen(budget, objects)
    if len(chosen) != 1:
        yield f"{name} counts pods of {sorted(chosen) or 'nobody'} together"
    for role in chosen & {"head", *groups(objects)}:
        stay = spec.get("minAvailable")
        if "maxUnavailable" in spec or not isinstance(stay, int):
            yield f"{name}: nobody knows how many pods of {role} there should be; {spec}"
        elif not 0 < stay < _started(objects, role):
            yield f"{name}: {stay} of {_started(objects, role)} pods of {role} must stay"


def _of_roles(budgets: list[Manifest], objects: list[Manifest]) -> Iterator[str]:
    """An eviction fails where two budgets select one pod."""
    for role in ("head", *groups(objects)):
        over = sum(role in _chosen(budget, objects) for budget in budgets)
        wanted = int(role in BUDGETED and _started(objects, role) > 1)
        if over != wanted:
            yield f"{role} has {over} budgets, not {wanted}"


def _chosen(budget: Manifest, objects: list[Manifest]) -> set[str]:
    all_labels = [one["metadata"]["labels"] for one in pods(objects)]
    selector = budget["spec"]["selector"]
    return {labels["blockyard/role"] for labels in all_labels if selects(selector, labels)}


def _started(objects: list[Manifest], role: str) -> int:
    """As few as there may be."""
    return 1 if role == "head" else int(groups(objects)[role]["minReplicas"])
