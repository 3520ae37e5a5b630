"""What a load test's result (`loadtest.json`) comes to."""

from collections.abc import Mapping
from typing import Any


def passed(told: Mapping[str, Any]) -> bool:
    """Whether all is well: a search when one of its rates meets the objectives, other loads when all of them do."""
    if not told["complete"]:
        return False
    if told["sweep"] is not None:
        return told["sweep"]["highest_met"] is not None
    return not told["missed"] and told["valid"] and all(run["ok"] for run in told["runs"])


def verdict(told: Mapping[str, Any]) -> str:
    """The result in one line."""
    if not told["complete"]:
        return "Incomplete: it was interrupted" if told.get("interrupted") else "Incomplete: a worker was lost"
    if told["sweep"] is not None:
        return _of_a_search(told)
    if not told["valid"]:
        return "Does not count: the generator itself could not keep up"
    if not all(run["requests"] for run in told["runs"]):
        return "No request was due after the warm-up: offer more, or for longer"
    if not all(run["ok"] for run in told["runs"]):
        return "No request succeeded"
    return _of_the_objectives(len(told["met"]), len(told["missed"]))


def _of_the_objectives(met: int, missed: int) -> str:
    if missed:
        return f"Misses {_objectives(missed)}" + (f", meets {_objectives(met)}" if met else "")
    return f"Meets all of {_objectives(met)}" if met else "No objectives were given"


def _objectives(number: int) -> str:
    return f"{number} objective{'s' * (number != 1)}"


def _of_a_search(told: Mapping[str, Any]) -> str:
    highest, lowest = told["sweep"]["highest_met"], told["sweep"]["lowest_missed"]
    found = f"Meets the objectives up to {highest:.4g}/s" if highest else "None of these rates meets the objectives"
    beyond = [run for run in told["runs"] if lowest is not None and run["load"]["rate"] == lowest]
    if all(run["valid"] and run["ok"] for run in beyond):
        return found
    return f"{found}; the load at {lowest:.4g}/s does not count"
