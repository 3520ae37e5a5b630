"""Docker, as kind uses it: what would make a cluster fail, and the image of the stand-ins."""

import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.errors import ClusterError, ToolchainError
from drydock.progress import Progress
from drydock.tools import process
from drydock.tools.platform import go_architecture

_GIB = 1 << 30
_ANSWER_SECONDS = 60
_SHOWN = 100


class Docker:
    """The daemon that the `docker` command on PATH talks to.

    Raises:
        ToolchainError: there is no such command.
    """

    def __init__(self) -> None:
        found = shutil.which("docker")
        if not found:
            raise ToolchainError(
                "docker is not on PATH, and kind makes its nodes with it",
                remedy="Install Docker Engine or Docker Desktop, or deploy on a cluster that is there (--kubeconfig).",
            )
        self.program = Path(found)

    def info(self) -> Mapping[str, Any]:
        """What the daemon reports about itself.

        Raises:
            ClusterError: it does not answer.
        """
        command: list[str | Path] = [self.program, "info", "--format", "{{json .}}"]
        done = process.run(command, timeout=_ANSWER_SECONDS, check=False)
        try:
            answer: Mapping[str, Any] = json.loads(done.stdout)
        except json.JSONDecodeError:
            answer = {}
        errors = answer.get("ServerErrors") or ([] if done.returncode == 0 and answer else [done.stderr.strip()])
        if errors:
            raise ClusterError(
                f"Docker's daemon does not answer: {' '.join(errors)}",
                remedy="Start Docker (`sudo systemctl start docker`, or Docker Desktop) and look at `docker info`; "
                "DOCKER_HOST or `docker context` says which daemon it is.",
            )
        return answer

    def platform(self) -> tuple[str, str]:
        """Of the daemon's machine, as Go names it."""
        info = self.info()
        return info["OSType"], go_architecture(info["Architecture"])

    def build(self, context: Path, containerfile: Path, tag: str, arguments: Mapping[str, str], show: Any) -> None:
        """Build an image.

        Raises:
            ClusterError: a step failed, with the end of what it said.
        """
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        command = [self.program, "build", "--force-rm", "--file", containerfile, "--tag", tag, *given, context]
        done = process.run_streamed([str(word) for word in command], lambda line: show(line[:_SHOWN]))
        if done.returncode != 0:
            last = "\n".join(done.stdout.strip().splitlines()[-8:])
            raise ClusterError(
                f"docker build of {tag} failed:\n{last}",
                remedy="Does this machine reach the registry of the base image (--base-image) and pip's index?",
            )

    def identity(self, tag: str) -> str:
        """Digest of an image's content, which changes with it where the tag does not."""
        return process.run([self.program, "image", "inspect", "--format", "{{.Id}}", tag]).stdout.strip()

    def remove(self, tag: str) -> None:
        """Remove an image; one that is gone is fine."""
        process.run([self.program, "image", "rm", "--force", tag], check=False)

    def remove_network(self, name: str) -> None:
        """Remove a network unless something uses it."""
        process.run([self.program, "network", "rm", name], check=False)


def check_memory(info: Mapping[str, Any], gib: float) -> None:
    """Compare Docker's memory with what is needed.

    Raises:
        ClusterError: it is less.
    """
    has = info.get("MemTotal", 0) / _GIB
    if has < gib:
        raise ClusterError(
            f"Docker has {has:.1f} GiB of memory, and the cluster needs {gib:g} GiB",
            remedy="Give Docker Desktop's machine more memory, or lower `kind.memory` in the environment's file.",
        )


def check_ports(configuration: Path) -> None:
    """Find out whether the ports of this machine that kind's configuration asks for are free.

    Raises:
        ClusterError: another program has one.
    """
    for address, port in _host_ports(load_yaml_file(configuration)):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
            except OSError as error:
                raise ClusterError(
                    f"port {port} of {address} cannot be had: {error.strerror}",
                    remedy=f"End what listens there, or take another hostPort in {configuration}.",
                ) from error


def _host_ports(content: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    networking = content.get("networking", {})
    if port := networking.get("apiServerPort"):
        yield networking.get("apiServerAddress", "127.0.0.1"), port
    for node in content.get("nodes", ()):
        for mapping in node.get("extraPortMappings", ()):
            if port := mapping.get("hostPort"):
                yield mapping.get("listenAddress", "0.0.0.0"), port  # noqa: S104 (kind's own default)


class Kind:
    """The pinned kind; its program is asked for when it is first needed, because it may have to be built."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that are there."""
        return tuple(process.run([self.program, "get", "clusters", "--quiet"]).stdout.split())

    def run(self, arguments: list[str], what: str, progress: Progress) -> None:
        """One call.

        Raises:
            ClusterError: it failed, with kind's reason.
        """
        with progress.step(what) as step:
            done = process.run_streamed([str(self.program), *arguments], lambda line: step.detail(line[:_SHOWN]))
        if done.returncode != 0:
            raise ClusterError(f"{what} failed: {_reason(done.stdout)}", remedy=_remedy(done.stdout))


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if line.startswith("ERROR:")), len(lines) - 1)
    return (
        "\n  ".join(text_line[:400] for text_line in lines[start : start + 6]).removeprefix("ERROR: ")
        or "it said nothing"
    )


def _remedy(output: str) -> str:
    signs = {
        "failed to pull image": "Docker does not reach the registry: give a node image that it has (--node-image).",
        "port is already allocated": "End what listens on that port, or take another hostPort.",
        "no space left on device": "Docker's disk is full: `docker system df` lists of what.",
        "too many open files": "Raise fs.inotify.max_user_watches and max_user_instances (kind's known issues).",
    }
    return next((way for sign, way in signs.items() if sign in output), "Nothing of it is left; correct the cause.")
