"""Pinned tools, ready to run: from the cache, from PATH, or built."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from drydock.errors import ToolchainError
from drydock.progress import Progress, Step
from drydock.project import Project
from drydock.tools.go import Go, ensure_go
from drydock.tools.on_path import find_on_path
from drydock.tools.pins import GoModule, Tool, Toolchain
from drydock.tools.platform import Platform, go_platform
from drydock.tools.process import Completed, background, run_streamed
from drydock.tools.store import locked, scratch

_LAST_LINES = 15
_REMEDIES = {
    "no space left on device": "The disk is full. `drydock doctor` lists how large Drydock's and Go's caches are.",
    "disk quota exceeded": "The disk quota is used up. `drydock doctor` lists how large the caches are.",
    "checksum mismatch": "What was downloaded is not what go.sum pins: do not go on; look at GOPROXY.",
    "cannot allocate memory": "The machine is out of memory: close something, or build with GOMAXPROCS=1.",
    "signal: killed": "Something ended the compiler, most likely for memory: close something, or set GOMAXPROCS=1.",
}
_UNREACHABLE = (
    "dial tcp", "no such host", "connection refused", "i/o timeout", "module lookup disabled", "403 Forbidden",
    "404 Not Found", "TLS handshake", "proxyconnect",
)  # fmt: skip


def ensure(
    project: Project, tools: Sequence[str], progress: Progress, platform: Platform | None = None
) -> dict[str, Path]:
    """Programs by the names of the tools, each of its pinned version; built when neither cache nor PATH has it.

    With a `platform` other than this machine's they are built for that one.

    Several calls may run side by side, in processes or threads: each tool is built once. An interrupted one leaves no
    half tool, and what Go has compiled by then need not be compiled again.

    Raises:
        ToolchainError: a name is unknown, there is no Go and none can be had, or a build failed.
    """
    foreign = platform if platform != go_platform() else None
    toolchain = Toolchain.load(project, foreign)
    wanted = [toolchain.tool(name) for name in toolchain.tools if name in tools]
    wanted += [toolchain.tool(name) for name in tools if name not in toolchain.tools]
    search = cached_or_none if foreign else find
    found = {tool.name: path for tool in wanted if (path := search(project, tool))}
    missing = [tool for tool in wanted if tool.name not in found]
    if missing:
        purpose = "building " + ", ".join(f"{tool.name} {tool.version}" for tool in missing)
        go = ensure_go(project, toolchain, progress, purpose=purpose)
        if foreign:
            go = replace(go, environment={**go.environment, "GOOS": foreign[0], "GOARCH": foreign[1]})
        with _downloading(go, missing):
            for batch in _batches(missing):
                _build(project, toolchain, go, batch, progress)
    return {name: found.get(name) or cached(project, toolchain.tool(name)) for name in tools}


def find(project: Project, tool: Tool) -> Path | None:
    """Where a tool is: built before, or on PATH; None when it has to be built."""
    return cached_or_none(project, tool) or find_on_path(project, tool)


def cached_or_none(project: Project, tool: Tool) -> Path | None:
    """Where a tool is that was built before; None when it has to be built."""
    built = cached(project, tool)
    return built if built.is_file() else None


def cached(project: Project, tool: Tool) -> Path:
    """Where a tool is, or would be, in the cache."""
    return project.cache_dir / "tools" / tool.key / tool.name


def failure(what: str, output: str, *, module: GoModule) -> ToolchainError:
    """The error for a failed `go` command: the end of its output, and the remedy where its words are known."""
    last = "\n".join(output.strip().splitlines()[-_LAST_LINES:])
    lowered = output.lower()
    remedy = next((way for sign, way in _REMEDIES.items() if sign in lowered), "")
    if not remedy and any(sign.lower() in lowered for sign in _UNREACHABLE):
        remedy = "The Go module proxy did not serve it: look at the network and at GOPROXY (`go env GOPROXY`)."
    return ToolchainError(f"{what} failed:\n{last}", remedy=remedy or f"Its versions are pinned in {module.folder}.")


def _batches(tools: Sequence[Tool]) -> Iterator[list[Tool]]:
    """Tools to build by one `go build` each: of one module, and with names that Go does not give twice."""
    for _, of_module in groupby(tools, key=lambda tool: tool.module.folder):
        left = list(of_module)
        while left:
            batch = {tool.built_name: tool for tool in reversed(left)}
            yield [tool for tool in left if batch[tool.built_name] is tool]
            left = [tool for tool in left if batch[tool.built_name] is not tool]


@contextmanager
def _downloading(go: Go, tools: Sequence[Tool]) -> Iterator[None]:
    """Meanwhile download the modules of what is built later; the build itself downloads what it does not find."""
    later = list(dict.fromkeys(tool.module.folder for tool in tools))[1:]
    with ExitStack() as downloads:
        for folder in later:
            downloads.enter_context(background([go.executable, "mod", "download"], cwd=folder, env=go.environment))
        yield


def _build(project: Project, toolchain: Toolchain, go: Go, batch: Sequence[Tool], progress: Progress) -> None:
    folder = project.cache_dir / "tools"
    names = ", ".join(f"{tool.name} {tool.version}" for tool in batch)
    with progress.step(f"Build {names}") as step, locked(folder, step):
        left = [tool for tool in batch if not cached(project, tool).is_file()]
        if not left:
            return
        with scratch(folder) as partial:
            done = _go_build(toolchain, go, left, partial, step)
            if done.returncode != 0:
                raise failure(f"building {names}", done.stdout, module=left[0].module)
            for tool in left:
                finished = partial / "finished"
                finished.mkdir()
                (partial / "built" / tool.built_name).rename(finished / tool.name)
                finished.rename(folder / tool.key)


def _go_build(toolchain: Toolchain, go: Go, tools: Sequence[Tool], partial: Path, step: Step) -> Completed:
    (partial / "built").mkdir()
    (partial / "tmp").mkdir()
    compiled = 0

    def show(line: str) -> None:
        nonlocal compiled
        if line.startswith("go: "):
            step.detail(line.removeprefix("go: "))
        elif " " not in line:
            compiled += 1
            step.detail(f"{compiled} packages, {line}")

    linker = [f"-ldflags={tool.package}={tool.linker}" for tool in tools]
    packages = [tool.package for tool in tools]
    return run_streamed(
        [go.executable, "build", "-v", "-o", f"{partial / 'built'}/", *toolchain.flags, *linker, *packages],
        show,
        cwd=tools[0].module.folder,
        env={**go.environment, "GOTMPDIR": str(partial / "tmp")},
    )
