"""Open-loop load on any server that speaks OpenAI's API, and what its clients heard."""
