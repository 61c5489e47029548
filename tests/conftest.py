"""What must be true before any test module is imported."""

from __future__ import annotations

from orchestrator.live.ray_token import protect_ray

protect_ray()
