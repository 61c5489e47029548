"""The shell of a replica: gRPC, stepping, registration, reports."""
