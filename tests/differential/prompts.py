"""Real text of many lengths: prose, code, lists, other languages."""

from __future__ import annotations

SHORT = (
    "The",
    "Hello!",
    "The capital of France is",
    "def add(a, b):",
    "Once upon a time, in a village by the sea,",
    "1, 2, 4, 8, 16, 32,",
    "Q: What is the boiling point of water at sea level?\nA:",
    "SELECT name, age FROM people WHERE",
    "Die Hauptstadt von Deutschland ist",
    '{"name": "Ada", "born": 1815, "field":',
    "To make a good cup of tea, first",
)

PROSE = """\
The lighthouse stood at the end of a long spit of gravel, where the river had once \
reached the sea before it changed its mind. Nobody had lit the lamp for thirty years, but \
Marta still climbed the stairs every evening to wipe the salt from the glass. She said \
that a window which looks out over water ought to be clean, whether or not anybody is \
looking through it.

In the winter of the great storm, a ship came closer to the shore than any ship should. \
The harbour master saw it first. He ran along the quay and shouted, but the wind took his \
words away, and the people in the houses heard only the shutters. Marta saw it from the \
gallery. There was no oil, there had been none since the new light was built on the \
island, and so she did the only thing that came to her mind: she carried her stove up the \
stairs, piece by piece, and burned in it everything that would burn. The chairs went \
first, then the shelves, then the books about birds, and last of all the ladder by which \
she had climbed.

When the morning came the sea was flat and grey. The ship lay at anchor a mile from the \
rocks, with her masts broken and all her people alive. It took the village half a day to \
build a ladder long enough to bring the keeper down. She was black from head to foot, and \
she asked whether anyone had thought to feed her cat.

Years later, when the story was told, every teller changed it a little. In some houses \
the fire was seen from forty miles; in others an angel held the lamp. The captain, who \
came back each spring to visit, told it differently from everyone else. He said that he \
had not seen the fire at all. What he saw was the glass, he said, clean as on the day it \
was made, with the first grey light of the morning in it, and from that he knew where the \
land was and where it was not.

There are three things to learn from this, as the schoolmaster used to say while he drew \
a lighthouse on the blackboard. The first is that small habits are kept for large days. \
The second is that nobody can say beforehand which of the things they own is fuel. The \
third he never told, because by then the bell had usually rung, and the children were \
already on their way down to the water, where the gravel is round and warm and the tide \
leaves small lakes in which a patient person may find a crab.
"""

CODE = '''\
import heapq
from collections import defaultdict


def shortest_paths(edges, start):
    """Dijkstra's algorithm over a list of (source, target, weight)."""
    graph = defaultdict(list)
    for source, target, weight in edges:
        if weight < 0:
            raise ValueError("negative weights are not allowed")
        graph[source].append((target, weight))

    distances = {start: 0}
    queue = [(0, start)]
    while queue:
        distance, node = heapq.heappop(queue)
        if distance > distances.get(node, float("inf")):
            continue
        for neighbour, weight in graph[node]:
            candidate = distance + weight
            if candidate < distances.get(neighbour, float("inf")):
                distances[neighbour] = candidate
                heapq.heappush(queue, (candidate, neighbour))
    return distances


def main():
    edges = [("a", "b", 4), ("a", "c", 1), ("c", "b", 2), ("b", "d", 5)]
    for node, distance in sorted(shortest_paths(edges, "a").items()):
        print(f"{node}: {distance}")
'''
