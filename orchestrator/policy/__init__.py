"""Pure decisions over a frozen view of the cluster."""
