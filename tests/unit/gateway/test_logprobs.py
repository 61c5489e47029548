from __future__ import annotations

import math

from orchestrator.gateway.logprobs import LOGPROB_MIN, chat_logprobs, completion_logprobs
from protos.messages import SampledToken

TOKENS = (
    SampledToken(0xC3, -0.5, ((0xC3, -0.5), (0x41, -2.0))),
    SampledToken(0x41, -math.inf, ()),
)


def spell(token: int) -> bytes:
    return bytes([token])


def test_a_chat_shows_half_characters_and_their_bytes() -> None:
    first, second = chat_logprobs(TOKENS, spell)["content"]
    assert (first["token"], first["bytes"], first["logprob"]) == ("\ufffd", [0xC3], -0.5)
    assert [entry["token"] for entry in first["top_logprobs"]] == ["\ufffd", "A"]
    assert second["logprob"] == LOGPROB_MIN, "JSON has no minus infinity"


def test_a_completion_lists_tokens_with_their_offsets() -> None:
    assert completion_logprobs(TOKENS, spell, text_offset=10) == {
        "tokens": ["\ufffd", "A"],
        "token_logprobs": [-0.5, LOGPROB_MIN],
        "top_logprobs": [{"\ufffd": -0.5, "A": -2.0}, {}],
        "text_offset": [10, 11],
    }
