"""Files and folders, in S3 as in a folder."""

from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("key", ["../.aws/config", "a/../../.aws/config", "/etc/passwd", "a//b", "./a", "a/.", "..\\a"])
def test_no_key_leads_out_of_the_folder(script: Script, bucket: str, tmp_path: Path, key: str) -> None:
    storage = script("storage")
    boto3.client("s3").put_object(Bucket="models", Key=f"data/{key}", Body=b"credential_process = id")
    boto3.client("s3").put_object(Bucket="models", Key="data/fine.txt", Body=b"1")
    with pytest.raises(storage.BadKeyError, match="leads out of the folder"):
        storage.get(f"{bucket}/data", tmp_path / "work" / "data")
    assert not list(tmp_path.rglob("*")), "nothing is copied"


def test_no_key_follows_a_link(script: Script, tmp_path: Path) -> None:
    storage = script("storage")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(storage.BadKeyError):
        storage.below(folder, "link/file")


def test_the_mark_of_a_folder_is_no_file(script: Script, bucket: str, tmp_path: Path) -> None:
    storage = script("storage")
    for key in ("data/", "data/sub/", "data/sub/one.txt"):
        boto3.client("s3").put_object(Bucket="models", Key=key, Body=b"1")
    found = storage.get(f"{bucket}/data", tmp_path / "back")
    assert [file.name for file in found.rglob("*") if file.is_file()] == ["one.txt"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.lists(st.sampled_from(["..", ".", "", "a", "\0", "\\", "~", "b.txt"]), max_size=5).map("/".join))
def test_each_name_is_below_the_folder_or_refused(script: Script, tmp_path: Path, name: str) -> None:
    storage = script("storage")
    try:
        found = storage.below(tmp_path, name)
    except storage.BadKeyError:
        return
    assert tmp_path.resolve() in found.resolve().parents
    assert found == tmp_path / name
