"""World two: the production code in virtual time, in one process, from one seed."""
