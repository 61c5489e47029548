"""A cluster whose members all answer Prometheus, gateways that ask for keys among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import httpx

from orchestrator.live.free_ports import HOST
from tests.integration.cluster.watched import Watched


@dataclass
class Scraped(Watched):
    """Control planes too, each on a port of its own; some gateways have a keys file."""

    keyed: frozenset[str] = frozenset()  # names of gateways
    _metrics_ports: dict[str, int] = field(default_factory=dict)

    def add_control_plane(self, name: str) -> str:
        port = self._metrics_ports.setdefault(name, self.free_port())
        option = f"--metrics-port={port}"
        return self._add_behind_proxy(name, ("control-plane",), "--control-port", option)

    def _add(self, name: str, words: tuple[str, ...]) -> str:
        if name in self.keyed:
            keys = self.logs / "keys.toml"
            digest = sha256(b"nobody has it").hexdigest()
            keys.write_text(
                f'metrics = "open"\n[[key]]\nname = "n"\nsha256 = "{digest}"\ntenant = "t"\n'
            )
            words = (*words, f"--keys={keys}")
        return super()._add(name, words)

    @property
    def targets(self) -> dict[str, str]:
        """Where each is scraped, by its name."""
        gateways = {each.name: each.address.removeprefix("http://") for each in self.gateways}
        return gateways | {name: f"{HOST}:{port}" for name, port in self._metrics_ports.items()}

    def exposition(self) -> str:
        """What all of them say, one after the other."""
        urls = [f"http://{address}/metrics" for address in self.targets.values()]
        return "\n".join(httpx.get(url, timeout=20).text for url in urls)
