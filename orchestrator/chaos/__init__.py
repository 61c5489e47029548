"""Scenarios in which things go wrong, as data, and the verdict on what clients heard."""
