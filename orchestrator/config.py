"""What one deployment of the cluster is: one validated record, one default each.

The same record is built from the command line (`blockyard up`) and from the
`args` of an application in a Serve config file, so that both reject the same
mistakes in the same words. It knows no Ray, no torch and no environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protos.logs import LogFormat

Port = Annotated[int, Field(ge=1, le=65535)]


class Deployment(BaseModel):
    """How many replicas of which model, and where everybody listens."""

    # A URL may hold a password: no error and no repr repeats it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # A Hugging Face folder, a .gguf file, the URL of one, `env:NAME` of such a URL with secrets in
    # it, "smollm2" or "tiny".
    model: str = "smollm2"
    model_cache: Path | None = None  # where models from URLs are kept; None: in the user's cache
    model_checksums: Literal["checked", "required"] = "checked"  # checked: where there are any
    replicas: int = Field(default=2, ge=1)  # at first, where fewer or more may come to be
    min_replicas: int | None = Field(default=None, ge=1)  # None: never fewer than `replicas`
    max_replicas: int | None = Field(default=None, ge=1)  # None: never more
    scale_in_after_s: float = Field(default=60.0, gt=0)  # of fewer replicas being enough
    control_planes: int = Field(default=1, ge=1)  # one of them leads, the others stand by
    redis_url: str = Field(
        repr=False
    )  # or `env:NAME`: each process finds it in its own environment
    # What listeners bind to: an address, or under Ray `node`, the one by which Ray knows the node.
    host: str = "127.0.0.1"
    advertise_host: str | None = None  # how other nodes reach this one; None: `host`
    http_port: Port = 8000
    grpc_port: Port = 8001
    control_port: Port = 8002  # where it is taken by another control plane, any free one
    replica_port: Port | None = None  # then at most one replica on a node; None: any free port
    keys_file: Path | None = None  # who may come in (gateway/keys_file.py); None: everybody
    # Certificates, each as a folder with tls.crt and tls.key; None: in the clear.
    tls: Path | None = None  # of the front doors; client-ca.crt beside: clients must show one, too
    internal_tls: Path | None = None  # of every member, with ca.crt: mutual, of all connections
    # Where a replica or control plane answers a kubelet's probes, in the clear; None: nowhere.
    health_port: Port | None = None
    metrics_port: Port | None = None  # where a control plane answers Prometheus; None: nowhere
    # The Ray node label that says what a node is for: `replica`, `gateway` or `control-plane`.
    role_label: str | None = None  # None: every node is for everything
    blocks: int | None = Field(default=None, ge=1)  # for each replica; None: what memory allows
    block_size: int = Field(default=16, ge=1, le=1024)
    # Of host memory for each replica, into which sequences are paused for want of blocks; 0: their
    # tokens are computed again. Nothing by default: only who sets limits knows what is to spare.
    host_gib: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    guesses_max: int = Field(default=0, ge=0)  # tokens that a sequence may guess in a step
    # Whether a request has the same bits whatever else is served; no replica where that cannot be.
    deterministic: bool = False
    # Of the link between replicas' nodes, in Gbit/s: so fast cached blocks are copied at most, and
    # so fast they are believed to be until some were. 0: never copied.
    copy_gbps: float = Field(default=25.0, ge=0)
    ui: bool = False  # the live page of each gateway, at /ui/
    record_file: Path | None = None  # where a gateway records its placements; None: nowhere
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "text"  # json: one object a line
    drain_s: float = Field(default=20.0, ge=0)  # how long running requests may finish at shutdown

    @model_validator(mode="after")
    def _bounds_hold_replicas(self) -> Self:
        if not self.replicas_least <= self.replicas <= self.replicas_most:
            raise ValueError(
                f"{self.replicas} replicas are not between a least of {self.replicas_least} "
                f"and a most of {self.replicas_most}"
            )
        return self

    @property
    def copy_bytes_per_s(self) -> int:
        return round(self.copy_gbps * 1e9 / 8)

    @property
    def replicas_least(self) -> int:
        return self.replicas if self.min_replicas is None else self.min_replicas

    @property
    def replicas_most(self) -> int:
        return self.replicas if self.max_replicas is None else self.max_replicas
