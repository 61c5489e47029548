from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatewayMessage(_message.Message):
    __slots__ = ("submit", "cancel_request_id")
    SUBMIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    submit: Submit
    cancel_request_id: str
    def __init__(self, submit: _Optional[_Union[Submit, _Mapping]] = ..., cancel_request_id: _Optional[str] = ...) -> None: ...

class Submit(_message.Message):
    __slots__ = ("request_id", "prompt", "sampling", "choices", "salt", "output", "first_choice")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FIRST_CHOICE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    prompt: _containers.RepeatedScalarFieldContainer[int]
    sampling: SamplingParams
    choices: int
    salt: bytes
    output: _containers.RepeatedScalarFieldContainer[int]
    first_choice: int
    def __init__(self, request_id: _Optional[str] = ..., prompt: _Optional[_Iterable[int]] = ..., sampling: _Optional[_Union[SamplingParams, _Mapping]] = ..., choices: _Optional[int] = ..., salt: _Optional[bytes] = ..., output: _Optional[_Iterable[int]] = ..., first_choice: _Optional[int] = ...) -> None: ...

class SamplingParams(_message.Message):
    __slots__ = ("tokens_max", "tokens_min", "temperature", "top_k", "top_p", "min_p", "seed", "repetition_penalty", "presence_penalty", "frequency_penalty", "stop_token_ids", "logprobs")
    TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    TOKENS_MIN_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    tokens_max: int
    tokens_min: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: int
    def __init__(self, tokens_max: _Optional[int] = ..., tokens_min: _Optional[int] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., min_p: _Optional[float] = ..., seed: _Optional[int] = ..., repetition_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[int] = ...) -> None: ...

class StepEvents(_message.Message):
    __slots__ = ("deltas", "refusals", "snapshot")
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    deltas: _containers.RepeatedCompositeFieldContainer[Delta]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    snapshot: Snapshot
    def __init__(self, deltas: _Optional[_Iterable[_Union[Delta, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("request_id", "choice", "first_index", "tokens", "finish", "hit_tokens")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    HIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    choice: int
    first_index: int
    tokens: _containers.RepeatedCompositeFieldContainer[SampledToken]
    finish: str
    hit_tokens: int
    def __init__(self, request_id: _Optional[str] = ..., choice: _Optional[int] = ..., first_index: _Optional[int] = ..., tokens: _Optional[_Iterable[_Union[SampledToken, _Mapping]]] = ..., finish: _Optional[str] = ..., hit_tokens: _Optional[int] = ...) -> None: ...

class SampledToken(_message.Message):
    __slots__ = ("token", "logprob", "top_tokens", "top_logprobs")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    TOP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    token: int
    logprob: float
    top_tokens: _containers.RepeatedScalarFieldContainer[int]
    top_logprobs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, token: _Optional[int] = ..., logprob: _Optional[float] = ..., top_tokens: _Optional[_Iterable[int]] = ..., top_logprobs: _Optional[_Iterable[float]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("request_id", "reason", "message")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    reason: str
    message: str
    def __init__(self, request_id: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ReplicaReport(_message.Message):
    __slots__ = ("record", "snapshot")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    record: ReplicaRecord
    snapshot: Snapshot
    def __init__(self, record: _Optional[_Union[ReplicaRecord, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class ReplicaRecord(_message.Message):
    __slots__ = ("replica_id", "address", "card", "blocks_total")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    address: str
    card: ModelCard
    blocks_total: int
    def __init__(self, replica_id: _Optional[str] = ..., address: _Optional[str] = ..., card: _Optional[_Union[ModelCard, _Mapping]] = ..., blocks_total: _Optional[int] = ...) -> None: ...

class ModelCard(_message.Message):
    __slots__ = ("name", "revision", "dtype", "block_size", "context_tokens_max", "vocab_size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    dtype: str
    block_size: int
    context_tokens_max: int
    vocab_size: int
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., dtype: _Optional[str] = ..., block_size: _Optional[int] = ..., context_tokens_max: _Optional[int] = ..., vocab_size: _Optional[int] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("replica_id", "epoch", "number", "blocks_total", "blocks_free", "blocks_cached", "blocks_used", "sequences_running", "sequences_waiting", "prefill_tokens_waiting", "blocks_waiting", "draining", "step_ns", "counters", "full_ns", "full_prefill_tokens")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FREE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_CACHED_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_USED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_RUNNING_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_WAITING_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_WAITING_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_WAITING_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    STEP_NS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    FULL_NS_FIELD_NUMBER: _ClassVar[int]
    FULL_PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    epoch: int
    number: int
    blocks_total: int
    blocks_free: int
    blocks_cached: int
    blocks_used: int
    sequences_running: int
    sequences_waiting: int
    prefill_tokens_waiting: int
    blocks_waiting: int
    draining: bool
    step_ns: int
    counters: EngineCounters
    full_ns: int
    full_prefill_tokens: int
    def __init__(self, replica_id: _Optional[str] = ..., epoch: _Optional[int] = ..., number: _Optional[int] = ..., blocks_total: _Optional[int] = ..., blocks_free: _Optional[int] = ..., blocks_cached: _Optional[int] = ..., blocks_used: _Optional[int] = ..., sequences_running: _Optional[int] = ..., sequences_waiting: _Optional[int] = ..., prefill_tokens_waiting: _Optional[int] = ..., blocks_waiting: _Optional[int] = ..., draining: _Optional[bool] = ..., step_ns: _Optional[int] = ..., counters: _Optional[_Union[EngineCounters, _Mapping]] = ..., full_ns: _Optional[int] = ..., full_prefill_tokens: _Optional[int] = ...) -> None: ...

class EngineCounters(_message.Message):
    __slots__ = ("requests_finished", "prompt_tokens", "hit_tokens", "prefill_tokens", "recomputed_tokens", "decode_tokens", "preemptions", "steps")
    REQUESTS_FINISHED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    requests_finished: int
    prompt_tokens: int
    hit_tokens: int
    prefill_tokens: int
    recomputed_tokens: int
    decode_tokens: int
    preemptions: int
    steps: int
    def __init__(self, requests_finished: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., hit_tokens: _Optional[int] = ..., prefill_tokens: _Optional[int] = ..., recomputed_tokens: _Optional[int] = ..., decode_tokens: _Optional[int] = ..., preemptions: _Optional[int] = ..., steps: _Optional[int] = ...) -> None: ...

class ControlCommand(_message.Message):
    __slots__ = ("epoch", "drain")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    drain: DrainCommand
    def __init__(self, epoch: _Optional[int] = ..., drain: _Optional[_Union[DrainCommand, _Mapping]] = ...) -> None: ...

class DrainCommand(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    def __init__(self, replicas: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("record", "snapshot", "state")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    record: ReplicaRecord
    snapshot: Snapshot
    state: str
    def __init__(self, record: _Optional[_Union[ReplicaRecord, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., state: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("replica_id",)
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    def __init__(self, replica_id: _Optional[str] = ...) -> None: ...

class DrainProgress(_message.Message):
    __slots__ = ("state", "sequences_left")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_LEFT_FIELD_NUMBER: _ClassVar[int]
    state: str
    sequences_left: int
    def __init__(self, state: _Optional[str] = ..., sequences_left: _Optional[int] = ...) -> None: ...
