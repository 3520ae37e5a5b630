"""API keys: the master key from the environment, the others from a Secret."""

import hashlib
import hmac
import os
import time
from pathlib import Path

import configuration
from request_filter import Caller

KEYS = configuration.HERE / "keys"
LOOK_SECONDS = float(os.environ.get("GATEWAY_LOOK_SECONDS", "10"))


class Keyring:
    """API keys by name, from a folder with a file for each; what changes there counts at the next check."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, bytes] = {}
        self.read_at = float("-inf")

    def name_of(self, key: str) -> str | None:
        """The name of a key, None for an unknown one. How long it takes does not show how much of a key is right."""
        if time.monotonic() - self.read_at > LOOK_SECONDS:
            self._read()
        digest = hashlib.sha256(key.encode()).digest()
        found = None
        for name, known in self.digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _read(self) -> None:
        files = (file for file in self.folder.glob("*") if file.is_file() and not file.name.startswith("."))
        texts = {file.name: file.read_text().strip() for file in files}
        self.digests = {name: hashlib.sha256(text.encode()).digest() for name, text in texts.items() if text}
        self.read_at = time.monotonic()


KEYRING = Keyring(KEYS)
SETTINGS = configuration.read_json(configuration.SETTINGS)


def caller(key: str) -> Caller | None:
    """Who sends a request with a key, None for an unknown key and for none at all."""
    if not key:
        return None
    master = os.environ.get("LITELLM_MASTER_KEY", "")
    if master and hmac.compare_digest(key.encode(), master.encode()):
        return Caller("master", administrator=True)
    name = KEYRING.name_of(key)
    if name is None or name not in SETTINGS["keys"]:
        return None
    return Caller(name, frozenset(SETTINGS["keys"][name].get("models") or ()))
