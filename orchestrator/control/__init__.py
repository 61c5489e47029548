"""Events in, commands out: the cluster as its reports tell it."""
