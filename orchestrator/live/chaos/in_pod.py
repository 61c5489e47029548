"""What is run inside a member's pod: short scripts for its shell or its Python.

Each undoes itself at its end, also when the connection that started it is
lost meanwhile: nobody stays paused or parted because a laptop was closed. The
serving process of a worker pod is Serve's actor, found as deploy/docker/drain-pod
finds it; the shell around is not killed with it.
"""

from __future__ import annotations

from math import ceil
from shlex import quote

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys

ACTOR = quote("^ray::ServeReplica:")
SLOW_PERIOD_S = 0.2  # long against what pkill itself takes, short against a stream's patience
INTERFACE = "eth0"
_PREFIX = RegistryConfig().prefix
_REDIS = "import os, redis; server = redis.Redis.from_url(os.environ['BLOCKYARD_REDIS_URL']); "
# The registry's user may delete its keys but not flush the server; and Ray's own keys must stay.
FLUSH = f"{_REDIS}[server.unlink(key) for key in server.scan_iter({_PREFIX + '*'!r})]"
# "<term> <candidate> <address>", or nothing.
LEADER = f"{_REDIS}print((server.get({Keys(_PREFIX).leader!r}) or b'').decode().split(' ')[-1])"


def kill() -> str:
    return f"pkill -KILL -f {ACTOR}"


def pause(seconds: float) -> str:
    """SIGSTOP, and SIGCONT after so long."""
    return f"{_at_exit(f'pkill -CONT -f {ACTOR}')}; pkill -STOP -f {ACTOR}; sleep {seconds:g}"


def slow(times: float, seconds: float) -> str:
    """Runs for about one part in so many of each period."""
    runs_s = SLOW_PERIOD_S / times
    return (
        f"{_at_exit(f'pkill -CONT -f {ACTOR}')}; end=$(($(date +%s) + {ceil(seconds)})); "
        'while [ "$(date +%s)" -lt "${end}" ]; do '
        f"pkill -STOP -f {ACTOR}; sleep {SLOW_PERIOD_S - runs_s:g}; "
        f"pkill -CONT -f {ACTOR}; sleep {runs_s:g}; done"
    )


def disturb(netem: str, ip: str, seconds: float) -> str:
    """Whatever is sent to this address passes `netem`, for so long."""
    add = f"tc qdisc add dev {INTERFACE}"
    return (
        f"{_at_exit(f'tc qdisc del dev {INTERFACE} root')}; "
        # A band of its own, which no priority leads to: only the filter does.
        f"{add} root handle 1: prio bands 4 && {add} parent 1:4 handle 40: netem {netem} && "
        f"tc filter add dev {INTERFACE} parent 1: protocol ip prio 1 "
        f"u32 match ip dst {ip}/32 flowid 1:4 && sleep {seconds:g}"
    )


def disturb_all(netem: str, seconds: float) -> str:
    """Whatever is sent at all passes `netem`, for so long."""
    add = f"tc qdisc add dev {INTERFACE} root netem {netem}"
    return f"{_at_exit(f'tc qdisc del dev {INTERFACE} root')}; {add} && sleep {seconds:g}"


def cut(ip: str) -> str:
    """All connections with this address end at once."""
    return f"ss --kill dst {ip}"


def _at_exit(command: str) -> str:
    """However the shell ends."""
    return f"trap {quote(command)} EXIT; trap 'exit 1' HUP INT TERM"
