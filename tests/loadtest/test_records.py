"""Rows of requests: kept, joined, chosen, saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drydock.errors import UsageError
from drydock.loadtest.records import COLUMNS, Outcome, Records
from drydock.loadtest.run_files import load_run


def records(finished: list[float], times: list[list[float]], models: tuple[str, ...] = ("m",), **given: Any) -> Records:
    empty = Records.empty()
    columns: dict[str, Any] = {
        name: np.array(given.get(name, [0] * len(finished)), getattr(empty, name).dtype) for name in COLUMNS
    }
    columns["finished"] = np.array(finished)
    return Records(
        **columns,
        chunk_times=np.array([time for each in times for time in each], np.float64),
        chunk_offsets=np.cumsum([0, *map(len, times)]),
        models=models,
    )


def test_joined_rows_are_in_the_order_in_which_they_ended() -> None:
    first = records([1, 4], [[0.5, 1], [3, 4]], session=[0, 2])
    second = records([2, 3], [[2], []], models=("other", "m"), session=[1, 3], model=[0, 1])

    joined = Records.concatenate([first, Records.empty(), second])

    assert joined.finished.tolist() == [1, 2, 3, 4]
    assert joined.session.tolist() == [0, 1, 3, 2]
    assert [joined.times_of(row).tolist() for row in range(4)] == [[0.5, 1], [2], [], [3, 4]]
    assert [joined.models[each] for each in joined.model] == ["m", "other", "m", "m"]


def test_gaps_are_within_requests_only() -> None:
    assert records([1, 2, 3, 4], [[1, 2, 4], [], [10], [20, 25]]).gaps().tolist() == [1, 2, 5]
    assert Records.empty().gaps().tolist() == []


def test_chosen_rows_keep_their_times() -> None:
    chosen = records([1, 2, 3], [[1, 2], [3], [4, 5, 6]]).select(np.array([True, False, True]))

    assert chosen.finished.tolist() == [1, 3]
    assert chosen.times_of(1).tolist() == [4, 5, 6]


def test_outcomes_are_told_in_words() -> None:
    found = records(
        [1, 2, 3, 4], [[]] * 4, outcome=[Outcome.OK, Outcome.HTTP_ERROR, Outcome.HTTP_ERROR, Outcome.TIMEOUT],
        status=[200, 429, 429, 0],
    )  # fmt: skip

    assert found.counts() == {"http 429": 2, "ok": 1, "timeout": 1}
    assert [found.label(row) for row in range(4)] == ["ok", "http 429", "http 429", "timeout"]
    assert found.ok.tolist() == [True, False, False, False]


def test_saved_rows_come_back(tmp_path: Path) -> None:
    saved = records([1, 2], [[1, 2], [3]], models=("a", "b"), model=[1, 0])
    saved.save(tmp_path / "records.npz")

    loaded = Records.load(tmp_path / "records.npz")

    assert loaded.models == ("a", "b")
    assert all((getattr(loaded, name) == getattr(saved, name)).all() for name in (*COLUMNS, "chunk_times"))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records.npz").write_text("nothing")

    with pytest.raises(UsageError, match="holds no records"):
        Records.load(tmp_path / "records.npz")
    with pytest.raises(UsageError, match="holds no run"):
        load_run(tmp_path)
