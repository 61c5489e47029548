"""A token of this process's own for the Ray that it will start.

Ray's ports listen on every interface and let anybody run code who may speak
to them; the token decides who may. Ray reads the mode once, when it is
imported, so this must be called before; it is why the module imports no Ray.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import MutableMapping


def protect_ray(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make up a token, unless the user has decided about Ray's authentication already."""
    if "RAY_AUTH_MODE" in environment:
        return
    environment["RAY_AUTH_MODE"] = "token"
    environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    environment.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
