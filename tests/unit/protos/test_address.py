from __future__ import annotations

from protos.address import host_port


def test_an_ipv6_host_is_told_from_its_port() -> None:
    assert host_port("::1", 8000) == "[::1]:8000"
    assert host_port("127.0.0.1", 8000) == "127.0.0.1:8000"
    assert host_port("node-3", 8000) == "node-3:8000"
