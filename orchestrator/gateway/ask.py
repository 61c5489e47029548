"""What a client asked, in the words of no protocol, and the limits of asking.

Both front doors translate their requests to an `Ask`; whatever is out of
range is refused here, once, with the name that the field has in both
protocols. Ranges are those of OpenAI's API where it has the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.gateway.errors import InvalidRequest
from protos.messages import RequestClass, RequestId
from protos.trace import TraceContext

CHOICES_MAX = 16
STOP_STRINGS_MAX = 16
STOP_CHARACTERS_MAX = 256
STOP_TOKENS_MAX = 64
LOGPROBS_MAX = 20
TOKENS_MAX = 2**31 - 1
SEED_MAX = 2**63 - 1
REQUEST_ID_CHARACTERS_MAX = 128
SALT_CHARACTERS_MAX = 256
TENANT_CHARACTERS_MAX = 128
MODEL_CHARACTERS_MAX = 256
MESSAGES_MAX = 4096  # a template takes some 10 us for each, while nothing else runs


@dataclass(frozen=True, slots=True)
class Text:
    """A bare text to continue."""

    text: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids to continue, used as they are."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages for the model's chat template; each has at least a role and a content."""

    messages: tuple[Mapping[str, str], ...]


Prompt = Text | Tokens | Conversation

# Who may have said a message.
Role = Literal["system", "developer", "user", "assistant", "tool"]


def trained_role(role: str) -> str:
    """The word for a chat template: models were trained on "system", not "developer"."""
    return "system" if role == "developer" else role


@dataclass(frozen=True, slots=True)
class Options:
    """How to complete. None means that the client left the choice to us."""

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
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    n: int = 1
    grammar: str = ""  # what the text must match (structured.py); empty: anything

    def check(self, prefix: str = "") -> None:
        """Raises InvalidRequest for the first field out of range, named `prefix` + its name."""
        for field in self.bounds():
            field.check(prefix)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise invalid(f"{prefix}min_tokens", "must not exceed max_tokens")
        if self.grammar and self.min_tokens:
            raise invalid(f"{prefix}min_tokens", "cannot lengthen structured output")
        if self.grammar and self.ignore_eos:
            raise invalid(f"{prefix}ignore_eos", "would not let structured output end")
        if len(self.stop) > STOP_STRINGS_MAX:
            raise invalid(f"{prefix}stop", f"has more than {STOP_STRINGS_MAX} strings")
        for stop in self.stop:
            if not 1 <= len(stop) <= STOP_CHARACTERS_MAX:
                raise invalid(
                    f"{prefix}stop", f"strings must have 1 to {STOP_CHARACTERS_MAX} characters"
                )
        if len(self.stop_token_ids) > STOP_TOKENS_MAX:
            raise invalid(f"{prefix}stop_token_ids", f"has more than {STOP_TOKENS_MAX} ids")

    def bounds(self) -> tuple[Bounded, ...]:
        """Every number, and between what it must be."""
        return (
            Bounded("max_tokens", self.max_tokens, 1, TOKENS_MAX),
            Bounded("min_tokens", self.min_tokens, 0, TOKENS_MAX),
            Bounded("temperature", self.temperature, 0, 2),
            Bounded("top_k", self.top_k, 1, TOKENS_MAX),
            Bounded("top_p", self.top_p, 0, 1, low_excluded=True),
            Bounded("min_p", self.min_p, 0, 1),
            Bounded("seed", self.seed, -SEED_MAX - 1, SEED_MAX),
            Bounded("repetition_penalty", self.repetition_penalty, 0, 10, low_excluded=True),
            Bounded("presence_penalty", self.presence_penalty, -2, 2),
            Bounded("frequency_penalty", self.frequency_penalty, -2, 2),
            Bounded("logprobs", self.logprobs, 0, LOGPROBS_MAX),
            Bounded("n", self.n, 1, CHOICES_MAX),
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt and how to complete it."""

    request_id: RequestId
    prompt: Prompt
    options: Options
    model: str | None = None  # None: the one that is served
    salt: bytes = b""
    request_class: RequestClass = RequestClass.INTERACTIVE
    tenant: str = ""
    trace: TraceContext | None = None  # its client's, where that told of one


def invalid(param: str, problem: str, *, code: str = "invalid_value") -> InvalidRequest:
    """The refusal of one field."""
    return InvalidRequest(f"{param} {problem}", code=code, param=param)


def class_named(word: str, *, param: str) -> RequestClass:
    """The class of this name. Raises InvalidRequest."""
    try:
        return RequestClass(word)
    except ValueError:
        known = ", ".join(each.value for each in RequestClass)
        raise invalid(param, f"must be one of {known}", code="unknown_class") from None


def tenant_named(name: str, *, param: str) -> str:
    """The name, if it is one. Raises InvalidRequest."""
    if len(name) > TENANT_CHARACTERS_MAX:
        raise invalid(param, f"is longer than {TENANT_CHARACTERS_MAX} characters")
    if not name.isprintable():  # operators' terminals print it
        raise invalid(param, "has characters that cannot be printed")
    return name


@dataclass(frozen=True, slots=True)
class Bounded:
    """A number of the options, if it was given, and its bounds."""

    name: str
    value: float | None
    low: float
    high: float
    low_excluded: bool = False

    def check(self, prefix: str) -> None:
        if self.value is None:
            return
        above = self.value > self.low if self.low_excluded else self.value >= self.low
        if not (above and self.value <= self.high):  # NaN fails both
            at_least = "greater than" if self.low_excluded else "at least"
            raise invalid(
                f"{prefix}{self.name}", f"must be {at_least} {self.low} and at most {self.high}"
            )
