"""OpenAI's two request bodies, strictly read, as a protocol-free Call.

Types are exact: no number in a string, no boolean as a number. Ranges that
both front doors share are checked by Options; the few that are OpenAI's alone
are here. Which other fields may be sent at all is openai_fields.py's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from orchestrator.gateway.ask import (
    LOGPROBS_MAX,
    MESSAGES_MAX,
    MODEL_CHARACTERS_MAX,
    SALT_CHARACTERS_MAX,
    TENANT_CHARACTERS_MAX,
    TOKENS_MAX,
    Conversation,
    Options,
    Prompt,
    Role,
    Text,
    Tokens,
    class_named,
    invalid,
    trained_role,
)
from orchestrator.gateway.openai_fields import read_body
from orchestrator.gateway.structured import of_response_format, of_structured_outputs
from protos.messages import RequestClass

PROMPTS_MAX = 64
ALL_CHOICES_MAX = 128  # prompts times n
COMPLETION_LOGPROBS_MAX = 5  # OpenAI's bound
COMPLETION_TOKENS_DEFAULT = 16  # OpenAI's, for completions only


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request: some prompts with the same options, and how to answer."""

    prompts: tuple[Prompt, ...]
    options: Options
    model: str | None
    salt: bytes
    stream: bool
    include_usage: bool
    request_class: RequestClass | None = None  # None: not said, and not yet granted
    tenant: str = ""


def chat_call(body: object) -> Call:
    """From a parsed JSON body. Raises InvalidRequest."""
    return read_body(ChatCompletionBody, body).to_call()


def completion_call(body: object) -> Call:
    """From a parsed JSON body. Raises InvalidRequest."""
    return read_body(CompletionBody, body).to_call()


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _joined_parts(value: object) -> object:
    """The text of content given in parts; anything but text parts is refused."""
    if not isinstance(value, list):
        return value
    texts = [
        part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        for part in value
    ]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a string or a list of text parts")
    return "\n".join(map(str, texts))


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False  # padding against traffic analysis; never sent


class ChatMessage(_Strict):
    role: Role
    content: Annotated[str, BeforeValidator(_joined_parts)] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    annotations: list[Any] = []  # what a client got back with an answer and sends again

    def plain(self) -> dict[str, str]:
        """As a chat template wants it."""
        plain = {"role": trained_role(self.role), "content": self.content or ""}
        if self.name is not None:
            plain["name"] = self.name
        if self.tool_call_id is not None:
            plain["tool_call_id"] = self.tool_call_id
        return plain


class _Common(_Strict):
    model: str | None = Field(default=None, max_length=MODEL_CHARACTERS_MAX)
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: Annotated[list[str], BeforeValidator(_one_or_several)] = []
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    n: int = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    cache_salt: str = Field(default="", max_length=SALT_CHARACTERS_MAX)
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None  # as vLLM has it
    request_class: str | None = None  # interactive, agent or batch
    user: str = Field(default="", max_length=TENANT_CHARACTERS_MAX)

    def call(
        self, prompts: tuple[Prompt, ...], *, max_tokens: int | None, logprobs: int | None
    ) -> Call:
        """Raises InvalidRequest for what is out of range."""
        if self.stream_options is not None and not self.stream:
            raise invalid("stream_options", "is allowed only together with stream")
        options = Options(
            max_tokens=max_tokens,
            min_tokens=self.min_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            seed=self.seed,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            stop=tuple(self.stop),
            stop_token_ids=tuple(self.stop_token_ids),
            ignore_eos=self.ignore_eos,
            logprobs=logprobs,
            n=self.n,
            grammar=self._grammar(),
        )
        options.check()
        if len(prompts) * self.n > ALL_CHOICES_MAX:
            raise invalid("n", f"times the prompts must not exceed {ALL_CHOICES_MAX}")
        return Call(
            prompts=prompts,
            options=options,
            model=self.model,
            salt=self.cache_salt.encode(),
            stream=self.stream,
            include_usage=self.stream_options is not None and self.stream_options.include_usage,
            request_class=self._class(),
            tenant=self.user,
        )

    def _grammar(self) -> str:
        if self.response_format is not None and self.structured_outputs is not None:
            raise invalid("structured_outputs", "is not allowed together with response_format")
        if self.structured_outputs is not None:
            return of_structured_outputs(self.structured_outputs)
        return "" if self.response_format is None else of_response_format(self.response_format)

    def _class(self) -> RequestClass | None:
        word = self.request_class
        return None if word is None else class_named(word, param="request_class")


class ChatCompletionBody(_Common):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MESSAGES_MAX)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=TOKENS_MAX)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=LOGPROBS_MAX)

    def to_call(self) -> Call:
        """Raises InvalidRequest for fields that do not go together or are out of range."""
        for place, message in enumerate(self.messages):
            if message.content is None and message.role != "assistant":
                raise invalid(
                    f"messages[{place}].content", "is required", code="missing_required_parameter"
                )
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid("top_logprobs", "is allowed only together with logprobs")
        conversation = Conversation(tuple(message.plain() for message in self.messages))
        return self.call(
            (conversation,),
            max_tokens=self._max_tokens(),
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )

    def _max_tokens(self) -> int | None:
        if self.max_completion_tokens is None:
            return self.max_tokens
        if self.max_tokens not in (None, self.max_completion_tokens):
            raise invalid("max_tokens", "contradicts max_completion_tokens")
        return self.max_completion_tokens


_PROMPT_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    ]
}


class CompletionBody(_Common):
    """POST /v1/completions."""

    prompt: Annotated[Any, WithJsonSchema(_PROMPT_SCHEMA)]
    logprobs: int | None = Field(default=None, ge=0, le=COMPLETION_LOGPROBS_MAX)

    def to_call(self) -> Call:
        """Raises InvalidRequest for fields that do not go together or are out of range."""
        return self.call(
            _prompts(self.prompt),
            max_tokens=COMPLETION_TOKENS_DEFAULT if self.max_tokens is None else self.max_tokens,
            logprobs=self.logprobs,
        )


def _prompts(value: object) -> tuple[Prompt, ...]:
    if isinstance(value, str):
        return (Text(value),)
    items = value if isinstance(value, list) else []
    if not items:
        raise invalid("prompt", "must be a string, strings, token ids or lists of token ids")
    if all(type(item) is int for item in items):
        return (Tokens(tuple(items)),)
    if len(items) > PROMPTS_MAX:
        raise invalid("prompt", f"has more than {PROMPTS_MAX} prompts")
    return tuple(_prompt(item, place) for place, item in enumerate(items))


def _prompt(item: object, place: int) -> Prompt:
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, list) and all(type(token) is int for token in item):
        return Tokens(tuple(item))
    raise invalid(f"prompt[{place}]", "must be a string or a list of token ids")
