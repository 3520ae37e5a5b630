"""The models that an environment offers: who may use them, at what price, with which context, and where they run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from drydock.checks.data_regions import is_outside
from drydock.checks.gateways import configurations
from drydock.checks.subject import Subject
from drydock.engines.other_engines import other_engines
from drydock.engines.served_models import ServedModel, gpu_of, served_models
from drydock.errors import UsageError
from drydock.scheduling.pods import PodUse

_LONGEST = -1
"""`--max-model-len` of an engine that takes as much as fits."""
_NOTHING = "nothing that its pools can buy"


@dataclass(frozen=True)
class OfferedModel:
    """A model by its name in requests.

    Attributes:
        runs: `engine` of the environment, `hosted` by a provider, or `endpoint` elsewhere.
        on: GPUs or instance types that its engine may get, the provider and its name there, or the URL.
        regions: where requests are processed; empty where it is not known.
        context: most tokens of a request; None where it is not known.
        input_price: of a million tokens of prompts, in the currency of the values; None where none is stated.
        output_price: the same of answers.
        requests_per_minute: of all keys together; None without a limit.
        tokens_per_minute: the same.
        keys: names of the gateway's keys that may use it; None where a database or another program keeps the keys.
        fallbacks: models that answer where it does not.
        objectives: of the environment, which engines have to meet; empty for others.
    """

    name: str
    runs: str
    on: str
    regions: tuple[str, ...] = ()
    context: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    keys: tuple[str, ...] | None = None
    fallbacks: tuple[str, ...] = ()
    objectives: Mapping[str, float] | None = None


@dataclass(frozen=True)
class _Gateway:
    """`models` and `keys` of a gateway's settings, and the regions that data may not leave."""

    models: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, Mapping[str, Any]] | None
    allowed: tuple[str, ...]


def offered_models(subject: Subject, key: str | None = None) -> tuple[OfferedModel, ...]:
    """Models of an environment by name: those of its gateway, else its engines.

    Args:
        subject: the environment.
        key: leaves those that a key of the gateway may use.

    Raises:
        UsageError: there is no such key, or an engine's arguments are wrong.
    """
    gateways = list(_gateways(subject))
    if key is not None:
        known = sorted({name for gateway in gateways for name in gateway.keys or {}})
        if key not in known:
            raise UsageError(
                f"no gateway of the environment has a key {key}",
                remedy=f"Name one of {', '.join(known)}."
                if known
                else "Add it to keys of the gateway, or leave --key out.",
            )
    engines = {model.name: model for model in _engines(subject)}
    offered = {
        model.name: model
        for gateway in gateways or (_Gateway({}, None, ()),)
        for model in _of(subject, gateway, engines)
    }
    models = (offered[name] for name in sorted(offered))
    return tuple(model for model in models if key is None or key in (model.keys or ()))


def _gateways(subject: Subject) -> Iterator[_Gateway]:
    for _, document in _documents(subject):
        models = document.get("models")
        if isinstance(models, dict) and "retries" in document:
            keys = None if document.get("database") else document.get("keys") or {}
            entries = {str(name): entry for name, entry in models.items() if isinstance(entry, dict)}
            yield _Gateway(entries, keys, tuple(document.get("dataRegions") or ()))


def _documents(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for manifest in subject.manifests:
        if manifest.kind == "ConfigMap":
            yield from configurations(manifest)


def _of(subject: Subject, gateway: _Gateway, engines: Mapping[str, OfferedModel]) -> Iterator[OfferedModel]:
    elsewhere = {name: entry for name, entry in gateway.models.items() if entry.get("url") or entry.get("hosted")}
    for name, entry in elsewhere.items():
        if entry.get("enabled") is not False and not is_outside(entry, gateway.allowed):
            yield _with_settings(_from_entry(name, entry), entry, gateway)
    for name, engine in engines.items():
        entry = gateway.models.get(name, {})
        if name not in elsewhere and entry.get("enabled") is not False:
            yield _with_settings(engine, entry, gateway)


def _from_entry(name: str, entry: Mapping[str, Any]) -> OfferedModel:
    hosted = entry.get("hosted") or {}
    prices = hosted.get("prices") or {}
    return OfferedModel(
        name,
        "hosted" if hosted else "endpoint",
        f"{hosted['kind']} {hosted['id']}" if hosted else str(entry["url"]),
        regions=tuple(entry.get("regions") or ()),
        context=entry.get("contextTokens"),
        input_price=prices.get("inputPerMillionTokens"),
        output_price=prices.get("outputPerMillionTokens"),
    )


def _with_settings(model: OfferedModel, entry: Mapping[str, Any], gateway: _Gateway) -> OfferedModel:
    prices = entry.get("prices") or {}
    keys = gateway.keys
    return replace(
        model,
        input_price=prices.get("inputPerMillionTokens", model.input_price),
        output_price=prices.get("outputPerMillionTokens", model.output_price),
        requests_per_minute=entry.get("requestsPerMinute"),
        tokens_per_minute=entry.get("tokensPerMinute"),
        keys=None if keys is None else tuple(sorted(name for name, own in keys.items() if _may_use(own, model.name))),
        fallbacks=tuple(entry.get("fallbacks") or ()),
    )


def _may_use(key: Mapping[str, Any], model: str) -> bool:
    return not key.get("models") or model in key["models"]


def _engines(subject: Subject) -> Iterator[OfferedModel]:
    objectives = {
        name: limit for name, limit in subject.rendered.environment.objectives.items() if isinstance(limit, int | float)
    }
    region = (subject.account.region,)
    names = dict(_names(subject))
    for engine in served_models(subject.pods, subject.manifests):
        on = ", ".join(_gpus(subject, engine)) or _NOTHING
        count = engine.args.values.get("tensor_parallel_size") or 1
        for name in names.get(engine.names[0], engine.names):
            yield OfferedModel(
                name,
                "engine",
                f"{count} x {on}" if count > 1 else on,
                regions=region,
                context=_context(engine),
                objectives=objectives,
            )
    for other in other_engines(subject.pods):
        on = ", ".join(sorted(_types(subject, other.pod))) or _NOTHING
        yield OfferedModel(other.name, "engine", on, regions=region, objectives=objectives)


def _names(subject: Subject) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of each endpoint of a catalogue, with adapters, by its first."""
    for _, document in _documents(subject):
        for entry in document.values():
            if isinstance(entry, dict) and isinstance(entry.get("names"), list) and entry["names"]:
                names = tuple(str(name) for name in entry["names"])
                yield names[0], names


def _context(engine: ServedModel) -> int | None:
    stated = engine.args.max_model_len
    if stated is not None and stated != _LONGEST:
        return stated
    return engine.model.context if engine.model else None


def _gpus(subject: Subject, engine: ServedModel) -> Sequence[str]:
    gpus = {gpu_of(subject.catalogue.types[name]) for name in _types(subject, engine.pod)}
    return sorted(gpu.name for gpu in gpus if gpu)


def _types(subject: Subject, pod: PodUse) -> set[str]:
    """Instance types that a pod may get."""
    verdicts = (verdict for verdict in subject.verdicts if verdict.pod is pod)
    return {name for verdict in verdicts for pool in verdict.pools if pool.hosts for name in pool.types}
