"""What must be true before any test module is imported."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from orchestrator.live.ray_token import protect_ray

protect_ray()
# Triton decides when it is imported whether it compiles kernels or interprets them on the CPU.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# A shell ignores Ctrl-C for what it runs in the background, and so would all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
