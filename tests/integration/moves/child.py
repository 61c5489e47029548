"""A member in a process of its own, which can be killed as the kernel does it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch

from protos.messages import ReplicaId
from protos.moves import Peer
from replicas.config import COPY_BYTES_PER_S
from tests.integration.moves.members import EPOCH, Ordered, Plane, build_member, served_plane

START_S = 120.0  # a loaded machine takes its time


class Child(Ordered):
    """One that runs elsewhere."""

    def __init__(self, process: Process, plane: Plane, peer: Peer) -> None:
        super().__init__(plane, peer)
        self._process = process

    def kill(self) -> None:
        """It does nothing more from now on."""
        self._process.kill()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)


@asynccontextmanager
async def child(name: str, *, copy_bytes_per_s: int = COPY_BYTES_PER_S) -> AsyncIterator[Child]:
    async with served_plane() as (plane, plane_address):
        arguments = (name, plane_address, str(copy_bytes_per_s))
        command = (sys.executable, "-m", __name__, *arguments)
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        assert process.stdout is not None and process.stdin is not None
        try:
            async with asyncio.timeout(START_S):
                address = (await process.stdout.readline()).decode().strip()
            assert address, "it did not start"
            yield Child(process, plane, Peer(ReplicaId(name), address, EPOCH))
        finally:
            if process.returncode is None:
                process.kill()
            process.stdin.close()
            await process.wait()


async def serve(name: str, plane_address: str, copy_bytes_per_s: str) -> None:
    """Until nobody holds the other end of standard input."""
    torch.set_num_threads(1)
    replica = await build_member(plane_address, name, copy_bytes_per_s=int(copy_bytes_per_s))
    print(await replica.start(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await replica.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
