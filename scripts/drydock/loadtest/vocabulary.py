"""What a server says of a failure, in one short line that is safe to show and to keep."""

import html
import json
import re
from collections.abc import Sequence
from urllib.parse import quote

from drydock.loadtest.secrets import Secret

MOST = 200
"""Characters of a sample."""
_MOST_READ = 2**20
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_HEADER = re.compile(r"""(authorization["']?\s*[:=]\s*["']?)(?:(?:bearer|basic)\s+)?[^\s,;"'}]+""", re.IGNORECASE)
"""An echoed field of a request's header."""


def told(body: bytes, secrets: Sequence[Secret] = ()) -> str:
    """The words of an error's body: a message of its JSON, the title of a page, or else the text.

    Neither a secret nor the value of an echoed `Authorization` is in them.
    """
    text = body[:_MOST_READ].decode(errors="replace")
    return safe(_message(text), secrets)


def safe(text: str, secrets: Sequence[Secret] = ()) -> str:
    """At most 200 printable characters in one line, without a secret in any of its usual spellings."""
    line = " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())
    for spelling in (spelling for secret in secrets for spelling in _spellings(secret.reveal())):
        line = line.replace(spelling, "***")
    line = _HEADER.sub(r"\1***", line)
    return line if len(line) <= MOST else f"{line[: MOST - 3]}..."


def _spellings(key: str) -> tuple[str, ...]:
    """As it is, and as JSON, pages and URLs write it."""
    return key, json.dumps(key)[1:-1], html.escape(key), quote(key), quote(key, safe="")


def _message(text: str) -> str:
    """The message where the body is an object of JSON that has one; the title where it is a page."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        title = _TITLE.search(text)
        return html.unescape(title[1]) if title else "" if text.lstrip().startswith("<") else text
    if isinstance(found, dict):
        found = next((found[name] for name in ("error", "detail", "message") if found.get(name)), found)
    if isinstance(found, dict) and found.get("message"):
        found = found["message"]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False) if found else ""
