"""What parts of the cluster cost on this machine; `blockyard bench` prints it."""
