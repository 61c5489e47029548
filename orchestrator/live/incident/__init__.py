"""The founding incident on a real model: the simulator's replay, computed and timed for real."""
