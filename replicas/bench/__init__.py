"""Measure one engine on this machine, next to what the machine could do at best."""
