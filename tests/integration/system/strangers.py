"""Somebody without the token of this run, at the ports that Ray opens on every interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import grpc
import psutil

CALLS = {  # of each part of Ray, one that would tell or give something
    "gcs_server": "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "raylet": "/ray.rpc.NodeManagerService/RequestWorkerLease",
}
WITHOUT: tuple[tuple[str, str], ...] = ()
WRONG = (("authorization", "Bearer wrong"),)


def answers(program: str) -> set[grpc.StatusCode]:
    """What all ports of that part of our own Ray say."""
    return {
        answer(port, CALLS[program], metadata)
        for port in ports(program)
        for metadata in (WITHOUT, WRONG)
    }


def ports(program: str) -> Iterator[int]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if process.name() == program:
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        yield connection.laddr.port


def answer(port: int, call: str, metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(call)
            ask(b"", timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK
