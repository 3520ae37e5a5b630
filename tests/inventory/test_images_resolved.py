"""`drydock images --resolve` against a registry on this machine."""

import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from drydock.suite.manifests import parse_manifests
from drydock.tools.process import run
from tests.conftest import Drydock

ENGINE = "vllm/vllm-openai"
PLUGIN = "nvidia/k8s-device-plugin"


@pytest.fixture(scope="module")
def crane(drydock_tool: Callable[[str], Path]) -> Path:
    return drydock_tool("crane")


@pytest.fixture(scope="module")
def registry(crane: Path) -> Iterator[str]:
    """Address of a registry that holds nothing yet."""
    command = [str(crane), "registry", "serve", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        for line in server.stderr:
            if port := re.search(r"serving on port (\d+)", line):
                break
        assert port
        with ThreadPoolExecutor() as reader:  # it notes each request, and would wait for ever once the pipe is full
            reader.submit(server.stderr.read)
            yield f"127.0.0.1:{port[1]}"
            server.terminate()


@pytest.fixture
def push(crane: Path, registry: str, tmp_path: Path) -> Callable[..., str]:
    """Pushes an index of one image an architecture, and gives its digest."""

    def pushed(repository: str, tag: str, *architectures: str) -> str:
        layer = tmp_path / "layer.tar"
        with tarfile.open(layer, "w"):
            pass
        name = f"{registry}/{repository}"
        for each in architectures:
            run([crane, "append", "--new_layer", layer, "--new_tag", f"{name}:{each}"])
            run([crane, "mutate", f"{name}:{each}", "--set-platform", f"linux/{each}", "--tag", f"{name}:{each}"])
        parts = [part for each in architectures for part in ("--manifest", f"{name}:{each}")]
        run([crane, "index", "append", *parts, "--tag", f"{name}:{tag}"])
        return run([crane, "digest", f"{name}:{tag}"]).stdout.strip()

    return pushed


def tags(drydock: Drydock, registry: str) -> dict[str, str]:
    """Tags of the environment's images by repository."""
    listed = drydock("images", "airgap", "--format", "skopeo-copy", "--set", f"global.imageRegistry={registry}")
    return dict(re.findall(rf"docker://{registry}/(\S+):(\S+)$", listed.stdout, re.MULTILINE))


def test_tags_become_digests_in_a_values_file(
    drydock: Drydock, registry: str, push: Callable[..., str], tmp_path: Path
) -> None:
    wanted = tags(drydock, registry)
    digests = {repository: push(repository, tag, "amd64", "arm64") for repository, tag in wanted.items()}
    assert {ENGINE, PLUGIN} <= set(digests)
    file = tmp_path / "digests.yaml"
    setting = ("--set", f"global.imageRegistry={registry}")
    done = drydock("images", "airgap", "--resolve", "-o", file, *setting)
    assert done.returncode == 0, done.stderr
    assert f"#   {registry}/{ENGINE}:{wanted[ENGINE]} amd64, arm64" in file.read_text()
    assert yaml.safe_load(file.read_text())["nvidia-device-plugin"]["image"]["digest"] == digests[PLUGIN]

    rendered = parse_manifests(drydock("render", "airgap", "-f", file, *setting).stdout)
    images = set(re.findall(rf"{registry}/(\S+?):\S+@(sha256:[0-9a-f]+)", "".join(each.text for each in rendered)))
    assert dict(images) == digests
    again = drydock("images", "airgap", "--resolve", "-f", file, *setting)
    assert again.returncode == 0, again.stderr


def test_what_a_registry_lacks_is_told(drydock: Drydock, registry: str, push: Callable[..., str]) -> None:
    setting = ("--set", f"global.imageRegistry={registry}/elsewhere")
    missing = drydock("images", "airgap", "--resolve", *setting)
    assert missing.returncode == 1
    assert f"warning: {registry}/elsewhere/{ENGINE}" in missing.stderr
    assert "NAME_UNKNOWN" in missing.stderr
    assert "sha256:" not in missing.stdout

    for repository, tag in tags(drydock, registry).items():
        push(f"elsewhere/{repository}", tag, "arm64")
    other = drydock("images", "airgap", "--resolve", *setting)
    assert other.returncode == 1
    assert re.search(rf"elsewhere/{ENGINE}:\S+ does not exist for amd64", other.stderr)


def test_a_file_without_asking_is_refused(drydock: Drydock, tmp_path: Path) -> None:
    done = drydock("images", "airgap", "-o", tmp_path / "a.yaml")
    assert done.returncode == 2
    assert "--resolve" in done.stderr
