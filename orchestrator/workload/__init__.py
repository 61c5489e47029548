"""What is asked of a cluster, simulated or real: prompts, times of arrival, traces."""
