"""What must be true before any test module is imported."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, settings

from orchestrator.live.ray_token import protect_ray

protect_ray()
# A process that was put aside for a moment has not failed, nor has one that is slow at drawing.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
# Triton decides when it is imported whether it compiles kernels or interprets them on the CPU.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# A shell ignores Ctrl-C for what it runs in the background, and so would all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
