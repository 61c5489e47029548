"""A request that has its first token, as text: deltas in, pieces out.

Keeps count of what was generated and ends when every choice has: a choice
that met a stop string is over for its client at once, but the replica is only
told when all of them are.

Of an answer that another gateway began, the tokens that the client has come
again and are known: they are counted and move the text on, so that what
follows them is what would have followed, and whoever sends pieces leaves them
out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from orchestrator.control.seams import Clock
from orchestrator.gateway.choice import ChoiceText, Piece
from orchestrator.gateway.class_metrics import ClassMetrics
from orchestrator.gateway.errors import ReplicaFailed
from orchestrator.gateway.resumption import Origin, Resumption, parted
from orchestrator.gateway.stream import Stream, Timing
from orchestrator.gateway.tokenizer import Tokenizer
from orchestrator.policy.usage import used_block_ns
from orchestrator.policy.view import Subject
from protos.messages import FinishReason, ModelCard, ReplicaId, Request, RequestClass, RequestId


class Generation:
    """Iterate once. Whoever made it closes the stream."""

    def __init__(
        self,
        request: Request,
        stream: Stream,
        *,
        stop: Sequence[str],
        card: ModelCard,
        tokenizer: Tokenizer,
        clock: Clock,
        metrics: ClassMetrics,
        resumption: Resumption | None = None,
    ) -> None:
        finished = resumption.finished if resumption else frozenset()
        known = resumption.tokens if resumption else (0,) * request.choices
        self.card = card
        self.resumption = resumption
        self.completion_tokens = sum(known[choice] for choice in finished)
        self.known_tokens = sum(known)
        self._known = known
        self._stop = tuple(stop)
        self._request = request
        self._stream = stream
        self._clock = clock
        self._metrics = metrics
        self._unfinished = request.choices - len(finished)
        self._began_ns = clock.now_ns()
        self._choices = [
            _Choice(
                ChoiceText(
                    tokenizer,
                    stop=stop,
                    stop_token_ids=request.sampling.stop_token_ids,
                    tokens_min=request.sampling.tokens_min,
                )
            )
            for _ in range(request.choices)
        ]

    @property
    def request_id(self) -> RequestId:
        return self._request.request_id

    @property
    def request_class(self) -> RequestClass:
        return self._request.request_class

    @property
    def prompt_tokens(self) -> int:
        return len(self._request.prompt)

    @property
    def replica_id(self) -> ReplicaId:
        """Where it runs."""
        return self._stream.replica_id

    @property
    def hit_tokens(self) -> int:
        """Prompt tokens that the first replica found in its cache."""
        if self.resumption is not None:
            return self.resumption.origin.hit_tokens
        return self._stream.hit_tokens

    @property
    def timing(self) -> Timing:
        """Where the time to its first token went."""
        return self._stream.timing

    @property
    def attempts(self) -> int:
        """Replicas tried."""
        return self._stream.attempts

    def held_block_ns(self) -> int:
        """The blocks that it brought, times the time since its first token (policy/usage.py)."""
        subject = Subject(
            request_id=self.request_id,
            prompt_tokens=self.prompt_tokens,
            tokens_max=self._request.sampling.tokens_max,
            choices=self._request.choices,
            block_size=self.card.block_size,
        )
        return used_block_ns(
            subject,
            hit_blocks=self.hit_tokens // self.card.block_size,
            tokens=self.completion_tokens,
            decode_ns=self._clock.now_ns() - self._began_ns,
        )

    def origin(self, created: int) -> Origin:
        """What another gateway needs to go on with this answer."""
        if self.resumption is not None:
            return self.resumption.origin
        return Origin(
            request_id=self.request_id,
            created=created,
            revision=self.card.revision,
            tokens_max=self._request.sampling.tokens_max,
            hit_tokens=self.hit_tokens,
        ).sealed(self._request, self._stop)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces of all choices as they come. Raises ReplicaFailed."""
        async for delta in self._stream:
            choice, known = self._choices[delta.choice], self._known[delta.choice]
            parts = (delta,) if delta.first_index >= known else parted(delta, known)
            for part in parts:
                if choice.text.finished:
                    break  # at a stop string; the replica still runs it
                piece = choice.text.feed(part)
                if piece.finish is FinishReason.CANCELLED:
                    raise ReplicaFailed("the replica gave up the request", code="replica_cancelled")
                self._count(piece, choice)
                yield piece if piece.first_index >= known else self._marked(piece)
            if self._unfinished == 0:
                return

    def _marked(self, piece: Piece) -> Piece:
        """The piece, known or not: `parted` left none that is both."""
        stop = piece.first_index + len(piece.tokens)
        is_known = bool(piece.tokens) and stop <= self._known[piece.choice]
        return piece._replace(is_known=True) if is_known else piece

    def _count(self, piece: Piece, choice: _Choice) -> None:
        now_ns = self._clock.now_ns()
        self.completion_tokens += len(piece.tokens)
        choice.tokens += len(piece.tokens)
        if piece.tokens and piece.first_index >= self._known[piece.choice]:
            self._metrics.tokens_came(len(piece.tokens), since_ns=choice.last_ns, now_ns=now_ns)
        choice.last_ns = now_ns
        if choice.first_ns is None:
            choice.first_ns = now_ns
        if piece.finish is not None:
            self._unfinished -= 1
            self._metrics.choice_ended(tokens=choice.tokens, duration_ns=now_ns - choice.first_ns)


class _Choice:
    def __init__(self, text: ChoiceText) -> None:
        self.text = text
        self.tokens = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
