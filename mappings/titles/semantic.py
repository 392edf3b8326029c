"""An optional model of meaning: static word vectors that ship inside the ``wordllama`` package.

Its two files are read straight from the installed package; nothing is imported from it that could reach a
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class StaticEncoder:
    """Turns texts into unit vectors: the mean of their word-piece vectors."""

    def __init__(self, tokenizer: Any, embedding: Vectors) -> None:
        self._tokenizer = tokenizer
        self._embedding = embedding

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, in the order given; an empty text is all zeros."""
        sparse = __import__("scipy.sparse", fromlist=["csr_matrix"])
        encodings = self._tokenizer.encode_batch([text or " " for text in texts], add_special_tokens=False)
        lengths = [len(encoding.ids) for encoding in encodings]
        pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        indices = np.fromiter((i for encoding in encodings for i in encoding.ids), np.int64, int(pointers[-1]))
        np.clip(indices, 0, len(self._embedding) - 1, out=indices)
        counts = sparse.csr_matrix(
            (np.ones(len(indices), np.float32), indices, pointers), shape=(len(texts), len(self._embedding))
        )
        return unit_rows(np.asarray(counts @ self._embedding, dtype=np.float32))


def unit_rows(vectors: Vectors) -> Vectors:
    """VECTORS with every row scaled to length one; rows of zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), dtype=np.float32)


@lru_cache(maxsize=1)
def load_encoder() -> StaticEncoder | None:
    """The encoder, or None where the ``semantic`` extra is not installed. Never downloads anything."""
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None or find_spec("tokenizers") is None or find_spec("safetensors") is None:
        return None
    package = Path(spec.origin).parent
    if not (package / _WEIGHTS).is_file() or not (package / _TOKENIZER).is_file():
        return None
    from safetensors import safe_open
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(package / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with safe_open(str(package / _WEIGHTS), framework="np") as weights:
        embedding = weights.get_tensor("embedding.weight").astype(np.float32)
    return StaticEncoder(tokenizer, embedding)
