"""Routing as others do it, to compare ours with. Simulator only.

Each is a `Route`: it plugs in where dispatch asks the production policy, and
gets the same view, debits included. Unlike ours, none of them holds a request
back: whoever is chosen queues it.
"""
