"""Lines of the log become fields by the parsers of the chart container-insights."""

import re

from drydock.project import Project
from tests.simulator.vllm_server import StartServer


def test_every_line_becomes_fields(start_server: StartServer, drydock_project: Project) -> None:
    text = (drydock_project.charts_dir / "container-insights/files/parsers.conf").read_text()
    known = dict(re.findall(r"Name +(\w+)\n +Format +regex\n +Regex +(.*)", text))
    parsers = [re.compile(known[name].replace("(?<", "(?P<")) for name in ("vllm", "uvicorn")]
    server = start_server()
    completion = {"model": "meta-llama/Llama-3.1-8B-Instruct", "prompt": "Hello", "max_tokens": 2}
    assert server.call("POST", "/v1/completions", completion)[0] == 200
    server.wait_for("/v1/completions")
    lines = list(server.lines)  # more may come meanwhile
    found = [next((m for parser in parsers if (m := parser.match(line.rstrip("\n")))), None) for line in lines]
    assert len(found) > 3
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    assert {match["level"] for match in found if match} == {"INFO"}
    (request,) = [match for match in found if match and match.groupdict().get("path") == "/v1/completions"]
    assert (request["method"], request["status"]) == ("POST", "200")
