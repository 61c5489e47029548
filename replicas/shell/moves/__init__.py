"""Moves of running sequences between replicas: two pure state machines and what drives them."""
