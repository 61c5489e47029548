"""One GPU: the paged-KV engine and its shell. Knows nothing of the cluster."""
