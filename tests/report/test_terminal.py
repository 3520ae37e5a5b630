"""What a person reads when a rehearsal is over."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from drydock.report.model import RehearsalReport
from drydock.report.terminal import print_report

SHOW = (
    "import json, sys; from drydock.report.model import RehearsalReport;"
    "from drydock.report.terminal import print_report;"
    "print_report(RehearsalReport.from_dict(json.load(open(sys.argv[1]))))"
)


def printed(report: RehearsalReport, width: int) -> str:
    output = io.StringIO()
    print_report(report, Console(file=output, width=width))
    return output.getvalue()


def show_in_terminal(sample: Path, environment: Mapping[str, str]) -> str:
    """What a terminal of 80 columns gets."""
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(sample)],
        stdout=theirs,
        env={**clean, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=300) == 0
    return b"".join(chunks).decode()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_name_and_price_is_whole_at_any_width(report: RehearsalReport, width: int) -> None:
    text = printed(report, width)
    for pod in report.pods:
        assert pod.name in text
    for node in report.nodes:
        for each in (node.name, node.pool, node.instance_type, node.zone, node.capacity_type):
            assert each in text
        assert f"${node.dollars_per_hour:,.3f}" in text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_longer_than_the_console(report: RehearsalReport, width: int) -> None:
    assert max(map(cell_len, printed(report, width).splitlines())) <= width


def test_wide_tables_have_one_line_a_pod_with_all_that_is_asked_for(several_pools: RehearsalReport) -> None:
    pod = next(pod for pod in several_pools.pods if pod.accelerators)
    (line,) = [line for line in printed(several_pools, 200).splitlines() if pod.name in line]
    assert pod.scheduled_seconds is not None
    assert pod.ready_seconds is not None
    expected = [pod.node, pod.instance_type, "8 nvidia.com/gpu", f"{pod.scheduled_seconds:.1f} s"]
    for each in [*expected, f"{pod.ready_seconds:.1f} s", "Ready"]:
        assert each in line


def test_narrow_tables_say_the_same(several_pools: RehearsalReport) -> None:
    lines = printed(several_pools, 80).splitlines()
    pod = next(pod for pod in several_pools.pods if pod.accelerators)
    first = next(index for index, line in enumerate(lines) if pod.name in line)
    assert f"{pod.scheduled_seconds:.1f} s" in lines[first]
    assert f"Ready {pod.ready_seconds:.1f} s" in lines[first]
    assert pod.node in lines[first + 1]
    assert f"{pod.instance_type}, 8 nvidia.com/gpu" in lines[first + 2]


def test_the_verdict_and_the_totals_come_last(several_pools: RehearsalReport, not_ready: RehearsalReport) -> None:
    verdict, cost = printed(several_pools, 80).splitlines()[-2:]
    assert verdict == "READY  prod: 13 of 13 pods ready, 93.7 s after the command"
    assert cost == "6 nodes, $117.699 an hour, $85,920 a month"
    assert printed(not_ready, 80).splitlines()[-2].startswith("NOT READY  staging: 1 of 4 pods ready")


def test_used_and_available_stand_beside_each_node(several_pools: RehearsalReport) -> None:
    for width in (80, 200):
        text = printed(several_pools, width)
        for each in ("3/4 nvidia.com/gpu", "0/32 vpc.amazonaws.com/efa", "9.2/47.8 cores", "36.1/178.4 GiB"):
            assert each in text


def test_an_unschedulable_pod_says_what_each_pool_fails_on(not_ready: RehearsalReport) -> None:
    text = " ".join(printed(not_ready, 80).split())
    for pod in not_ready.pods:
        assert pod.reason in text
        for pool, requirement in pod.exclusions.items():
            assert f"{pool} " in text
            assert requirement in text


def test_pods_with_one_reason_are_told_once(not_ready: RehearsalReport) -> None:
    requirement = "which the pod does not tolerate"
    pods_with_it = [pod for pod in not_ready.pods if any(requirement in each for each in pod.exclusions.values())]
    assert len(pods_with_it) == 2
    assert printed(not_ready, 200).count("no node pool can host the pod") == 1


def test_warnings_assumptions_and_limits_are_there(several_pools: RehearsalReport) -> None:
    text = " ".join(printed(several_pools, 80).split())
    for warning in several_pools.warnings:
        assert warning.message in text
        assert f"{warning.reason} {warning.object}" in text
    for sentence in (*several_pools.assumptions, *several_pools.limits):
        assert sentence in text


@pytest.mark.parametrize("width", [80, 160])
def test_cold_starts_are_told_with_what_is_not_known(several_pools: RehearsalReport, width: int) -> None:
    text = " ".join(printed(several_pools, width).split())
    assert "From nothing to an answer on EC2, at most" in text
    for told in ("registry.example.com/team/engine:1.2.3", "size not known", "1080 s and more", "15050 s"):
        assert told in text


@pytest.mark.parametrize("width", [80, 160])
def test_faults_are_told_with_what_users_saw(several_pools: RehearsalReport, width: int) -> None:
    text = " ".join(printed(several_pools, width).split())
    for told in ("Faults under load", "model-crash", "held", "3.4 s", "BROKEN", "never", "960 x status 503"):
        assert told in text


def test_models_are_shown_with_what_they_miss_and_what_is_not_known(several_pools: RehearsalReport) -> None:
    text = printed(several_pools, 160)
    assert "deepseek-r1 on p5.48xlarge (h100), chat, 2 requests/s over 1: missed: ttft_p95_ms is 412.5" in text
    assert "llama on g6.xlarge (l4), chat, one request alone: met (ttft_p95_ms 94.2)" in text
    assert "qwen on inf2.xlarge: not known: aws.amazon.com/neuron is not modelled" in text


def test_what_is_to_be_done_stands_near_the_verdict(not_ready: RehearsalReport) -> None:
    text = printed(not_ready, 80)
    order = [text.index(each) for each in ("Pods", "Nodes", "cannot show", "Warnings", "Not ready", "NOT READY")]
    assert order == sorted(order)


def test_empty_parts_are_left_out(one_gpu: RehearsalReport, empty: RehearsalReport) -> None:
    assert "Warnings" not in printed(one_gpu, 80)
    text = printed(empty, 80)
    assert "Nodes" not in text
    assert text.splitlines()[-2].startswith("NOT READY  dev: 0 of 0 pods ready")


def test_a_terminal_gets_colours_and_a_file_none() -> None:
    sample = Path(__file__).parent / "several-pools.json"
    assert "\x1b[1;7;32mREADY" in show_in_terminal(sample, {})
    environment = {key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "COLUMNS"}}
    piped = subprocess.run(
        [sys.executable, "-c", SHOW, str(sample)], env=environment, capture_output=True, text=True, check=True
    )
    assert "\x1b" not in piped.stdout
    assert "READY  prod" in piped.stdout


def test_no_color_is_heeded() -> None:
    sample = Path(__file__).parent / "not-ready.json"
    text = show_in_terminal(sample, {"NO_COLOR": "1"})
    assert "NOT READY" in text
    assert not any(f"{separator}{colour}m" in text for separator in "[;" for colour in range(30, 38))


def test_names_are_neither_markup_nor_control_codes(hostile: Callable[[str], RehearsalReport]) -> None:
    text = printed(hostile("[red]x[/red]"), 200)
    assert "[red]x[/red]" in text
    steered = printed(hostile("a\x1b[31mb\x07\u202ec"), 200)
    assert not {"\x1b", "\x07", "\u202e"} & set(steered)


def test_the_hourly_sum_makes_the_month(one_gpu: RehearsalReport) -> None:
    assert "$1.000 an hour, $730 a month" in printed(replace(one_gpu, dollars_per_hour=1.0), 80)
