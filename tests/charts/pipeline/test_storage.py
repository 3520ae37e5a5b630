"""Files and folders, in S3 as in a folder."""

from pathlib import Path

import pytest

from tests.charts.pipeline.conftest import Script


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address to write to."""
    if request.param == "folder":
        return str(tmp_path / "store")
    bucket: str = request.getfixturevalue("bucket")
    return f"{bucket}/store"


def test_a_folder_comes_back_as_it_was_put(script: Script, place: str, tmp_path: Path) -> None:
    storage = script("storage")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one.txt").write_text("1")
    (tmp_path / "a" / "b" / "two.txt").write_text("2")
    storage.put(tmp_path / "a", f"{place}/a")
    storage.write_json({"other": 1}, f"{place}/ab/other.json")
    found = storage.get(f"{place}/a", tmp_path / "back")
    assert {str(file.relative_to(found)): file.read_text() for file in found.rglob("*.txt")} == {
        "one.txt": "1",
        "b/two.txt": "2",
    }
    assert not list(found.rglob("other.json")), "a key that only begins alike is another"


def test_one_file_is_got_by_its_own_address(script: Script, place: str, tmp_path: Path) -> None:
    storage = script("storage")
    storage.write_json({"a": 1}, f"{place}/deep/file.json")
    assert storage.get(f"{place}/deep/file.json", tmp_path / "back").read_text() == '{\n  "a": 1\n}\n'
    assert storage.read_json(f"{place}/deep/file.json") == {"a": 1}


def test_what_is_not_there_is_said(script: Script, place: str, tmp_path: Path) -> None:
    storage = script("storage")
    with pytest.raises(storage.NotThereError, match="nothing"):
        storage.get(f"{place}/nothing", tmp_path)
    with pytest.raises(storage.NotThereError, match="nothing"):
        storage.read_json(f"{place}/nothing.json")
