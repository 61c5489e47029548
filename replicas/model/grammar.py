"""Structured output: which tokens a grammar allows after those that a choice has.

Compiling and matching is llguidance's work; this module decides where its
state lives. It lives nowhere: what is allowed next is a function of the grammar
and the output so far. So a choice that was preempted, resumed or moved to
another replica goes on in the middle of its grammar as if nothing had happened.
Matchers are kept only to be quick, in a bounded cache under exactly these two;
a missing one is built again by feeding it the output.

A grammar comes from a gateway that has checked it with the same library. One
that fails nevertheless while it runs (a parser's own limits) ends its choice:
nothing but an end token is allowed then.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from replicas.engine.plan import Sample

log = logging.getLogger(__name__)

# A grammar may take a megabyte and some hundred milliseconds to compile.
GRAMMARS_MAX = 64
# One for each choice that runs, and some that wait.
MATCHERS_MAX = 1024

MatcherKey = tuple[str, tuple[int, ...]]  # a grammar, and the output that it has seen


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How each token of a model is written."""

    tokens: tuple[bytes, ...]
    special: frozenset[int]  # never part of a text
    ends: tuple[int, ...]  # the model's own end tokens; at least one


class Grammars:
    """Masks over one vocabulary, which is only asked for when the first grammar comes."""

    def __init__(self, vocabulary: Callable[[], Vocabulary]) -> None:
        self._read_vocabulary = vocabulary
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._matchers: OrderedDict[MatcherKey, LLMatcher] = OrderedDict()

    def constrain(self, scores: Tensor, sample: Sample) -> None:
        """Minus infinity for every token that the sample's grammar forbids, in place.

        `scores` is a vector over the model's vocabulary, which may be longer
        than the tokenizer's. At least one token stays allowed.
        """
        assert sample.params.grammar, "a sample without a grammar"
        allowed = self._allowed(sample.params.grammar, sample.output, scores.shape[0])
        scores.masked_fill_(~allowed.to(scores.device), -torch.inf)

    def _allowed(self, grammar: str, output: Sequence[int], size: int) -> Tensor:
        matcher = self._matcher(grammar, tuple(output))
        allowed = torch.zeros(size, dtype=torch.bool)
        if matcher.is_error():
            log.warning("a grammar failed and ends its choice: %s", matcher.get_error())
        else:
            # One byte for each token, 0 for those that are forbidden.
            known = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)
            allowed[: min(size, known.shape[0])] = known[:size] > 0
        if not allowed.any():
            allowed[list(self._vocabulary.ends)] = True
        return allowed

    def _matcher(self, grammar: str, output: tuple[int, ...]) -> LLMatcher:
        """The one that has seen this output; the cache's entry moves on with its choice."""
        here, before = (grammar, output), (grammar, output[:-1])
        matcher = self._matchers.pop(here, None)
        if matcher is None and output and (matcher := self._matchers.pop(before, None)) is not None:
            matcher.consume_token(output[-1])
        if matcher is None:
            matcher = self._compile(grammar).deep_copy()
            matcher.consume_tokens(list(output))
        self._matchers[here] = matcher
        if len(self._matchers) > MATCHERS_MAX:
            self._matchers.popitem(last=False)
        return matcher

    def _compile(self, grammar: str) -> LLMatcher:
        compiled = self._compiled.pop(grammar, None) or LLMatcher(
            self._tokenizer, grammar, log_level=0
        )
        self._compiled[grammar] = compiled
        if len(self._compiled) > GRAMMARS_MAX:
            self._compiled.popitem(last=False)
        return compiled

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return self._read_vocabulary()

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        ends = list(self._vocabulary.ends)
        return LLTokenizer(_Spelling(self._vocabulary), eos_token=ends)  # type: ignore[arg-type]


class _Spelling:
    """A vocabulary in the shape that llguidance reads."""

    bos_token_id = None
    is_tokenizer_wrapper = True

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.tokens = vocabulary.tokens
        self.special_token_ids = sorted(vocabulary.special)
        self.eos_token_id = vocabulary.ends[0]

    def __call__(self, text: str) -> list[int]:
        """Never needed to know what is allowed: byte by byte where a byte is a token."""
        by_spelling = {spelling: token for token, spelling in enumerate(self.tokens)}
        single = (by_spelling.get(bytes([byte])) for byte in text.encode())
        return [token for token in single if token is not None]
