"""Where a process finds the registry: in the deployment, or in its own environment."""

from __future__ import annotations

import pytest

from orchestrator.config import Deployment
from orchestrator.live.registry_url import registry_url

SECRET = "rediss://registry:secret@redis:6379/0"


def test_a_url_is_taken_as_it_is() -> None:
    assert registry_url(Deployment(redis_url=SECRET), {}) == SECRET


def test_a_url_can_stay_in_the_environment_of_each_process() -> None:
    deployment = Deployment(redis_url="env:YARD_URL")
    assert registry_url(deployment, {"YARD_URL": SECRET}) == SECRET
    assert SECRET not in deployment.model_dump_json()


@pytest.mark.parametrize("environment", [{}, {"YARD_URL": ""}, {"OTHER": SECRET}])
def test_an_environment_without_the_url_is_an_error_that_names_the_variable(
    environment: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match="'YARD_URL', which is not set") as refusal:
        registry_url(Deployment(redis_url="env:YARD_URL"), environment)
    assert SECRET not in str(refusal.value)
