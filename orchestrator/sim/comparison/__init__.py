"""Routing policies side by side on the same traffic: `blockyard compare`."""
