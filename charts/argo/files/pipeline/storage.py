"""Folders and files under an address: `s3://BUCKET/KEY`, or a folder of this machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class NotThereError(Exception):
    """Nothing lies under an address."""


class BadKeyError(Exception):
    """A key names a place outside of the folder that it belongs into."""


def split(address: str) -> tuple[str, str]:
    """Bucket and key of an S3 address."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key.strip("/")


def is_s3(address: str) -> bool:
    """Whether an address is one of S3."""
    return address.startswith("s3://")


def join(address: str, *names: str) -> str:
    """An address beneath another."""
    return "/".join([address.rstrip("/"), *names])


def get(address: str, folder: Path) -> Path:
    """Copy the file or all files under an address into a folder of this machine; a local address is left where it is.

    Raises:
        NotThereError: nothing is there.
        BadKeyError: a key leads out of the folder; nothing is copied then.
    """
    if not is_s3(address):
        if not Path(address).exists():
            raise NotThereError(address)
        return Path(address)
    bucket, key = split(address)
    client = _client()
    found = list(_keys(client, bucket, key))
    if not found:
        raise NotThereError(address)
    targets = {name: below(folder, name.removeprefix(key).removeprefix("/") or Path(key).name) for name in found}
    for name, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, name, str(target))
    return folder / Path(key).name if found == [key] else folder


def below(folder: Path, name: str) -> Path:
    """The file of a name below a folder. Whoever writes an object chooses its key.

    Raises:
        BadKeyError: it would lie elsewhere, or where links lead.
    """
    parts = name.split("/")
    target = folder.joinpath(*parts)
    if (
        any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts)
        or folder.resolve() not in target.resolve().parents
    ):
        raise BadKeyError(f"{name!r} leads out of the folder")
    return target


def put(folder: Path, address: str) -> None:
    """Copy every file of a folder to an address, over what lies there."""
    if not is_s3(address):
        shutil.copytree(folder, address, dirs_exist_ok=True)
        return
    bucket, key = split(address)
    client = _client()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            client.upload_file(str(file), bucket, join(key, file.relative_to(folder).as_posix()))


def remove(address: str) -> None:
    """Delete the file or all files under an address."""
    if not is_s3(address):
        shutil.rmtree(address, ignore_errors=True)
        return
    bucket, key = split(address)
    client = _client()
    for name in list(_keys(client, bucket, key)):
        client.delete_object(Bucket=bucket, Key=name)


def read_json(address: str) -> Any:
    """Content of a JSON file.

    Raises:
        NotThereError: it is not there.
    """
    if not is_s3(address):
        try:
            return json.loads(Path(address).read_text())
        except FileNotFoundError as error:
            raise NotThereError(address) from error
    bucket, key = split(address)
    client = _client()
    try:
        return json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey as error:
        raise NotThereError(address) from error


def write_json(content: Any, address: str) -> None:
    """Write a JSON file in one piece: a reader sees the old or the new one."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    if is_s3(address):
        bucket, key = split(address)
        _client().put_object(Bucket=bucket, Key=key, Body=text.encode())
        return
    file = Path(address)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text)
    partial.replace(file)


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _keys(client: Any, bucket: str, key: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for entry in page.get("Contents", ()):
            name = entry["Key"]
            # A key that ends with a slash is the console's mark of a folder.
            if name == key or (name.startswith(f"{key}/") and not name.endswith("/")):
                yield name
