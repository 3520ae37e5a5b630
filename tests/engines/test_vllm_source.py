"""Rules derived from vLLM's source name their place, and a move of the pinned release asks to read it again."""

import re
import zipfile
from pathlib import Path

import pytest

from drydock.documents import load_yaml
from drydock.engines import argument_rules, start_rules
from drydock.project import Project
from drydock.simulator.server import VERSION
from tests.engines.vllm_source import changes, digest, held, main

SOURCE = "X = Literal[1, 2]\n\nclass C:\n    def rule(self):\n        assert self.heads % 2 == 0\n"
PLACES = {"config/model.py": {definition: digest(SOURCE, definition) for definition in ("X", "rule")}}


def wheel(folder: Path, source: str) -> Path:
    made = folder / "vllm-9.9.9-cp38-abi3-manylinux.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("vllm/config/model.py", source)
    return made


def test_the_release_that_the_rules_were_read_in_is_the_pinned_one(drydock_project: Project) -> None:
    """Fails when the pin moves: `python -m tests.engines.vllm_source` names what to read again."""
    values = load_yaml((drydock_project.charts_dir / "vllm/values.yaml").read_text())
    assert held()["version"] == values["modelDefaults"]["any"]["image"]["tag"].removeprefix("v") == VERSION


def test_every_place_that_a_rule_names_is_held() -> None:
    text = "".join(Path(str(module.__file__)).read_text() for module in (argument_rules, start_rules))
    named = set(re.findall(r'"([\w/]+\.py)(?: (\w+))?"', text))
    assert named
    assert {(file, place) for file, place in named if place not in held()["places"].get(file, {})} == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (SOURCE + "\n# more\n", []),
        (SOURCE.replace("% 2", "% 4"), ["config/model.py rule: changed"]),
        (SOURCE.replace("rule", "law"), ["config/model.py rule: gone"]),
        (SOURCE.replace("1, 2", "1, 2, 3"), ["config/model.py X: changed"]),
    ],
)
def test_a_definition_that_changed_is_named(source: str, found: list[str], tmp_path: Path) -> None:
    assert changes(wheel(tmp_path, source), PLACES) == found


def test_a_wheel_without_the_places_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(str(wheel(tmp_path, SOURCE))) == 1
    assert "config/lora.py MaxLoRARanks: gone" in capsys.readouterr().out
