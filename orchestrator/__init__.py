"""Many replicas: admit, route, rebalance."""
