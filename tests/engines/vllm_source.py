"""The places in vLLM's source from which rules and accounts were derived, held by digests of their definitions.

After a move of the pinned release, `python -m tests.engines.vllm_source WHEEL` (of `pip download --no-deps vllm==...`)
names every definition that changed or is gone. Read those again, mend what follows from them, and write the new digests
with `--write`.
"""

import ast
import hashlib
import sys
import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

DATA = Path(str(files("drydock") / "data/vllm/source.yaml"))
_HEAD = """\
# Definitions of vLLM's source, below vllm/, from which rules (engines/start_rules.py, argument_rules.py) and accounts
# of memory (engines/gpu_memory.py) were derived, with the start of the SHA-256 of each.
# tests/engines/vllm_source.py compares and writes.
"""


def held() -> dict[str, Any]:
    """`version`, and digests by file and definition."""
    data: dict[str, Any] = yaml.safe_load(DATA.read_text())
    return data


def digest(source: str, definition: str) -> str:
    """Of a function, class or assignment, wherever it stands in the file; empty where it is gone."""
    for node in ast.walk(ast.parse(source)):
        names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if definition in names:
            return hashlib.sha256((ast.get_source_segment(source, node) or "").encode()).hexdigest()[:16]
    return ""


def digests(wheel: Path, places: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The same places as a wheel has them."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        found = {}
        for file, definitions in places.items():
            name = f"vllm/{file}"
            source = archive.read(name).decode() if name in names else ""
            found[file] = {definition: digest(source, definition) for definition in definitions}
    return found


def changes(wheel: Path, places: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Definitions that a wheel has otherwise, or not at all."""
    now = digests(wheel, places)
    return [
        f"{file} {definition}: {'changed' if now[file][definition] else 'gone'}"
        for file, definitions in places.items()
        for definition, kept in definitions.items()
        if now[file][definition] != kept
    ]


def main(wheel: str, write: bool = False) -> int:
    """Compare, or write what the wheel has."""
    data = held()
    if write:
        version = Path(wheel).name.split("-")[1]
        data = {"version": version, "places": digests(Path(wheel), data["places"])}
        DATA.write_text(_HEAD + yaml.safe_dump(data, sort_keys=True))
        return 0
    found = changes(Path(wheel), data["places"])
    print("\n".join(found) or "nothing changed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--write" in sys.argv))
