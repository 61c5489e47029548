from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatewayMessage(_message.Message):
    __slots__ = ("submit", "cancel", "adopt")
    SUBMIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    ADOPT_FIELD_NUMBER: _ClassVar[int]
    submit: Submit
    cancel: Cancel
    adopt: Claim
    def __init__(self, submit: _Optional[_Union[Submit, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., adopt: _Optional[_Union[Claim, _Mapping]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("request_id", "choice")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    choice: int
    def __init__(self, request_id: _Optional[str] = ..., choice: _Optional[int] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("request_id", "choice", "digest", "next_index")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    choice: int
    digest: bytes
    next_index: int
    def __init__(self, request_id: _Optional[str] = ..., choice: _Optional[int] = ..., digest: _Optional[bytes] = ..., next_index: _Optional[int] = ...) -> None: ...

class Submit(_message.Message):
    __slots__ = ("request_id", "prompt", "sampling", "choices", "salt", "output", "first_choice", "request_class", "tenant", "traceparent", "deadline_ms", "copy_from")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FIRST_CHOICE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CLASS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    COPY_FROM_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    prompt: _containers.RepeatedScalarFieldContainer[int]
    sampling: SamplingParams
    choices: int
    salt: bytes
    output: _containers.RepeatedScalarFieldContainer[int]
    first_choice: int
    request_class: str
    tenant: str
    traceparent: str
    deadline_ms: int
    copy_from: CopySource
    def __init__(self, request_id: _Optional[str] = ..., prompt: _Optional[_Iterable[int]] = ..., sampling: _Optional[_Union[SamplingParams, _Mapping]] = ..., choices: _Optional[int] = ..., salt: _Optional[bytes] = ..., output: _Optional[_Iterable[int]] = ..., first_choice: _Optional[int] = ..., request_class: _Optional[str] = ..., tenant: _Optional[str] = ..., traceparent: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., copy_from: _Optional[_Union[CopySource, _Mapping]] = ...) -> None: ...

class CopySource(_message.Message):
    __slots__ = ("replica_id", "address", "blocks")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    address: str
    blocks: int
    def __init__(self, replica_id: _Optional[str] = ..., address: _Optional[str] = ..., blocks: _Optional[int] = ...) -> None: ...

class SamplingParams(_message.Message):
    __slots__ = ("tokens_max", "tokens_min", "temperature", "top_k", "top_p", "min_p", "seed", "repetition_penalty", "presence_penalty", "frequency_penalty", "stop_token_ids", "logprobs", "grammar")
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
    GRAMMAR_FIELD_NUMBER: _ClassVar[int]
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
    grammar: str
    def __init__(self, tokens_max: _Optional[int] = ..., tokens_min: _Optional[int] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., min_p: _Optional[float] = ..., seed: _Optional[int] = ..., repetition_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[int] = ..., grammar: _Optional[str] = ...) -> None: ...

class StepEvents(_message.Message):
    __slots__ = ("deltas", "refusals", "snapshot", "handoffs")
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    deltas: _containers.RepeatedCompositeFieldContainer[Delta]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    snapshot: Snapshot
    handoffs: _containers.RepeatedCompositeFieldContainer[Handoff]
    def __init__(self, deltas: _Optional[_Iterable[_Union[Delta, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., handoffs: _Optional[_Iterable[_Union[Handoff, _Mapping]]] = ...) -> None: ...

class Handoff(_message.Message):
    __slots__ = ("request_id", "choice", "choices", "target", "account")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    choice: int
    choices: int
    target: str
    account: Account
    def __init__(self, request_id: _Optional[str] = ..., choice: _Optional[int] = ..., choices: _Optional[int] = ..., target: _Optional[str] = ..., account: _Optional[_Union[Account, _Mapping]] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("request_id", "choice", "first_index", "tokens", "finish", "hit_tokens", "account")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    HIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    choice: int
    first_index: int
    tokens: _containers.RepeatedCompositeFieldContainer[SampledToken]
    finish: str
    hit_tokens: int
    account: Account
    def __init__(self, request_id: _Optional[str] = ..., choice: _Optional[int] = ..., first_index: _Optional[int] = ..., tokens: _Optional[_Iterable[_Union[SampledToken, _Mapping]]] = ..., finish: _Optional[str] = ..., hit_tokens: _Optional[int] = ..., account: _Optional[_Union[Account, _Mapping]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("queue_ns", "prefill_ns", "decode_ns", "chunks", "preemptions")
    QUEUE_NS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_NS_FIELD_NUMBER: _ClassVar[int]
    DECODE_NS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    queue_ns: int
    prefill_ns: int
    decode_ns: int
    chunks: int
    preemptions: int
    def __init__(self, queue_ns: _Optional[int] = ..., prefill_ns: _Optional[int] = ..., decode_ns: _Optional[int] = ..., chunks: _Optional[int] = ..., preemptions: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("request_id", "reason", "message", "choice")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    reason: str
    message: str
    choice: int
    def __init__(self, request_id: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., choice: _Optional[int] = ...) -> None: ...

class ReplicaReport(_message.Message):
    __slots__ = ("record", "snapshot", "standing", "sequences", "moves")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    record: ReplicaRecord
    snapshot: Snapshot
    standing: str
    sequences: _containers.RepeatedCompositeFieldContainer[SequenceReport]
    moves: _containers.RepeatedCompositeFieldContainer[MoveReport]
    def __init__(self, record: _Optional[_Union[ReplicaRecord, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., standing: _Optional[str] = ..., sequences: _Optional[_Iterable[_Union[SequenceReport, _Mapping]]] = ..., moves: _Optional[_Iterable[_Union[MoveReport, _Mapping]]] = ...) -> None: ...

class SequenceReport(_message.Message):
    __slots__ = ("sequence_id", "request_id", "choice", "request_class", "tenant", "tokens", "blocks", "blocks_own", "tokens_left_max", "is_waiting", "is_movable")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CLASS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_OWN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_LEFT_MAX_FIELD_NUMBER: _ClassVar[int]
    IS_WAITING_FIELD_NUMBER: _ClassVar[int]
    IS_MOVABLE_FIELD_NUMBER: _ClassVar[int]
    sequence_id: str
    request_id: str
    choice: int
    request_class: str
    tenant: str
    tokens: int
    blocks: int
    blocks_own: int
    tokens_left_max: int
    is_waiting: bool
    is_movable: bool
    def __init__(self, sequence_id: _Optional[str] = ..., request_id: _Optional[str] = ..., choice: _Optional[int] = ..., request_class: _Optional[str] = ..., tenant: _Optional[str] = ..., tokens: _Optional[int] = ..., blocks: _Optional[int] = ..., blocks_own: _Optional[int] = ..., tokens_left_max: _Optional[int] = ..., is_waiting: _Optional[bool] = ..., is_movable: _Optional[bool] = ...) -> None: ...

class MoveReport(_message.Message):
    __slots__ = ("move_id", "sequence_id", "outcome", "detail", "stages", "blocks_sent", "blocks_shared", "bytes_sent", "frozen_ns", "total_ns", "target", "request_id", "choice")
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_SENT_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_SHARED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    FROZEN_NS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_NS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    move_id: str
    sequence_id: str
    outcome: str
    detail: str
    stages: int
    blocks_sent: int
    blocks_shared: int
    bytes_sent: int
    frozen_ns: int
    total_ns: int
    target: str
    request_id: str
    choice: int
    def __init__(self, move_id: _Optional[str] = ..., sequence_id: _Optional[str] = ..., outcome: _Optional[str] = ..., detail: _Optional[str] = ..., stages: _Optional[int] = ..., blocks_sent: _Optional[int] = ..., blocks_shared: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., frozen_ns: _Optional[int] = ..., total_ns: _Optional[int] = ..., target: _Optional[str] = ..., request_id: _Optional[str] = ..., choice: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("replica_id", "epoch", "number", "blocks_total", "blocks_free", "blocks_cached", "blocks_used", "sequences_running", "sequences_waiting", "prefill_tokens_waiting", "blocks_waiting", "draining", "step_ns", "counters", "full_ns", "full_prefill_tokens", "blocks_yielding", "blocks_shared", "blocks_unreclaimable", "slots_unused", "registry_behind_ns", "copy_start_ns", "copy_block_ns", "copies", "prefill_context_waiting", "full_prefill_context", "host_blocks_total", "host_blocks_used", "totals")
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
    BLOCKS_YIELDING_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_SHARED_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_UNRECLAIMABLE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_UNUSED_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_BEHIND_NS_FIELD_NUMBER: _ClassVar[int]
    COPY_START_NS_FIELD_NUMBER: _ClassVar[int]
    COPY_BLOCK_NS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    PREFILL_CONTEXT_WAITING_FIELD_NUMBER: _ClassVar[int]
    FULL_PREFILL_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    HOST_BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    HOST_BLOCKS_USED_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
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
    blocks_yielding: int
    blocks_shared: int
    blocks_unreclaimable: int
    slots_unused: int
    registry_behind_ns: int
    copy_start_ns: int
    copy_block_ns: int
    copies: CopyTotals
    prefill_context_waiting: int
    full_prefill_context: int
    host_blocks_total: int
    host_blocks_used: int
    totals: StepTotals
    def __init__(self, replica_id: _Optional[str] = ..., epoch: _Optional[int] = ..., number: _Optional[int] = ..., blocks_total: _Optional[int] = ..., blocks_free: _Optional[int] = ..., blocks_cached: _Optional[int] = ..., blocks_used: _Optional[int] = ..., sequences_running: _Optional[int] = ..., sequences_waiting: _Optional[int] = ..., prefill_tokens_waiting: _Optional[int] = ..., blocks_waiting: _Optional[int] = ..., draining: _Optional[bool] = ..., step_ns: _Optional[int] = ..., counters: _Optional[_Union[EngineCounters, _Mapping]] = ..., full_ns: _Optional[int] = ..., full_prefill_tokens: _Optional[int] = ..., blocks_yielding: _Optional[int] = ..., blocks_shared: _Optional[int] = ..., blocks_unreclaimable: _Optional[int] = ..., slots_unused: _Optional[int] = ..., registry_behind_ns: _Optional[int] = ..., copy_start_ns: _Optional[int] = ..., copy_block_ns: _Optional[int] = ..., copies: _Optional[_Union[CopyTotals, _Mapping]] = ..., prefill_context_waiting: _Optional[int] = ..., full_prefill_context: _Optional[int] = ..., host_blocks_total: _Optional[int] = ..., host_blocks_used: _Optional[int] = ..., totals: _Optional[_Union[StepTotals, _Mapping]] = ...) -> None: ...

class CopyTotals(_message.Message):
    __slots__ = ("blocks", "held_ns", "ended")
    class EndedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    HELD_NS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    held_ns: int
    ended: _containers.ScalarMap[str, int]
    def __init__(self, blocks: _Optional[int] = ..., held_ns: _Optional[int] = ..., ended: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StepTotals(_message.Message):
    __slots__ = ("rows", "schedule_ns", "execute_ns", "forward_ns", "apply_ns", "admitted", "queue_ns")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_NS_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_NS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_NS_FIELD_NUMBER: _ClassVar[int]
    APPLY_NS_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_NS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    schedule_ns: int
    execute_ns: int
    forward_ns: int
    apply_ns: int
    admitted: int
    queue_ns: int
    def __init__(self, rows: _Optional[int] = ..., schedule_ns: _Optional[int] = ..., execute_ns: _Optional[int] = ..., forward_ns: _Optional[int] = ..., apply_ns: _Optional[int] = ..., admitted: _Optional[int] = ..., queue_ns: _Optional[int] = ...) -> None: ...

class EngineCounters(_message.Message):
    __slots__ = ("requests_finished", "prompt_tokens", "hit_tokens", "prefill_tokens", "recomputed_tokens", "decode_tokens", "preemptions", "steps", "sequences_imported", "sequences_exported", "copied_tokens", "guessed_tokens", "accepted_tokens", "pauses", "restored_tokens")
    REQUESTS_FINISHED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_IMPORTED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_EXPORTED_FIELD_NUMBER: _ClassVar[int]
    COPIED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GUESSED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PAUSES_FIELD_NUMBER: _ClassVar[int]
    RESTORED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    requests_finished: int
    prompt_tokens: int
    hit_tokens: int
    prefill_tokens: int
    recomputed_tokens: int
    decode_tokens: int
    preemptions: int
    steps: int
    sequences_imported: int
    sequences_exported: int
    copied_tokens: int
    guessed_tokens: int
    accepted_tokens: int
    pauses: int
    restored_tokens: int
    def __init__(self, requests_finished: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., hit_tokens: _Optional[int] = ..., prefill_tokens: _Optional[int] = ..., recomputed_tokens: _Optional[int] = ..., decode_tokens: _Optional[int] = ..., preemptions: _Optional[int] = ..., steps: _Optional[int] = ..., sequences_imported: _Optional[int] = ..., sequences_exported: _Optional[int] = ..., copied_tokens: _Optional[int] = ..., guessed_tokens: _Optional[int] = ..., accepted_tokens: _Optional[int] = ..., pauses: _Optional[int] = ..., restored_tokens: _Optional[int] = ...) -> None: ...

class ControlCommand(_message.Message):
    __slots__ = ("epoch", "standing", "move", "warm", "term")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    MOVE_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    standing: str
    move: MoveOrder
    warm: WarmOrder
    term: int
    def __init__(self, epoch: _Optional[int] = ..., standing: _Optional[str] = ..., move: _Optional[_Union[MoveOrder, _Mapping]] = ..., warm: _Optional[_Union[WarmOrder, _Mapping]] = ..., term: _Optional[int] = ...) -> None: ...

class MoveOrder(_message.Message):
    __slots__ = ("move_id", "sequence_id", "target", "deadline_ms")
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    move_id: str
    sequence_id: str
    target: Peer
    deadline_ms: int
    def __init__(self, move_id: _Optional[str] = ..., sequence_id: _Optional[str] = ..., target: _Optional[_Union[Peer, _Mapping]] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("replica_id", "address", "epoch")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    address: str
    epoch: int
    def __init__(self, replica_id: _Optional[str] = ..., address: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class WarmOrder(_message.Message):
    __slots__ = ("peers",)
    PEERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    def __init__(self, peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ...) -> None: ...

class ToTarget(_message.Message):
    __slots__ = ("move_id", "reserve", "blocks", "commit", "abort")
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    move_id: str
    reserve: Reserve
    blocks: Blocks
    commit: Commit
    abort: Abort
    def __init__(self, move_id: _Optional[str] = ..., reserve: _Optional[_Union[Reserve, _Mapping]] = ..., blocks: _Optional[_Union[Blocks, _Mapping]] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ...) -> None: ...

class Reserve(_message.Message):
    __slots__ = ("source", "target_epoch", "card", "request")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    source: str
    target_epoch: int
    card: ModelCard
    request: Submit
    def __init__(self, source: _Optional[str] = ..., target_epoch: _Optional[int] = ..., card: _Optional[_Union[ModelCard, _Mapping]] = ..., request: _Optional[_Union[Submit, _Mapping]] = ...) -> None: ...

class Blocks(_message.Message):
    __slots__ = ("first", "payloads", "crc32")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    first: int
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    crc32: int
    def __init__(self, first: _Optional[int] = ..., payloads: _Optional[_Iterable[bytes]] = ..., crc32: _Optional[int] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("said", "computed")
    SAID_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_FIELD_NUMBER: _ClassVar[int]
    said: _containers.RepeatedCompositeFieldContainer[SampledToken]
    computed: int
    def __init__(self, said: _Optional[_Iterable[_Union[SampledToken, _Mapping]]] = ..., computed: _Optional[int] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ToSource(_message.Message):
    __slots__ = ("move_id", "reserved", "written", "committed", "declined")
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    DECLINED_FIELD_NUMBER: _ClassVar[int]
    move_id: str
    reserved: Reserved
    written: Written
    committed: Committed
    declined: Declined
    def __init__(self, move_id: _Optional[str] = ..., reserved: _Optional[_Union[Reserved, _Mapping]] = ..., written: _Optional[_Union[Written, _Mapping]] = ..., committed: _Optional[_Union[Committed, _Mapping]] = ..., declined: _Optional[_Union[Declined, _Mapping]] = ...) -> None: ...

class Reserved(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: int
    def __init__(self, held: _Optional[int] = ...) -> None: ...

class Written(_message.Message):
    __slots__ = ("next_block",)
    NEXT_BLOCK_FIELD_NUMBER: _ClassVar[int]
    next_block: int
    def __init__(self, next_block: _Optional[int] = ...) -> None: ...

class Committed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Declined(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class CopyAsk(_message.Message):
    __slots__ = ("card", "root", "names", "tokens", "first")
    CARD_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    card: ModelCard
    root: bytes
    names: bytes
    tokens: _containers.RepeatedScalarFieldContainer[int]
    first: int
    def __init__(self, card: _Optional[_Union[ModelCard, _Mapping]] = ..., root: _Optional[bytes] = ..., names: _Optional[bytes] = ..., tokens: _Optional[_Iterable[int]] = ..., first: _Optional[int] = ...) -> None: ...

class CopyChunk(_message.Message):
    __slots__ = ("first", "payloads", "crc32")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    first: int
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    crc32: int
    def __init__(self, first: _Optional[int] = ..., payloads: _Optional[_Iterable[bytes]] = ..., crc32: _Optional[int] = ...) -> None: ...

class WarmRequest(_message.Message):
    __slots__ = ("card", "blocks_max")
    CARD_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_MAX_FIELD_NUMBER: _ClassVar[int]
    card: ModelCard
    blocks_max: int
    def __init__(self, card: _Optional[_Union[ModelCard, _Mapping]] = ..., blocks_max: _Optional[int] = ...) -> None: ...

class WarmBlocks(_message.Message):
    __slots__ = ("blocks",)
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[WarmBlock]
    def __init__(self, blocks: _Optional[_Iterable[_Union[WarmBlock, _Mapping]]] = ...) -> None: ...

class WarmBlock(_message.Message):
    __slots__ = ("parent", "index", "tokens", "payload")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    parent: bytes
    index: int
    tokens: _containers.RepeatedScalarFieldContainer[int]
    payload: bytes
    def __init__(self, parent: _Optional[bytes] = ..., index: _Optional[int] = ..., tokens: _Optional[_Iterable[int]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("sequences",)
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    sequences: bool
    def __init__(self, sequences: _Optional[bool] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("replicas", "moves", "term", "leading_ms")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADING_MS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    moves: _containers.RepeatedCompositeFieldContainer[MoveStatus]
    term: int
    leading_ms: int
    def __init__(self, replicas: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ..., moves: _Optional[_Iterable[_Union[MoveStatus, _Mapping]]] = ..., term: _Optional[int] = ..., leading_ms: _Optional[int] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("record", "snapshot", "state", "standing", "sequences", "is_fresh")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    IS_FRESH_FIELD_NUMBER: _ClassVar[int]
    record: ReplicaRecord
    snapshot: Snapshot
    state: str
    standing: str
    sequences: _containers.RepeatedCompositeFieldContainer[SequenceReport]
    is_fresh: bool
    def __init__(self, record: _Optional[_Union[ReplicaRecord, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., state: _Optional[str] = ..., standing: _Optional[str] = ..., sequences: _Optional[_Iterable[_Union[SequenceReport, _Mapping]]] = ..., is_fresh: _Optional[bool] = ...) -> None: ...

class MoveStatus(_message.Message):
    __slots__ = ("move_id", "sequence_id", "request_id", "source", "target", "reason", "blocks", "age_ms")
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    move_id: str
    sequence_id: str
    request_id: str
    source: str
    target: str
    reason: str
    blocks: int
    age_ms: int
    def __init__(self, move_id: _Optional[str] = ..., sequence_id: _Optional[str] = ..., request_id: _Optional[str] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., reason: _Optional[str] = ..., blocks: _Optional[int] = ..., age_ms: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("sequences", "interval_ms")
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    sequences: bool
    interval_ms: int
    def __init__(self, sequences: _Optional[bool] = ..., interval_ms: _Optional[int] = ...) -> None: ...

class CordonRequest(_message.Message):
    __slots__ = ("replica_id",)
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    def __init__(self, replica_id: _Optional[str] = ...) -> None: ...

class UncordonRequest(_message.Message):
    __slots__ = ("replica_id",)
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    def __init__(self, replica_id: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("replica_id",)
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    def __init__(self, replica_id: _Optional[str] = ...) -> None: ...

class DrainProgress(_message.Message):
    __slots__ = ("state", "sequences_left", "sequences_moved", "sequences_handed_back", "moves_under_way")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_LEFT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_MOVED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_HANDED_BACK_FIELD_NUMBER: _ClassVar[int]
    MOVES_UNDER_WAY_FIELD_NUMBER: _ClassVar[int]
    state: str
    sequences_left: int
    sequences_moved: int
    sequences_handed_back: int
    moves_under_way: int
    def __init__(self, state: _Optional[str] = ..., sequences_left: _Optional[int] = ..., sequences_moved: _Optional[int] = ..., sequences_handed_back: _Optional[int] = ..., moves_under_way: _Optional[int] = ...) -> None: ...

class MoveRequest(_message.Message):
    __slots__ = ("sequence", "target")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    sequence: str
    target: str
    def __init__(self, sequence: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...

class MoveResponse(_message.Message):
    __slots__ = ("report", "source")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    report: MoveReport
    source: str
    def __init__(self, report: _Optional[_Union[MoveReport, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class RebalanceRequest(_message.Message):
    __slots__ = ("dry_run",)
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    def __init__(self, dry_run: _Optional[bool] = ...) -> None: ...

class RebalanceResponse(_message.Message):
    __slots__ = ("moves", "stays")
    MOVES_FIELD_NUMBER: _ClassVar[int]
    STAYS_FIELD_NUMBER: _ClassVar[int]
    moves: _containers.RepeatedCompositeFieldContainer[PlannedMove]
    stays: _containers.RepeatedCompositeFieldContainer[Stay]
    def __init__(self, moves: _Optional[_Iterable[_Union[PlannedMove, _Mapping]]] = ..., stays: _Optional[_Iterable[_Union[Stay, _Mapping]]] = ...) -> None: ...

class PlannedMove(_message.Message):
    __slots__ = ("reason", "source", "target", "sequence_id", "request_id", "figures")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    reason: str
    source: str
    target: str
    sequence_id: str
    request_id: str
    figures: _containers.RepeatedCompositeFieldContainer[Figure]
    def __init__(self, reason: _Optional[str] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., sequence_id: _Optional[str] = ..., request_id: _Optional[str] = ..., figures: _Optional[_Iterable[_Union[Figure, _Mapping]]] = ...) -> None: ...

class Stay(_message.Message):
    __slots__ = ("reason", "source", "sequences")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    reason: str
    source: str
    sequences: int
    def __init__(self, reason: _Optional[str] = ..., source: _Optional[str] = ..., sequences: _Optional[int] = ...) -> None: ...

class Figure(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class DecisionsRequest(_message.Message):
    __slots__ = ("request_id", "replica_id", "count")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    replica_id: str
    count: int
    def __init__(self, request_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class DecisionsResponse(_message.Message):
    __slots__ = ("decisions",)
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    def __init__(self, decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("number", "age_ms", "kind", "reason", "replica_id", "target", "request_id", "sequence_id", "move_id", "detail", "figures")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    number: int
    age_ms: int
    kind: str
    reason: str
    replica_id: str
    target: str
    request_id: str
    sequence_id: str
    move_id: str
    detail: str
    figures: _containers.RepeatedCompositeFieldContainer[Figure]
    def __init__(self, number: _Optional[int] = ..., age_ms: _Optional[int] = ..., kind: _Optional[str] = ..., reason: _Optional[str] = ..., replica_id: _Optional[str] = ..., target: _Optional[str] = ..., request_id: _Optional[str] = ..., sequence_id: _Optional[str] = ..., move_id: _Optional[str] = ..., detail: _Optional[str] = ..., figures: _Optional[_Iterable[_Union[Figure, _Mapping]]] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("knob", "value")
    KNOB_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    knob: str
    value: str
    def __init__(self, knob: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("knobs",)
    KNOBS_FIELD_NUMBER: _ClassVar[int]
    knobs: _containers.RepeatedCompositeFieldContainer[Knob]
    def __init__(self, knobs: _Optional[_Iterable[_Union[Knob, _Mapping]]] = ...) -> None: ...

class Knob(_message.Message):
    __slots__ = ("name", "value", "meaning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    meaning: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., meaning: _Optional[str] = ...) -> None: ...
