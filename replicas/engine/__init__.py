"""The engine's decisions: pure, deterministic, without torch, threads or clocks."""
