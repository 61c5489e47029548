"""The simulated cluster as one that chaos scenarios are played on."""
