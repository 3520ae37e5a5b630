"""The list of hosted models, with what LiteLLM's own says of them, by which it counts what a request cost.

After a move of the pinned release, `python -m tests.charts.gateway.hosted_models FILE DATE` writes the list again from
`model_prices_and_context_window_backup.json` of LiteLLM's wheel, without models that a provider has retired by DATE.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

LIST = Path(__file__).parents[3] / "charts/model-gateway/files/hosted-models.yaml"
SOURCE = "litellm/model_prices_and_context_window_backup.json"
KINDS = {
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "gemini": "google",
    "openai": "openai",
}
"""Kinds of providers by their name in LiteLLM."""
_HEAD = """\
# What hosted models cost, in US dollars for a million tokens of prompts (`input`) and of answers (`output`), and how
# many tokens a prompt may have (`context`). tests/charts/gateway/hosted_models.py writes this from the release of
# LiteLLM that the chart runs, which counts costs by the same data, cached tokens and long contexts at their own prices.
"""


def hosted_models(source: Mapping[str, Any], date: str) -> dict[str, dict[str, dict[str, float]]]:
    """Models for chats and embeddings by kind of provider and ID, of which context and price are known."""
    listed: dict[str, dict[str, dict[str, float]]] = {kind: {} for kind in sorted(set(KINDS.values()))}
    for name, facts in source.items():
        kind = KINDS.get(facts.get("litellm_provider", ""))
        identifier = name.removeprefix("gemini/")
        context, price = facts.get("max_input_tokens") or facts.get("max_tokens"), facts.get("input_cost_per_token")
        retired = (facts.get("deprecation_date") or date) < date
        if not kind or "/" in identifier or facts.get("mode") not in ("chat", "embedding") or retired:
            continue
        if context and price:
            output = facts.get("output_cost_per_token") or 0
            listed[kind][identifier] = {
                "context": context,
                "input": _per_million(price),
                "output": _per_million(output),
            }
    return {kind: dict(sorted(models.items())) for kind, models in listed.items()}


def _per_million(price: float) -> float:
    return float(f"{price * 1e6:.6g}")


def text(source: Mapping[str, Any], release: str, date: str) -> str:
    """The whole file."""
    lines = [f"{_HEAD}source: {SOURCE} of LiteLLM {release}\ndate: '{date}'\nmodels:\n"]
    for kind, models in hosted_models(source, date).items():
        lines.append(f"  {kind}:\n")
        for name, facts in models.items():
            values = ", ".join(f"{key}: {value:.10g}" for key, value in facts.items())
            lines.append(f"    {json.dumps(name) if ':' in name else name}: {{{values}}}\n")
    return "".join(lines)


def chart_release() -> str:
    """The release of LiteLLM that the chart runs."""
    chart = yaml.safe_load(LIST.parents[1].joinpath("Chart.yaml").read_text())
    return str(chart["appVersion"])


if __name__ == "__main__":
    LIST.write_text(text(json.loads(Path(sys.argv[1]).read_text()), chart_release(), sys.argv[2]))
