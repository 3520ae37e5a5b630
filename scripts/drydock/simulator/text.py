"""Made-up text, and tokens of real text: four bytes each, which is near what tokenizers make of English.

Answers are words of four bytes with their blank, so that an answer that comes back as part of a later prompt has the
same tokens as when it was made: prefix caching works across the turns of a conversation.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from random import Random

_WORDS = """
the and for are but not you all any can her was one our out day get has him his how man new now old see two way
who boy did its let put say she too use sun sea air oak elm ash fir bay dew fog ice sky ink map pen key law art
bit
"""
WORDS = tuple(f" {word}" for word in _WORDS.split())
"""What tokens of answers say."""

TOKEN_BYTES = 4


def text_tokens(text: str) -> list[bytes]:
    """Tokens of a text."""
    raw = text.encode()
    return [raw[start : start + TOKEN_BYTES] for start in range(0, len(raw), TOKEN_BYTES)]


def chat_tokens(messages: Iterable[tuple[str, str]]) -> list[bytes]:
    """Tokens of a conversation as a chat template would join it, up to where the answer begins."""
    tokens: list[bytes] = [b"<bos>"]
    for role, content in messages:
        tokens += (b"<start>", role.encode(), b"<end>")
        tokens += text_tokens(content)
        tokens.append(b"<eot>")
    return [*tokens, b"<start>", b"assistant", b"<end>"]


def id_tokens(ids: Sequence[int]) -> list[bytes]:
    """Tokens that were given as numbers."""
    return [str(value).encode() for value in ids]


def block_hashes(tokens: Sequence[bytes], block_size: int, salt: str = "") -> list[int]:
    """A hash for each full block that stands for it and all before it."""
    found: list[int] = []
    previous = salt.encode()
    for start in range(0, len(tokens) - block_size + 1, block_size):
        digest = blake2b(b"\0".join((previous, *tokens[start : start + block_size])), digest_size=8).digest()
        found.append(int.from_bytes(digest, "big"))
        previous = digest
    return found


def answer(seed: str, tokens: int) -> list[str]:
    """The words of an answer; the same for the same seed, whatever its length."""
    return Random(seed).choices(WORDS, k=tokens) if tokens else []  # noqa: S311 (no secret)


def natural_length(seed: str, mean: int = 220) -> int:
    """Tokens that a model would answer with before it stops by itself: lognormal, as chat logs have it."""
    random = Random(f"length {seed}")  # noqa: S311 (no secret)
    return max(1, round(random.lognormvariate(0, 0.8) * mean * 0.726))
