"""The two users of a server that the registry's own words ask for."""

from __future__ import annotations

import re
from enum import Enum

from redis import Redis

from orchestrator.registry import redis as documented

PASSWORD = "secret"


class User(Enum):
    """Who they are."""

    REPLICA = "replica"
    GATEWAY = "gateway"

    @property
    def grants(self) -> tuple[str, ...]:
        """As they are documented, for the default prefix."""
        words = " ".join((documented.__doc__ or "").split())
        replica, gateway = re.findall(r"`(%?R?~[^`]*)`", words)
        rules = replica if self is User.REPLICA else gateway
        return tuple(rules.replace("<prefix>", "orch:").split())


def add_users(url: str) -> None:
    """Both, to a server that is ours."""
    with Redis.from_url(url, protocol=2) as admin:
        for user in User:
            command = ("ACL", "SETUSER", user.value, "reset", "on", f">{PASSWORD}", *user.grants)
            admin.execute_command(*command)


def as_user(url: str, user: User) -> str:
    """The URL for one of them."""
    return url.replace("//", f"//{user.value}:{PASSWORD}@")
