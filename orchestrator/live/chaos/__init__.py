"""A cluster of real processes on one machine, in which things are made to go wrong."""
