"""A random model of a million parameters, for tests and demonstrations without a download.

A complete Hugging Face folder: a Llama with a byte-level tokenizer (one token
per byte, and three special ones) and the ChatML template. Its weights come
from a fixed seed, so the folder is the same on every machine. They are scaled
so that layers and context matter: greedy output varies with the prompt and
does not settle on one token. Only printable ASCII and newline have a weight in
the head, which makes output readable and, greedily, endless: lengths are set
by the request.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from replicas.delivery.config import user_cache
from replicas.model.config import ModelConfig, RopeConfig
from replicas.model.stored import EMBEDDING, HEAD, tensor_shapes

VERSION = "1"  # of everything written here: another content, another folder
SEED = 20_240_501
END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END)
ID_OF = {token: 256 + n for n, token in enumerate(SPECIAL)}  # after the bytes

CONFIG = ModelConfig(
    vocab_size=256 + len(SPECIAL),
    hidden_size=128,
    intermediate_size=512,
    layers=4,
    heads=4,
    kv_heads=2,
    head_dim=32,
    context_tokens_max=8192,
    norm_eps=1e-5,
    rope=RopeConfig(theta=10000.0),
    tied_embeddings=False,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tiny(cache: Path | None = None) -> Path:
    """The model's folder, written on first use. Safe when several processes come at once."""
    folder = (cache or user_cache()) / f"tiny-{VERSION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_configuration(draft)
        _tokenizer().save(str(draft / "tokenizer.json"))
        save_file(_weights(), draft / "model.safetensors", metadata={"format": "pt"})
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            # Another process was first; what it wrote is the same.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _weights() -> dict[str, npt.NDArray[np.float32]]:
    generator = np.random.Generator(np.random.PCG64(SEED))
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in tensor_shapes(CONFIG).items():
        if name.endswith("norm.weight"):
            weights[name] = np.ones(shape, dtype=np.float32)
            continue
        values = generator.standard_normal(shape, dtype=np.float32)
        if name != EMBEDDING:
            values *= np.float32(_gain(name) / np.sqrt(shape[1]))
        weights[name] = values
    speakable = [ord("\n"), *range(ord(" "), ord("~") + 1)]
    mute = np.ones(CONFIG.vocab_size, dtype=bool)
    mute[speakable] = False
    weights[HEAD][mute] = 0.0
    return weights


def _gain(name: str) -> float:
    """Sharp attention and decided logits; elsewhere activations keep their size."""
    if name == HEAD:
        return 3.0
    return 2.0 if "q_proj" in name or "k_proj" in name else 1.0


def _tokenizer() -> Tokenizer:
    vocabulary = {character: byte for byte, character in enumerate(_byte_characters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def _byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary: itself where it is
    printable Latin-1, else the next unused one from 256 on."""
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    spare = iter(range(256, 512))
    return [chr(byte) if chr(byte) in alphabet else chr(next(spare)) for byte in range(256)]


def _write_configuration(folder: Path) -> None:
    _write_json(folder / "config.json", _hf_config())
    _write_json(
        folder / "generation_config.json",
        {"bos_token_id": ID_OF[END_OF_TEXT], "eos_token_id": [ID_OF[TURN_END], ID_OF[END_OF_TEXT]]},
    )
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONFIG.context_tokens_max,
            "bos_token": END_OF_TEXT,
            "eos_token": TURN_END,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def _hf_config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": CONFIG.vocab_size,
        "hidden_size": CONFIG.hidden_size,
        "intermediate_size": CONFIG.intermediate_size,
        "num_hidden_layers": CONFIG.layers,
        "num_attention_heads": CONFIG.heads,
        "num_key_value_heads": CONFIG.kv_heads,
        "head_dim": CONFIG.head_dim,
        "max_position_embeddings": CONFIG.context_tokens_max,
        "rms_norm_eps": CONFIG.norm_eps,
        "rope_theta": CONFIG.rope.theta,
        "tie_word_embeddings": CONFIG.tied_embeddings,
        "hidden_act": "silu",
        "dtype": "float32",
        "bos_token_id": ID_OF[END_OF_TEXT],
        "eos_token_id": ID_OF[TURN_END],
    }


def _write_json(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
