"""The metrics that go to Amazon CloudWatch, and those that its alarms and dashboards name."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.documents import load_yaml_leniently

_LITERAL = re.compile(r"\^([a-zA-Z_:][\w:]*)\$\$?")
_SEARCHED = re.compile(r"\{([^,}]+)[^}]*\}[^']*?MetricName=\"([^\"]+)\"")
_OF_AWS = ("AWS/", "ContainerInsights")
"""Namespaces of metrics that no program of the platform names."""


def metrics_of_file(key: str, text: str) -> Iterator[str]:
    """Names in a file of a ConfigMap that is a template of CloudFormation or a collector's configuration.

    A histogram has its name without an ending there.
    """
    if key.endswith(".json") and '"AWSTemplateFormatVersion"' in text:
        yield from dict.fromkeys(_of_template(load_yaml_leniently(text)))
    elif key.endswith((".yaml", ".yml")) and "metric_declarations:" in text:
        yield from dict.fromkeys(_of_collector(load_yaml_leniently(text) or {}))


def _of_collector(configuration: Mapping[str, Any]) -> Iterator[str]:
    for exporter in (configuration.get("exporters") or {}).values():
        for declaration in (exporter or {}).get("metric_declarations") or ():
            for selector in declaration.get("metric_name_selectors") or ():
                if found := _LITERAL.fullmatch(selector):
                    yield found[1]


def _of_template(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("MetricName"), str) and not str(node.get("Namespace", "")).startswith(_OF_AWS):
            yield node["MetricName"]
        if isinstance(node.get("DashboardBody"), str):
            yield from _of_dashboard(load_yaml_leniently(node["DashboardBody"]) or {})
        for value in node.values():
            yield from _of_template(value)
    elif isinstance(node, list):
        for value in node:
            yield from _of_template(value)


def _of_dashboard(body: Mapping[str, Any]) -> Iterator[str]:
    for widget in body.get("widgets") or ():
        for row in (widget.get("properties") or {}).get("metrics") or ():
            if len(row) > 1 and isinstance(row[1], str) and not row[0].startswith(_OF_AWS):
                yield row[1]
            elif isinstance(row[0], Mapping):
                for namespace, name in _SEARCHED.findall(row[0].get("expression", "")):
                    if not namespace.startswith(_OF_AWS):
                        yield name
