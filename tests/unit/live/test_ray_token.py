"""Whoever may speak to Ray may run code on the machine: a token is asked for, always."""

from __future__ import annotations

from orchestrator.live.ray_token import protect_ray


def test_a_ray_of_ours_asks_for_a_token_that_nobody_else_has() -> None:
    one: dict[str, str] = {}
    other: dict[str, str] = {}
    protect_ray(one)
    protect_ray(other)
    assert one["RAY_AUTH_MODE"] == other["RAY_AUTH_MODE"] == "token"
    assert len(bytes.fromhex(one["RAY_AUTH_TOKEN"])) == 32
    assert one["RAY_AUTH_TOKEN"] != other["RAY_AUTH_TOKEN"]


def test_what_the_user_has_decided_stays() -> None:
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/run/token"}
    protect_ray(environment)
    assert environment == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/run/token"}
