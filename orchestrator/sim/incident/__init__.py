"""The founding incident, replayed through four ways to keep KV in memory."""
