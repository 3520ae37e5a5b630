"""Weights that every pod of a model downloads for itself from the Hugging Face Hub (pain 15)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.rollouts import autoscaler_bounds
from drydock.checks.subject import Subject
from drydock.scheduling.pods import PodUse

REPEATED = "hub-download"
PAIN = 15

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CACHE = "/root/.cache/huggingface"
"""Where the image of vLLM keeps downloads when nothing else is said."""


def check(subject: Subject) -> Iterator[Finding]:
    """Models of several pods, each of which asks the Hub for all of the weights."""
    autoscalers = autoscaler_bounds(subject)
    for pod in subject.pods:
        most = max(pod.replicas, autoscalers.get((pod.manifest.kind, pod.manifest.name), (0, 0))[1])
        for container in pod.spec.get("containers") or ():
            model = _downloaded(container)
            if most > 1 and model and not _outlasts(pod, container):
                yield _finding(subject, pod, str(container["name"]), model, most)


def _downloaded(container: Mapping[str, Any]) -> str:
    """Id of the model that an engine takes from the Hub, empty when it takes none."""
    from drydock.engines.container_commands import engine_arguments
    from drydock.engines.engine_args import parse_known
    from drydock.errors import UsageError

    if _environment(container).get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}:
        return ""
    arguments = engine_arguments(container)
    try:
        model = parse_known(arguments).model if arguments is not None else ""
    except UsageError:  # the check of engines' memory reports it
        return ""
    return model if _HUB_ID.fullmatch(model) else ""


def _outlasts(pod: PodUse, container: Mapping[str, Any]) -> bool:
    """Whether what is downloaded lies in a claim, which the next pod finds filled."""
    variables = _environment(container)
    folder = variables.get("HF_HUB_CACHE") or variables.get("HF_HOME") or _CACHE
    claims = {volume["name"] for volume in pod.spec.get("volumes") or () if volume.get("persistentVolumeClaim")}
    mounts = [
        mount for mount in container.get("volumeMounts") or () if f"{folder}/".startswith(f"{mount['mountPath']}/")
    ]
    nearest = max(mounts, key=lambda each: len(each["mountPath"]), default=None)
    return nearest is not None and nearest["name"] in claims


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {variable["name"]: str(variable["value"]) for variable in container.get("env") or () if "value" in variable}


def _finding(subject: Subject, pod: PodUse, container: str, model: str, most: int) -> Finding:
    return subject.finding(
        REPEATED,
        pod.manifest,
        f"Up to {most} pods each download {model} from the Hugging Face Hub, through one NAT address as a rule: the "
        "Hub limits what an address may ask for (status 429), a token or not, and each start waits for all of it.",
        "Take the weights from a shared source: S3 (`source.s3`), an existing claim, or a cache that is a "
        "ReadWriteMany claim.",
        path=f"{pod.path}.containers.{container}",
        pain=PAIN,
        severity=Severity.WARNING,
    )
