"""Environments: a values stack with a name, and the account that it expects."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import load_yaml
from drydock.errors import DrydockError, UsageError
from drydock.project import Project
from drydock.suite.account_snapshot import AccountSnapshot, read_snapshot
from drydock.suite.ec2_quotas import quotas_by_code
from drydock.suite.sources import Brought, Source, read_all

NODES = "nodes"
"""`suite: nodes` in an environment's file: of the suite its node pools and device plugins alone, as stand-ins."""
NODES_FILE = "nodes.yaml"
"""Values of the suite for that, in values/."""

_NAME = re.compile("[a-z]([a-z0-9-]*[a-z0-9])?")
_SCHEMA = Path(__file__).parents[1] / "data" / "environment.schema.yaml"


@dataclass(frozen=True)
class CapacityReservation:
    """An On-Demand Capacity Reservation or Capacity Block that the account of an environment holds.

    Attributes:
        id: `cr-` and 17 hexadecimal digits.
        instance_type: for example `p5.48xlarge`.
        zone: availability zone.
        instance_count: instances reserved.
        kind: `default` or `capacity-block`, as EC2 spells it.
        tags: tags of the reservation, which node classes may select by.
    """

    id: str
    instance_type: str
    zone: str
    instance_count: int
    kind: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Accepted:
    """A finding that an environment takes on purpose.

    Attributes:
        check: its identifier.
        object: `Kind/name` or `Kind/namespace/name`, as the finding has it.
        reason: why it is taken.
    """

    check: str
    object: str
    reason: str


OF_STAND_IN_NODES = (
    Accepted("account-escalation", "ClusterRole/genai-neuron-device-plugin", "The plugin annotates pods and nodes."),
)
"""Findings on the suite's node pools and device plugins, which are not about what is brought."""


@dataclass(frozen=True)
class Load:
    """What a model must serve at its busiest.

    Attributes:
        rate: requests a second of all its replicas together.
        workload: a preset of prompt and answer lengths, as `drydock loadtest` has them.
    """

    rate: float
    workload: str = "chat"


@dataclass(frozen=True)
class Environment:
    """A values stack with a name.

    Attributes:
        name: as `drydock render NAME` takes it.
        file: the small file that names the stack.
        description: one line for people.
        values_files: Helm values files, in the order of `-f`.
        set_values: `KEY=VALUE` as Helm's `--set` takes them, applied last.
        namespace: namespace of the Helm release.
        capacity_reservations: reservations that the account holds.
        quotas: vCPUs by code of the quota of EC2, as far as they are stated.
        accepted: findings of `validate` that it takes on purpose.
        secrets: keys by name of the Secrets that lie in the namespace before the install.
        objectives: what `drydock loadtest` must find, by name.
        load: what models must serve, by their names in requests, as far as it is stated.
        eks: variables of ci/eks, for `drydock deploy --target eks`.
        kind: what `drydock deploy --target kind` does differently.
        target: the cluster that it is made for, a key of data/targets.yaml.
        cluster: in what that cluster differs from its target.
        snapshot: what `drydock account` read; reservations and quotas above are then those of the account.
        suite: whether the suite itself is installed.
        stand_in_nodes: whether the suite is here only for node pools, which a cluster of one's own has by other means.
        brought: charts and manifests beside it.
        altered: files or values were stacked on top of those that its own file names.
    """

    name: str
    file: Path
    description: str
    values_files: tuple[Path, ...]
    set_values: tuple[str, ...] = ()
    namespace: str = "genai"
    capacity_reservations: tuple[CapacityReservation, ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    accepted: tuple[Accepted, ...] = ()
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    objectives: Mapping[str, Any] = field(default_factory=dict)
    eks: Mapping[str, Any] = field(default_factory=dict)
    kind: Mapping[str, Any] = field(default_factory=dict)
    target: str = "eks"
    cluster: Mapping[str, Any] = field(default_factory=dict)
    snapshot: AccountSnapshot | None = None
    suite: bool = True
    stand_in_nodes: bool = False
    brought: Brought = field(default_factory=Brought)
    load: Mapping[str, Load] = field(default_factory=dict)
    altered: bool = False

    def stacked(self, files: Sequence[Path], set_values: Sequence[str]) -> "Environment":
        """The environment with more values files and `--set` values on top.

        Raises:
            UsageError: a file cannot be read or is not a values file, or a `--set` has no value.
        """
        for file in files:
            _check_values(file)
        for pair in set_values:
            if not pair.partition("=")[0] or "=" not in pair:
                raise UsageError(f"--set {pair}: no value", remedy="Pass KEY=VALUE, as Helm takes it: --set a.b=c.")
        return replace(
            self,
            values_files=(*self.values_files, *files),
            set_values=(*self.set_values, *set_values),
            altered=self.altered or bool(files or set_values),
        )

    def on_own_nodes(self) -> "Environment":
        """The environment for a cluster that has its nodes: without what stands in for them."""
        if not self.stand_in_nodes:
            return self
        accepted = tuple(each for each in self.accepted if each not in OF_STAND_IN_NODES)
        return replace(self, suite=False, stand_in_nodes=False, values_files=(), accepted=accepted)

    def helm_arguments(self) -> list[str]:
        """The stack as arguments of `helm install`, `template` and `lint`."""
        files = [argument for file in self.values_files for argument in ("-f", str(file))]
        return files + [argument for pair in self.set_values for argument in ("--set", pair)]


def check_environment_name(name: str) -> None:
    """See that a file, a rehearsal and a deployment can have a name.

    Raises:
        UsageError: they cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name}: not a name of an environment",
            remedy="Use lower-case letters, digits and hyphens, a letter first.",
        )


def environment_names(project: Project) -> tuple[str, ...]:
    """Names of every environment, sorted."""
    return tuple(sorted(file.stem for file in project.environments_dir.glob("*.yaml")))


def load_environment(project: Project, name: str) -> Environment:
    """Read one environment's file, and what `drydock account` read of its account.

    Raises:
        UsageError: there is no such environment, or one of the files is wrong.
    """
    environment = stated_environment(project, name)
    snapshot = read_snapshot(snapshot_file(project, name))
    return with_snapshot(environment, snapshot) if snapshot else environment


def stated_environment(project: Project, name: str) -> Environment:
    """Read one environment's file alone, whatever was read of its account.

    Args:
        project: the suite.
        name: of the environment.

    Raises:
        UsageError: there is no such environment, or its file is wrong.
    """
    file = project.environments_dir / f"{name}.yaml"
    if not file.is_file():
        raise UsageError(
            f"unknown environment '{name}'",
            remedy=f"Known: {', '.join(environment_names(project)) or 'none'} (files in {file.parent}).",
        )
    content = _read(project, file)
    suite = content.get("suite", True)
    stack = tuple(_in_stack(project, file, entry) for entry in content.get("stack", ()))
    if suite == NODES:
        stack = (project.values_dir / NODES_FILE, *stack)
    return Environment(
        name=name,
        file=file,
        description=content["description"],
        values_files=stack,
        namespace=content.get("namespace", "genai"),
        objectives=content.get("objectives", {}),
        load={model: Load(**stated) for model, stated in content.get("load", {}).items()},
        eks=content.get("eks", {}),
        kind=content.get("kind", {}),
        target=content.get("target", "eks"),
        cluster=content.get("cluster", {}),
        secrets={secret: tuple(keys) for secret, keys in content.get("secrets", {}).items()},
        accepted=(
            *(Accepted(each["check"], each["object"], each["reason"]) for each in content.get("accepted", [])),
            *(OF_STAND_IN_NODES if suite == NODES else ()),
        ),
        quotas=quotas_by_code(content.get("account", {}).get("quotas", {})),
        capacity_reservations=_stated_reservations(content.get("account", {})),
        suite=bool(suite),
        stand_in_nodes=suite == NODES,
        brought=read_all(project, _sources(project, file, content)),
    )


def _in_stack(project: Project, file: Path, entry: str) -> Path:
    """A values file of the stack, in a repository of its own or of the suite.

    Raises:
        UsageError: it is not there.
    """
    folders = [project.home, project.values_dir] if project.home else [project.values_dir]
    for folder in folders:
        if (folder / entry).is_file():
            return folder / entry
    raise UsageError(
        f"{file}: stack: no such file: {folders[0] / entry}",
        remedy=f"Paths are relative to {' or '.join(map(str, folders))}/.",
    )


def _sources(project: Project, file: Path, content: Mapping[str, Any]) -> Iterator[Source]:
    """What is installed beside the suite: the list `install`, or `manifests` and then `releases`.

    Raises:
        UsageError: both are there, which leaves the order open.
    """
    lists = [key for key in ("manifests", "releases") if key in content]
    if "install" in content and lists:
        raise UsageError(
            f"{file}: install and {lists[0]} together", remedy=f"Move what {lists[0]} lists to `install`, in its order."
        )
    for key in ("install", *lists):
        for number, entry in enumerate(content.get(key, ())):
            named = {"manifests" if name == "path" else name: value for name, value in entry.items()}
            yield Source(f"{file}: {key}[{number}]", project.base, named)


def snapshot_file(project: Project, name: str) -> Path:
    """Where `drydock account` writes what it read of an environment's account."""
    return project.own_dir / "accounts" / f"{name}.yaml"


def with_snapshot(environment: Environment, snapshot: AccountSnapshot) -> Environment:
    """The environment in the account as it was read: instances that reservations have left, vCPUs that quotas have."""
    return replace(
        environment,
        snapshot=snapshot,
        quotas={**environment.quotas, **snapshot.free_quotas()},
        capacity_reservations=tuple(
            CapacityReservation(
                name,
                reservation.instance_type,
                reservation.zone,
                reservation.available,
                reservation.kind,
                reservation.tags,
            )
            for name, reservation in snapshot.reservations.items()
            if reservation.state_now == "active"
        ),
    )


def _stated_reservations(account: Mapping[str, Any]) -> tuple[CapacityReservation, ...]:
    return tuple(
        CapacityReservation(
            id=reservation["id"],
            instance_type=reservation["instanceType"],
            zone=reservation["zone"],
            instance_count=reservation["instanceCount"],
            kind=reservation["type"],
            tags=reservation.get("tags", {}),
        )
        for reservation in account.get("capacityReservations", [])
    )


def _check_values(file: Path) -> None:
    try:
        content = load_yaml(file.read_text())
    except FileNotFoundError as error:
        raise UsageError(f"-f {file}: no such file", remedy="Paths are relative to this folder.") from error
    except IsADirectoryError as error:
        raise UsageError(f"-f {file}: is a folder", remedy="Pass each of its files with -f.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"-f {file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"-f {file}: not YAML: {_where(error)}", remedy="Correct the file.") from error
    if not isinstance(content, Mapping | None):
        kind = "a list" if isinstance(content, list) else "text"
        raise UsageError(f"-f {file}: {kind}, not a mapping of values", remedy="Write `key: value` at its top level.")


def _where(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def _read(project: Project, file: Path) -> Any:
    """The file's content in the right shape; a content once found right is not checked again."""
    schema_text = _SCHEMA.read_text()
    try:
        text = file.read_text()
        content = load_yaml(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not text in UTF-8: {error}", remedy="Save the file as UTF-8.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: not YAML: {_where(error)}", remedy="Correct the file.") from error
    known_good = project.cache_dir / "environments" / hashlib.sha256((schema_text + text).encode()).hexdigest()
    if known_good.exists():
        return content
    from drydock.json_schemas import Draft202012Validator

    for wrong in Draft202012Validator(load_yaml(schema_text)).iter_errors(content):
        where = ".".join(str(part) for part in wrong.absolute_path) or "(top level)"
        raise UsageError(f"{file}: {where}: {wrong.message}", remedy="See docs/environments.md for the keys.")
    if "objectives" in content:
        from drydock.suite.objectives import objectives

        objectives(content["objectives"], f"{file}: objectives")
    known_good.parent.mkdir(parents=True, exist_ok=True)
    known_good.touch()
    return content


def readable_environments(project: Project) -> tuple[tuple[Environment, ...], Mapping[str, DrydockError]]:
    """Every environment that can be read, and what is wrong with each of the others by its name."""
    found: list[Environment] = []
    broken: dict[str, DrydockError] = {}
    for name in environment_names(project):
        try:
            found.append(load_environment(project, name))
        except DrydockError as error:  # a chart of one that cannot be fetched keeps no other from being read
            broken[name] = error
    return tuple(found), broken


def load_environments(project: Project, names: Sequence[str]) -> tuple[Environment, ...]:
    """The named environments, or all of them when none is named."""
    return tuple(load_environment(project, name) for name in (names or environment_names(project)))
