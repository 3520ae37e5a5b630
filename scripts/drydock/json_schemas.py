"""jsonschema without the grammar of IRIs, which no schema here uses and which takes seconds to build.

jsonschema builds it when it is imported, as soon as some other package has brought rfc3987_syntax.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Draft202012Validator", "ValidationError", "best_match", "validate", "validator_for"]


@contextmanager
def _absent(module: str) -> Iterator[None]:
    """For the block, as if a module that has not been imported were not installed."""
    unknown = module not in sys.modules
    if unknown:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if unknown:
            del sys.modules[module]


with _absent("rfc3987_syntax"):
    from jsonschema import Draft202012Validator, ValidationError, validate
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
