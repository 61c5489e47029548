"""Whether this machine can do what the deployment asks of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from threading import Event

import psutil
import torch

from orchestrator.gateway.http_protocol import HttpLimits
from orchestrator.live.delivery import delivery_of
from orchestrator.live.doctor.finding import Finding, note, ok, unsafe, warning
from orchestrator.live.doctor.subject import Subject
from orchestrator.live.open_files import FILES_BESIDE, connections_within, open_files_max
from replicas.delivery.config import Patience
from replicas.delivery.contents import Part, survey
from replicas.delivery.location import is_remote, locate
from replicas.delivery.progress import sized
from replicas.delivery.store import Store
from replicas.model.errors import ModelError
from replicas.model.kv_cache import block_bytes
from replicas.model.loading import DTYPES, open_model
from replicas.model.source import resolve_model

GIB = 2**30


def check_machine(subject: Subject) -> Iterator[Finding]:
    """Of the machine that runs this, as if it ran one of every process."""
    yield from _open_files()
    yield from _device(subject)
    yield from _memory(subject)


def _open_files() -> Iterator[Finding]:
    wanted = HttpLimits().connections_max
    allowed = connections_within(open_files_max(), wanted)
    if allowed < wanted:
        yield warning(
            "files",
            f"a gateway may have {allowed} connections, for want of files to open",
            f"let it open {wanted + FILES_BESIDE} (ulimit -Hn, LimitNOFILE)",
        )
    else:
        yield ok("files", f"a gateway may have {allowed} connections")


def _device(subject: Subject) -> Iterator[Finding]:
    wanted, replicas = subject.deployment.device, subject.deployment.replicas_most
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cuda" and not gpus:
        say = warning if subject.config is not None else unsafe  # elsewhere there may be some
        yield say("gpu", "cuda is asked for, and torch finds no GPU here", "--device cpu")
    elif gpus:
        say_count = f"{gpus} GPUs for {replicas} replicas"
        yield ok("gpu", say_count) if gpus >= replicas else note("gpu", say_count)
    else:
        yield note("gpu", "no GPU here: replicas run on the CPU")
    if not gpus and shutil.which("c++") is None:
        yield note(
            "compiler",
            "no C++ compiler: replicas on the CPU use torch alone, which is slower",
            "install one, such as g++",
        )


def _memory(subject: Subject) -> Iterator[Finding]:
    deployment = subject.deployment
    if is_remote(deployment.model):
        yield from _store(subject)
        return
    try:
        source = resolve_model(deployment.model)
        config, tensors = open_model(source.path)
    except (ModelError, OSError) as error:
        say = warning if subject.config is not None else unsafe  # it may be on the nodes only
        yield say("model", str(error), "give --model what is on this machine")
        return
    yield ok("model", f"{source.name} can be read; weights are data, and run no code")
    if deployment.blocks is None or deployment.device == "cuda":
        return  # then replicas take what there is
    dtype = DTYPES.get(deployment.dtype, torch.float32)
    of_blocks = deployment.blocks * block_bytes(
        config, block_size=deployment.block_size, dtype=dtype
    )
    of_weights = dtype.itemsize * sum(_size(stored.shape) for stored in tensors.values())
    needed = deployment.replicas * (of_blocks + of_weights)
    available = psutil.virtual_memory().available
    said = f"{needed / GIB:.1f} GiB for weights and blocks of {deployment.replicas} replicas"
    if needed > available:
        yield warning(
            "memory",
            f"{said}, and {available / GIB:.1f} GiB are free here",
            "fewer --blocks or --replicas",
        )
    else:
        yield ok("memory", f"{said}; {available / GIB:.1f} GiB are free here")


def _store(subject: Subject) -> Iterator[Finding]:
    """Looked at once, and nothing is fetched."""
    delivery = replace(delivery_of(subject.deployment), patience=Patience(tries=1))
    try:
        location = locate(subject.deployment.model)
        pieces = survey(Store(location, delivery, Event()), Part.WHOLE).pieces
    except ModelError as error:
        say = warning if subject.config is not None else unsafe  # nodes may reach what this cannot
        yield say("model", str(error), "give --model what its store lets us read")
        return
    held = f"{len(pieces)} files of {sized(sum(piece.bytes_wanted for piece in pieces))}"
    if all(piece.sum is not None for piece in pieces):
        yield ok("model", f"{location} has {held}, all with checksums")
    else:
        yield warning(
            "model",
            f"{location} has {held}, and nothing says what is in them",
            "upload what `blockyard model sums FOLDER` writes; --model-checksums required",
        )


def _size(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
