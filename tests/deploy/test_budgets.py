"""Nodes can be drained, one pod of a role at a time: budgets, and those that hold every node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.budgets import bad_budgets
from tests.deploy.rendering import CHART_VALUES, RENDERINGS, Manifest, chart, groups, only, overlay


@pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
def test_every_budget_lets_one_pod_go(rendering: Callable[[], list[Manifest]]) -> None:
    assert bad_budgets(rendering()) == []


@pytest.mark.parametrize(("gateways", "replicas"), [(1, 1), (1, 3), (5, 2)])
def test_budgets_follow_how_many_pods_there_are(gateways: int, replicas: int) -> None:
    settings = (f"serve.gateways={gateways}", f"serve.replicas={replicas}", "gateway.max=5")
    objects = chart(CHART_VALUES["prod"], *settings)
    assert bad_budgets(objects) == []
    stay = {
        o["metadata"]["name"].removeprefix("blockyard-"): o["spec"]["minAvailable"]
        for o in objects
        if o["kind"] == "PodDisruptionBudget"
    }
    wanted = {"gateway": gateways - 1, "replica": replicas - 1}
    assert stay == {role: count for role, count in wanted.items() if count}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"maxUnavailable": 1}, "nobody knows how many"),
        ({"maxUnavailable": "25%"}, "nobody knows how many"),
        ({"minAvailable": "75%"}, "nobody knows how many"),
        ({}, "nobody knows how many"),
        ({"minAvailable": 4}, "4 of 4 pods of replica must stay"),
        ({"minAvailable": 5}, "5 of 4 pods of replica must stay"),
        ({"minAvailable": 0}, "0 of 4 pods of replica must stay"),
    ],
)
def test_a_budget_that_lets_none_go_or_all_is_told(spec: dict[str, Any], sentence: str) -> None:
    objects = overlay("prod")
    budget = only(objects, "PodDisruptionBudget", "blockyard-replica")
    budget["spec"] = {**spec, "selector": budget["spec"]["selector"]}
    (told,) = bad_budgets(objects)
    assert sentence in told


def test_a_budget_that_fewer_pods_would_make_a_lock_is_told() -> None:
    objects = overlay("prod")
    groups(objects)["gateway"]["minReplicas"] = 1
    assert any("1 of 1 pods of gateway must stay" in told for told in bad_budgets(objects))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"blockyard/role": "gateways"}, "counts pods of nobody together"),
        ({"blockyard/role": "gateway"}, "gateway has 2 budgets, not 1"),
        ({"blockyard/role": "head"}, "3 of 1 pods of head must stay"),
        ({"app.kubernetes.io/part-of": "blockyard"}, "'replica'] together"),
    ],
)
def test_a_budget_over_other_pods_than_its_roles_is_told(
    labels: dict[str, str], sentence: str
) -> None:
    objects = overlay("prod")
    budget = only(objects, "PodDisruptionBudget", "blockyard-replica")
    budget["spec"]["selector"] = {"matchLabels": labels}
    assert any(sentence in told for told in bad_budgets(objects)), bad_budgets(objects)


def test_a_role_without_its_budget_is_told() -> None:
    objects = overlay("prod")
    objects.remove(only(objects, "PodDisruptionBudget", "blockyard-replica"))
    assert bad_budgets(objects) == ["replica has 0 budgets, not 1"]


def test_a_budget_over_a_stateful_set_may_say_it_either_way() -> None:
    objects = overlay("prod")
    budget = only(overlay("prod"), "PodDisruptionBudget", "blockyard-replica")
    budget["metadata"]["name"] = "blockyard-redis"
    selector = {"matchLabels": {"blockyard/role": "redis"}}
    budget["spec"] = {"maxUnavailable": 1, "selector": selector}
    assert bad_budgets([*objects, budget]) == []
