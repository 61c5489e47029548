"""What one deployment of the cluster is: one validated record, one default each.

The same record is built from the command line (`blockyard up`) and from the
`args` of an application in a Serve config file, so that both reject the same
mistakes in the same words. It knows no Ray, no torch and no environment.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]


class Deployment(BaseModel):
    """How many replicas of which model, and where everybody listens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "smollm2"  # a Hugging Face folder, a .gguf file, "smollm2" or "tiny"
    replicas: int = Field(default=2, ge=1)
    redis_url: str  # or `env:NAME`: each process finds it in its own environment
    host: str = "127.0.0.1"  # the address that listeners bind to
    advertise_host: str | None = None  # how other nodes reach this one; None: `host`
    http_port: Port = 8000
    grpc_port: Port = 8001
    control_port: Port = 8002
    replica_port: Port | None = None  # then at most one replica on a node; None: any free port
    # The Ray node label that says what a node is for: `replica`, `gateway` or `control-plane`.
    role_label: str | None = None  # None: every node is for everything
    blocks: int | None = Field(default=None, ge=1)  # for each replica; None: what memory allows
    block_size: int = Field(default=16, ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_s: float = Field(default=20.0, ge=0)  # how long running requests may finish at shutdown
