"""Who may import whom, read from the syntax trees, function-level imports included.

The layers are what lets the simulator run production code: a policy that
imported asyncio, or an engine that imported torch, would end that. Each rule
names what a package may import of ours, and what it may not import at all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("protos", "replicas", "orchestrator")
OUTSIDE_WORLD = frozenset(
    {"ray", "torch", "redis", "grpc", "asyncio", "time", "random", "socket", "threading", "os"}
)
IO_LIBRARIES = frozenset({"ray", "torch", "redis"})
PURE_PROTOS = (
    "protos.messages",
    "protos.hashing",
    "protos.registry",
    "protos.identity",
    "protos.moves",
)
OWN_KEY = ("orchestrator.client_key",)  # that a client of ours sends
# What all commands share.
COMMANDS = (
    "orchestrator.crew",
    "orchestrator.exit_status",
    "orchestrator.finite_range",
    "orchestrator.out_file",
)
TRUST = ("protos.trust", "protos.certificates")  # of a client
DECIDING = (
    "orchestrator.policy",
    "orchestrator.control",
    "orchestrator.registry",
    "orchestrator.gateway",
)
RECORDED = ("orchestrator.replay",)


@dataclass(frozen=True)
class Rule:
    ours: tuple[str, ...]
    forbidden: frozenset[str] = frozenset()


# The longest matching prefix applies.
RULES = {
    "protos": Rule(("protos",), IO_LIBRARIES),
    "protos.messages": Rule(("protos.hashing",), OUTSIDE_WORLD),
    "protos.hashing": Rule((), OUTSIDE_WORLD),
    "protos.registry": Rule(("protos.messages", "protos.hashing"), OUTSIDE_WORLD),
    "protos.identity": Rule(("protos.messages", "protos.hashing"), OUTSIDE_WORLD),
    "protos.moves": Rule(("protos.messages", "protos.hashing"), OUTSIDE_WORLD),
    "replicas": Rule(("protos", "replicas"), frozenset({"redis"})),
    "replicas.engine": Rule((*PURE_PROTOS, "replicas.engine"), OUTSIDE_WORLD),
    # Files on their way here: they know neither what is in them nor who will load it.
    "replicas.delivery": Rule(
        ("replicas.delivery", "replicas.model.errors"), IO_LIBRARIES | {"grpc", "asyncio"}
    ),
    "replicas.model": Rule(
        (*PURE_PROTOS, "replicas.delivery", "replicas.engine", "replicas.model"),
        frozenset({"ray", "redis", "grpc", "asyncio"}),
    ),
    # Driven by whatever loop runs: no transport, no clock but the loop's.
    "replicas.shell": Rule(
        ("protos", "replicas.config", "replicas.engine", "replicas.shell"),
        frozenset({"ray", "torch", "redis", "grpc", "time", "random", "socket", "threading", "os"}),
    ),
    "orchestrator": Rule(("protos", "orchestrator"), frozenset({"torch", "redis"})),
    "orchestrator.policy": Rule((*PURE_PROTOS, "orchestrator.policy"), OUTSIDE_WORLD),
    # seams.py declares async protocols, so asyncio's types are not needed there either.
    "orchestrator.control": Rule(
        (*PURE_PROTOS, "orchestrator.policy", "orchestrator.control"), OUTSIDE_WORLD
    ),
    "orchestrator.registry": Rule((*PURE_PROTOS, "orchestrator.registry"), IO_LIBRARIES),
    "orchestrator.registry.redis_server": Rule(
        (*PURE_PROTOS, "orchestrator.registry"), frozenset({"ray", "torch"})
    ),
    "orchestrator.registry.redis_pool": Rule(
        (*PURE_PROTOS, "orchestrator.registry"), frozenset({"ray", "torch"})
    ),
    "orchestrator.gateway": Rule(
        ("protos", "orchestrator.policy", "orchestrator.control", "orchestrator.gateway"),
        IO_LIBRARIES,
    ),
    "orchestrator.workload": Rule(
        (*PURE_PROTOS, "orchestrator.workload"), OUTSIDE_WORLD - {"random"}
    ),
    # What was decided, in any world, and deciding it again.
    "orchestrator.replay": Rule(
        (*PURE_PROTOS, "orchestrator.policy", "orchestrator.replay"),
        OUTSIDE_WORLD,
    ),
    # Scenarios and verdicts know no world; the command finds one by its name.
    "orchestrator.chaos": Rule(
        (*PURE_PROTOS, *COMMANDS, "orchestrator.workload", "orchestrator.chaos"),
        IO_LIBRARIES | {"asyncio", "grpc", "socket", "threading"},
    ),
    # A client of any server: it knows nothing of how ours is made.
    "orchestrator.load": Rule(
        (
            *PURE_PROTOS,
            *TRUST,
            *OWN_KEY,
            *COMMANDS,
            "orchestrator.load",
            "orchestrator.workload",
        ),
        IO_LIBRARIES | {"grpc"},
    ),
    # The two worlds: both see everything that decides, neither sees the other.
    "orchestrator.live": Rule(
        (
            "protos",
            "replicas",
            "orchestrator.config",
            "orchestrator.live",
            *OWN_KEY,
            *COMMANDS,
            *RECORDED,
            *DECIDING,
        ),
        frozenset({"redis"}),
    ),
    # Real clusters that a scenario is played on; scenarios and loads know nothing of them.
    "orchestrator.live.chaos": Rule(
        (
            "protos",
            "replicas",
            "orchestrator.config",
            "orchestrator.live",
            "orchestrator.chaos",
            "orchestrator.load",
            "orchestrator.workload",
            *OWN_KEY,
            *DECIDING,
        ),
        frozenset({"redis"}),
    ),
    # The one foot in both: a baseline of the simulator that drives a real runner. Nothing of the
    # live world imports it, and of the simulator it sees the incident alone.
    "orchestrator.live.incident": Rule(
        (
            "protos",
            "replicas",
            "orchestrator.live.incident",
            "orchestrator.sim.incident",
            "orchestrator.sim.loop",
            "orchestrator.workload",
        ),
        IO_LIBRARIES - {"torch"} | {"grpc"},
    ),
    "orchestrator.sim": Rule(
        (
            "protos",
            "replicas.config",
            "replicas.engine",
            "replicas.shell",
            "orchestrator.sim",
            "orchestrator.chaos",
            "orchestrator.workload",
            *COMMANDS,
            *RECORDED,
            *DECIDING,
        ),
        IO_LIBRARIES | {"grpc"},
    ),
}


def matches(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def rule_of(module: str) -> Rule:
    return RULES[max((p for p in RULES if matches(module, p)), key=len)]


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def sources(root: Path) -> list[Path]:
    paths = [p for package in OURS for p in sorted((root / package).rglob("*.py"))]
    return [p for p in paths if "_pb2" not in p.name]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module with its line; `from a import b` yields a.b where that is a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; name the whole path"
            assert node.module is not None
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def violations(root: Path) -> list[str]:
    found = []
    for path in sources(root):
        module = module_name(path, root)
        rule = rule_of(module)
        for line, name in imports(path):
            top = name.split(".")[0]
            ours_and_not_allowed = top in OURS and not any(matches(name, p) for p in rule.ours)
            if top in rule.forbidden or ours_and_not_allowed:
                found.append(f"{path.relative_to(root)}:{line}: {module} may not import {name}")
    return found


def test_every_import_respects_the_layers() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("replicas/engine/planted.py", "import torch"),
        ("replicas/engine/planted.py", "def f():\n    import asyncio"),
        ("replicas/serving/planted.py", "from orchestrator.policy import route"),
        ("orchestrator/policy/planted.py", "from time import monotonic"),
        ("orchestrator/gateway/planted.py", "from replicas.engine import engine"),
        ("orchestrator/gateway/planted.py", "import redis"),
        ("orchestrator/load/planted.py", "from orchestrator.live import clock"),
        ("orchestrator/live/planted.py", "from orchestrator.sim import world"),
        ("orchestrator/live/incident/planted.py", "from orchestrator.sim import world"),
        ("orchestrator/sim/planted.py", "from orchestrator.live import clock"),
        ("orchestrator/sim/planted.py", "from replicas.model import runner"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, module: str, line: str) -> None:
    planted = tmp_path / module
    planted.parent.mkdir(parents=True)
    planted.write_text(line)
    assert len(violations(tmp_path)) == 1


def import_graph(root: Path) -> dict[str, set[str]]:
    modules = {module_name(path, root): path for path in sources(root)}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = set()
        for _, name in imports(path):
            parent = name.rpartition(".")[0]
            targets |= {n for n in (name, parent) if n in modules and n != module}
        graph[module] = targets
    return graph


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """One cycle as a path, or an empty list. Depth-first with three colours."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph[module]):
            if cycle := visit(target, [*path, module]):
                return cycle
        done.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), [])


def test_there_is_no_import_cycle() -> None:
    assert find_cycle(import_graph(ROOT)) == []


def test_a_planted_cycle_is_found(tmp_path: Path) -> None:
    for name, target in (("a", "b"), ("b", "c"), ("c", "a")):
        path = tmp_path / "replicas" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"def f():\n    from replicas import {target}")
    assert find_cycle(import_graph(tmp_path)) == [
        "replicas.a",
        "replicas.b",
        "replicas.c",
        "replicas.a",
    ]
