"""Stage 1, data preparation: JSON lines of examples become three splits that never mix.

An example is `{"prompt": ..., "completion": ...}` or `{"text": ...}`. Which split it belongs to follows from its text
alone, so more data next time moves none of the old examples from one split to another.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import storage

SPLITS = ("train", "validation", "test")


class BadDataError(Exception):
    """The data cannot be used."""


def examples(lines: Iterable[str], name: str) -> Iterator[dict[str, str]]:
    """Examples of a file's lines.

    Raises:
        BadDataError: a line is none.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadDataError(f"{name}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise BadDataError(f"{name}:{number}: not an object")
        prompt, completion = row.get("prompt", ""), row.get("completion", row.get("text"))
        if not isinstance(prompt, str) or not isinstance(completion, str) or not completion.strip():
            raise BadDataError(f"{name}:{number}: needs prompt and completion, or text, and neither may be empty")
        yield {"prompt": prompt, "completion": completion}


def split_of(example: dict[str, str], validation: float, test: float) -> str:
    """Which split an example belongs to; what has the same prompt stays together."""
    text = example["prompt"] or example["completion"]
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    return "test" if share < test else "validation" if share < test + validation else "train"


def prepare(source: Path, target: Path, validation: float, test: float, most: int) -> dict[str, int]:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`, without duplicates, and say how many lines each has.

    Raises:
        BadDataError: a line cannot be used, or a split is empty.
    """
    files = sorted(source.rglob("*.jsonl")) if source.is_dir() else [source]
    seen: set[str] = set()
    rows: dict[str, list[str]] = {name: [] for name in SPLITS}
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for example in examples(lines, file.name):
                line = json.dumps(example, sort_keys=True, ensure_ascii=False)
                if line not in seen and (not most or len(seen) < most):
                    seen.add(line)
                    rows[split_of(example, validation, test)].append(line)
    empty = [name for name in SPLITS if not rows[name]]
    if empty:
        raise BadDataError(f"no example is left for {' and '.join(empty)}: {len(seen)} of {source} are too few")
    target.mkdir(parents=True, exist_ok=True)
    for name, lines_of in rows.items():
        (target / f"{name}.jsonl").write_text("\n".join(lines_of) + "\n", encoding="utf-8")
    return {name: len(rows[name]) for name in SPLITS}


def fetch(source: str, folder: Path) -> Path:
    """The data on this machine, from S3, a folder, or `hf://datasets/OWNER/NAME/FILE` on the Hugging Face Hub."""
    if not source.startswith("hf://datasets/"):
        return storage.get(source, folder)
    from huggingface_hub import hf_hub_download

    owner, name, file = source.removeprefix("hf://datasets/").split("/", 2)
    return Path(hf_hub_download(f"{owner}/{name}", file, repo_type="dataset", local_dir=str(folder)))


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare the data; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--dataset", type=Path, required=True, help="folder for the splits")
    parser.add_argument("--validation-share", type=float, default=0.1)
    parser.add_argument("--test-share", type=float, default=0.1)
    parser.add_argument("--max-examples", type=int, default=0, help="0 takes all")
    parser.add_argument("--report", required=True)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        source = fetch(arguments.source, Path(folder))
        counts = prepare(
            source, arguments.dataset, arguments.validation_share, arguments.test_share, arguments.max_examples
        )
    storage.write_json({"source": arguments.source, "examples": counts}, arguments.report)
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
