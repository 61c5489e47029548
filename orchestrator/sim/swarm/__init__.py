"""Hundreds of small worlds, each from one seed, in which everything goes wrong that can."""
