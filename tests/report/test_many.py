"""A report of thousands of pods: groups with counts, and one by one what matters."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from drydock.report.html import render_html
from drydock.report.model import RehearsalReport
from drydock.report.terminal import print_report
from tests.report.conftest import read_sample
from tests.report.test_html import Page

PODS = 5000
BLOCKED = 40


@pytest.fixture(scope="module")
def large() -> RehearsalReport:
    """Pods that become ready one after the other, each on a node, 40 that have none, and a node without a pod."""
    small = read_sample("one-gpu")
    pod = next(each for each in small.pods if each.accelerators)
    node = small.nodes[0]
    used = {name: (count, count) for name, (_, count) in node.accelerators.items()}
    ready = [
        replace(pod, name=f"pod-{i:04d}", node=f"node-{i:04d}", scheduled_seconds=30.0 + i, ready_seconds=31.0 + i)
        for i in range(PODS)
    ]
    waiting = replace(pod, node="", instance_type="", scheduled_seconds=None, ready_seconds=None)
    blocked = [replace(waiting, name=f"stuck-{i:02d}", phase="Pending", reason="full") for i in range(BLOCKED)]
    nodes = [replace(node, name=f"node-{i:04d}", accelerators=used, pods=(f"pod-{i:04d}",)) for i in range(PODS)]
    empty = {name: (0, count) for name, (_, count) in node.accelerators.items()}
    nodes.append(replace(node, name="node-empty", accelerators=empty, pods=()))
    return replace(small, ready=False, pods=(*ready, *blocked), nodes=tuple(nodes))


def test_the_page_stays_small_and_shows_the_slowest_and_what_is_not_ready(large: RehearsalReport) -> None:
    text = render_html(large)
    assert len(text.encode()) < 300_000
    words = " ".join(Page(text).words)
    assert set(re.findall(r"pod-\d{4}", words)) == {f"pod-{i:04d}" for i in range(PODS - 20, PODS)}
    assert "node-4999" in words
    assert "node-empty" in words
    assert f"and {BLOCKED - 20} more" in words
    assert "2529.0, 4779.0, 5029.0 s" in words, "half, 95 % and all are scheduled"
    assert "5001 1 $" in re.sub(r"\s+", " ", words), "nodes of the group, and those without use"


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_shows_groups_with_whole_names(large: RehearsalReport, width: int) -> None:
    output = io.StringIO()
    print_report(large, Console(file=output, width=width))
    text = output.getvalue()
    assert text.count("\n") < 400
    flat = re.sub(r"\s", "", text)
    for part in ("5,000", "5,001", "2529.0", "4779.0", "5029.0", "pod-4999", "node-empty", "stuck-19", "and20more"):
        assert part in flat, part
    assert "pod-4979" not in flat
    assert "5000 of 5040 pods ready" in text


def test_all_rows_are_in_the_json(large: RehearsalReport) -> None:
    content = large.to_dict()
    assert (len(content["pods"]), len(content["nodes"])) == (PODS + BLOCKED, PODS + 1)


def test_a_hundred_pods_are_still_shown_one_by_one(large: RehearsalReport) -> None:
    hundred = replace(large, pods=large.pods[:100], nodes=large.nodes[:100])
    words = " ".join(Page(render_html(hundred)).words)
    assert len(set(re.findall(r"pod-\d{4}", words))) == 100
    assert "node-0000" in words
