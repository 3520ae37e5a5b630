"""The extras of this package (`pip install "drydock[loadtest]"`), and errors that name the one that is missing."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires

from drydock.errors import UsageError

_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)(?P<of>\[[^\]]*\])?.*;\s*extra\s*==\s*["'](?P<extra>[\w-]+)["']""")
_NOT_FOR_USERS = "dev"
_EXTRAS = {"plan": "simulate", "calibrate": "simulate", "bench": "loadtest"}
"""The extra of a verb that has none of its own name."""


def check_extra(extra: str) -> None:
    """See that all packages of an extra are installed.

    Raises:
        UsageError: one is not; the remedy is the command that installs them.
    """
    missing = [name for name, holder in _packages() if holder == extra and not _is_installed(name)]
    if missing:
        raise _error(extra, missing)


def missing_extra(error: ModuleNotFoundError, verb: str) -> UsageError | None:
    """The error that names the extra with the module; None when no extra has it.

    Args:
        error: from importing.
        verb: of the command line; its own extra is named where several have the module.
    """
    module = (error.name or "").partition(".")[0]
    extras = [extra for name, extra in _packages() if name == module]
    if not extras:
        return None
    wanted = _EXTRAS.get(verb, verb)
    return _error(wanted if wanted in extras else extras[0], [module])


def _error(extra: str, packages: list[str]) -> UsageError:
    return UsageError(
        f"this needs Python packages that are not installed: {', '.join(packages)}",
        remedy=f'pip install "drydock[{extra}]"',
    )


def _packages() -> Iterator[tuple[str, str]]:
    """The packages of each extra by the names of their modules, with the extra."""
    try:
        requirements = requires("drydock") or ()
    except PackageNotFoundError:  # a checkout on the path, installed nowhere
        return
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        if match and match["extra"] != _NOT_FOR_USERS:
            yield match["name"].lower().replace("-", "_"), match["extra"]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
