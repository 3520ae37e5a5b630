"""The benchmark beside other generators: its server, its judgement."""

import sys
from pathlib import Path

import numpy as np
import pytest

from drydock.loadtest.benchmark.compare import LOOSE, STRICT, Level, attempt, highest, judged
from drydock.loadtest.benchmark.stream_server import TOKENS
from drydock.loadtest.benchmark.tools import Bare, Drydock, Seen, Tool

EVENTS = 12_800
RECEIVED = np.arange(200) * TOKENS / EVENTS
SENT = RECEIVED[:, None] + 0.05 + 0.02 * np.arange(TOKENS)


def told(late: float = 0.0, first: float = 0.0, gap: float = 0.0, tokens: int = 200 * TOKENS) -> Level:
    """A tool's level that sends every other request late and tells times that are off by so much."""
    received = RECEIVED + late * (np.arange(200) % 2)
    seen = Seen(ttft=SENT[:, 0] - received + first, gaps=np.diff(SENT) + gap, tokens=tokens)
    return judged("tool", EVENTS, seen, received, SENT, requests=200)


def test_a_level_counts_by_its_worst_figure() -> None:
    assert told().excess == pytest.approx(0, abs=1e-6)
    assert told(late=0.003).excess > STRICT
    assert told(first=0.003).excess == pytest.approx(1.5)
    assert told(gap=-0.005).excess == pytest.approx(5)
    assert told(tokens=200 * TOKENS - 1).excess == float("inf")


def test_means_are_judged_as_means() -> None:
    seen = Seen(ttft=SENT[:, 0] - RECEIVED, gaps=np.full((200, 1), 0.0205), tokens=200 * TOKENS)

    assert judged("tool", EVENTS, seen, RECEIVED, SENT, requests=200).itl == pytest.approx(0.0005)


def test_the_highest_level_is_within_its_limits() -> None:
    levels = [Level("tool", 1000, 0, 0, 0), Level("tool", 2000, 0.005, 0, 0), Level("tool", 3000, failure="it fell")]

    assert highest(levels, "tool") == 1000
    assert highest(levels, "tool", LOOSE) == 2000
    assert highest(levels, "other") == 0


@pytest.mark.parametrize("tool", [Drydock(), Bare()])
def test_no_token_is_lost_between_server_and_tool(tool: Tool) -> None:
    level = attempt(tool, Path(sys.executable).parent, 5_000)

    assert level.failure == ""
    assert level.lost == 0
    assert level.excess < float("inf")
