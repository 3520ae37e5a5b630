"""Feature gates of Karpenter in the forms that its chart and its program take."""

from collections.abc import Mapping


def helm_settings(gates: Mapping[str, bool]) -> str:
    """For `--set` of Karpenter's chart."""
    return ",".join(f"settings.featureGates.{gate}={str(on).lower()}" for gate, on in gates.items())


def environment_variable(gates: Mapping[str, bool]) -> str:
    """For FEATURE_GATES of its program, which spells them with a capital."""
    return ",".join(f"{gate[0].upper()}{gate[1:]}={str(on).lower()}" for gate, on in gates.items())
