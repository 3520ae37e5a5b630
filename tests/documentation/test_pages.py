"""Every page is followed from top to bottom: what it shows can be typed, and does what the page says.

docs/development/documentation.md describes what stands behind the language of a fence.
"""

import io
import json
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from drydock.cli import VERBS
from drydock.engines.engine_args import parse as parse_engine_arguments
from drydock.json_schemas import Draft202012Validator
from drydock.suite.charts import AssembledCharts
from drydock.tools import process
from tests.conftest import ROOT
from tests.documentation.command_line import call, help_examples, parse
from tests.documentation.pages import BLOCKS, CHART_PAGES, PAGES, Block, commands, inline_commands, unread_fences
from tests.engines.test_model_config import LLAMA

LANGUAGES = {"console", "yaml", "python", "text", "json", "mermaid", "gotemplate", "Dockerfile"}
RUN = ("environments", "render", "validate", "images", "models", "plan", "simulate", "diagram", "bootstrap-argocd")
"""Verbs that start no control plane, change nothing and take seconds."""
SAMPLES = ROOT / "tests" / "charts" / "value_samples"
FILES = {
    "day.csv": "hour,rate\n0,0\n8,2\n18,4\n23,0\n",
    "my-model/config.json": json.dumps(LLAMA),
    "runs/report.json": (ROOT / "tests" / "report" / "one-gpu.json").read_text(),
}
"""What a page takes for granted in the folder of its reader."""
SCHEMA = ROOT / "scripts/drydock/data/environment.schema.yaml"


def _of(page: Path) -> list[Block]:
    return [block for block in BLOCKS if block.page == page]


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_every_block_says_how_it_is_held_to_what_it_shows() -> None:
    known = {
        "console": {"not-run", "exit", "output", "cluster"},
        "yaml": {"not-run", "file", "environment", "chart", "schema", "part-of"},
        "python": {"not-run", "test"},
        "Dockerfile": {"not-run"},
    }
    for block in BLOCKS:
        assert block.language in LANGUAGES, block.name
        assert set(block.how) <= known.get(block.language, set()), block.name
        assert block.how or block.language not in ("yaml", "Dockerfile"), block.name


def test_no_code_is_indented_in_place_of_a_fence() -> None:
    for page in PAGES:
        text = page.read_text()
        for block in _of(page):
            text = text.replace(block.content, "")
        before, last = "", ""
        for line in text.splitlines():
            in_list = last.startswith(("- ", " ")) or last[:1].isdigit()
            assert before or in_list or not line.startswith("    "), f"{page.name}: {line}"
            before, last = line.strip(), line or last


def test_every_fence_is_read() -> None:
    for page in PAGES:
        assert not [*unread_fences(page.read_text())], page.name
    for line in ("~~~console", "  ```console", "- ```console", "1. ```console", "> ```console", "````console"):
        assert [*unread_fences(f"Text\n{line}\ndrydock validate\n")], line


@pytest.mark.parametrize(
    "line",
    [
        "drydock list | jq .",
        "X=$(drydock list)",
        'echo "$(drydock list)"',
        "echo `drydock list`",
        "DRYDOCK_CACHE=/tmp drydock list",
        "env A=b drydock list",
        "if ! drydock list; then exit 1; fi",
        "time drydock list",
        "cd charts && python -m drydock list",
    ],
)
def test_a_call_of_drydock_is_found_wherever_it_stands(line: str) -> None:
    assert ["drydock", "list"] in [*commands(line)]


def test_the_examples_of_help_can_be_typed() -> None:
    for verb in VERBS:
        for words in help_examples(verb):
            parse(words)


def test_commands_within_sentences_can_be_typed() -> None:
    wrong = []
    typed = [(page, words) for page in PAGES for words in inline_commands(page)]
    for page, words in typed:
        try:
            parse(words)
        except click.UsageError as error:
            wrong.append(f"{page.name}: {' '.join(words)}: {error.format_message()}")
    assert len(typed) > 100
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if _of(page)], ids=_id)
def test_a_page_can_be_followed(
    reader: Path, page: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> None:
    for name, content in FILES.items():
        (reader / name).parent.mkdir(exist_ok=True)
        (reader / name).write_text(content)
    names: dict[str, Any] = {}
    for block in _of(page):
        if block.language == "console":
            _follow(block, drydock_charts, drydock_tool)
        elif block.language == "yaml" and "chart" not in block.how:
            _take(block, reader)
        elif block.language == "python":
            _execute(block, reader, names)


def _follow(block: Block, charts: AssembledCharts, tool: Callable[[str], Path]) -> None:
    statuses = set()
    skipped = []
    for words in commands(block.content.replace("$ ", "", 1) if "output" in block.how else block.content):
        program, *arguments = words
        if program in ("drydock", "scripts/run"):
            verb = parse(arguments)
            if verb in RUN and not block.how.keys() & {"not-run", "cluster"}:
                status, printed = call(arguments)
                assert status in (0, int(block.how.get("exit", 0))), f"{block.name}: {words}: {printed}"
                statuses.add(status)
                if "output" in block.how:
                    _, _, shown = block.content.partition("\n")
                    assert shown.strip() in printed, f"{block.name}: {printed}"
                    break
                continue
        elif program == "drydock-vllm":
            parse_engine_arguments(arguments[1:])
        elif program == "helm":
            _has_options(arguments, tool("helm4"))
        if program == "helm" and (ROOT / "charts").joinpath(*Path(arguments[2]).parts[1:2]).exists():
            if arguments[:2] == ["dependency", "update"]:
                continue
            if arguments[0] in ("install", "upgrade") and not block.how.keys() & {"not-run", "cluster"}:
                _render(arguments, charts, tool("helm4"))
                continue
        skipped.append(program)
    assert not skipped or block.how.keys() & {"not-run", "cluster"}, (
        f"{block.name}: nothing runs {', '.join(skipped)}: say why"
    )
    if statuses:
        assert max(statuses) == int(block.how.get("exit", 0)), block.name


def _has_options(arguments: list[str], helm: Path) -> None:
    """Hold the options of a call of Helm against what its help lists."""
    verb = [arguments[0], *(arguments[1:2] if arguments[0] in ("dependency", "show", "repo", "get") else ())]
    listed = process.run([helm, *verb, "--help"]).stdout
    for option in (word.partition("=")[0] for word in arguments if word.startswith("-")):
        assert re.search(rf"(?:^|[\s,]){re.escape(option)}[\s,]", listed), f"helm {' '.join(verb)} has no {option}"


def _render(arguments: list[str], charts: AssembledCharts, helm: Path) -> None:
    """What `helm install` would install, with what the chart needs in place of a file of the reader's own."""
    words = [word for word in arguments[1:] if word != "--install"]
    release, chart, *options = words
    name = Path(chart).name
    for place, option in enumerate(options):
        if option == "-f" and not Path(options[place + 1]).exists():
            needed = Path(f"{name}-needs.yaml")
            needed.write_text(yaml.safe_dump(yaml.safe_load((SAMPLES / f"{name}.yaml").read_text()).get("base") or {}))
            options[place + 1] = str(needed)
    process.run([helm, "template", release, str(charts.chart(name)), *options], env=process.SHORT_LIVED)


def _take(block: Block, reader: Path) -> None:
    content = yaml.safe_load(block.content)
    if schema := block.how.get("schema"):
        whole = yaml.safe_load(SCHEMA.read_text())
        part = whole if schema == "environment" else {"$defs": whole.get("$defs", {}), **whole["properties"][schema]}
        for key in ("required", "if", "else"):  # an excerpt need not be whole
            part.pop(key, None)
        Draft202012Validator(part).validate(content)
    if file := block.how.get("file"):
        (reader / file).write_text(block.content)
    if (environment := block.how.get("environment")) and block.page not in CHART_PAGES:
        own = Path(block.how.get("file", "example.yaml"))
        own.write_text(block.content)
        stack = [] if own.parts[0] == "values" else ["-f", str(own)]
        status, printed = call(["validate", environment, *stack])
        assert status == 0, f"{block.name}: {printed}"


def _execute(block: Block, reader: Path, names: dict[str, Any]) -> None:
    code = compile(block.content, block.name, "exec")
    if "test" in block.how:
        (reader / "test_page.py").write_text(block.content)
        (reader / "our-values.yaml").write_text("{}\n")
        done = process.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "--rootdir",
                ".",
                "-k",
                block.how["test"],
                "test_page.py",
            ],
            cwd=reader,
            env={"PYTHONSAFEPATH": ""},
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
    elif "not-run" not in block.how:
        with redirect_stdout(io.StringIO()):
            exec(code, names)
