"""What can be decided about a local cluster before anything is started."""

from __future__ import annotations

import pytest

from orchestrator.live.local import (
    Device,
    StartFailed,
    choose_device,
    last_line,
)
from orchestrator.live.registry_url import without_password


@pytest.mark.parametrize(
    ("wanted", "gpus", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "cpu"),  # two replicas cannot share one GPU
        ("auto", 2, "cuda"),
        ("cuda", 2, "cuda"),
        ("cpu", 8, "cpu"),
    ],
)
def test_two_replicas_run_on_gpus_only_where_each_has_one(
    wanted: Device, gpus: int, chosen: Device
) -> None:
    assert choose_device(wanted, 2, gpus) == chosen


def test_too_few_gpus_for_cuda_are_named_with_a_way_out() -> None:
    with pytest.raises(StartFailed, match=r"need a GPU each and there are 1.*--replicas"):
        choose_device("cuda", 2, 1)


@pytest.mark.parametrize(
    "url", ["redis://:hunter2@127.0.0.1:1/0", "rediss://user:hunter2@127.0.0.1:1/0"]
)
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    shown = without_password(url)
    assert "hunter2" not in shown
    assert "127.0.0.1:1" in shown


def test_of_a_traceback_the_error_itself_is_shown() -> None:
    assert last_line("Traceback:\n  File x\nValueError: no such model\n\n") == (
        "ValueError: no such model"
    )
