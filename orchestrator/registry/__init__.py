"""Where is this prefix? One contract, in memory and on Redis."""
