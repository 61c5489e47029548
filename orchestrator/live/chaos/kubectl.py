"""Calls kubectl, one command at a time as data, and tells its failures in its own words.

A command says what it needs to be allowed, so that a run can ask for all of it
before it breaks anything. The status of what it starts elsewhere does not
always come back, so it may also say what must have been printed. Which cluster
kubectl speaks to is the user's own configuration; only namespace and context
are named here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from orchestrator.chaos.world import CannotDo

PROGRAM = "kubectl"


@dataclass(frozen=True, slots=True)
class KubectlOptions:
    """Which cluster, and what may be used in it."""

    namespace: str
    context: str | None = None  # None: the current one
    # An image with tc and ss, to be run beside a member with NET_ADMIN; None: not allowed.
    netem_image: str | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """What the API server must let us do."""

    verb: str
    resource: str  # with its group: rayservices.ray.io
    subresource: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{self.subresource and '/'}{self.subresource}"


@dataclass(frozen=True, slots=True)
class Command:
    """One call of kubectl, without the words that say which cluster."""

    words: tuple[str, ...]
    needs: tuple[Permission, ...] = ()
    stdin: str = ""
    within_s: float = 30.0
    last_word: str = ""  # without it in what was printed, it did not do what it was for


class KubectlFailed(CannotDo):
    """kubectl refused or did not end; the message has its own sentence."""


class Kubectl:
    """kubectl against one namespace."""

    def __init__(self, options: KubectlOptions) -> None:
        self.options = options

    def argv(self, command: Command) -> tuple[str, ...]:
        """The whole command line."""
        context = self.options.context
        cluster = () if context is None else ("--context", context)
        return (PROGRAM, *cluster, "--namespace", self.options.namespace, *command.words)

    async def run(self, command: Command) -> str:
        """What it printed. Raises KubectlFailed."""
        status, output, errors = await self._call(command)
        if status or command.last_word not in output:
            said = errors if status else output or errors
            raise KubectlFailed(f"{PROGRAM} {command.words[0]}: {_sentence(said)}")
        return output

    async def may(self, permission: Permission) -> bool:
        """Whether the API server would let us. Raises KubectlFailed where nobody knows."""
        sub = permission.subresource
        part = (f"--subresource={sub}",) if sub else ()
        words = ("auth", "can-i", permission.verb, permission.resource, *part)
        _, output, errors = await self._call(Command(words))
        answer = output.strip().partition(" ")[0]
        if answer not in ("yes", "no"):
            raise KubectlFailed(f"{PROGRAM} auth: {_sentence(errors)}")
        return answer == "yes"

    async def _call(self, command: Command) -> tuple[int, str, str]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self.argv(command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise KubectlFailed(f"{PROGRAM} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(command.within_s):
                output, errors = await process.communicate(command.stdin.encode())
        except TimeoutError:
            took = f"no end within {command.within_s:g} s"
            raise KubectlFailed(f"{PROGRAM} {command.words[0]}: {took}") from None
        finally:
            await _ended(process)
        return process.returncode or 0, output.decode(), errors.decode()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """It runs no longer, whatever became of us."""
    if process.returncode is None:
        process.kill()
        await process.wait()


def _sentence(errors: str) -> str:
    """The last line: kubectl puts warnings first."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it says nothing"
