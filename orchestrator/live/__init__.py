"""World one: Ray Serve, grpc.aio and the clock of the operating system."""
