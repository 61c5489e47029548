"""A replica as a process: the shell with gRPC, and how it is built."""
