"""Deployments that this machine made: a folder for each, which only its user can read."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drydock.errors import UsageError
from drydock.project import Project

_RECORD = "deployment.json"
_PLACE = ("backend_bucket", "backend_region")
_NAME = re.compile("[a-z][a-z0-9-]{0,33}[a-z0-9]")


@dataclass(frozen=True)
class Deployment:
    """An environment on a target.

    Attributes:
        name: as `drydock destroy` takes it.
        environment: whose suite is installed.
        target: key of TARGETS.
        namespace: of the Helm release.
        created, updated, expires: RFC 3339 in UTC; one that never expires has "". `updated` is the last command's.
        settings: what the target needs to be found again; never a credential.
    """

    name: str
    environment: str
    target: str
    namespace: str
    created: str
    expires: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    updated: str = ""

    def folder(self, project: Project) -> Path:
        """Holds the record, the kubeconfig and Terraform's working folder; mode 0700."""
        return deployments_dir(project) / self.name


def deployments_dir(project: Project) -> Path:
    """One folder for each deployment."""
    return project.cache_dir / "deployments"


def is_name(text: str) -> bool:
    """Whether a text, such as a tag that anyone may have written, is the name of a deployment."""
    return bool(_NAME.fullmatch(text))


def check_name(name: str) -> str:
    """The name, which becomes that of a folder, of a cluster and of what is made for it.

    Raises:
        UsageError: one of these cannot have it.
    """
    if not is_name(name):
        raise UsageError(
            f"--name {name}: not the name of a deployment",
            remedy="Lower-case letters, digits and hyphens, 2 to 35 of them, a letter first and no hyphen last.",
        )
    return name


def now() -> str:
    """The time as records have it."""
    return rfc3339(datetime.now(UTC))


def rfc3339(when: datetime) -> str:
    """A time in UTC, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_free(project: Project, deployment: Deployment) -> Deployment | None:
    """The earlier record of the same deployment, if there is one.

    Raises:
        UsageError: the name is taken by a deployment of another environment, target or cluster.
    """
    known = {item.name: item for item in list_deployments(project)}.get(deployment.name)
    if known and _identity(known) != _identity(deployment):
        raise UsageError(
            f"deployment {deployment.name} is of environment {known.environment} on another {known.target} target",
            remedy="Give another --name, or remove that one with `drydock destroy`.",
        )
    return known


def keep(project: Project, deployment: Deployment) -> None:
    """Write a deployment's record; one that is there already keeps the time at which it was made.

    Raises:
        UsageError: the name is taken by a deployment of another environment, target or cluster.
    """
    known = check_free(project, deployment)
    folder = deployment.folder(project)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = folder / f"{_RECORD}.new"
    made = replace(deployment, created=known.created if known else deployment.created, updated=deployment.created)
    written.write_text(json.dumps(asdict(made), indent=2))
    written.replace(folder / _RECORD)


@contextmanager
def alone(project: Project, name: str) -> Iterator[None]:
    """Keep other commands of this machine from a deployment for the block.

    Raises:
        UsageError: one is at work on it.
    """
    from filelock import FileLock, Timeout

    deployments_dir(project).mkdir(parents=True, exist_ok=True)
    lock = FileLock(deployments_dir(project) / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another command is at work on deployment {name}", remedy="Wait for its end, or give another --name."
        ) from error
    try:
        yield
    finally:
        lock.release()


def load_deployment(project: Project, name: str) -> Deployment:
    """The record of a deployment.

    Raises:
        UsageError: there is no deployment of that name.
    """
    known = {deployment.name: deployment for deployment in list_deployments(project)}
    if name not in known:
        raise UsageError(f"no deployment {name}", remedy=f"Known here: {', '.join(known) or 'none'}.")
    return known[name]


def list_deployments(project: Project) -> tuple[Deployment, ...]:
    """Every deployment, sorted by name.

    Raises:
        UsageError: a record is broken, with its file.
    """
    return tuple(_read(path) for path in sorted(deployments_dir(project).glob(f"*/{_RECORD}")))


def past_their_time(project: Project) -> tuple[Deployment, ...]:
    """Those of this machine that have expired."""
    return tuple(
        deployment for deployment in list_deployments(project) if deployment.expires and deployment.expires <= now()
    )


def remembered(project: Project, deployment: Deployment) -> Deployment:
    """The deployment with the place of its state as the record has it, when the command names none.

    Raises:
        UsageError: the command names another place, where it would begin without a state.
    """
    known = {item.name: item for item in list_deployments(project)}.get(deployment.name)
    if known is None or known.target != deployment.target:
        return deployment
    settings = dict(deployment.settings)
    for key in _PLACE:
        before, given = known.settings.get(key, ""), settings.get(key, "")
        if given and given != before:
            where = f"in {before}" if before else f"in {deployment.folder(project) / 'terraform'}"
            raise UsageError(
                f"--{key.replace('_', '-')} {given}: the state of {deployment.name} lies {where}",
                remedy="Leave the option out. To move the state, copy it there and remove the record.",
            )
        if key in settings:
            settings[key] = before
    return replace(deployment, settings=settings)


def forget(project: Project, deployment: Deployment) -> None:
    """Remove a deployment's folder."""
    shutil.rmtree(deployment.folder(project), ignore_errors=True)


def _read(record: Path) -> Deployment:
    try:
        return Deployment(**json.loads(record.read_text()))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{record}: not the record of a deployment: {error}",
            remedy="Remove what it was made for by hand, then the folder that the file lies in.",
        ) from error


def _identity(deployment: Deployment) -> tuple[Any, ...]:
    where = {key: deployment.settings.get(key) for key in ("kubeconfig", "account_id", "region")}
    return deployment.environment, deployment.target, where
