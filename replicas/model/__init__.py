"""The model behind the engine: torch, and only here."""
