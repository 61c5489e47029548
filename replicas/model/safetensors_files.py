"""Open the safetensors files of a Hugging Face folder, one or many.

The files are memory-mapped and their headers read; a damaged or truncated
file is refused here, by name. Formats that are pickled Python are refused
too: loading one runs whatever code its author put there.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from replicas.model.errors import CorruptWeights, ModelNotFound, UnsupportedModel
from replicas.model.stored import StoredTensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
DTYPES = ("F32", "F16", "BF16")


def open_safetensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors in the folder's weight files, by name, none of them read yet."""
    index = folder / INDEX
    if index.is_file():
        return _open_shards(index)
    if (folder / SINGLE).is_file():
        return _open_file(folder / SINGLE)
    for pattern in PICKLED:
        for found in sorted(folder.glob(pattern)):
            raise UnsupportedModel(
                f"{found} is a pickle, which can run code when loaded; convert it to safetensors."
            )
    raise ModelNotFound(f"{folder} holds neither {SINGLE} nor {INDEX}.")


def _open_shards(index: Path) -> dict[str, StoredTensor]:
    file_of = _read_index(index)
    tensors: dict[str, StoredTensor] = {}
    for file_name in sorted(set(file_of.values())):
        shard = index.parent / file_name
        try:
            is_there = shard.is_file()
        except OSError as error:  # no file can have such a name
            raise CorruptWeights(f"{index} names {file_name!r}: {error.strerror}.") from error
        if not is_there:
            raise CorruptWeights(f"{shard}, named in {index.name}, does not exist.")
        tensors |= _open_file(shard)
    for name, file_name in file_of.items():
        if name not in tensors or tensors[name].file.name != file_name:
            raise CorruptWeights(f"{index} promises {name} in {file_name}; it is not there.")
    return tensors


def _read_index(index: Path) -> dict[str, str]:
    try:
        file_of = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise CorruptWeights(f"{index} is not an index of weight files: {error!r}.") from error
    if not isinstance(file_of, dict) or not file_of:
        raise CorruptWeights(f"weight_map in {index} must be an object that names files.")
    for file_name in file_of.values():
        if not isinstance(file_name, str) or Path(file_name).name != file_name:
            raise CorruptWeights(f"{index} names {file_name!r}, which is not a file beside it.")
    return file_of


def _open_file(path: Path) -> dict[str, StoredTensor]:
    try:
        # Kept open by the tensors' `read`, and closed with the last of them.
        file = safe_open(path, framework="pt")
        tensors: dict[str, StoredTensor] = {}
        for name in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118
            view = file.get_slice(name)  # type: ignore[no-untyped-call]
            if view.get_dtype() not in DTYPES:
                raise UnsupportedModel(
                    f"{name} in {path} is stored as {view.get_dtype()}; "
                    f"supported are {', '.join(DTYPES)}."
                )
            tensors[name] = StoredTensor(tuple(view.get_shape()), path, _Reader(file, name))
    except (SafetensorError, OSError) as error:
        raise CorruptWeights(f"{path} is damaged or incomplete: {error}.") from error
    return tensors


class _Reader:
    def __init__(self, file: safe_open, name: str) -> None:
        self._file = file
        self._name = name

    def __call__(self) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_tensor(self._name)  # type: ignore[no-untyped-call]
        return tensor
