"""Recorded placements: what a gateway knew and chose, written down and decided once more."""
