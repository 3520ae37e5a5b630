"""report.html as a browser reads it."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import pytest

from drydock.report.html import render_html
from drydock.report.model import RehearsalReport

VOID = {"meta", "wbr", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes and text; fails on an element that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What is read, with single spaces."""
        return " ".join(" ".join(self.words).split())


def test_all_pods_nodes_and_prices_are_on_the_page(report: RehearsalReport) -> None:
    text = Page(render_html(report)).text
    for pod in report.pods:
        for each in (pod.name, pod.workload, pod.instance_type, pod.phase, " ".join(pod.reason.split())):
            assert each in text
        if pod.ready_seconds is not None:
            assert f"{pod.ready_seconds:.1f} s" in text
        for pool, requirement in pod.exclusions.items():
            assert f"{pool} {' '.join(requirement.split())}" in text
    for node in report.nodes:
        for each in (node.name, node.instance_type, node.zone, node.capacity_type, node.architecture):
            assert each in text
        assert f"${node.dollars_per_hour:,.3f}/h" in text
        for resource, (used, available) in node.accelerators.items():
            assert f"{resource} {used} of {available} used" in text
    for each in (*report.assumptions, *report.limits, *(step.name for step in report.steps)):
        assert each in text
    for warning in report.warnings:
        message = " ".join(warning.message.split())
        assert f"{warning.reason} {warning.object} {message} {warning.count}" in text


def test_the_verdict_and_the_totals_head_the_page(several_pools: RehearsalReport, not_ready: RehearsalReport) -> None:
    header = Page(render_html(several_pools)).text.partition("Pods from created to ready")[0]
    for each in ("prod Ready", "Pods ready 13 of 13", "An hour $117.699", "A month of 730 hours $85,920"):
        assert each in header
    assert "staging Not ready" in Page(render_html(not_ready)).text


def test_what_went_wrong_comes_before_what_went_well(
    not_ready: RehearsalReport, several_pools: RehearsalReport
) -> None:
    def order(report: RehearsalReport) -> list[str]:
        return re.findall(r'<h2 id="(\w+)">', render_html(report))

    assert order(not_ready)[:3] == ["blocked", "warnings", "timeline"]
    assert order(several_pools)[:5] == ["faults", "timeline", "nodes", "cost", "models"]
    held = replace(several_pools, faults=several_pools.faults[:1])
    assert order(held)[:6] == ["timeline", "nodes", "cost", "models", "faults", "warnings"]


def test_nothing_is_fetched_and_nothing_runs(report: RehearsalReport) -> None:
    page = Page(render_html(report))
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [each for each in page.attributes if each[1] in {"src", "href", "xlink:href", "style", "action"}]
    assert not [each for each in page.attributes if each[1].startswith("on")]
    assert not re.findall(r"https?:|//|@import|url\((?!#)", page.style)
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\"><b onload='x'>", "</style></title><h1>x", "{{ 7*7 }}"]
)
def test_hostile_names_stay_text(hostile: Callable[[str], RehearsalReport], text: str) -> None:
    tame, page = Page(render_html(hostile("tame"))), Page(render_html(hostile(text)))
    assert page.tags == tame.tags
    assert text in page.text


def test_control_characters_do_not_reach_the_page(hostile: Callable[[str], RehearsalReport]) -> None:
    assert not set(render_html(hostile("a\x1b[31mb\x07\u202ec"))) & {"\x1b", "\x07", "\u202e"}


def test_the_same_data_gives_the_same_bytes(several_pools: RehearsalReport) -> None:
    again = replace(several_pools, pods=tuple(reversed(several_pools.pods)), nodes=tuple(reversed(several_pools.nodes)))
    assert render_html(several_pools) == render_html(several_pools) == render_html(again)


def test_every_picture_says_what_it_shows(report: RehearsalReport) -> None:
    html = render_html(report)
    pictures = re.findall(r"<svg([^>]*)>(.*?)</svg>", html, re.DOTALL)
    assert len(pictures) > len(report.pods) + len(report.nodes)
    legend = re.search(r'<ul class="legend" aria-hidden="true">.*?</ul>', html, re.DOTALL)
    assert legend
    for attributes, content in pictures:
        if content in legend.group():
            continue
        if 'role="img"' in attributes:
            assert re.match(r"\s*<title>[^<]+</title>\s*<desc>[^<]+</desc>", content)
        else:
            assert 'aria-hidden="true"' in attributes


def test_every_table_has_headings_for_its_columns_and_rows(not_ready: RehearsalReport) -> None:
    tables = re.findall(r"<table.*?</table>", render_html(not_ready), re.DOTALL)
    assert len(tables) == 6
    for table in tables:
        head, _, body = table.partition("<tbody")
        assert 'scope="col"' in head
        assert body.count("<tr") == body.count('scope="row"')


def test_the_timeline_draws_time_to_scale(one_gpu: RehearsalReport) -> None:
    model = next(pod for pod in one_gpu.pods if pod.accelerators)
    html = render_html(
        replace(one_gpu, pods=(replace(model, created_seconds=0, scheduled_seconds=50, ready_seconds=100),))
    )
    waiting, starting = (
        re.search(rf'<rect class="{kind}" x="([\d.]+)%" width="([\d.]+)%" y', html) for kind in ("waiting", "starting")
    )
    ready = re.search(r'<circle class="ready" cx="([\d.]+)%"', html)
    assert waiting
    assert starting
    assert ready
    assert float(waiting[1]) == 0
    assert float(waiting[2]) == float(starting[1]) == float(starting[2])
    assert float(ready[1]) == pytest.approx(2 * float(starting[1]), abs=0.02)


def test_accelerators_are_drawn_one_by_one(several_pools: RehearsalReport) -> None:
    html = render_html(several_pools)
    used = sum(used for node in several_pools.nodes for used, _ in node.accelerators.values())
    available = sum(available for node in several_pools.nodes for _, available in node.accelerators.values())
    cells = re.findall(r'<rect class="(used\d|free)" [^>]*><title>', html)
    assert len(cells) == available
    assert len([each for each in cells if each != "free"]) == used


def test_many_shares_of_a_gpu_become_one_bar(one_gpu: RehearsalReport) -> None:
    node = replace(one_gpu.nodes[0], accelerators={"nvidia.com/gpu": (100, 400)})
    html = render_html(replace(one_gpu, nodes=(node,)))
    assert "100 of 400 used" in html
    assert '<rect class="used0" width="25.00%"' in html


def test_cost_by_pool_adds_up(several_pools: RehearsalReport) -> None:
    section = render_html(several_pools).partition('id="cost"')[2].partition("</section>")[0]
    shares = [float(each) for each in re.findall(r'class="share">([\d.]+) %', section)]
    assert len(shares) == len({node.pool for node in several_pools.nodes})
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert shares == sorted(shares, reverse=True)


def test_faults_are_on_the_page(several_pools: RehearsalReport, one_gpu: RehearsalReport) -> None:
    page = Page(render_html(several_pools)).text
    assert "model-crash answers again within 60 s; 9 x NewConnectionError held 41 9 3.4 s" in page
    assert "BROKEN 960 960 never" in page
    assert "Faults under load" not in render_html(one_gpu)


def test_cold_starts_are_on_the_page(several_pools: RehearsalReport, one_gpu: RehearsalReport) -> None:
    text = Page(render_html(several_pools)).text
    assert "registry.example.com/team/engine:1.2.3 180 s size not known 900 s 1080 s and more" in text
    assert "From nothing to an answer" not in render_html(one_gpu)


def test_models_are_on_the_page(several_pools: RehearsalReport, one_gpu: RehearsalReport) -> None:
    assert (
        "deepseek-r1 on p5.48xlarge (h100), chat, 2 requests/s over 1: missed" in Page(render_html(several_pools)).text
    )
    assert "Objectives on what was bought" not in render_html(one_gpu)


def test_a_report_of_nothing_is_a_page(empty: RehearsalReport) -> None:
    assert "No pod was created" in Page(render_html(empty)).text


def _palettes() -> list[dict[str, str]]:
    css = resources.files("drydock.report.html").joinpath("templates/report.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks)
    return [light, {**light, **dark}]


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", _palettes(), ids=["light", "dark"])
def test_text_and_pictures_have_the_contrast_that_wcag_asks_for(palette: dict[str, str]) -> None:
    pairs = [("text", "surface"), ("text", "ground"), ("text", "free"), ("muted", "surface"), ("muted", "ground")]
    pairs += [(each, f"{each}-ground") for each in ("good", "bad", "slow")] + [("bad", "surface")]
    for text, ground in pairs:
        assert _contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    for colour in [*(f"node{index}" for index in range(8)), "accent"]:
        assert _contrast(palette[colour], palette["surface"]) >= 3, colour
