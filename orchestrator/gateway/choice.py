"""One choice's tokens as text: decoded, and ended at a stop string.

Works token by token, so that the outcome is the same however many tokens a
delta carried. When a stop string is met the choice ends there, whatever the
replica sent besides; the tokens up to the one that completed it count as
generated, those after it never existed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.gateway.detokenizer import Detokenizer
from orchestrator.gateway.stop_strings import StopStrings
from orchestrator.gateway.tokenizer import Tokenizer
from protos.messages import Delta, FinishReason, SampledToken


class Piece(NamedTuple):
    """What one delta added to one choice. The text may lag behind the tokens, never lead.

    A tuple, as one is made for every token: a frozen dataclass takes three times as long.
    """

    choice: int
    first_index: int
    tokens: tuple[SampledToken, ...]
    text: str
    finish: FinishReason | None
    is_known: bool = False  # its client has these tokens and their text from another gateway


class ChoiceText:
    """Follows one choice from its first token to its finish."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str],
        stop_token_ids: Sequence[int],
        tokens_min: int,
    ) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._stop_strings = StopStrings(stop)
        self._stop_token_ids = frozenset(stop_token_ids)
        self._tokens_min = tokens_min
        self.finished = False

    def feed(self, delta: Delta) -> Piece:
        """The piece of a delta; the choice's last one carries its finish."""
        assert not self.finished, "a delta after the choice's finish"
        finish, tokens = delta.finish, delta.tokens
        if finish is None and len(tokens) == 1 and not self._stop_strings.is_looking:
            text = self._detokenizer.feed(tokens[0].token)  # as for nearly every token
            return Piece(delta.choice, delta.first_index, tokens, text, None)
        texts: list[str] = []
        for place, sampled in enumerate(delta.tokens, start=1):
            if self._ends_choice(sampled.token, delta, place):
                continue
            texts.append(self._show(sampled.token, number=delta.first_index + place))
            if self._stop_strings.met:
                finish, tokens = FinishReason.STOP, delta.tokens[:place]
                break
        if finish is not None:
            self.finished = True
            texts.append(self._rest())
            if self._stop_strings.met:  # the last character was half a stop string's
                finish = FinishReason.STOP
        return Piece(delta.choice, delta.first_index, tokens, "".join(texts), finish)

    def _ends_choice(self, token: int, delta: Delta, place: int) -> bool:
        """Whether this is the stop token that ended the choice: it has no text."""
        return (
            delta.finish is FinishReason.STOP
            and place == len(delta.tokens)
            and token in self._stop_token_ids
        )

    def _show(self, token: int, *, number: int) -> str:
        text = self._detokenizer.feed(token)
        if number <= self._tokens_min:
            return text  # too early to stop: not even half a stop string counts
        return self._stop_strings.feed(text)

    def _rest(self) -> str:
        if self._stop_strings.met:
            return ""
        return self._stop_strings.feed(self._detokenizer.flush()) + self._stop_strings.flush()
