"""The verbs of the `blockyard` command, one to a file."""
