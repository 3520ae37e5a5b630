"""Weights, KV cache and the longest context against the memory of the GPUs that a pool may buy (pain 3)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject

if TYPE_CHECKING:
    from drydock.engines.catalogue import Gpu, Model
    from drydock.engines.gpu_memory import MemoryFit
    from drydock.engines.other_engines import OtherEngine
    from drydock.engines.served_models import ServedModel
    from drydock.errors import UsageError
    from drydock.suite.manifests import Manifest

FITS = "engine-memory"
UNCERTAIN = "engine-memory-uncertain"
REFUSED = "engine-refuses"
ROOM = "engine-concurrency"
UNKNOWN = "engine-unknown-model"
PAIN = 3
FEWEST_REQUESTS = 3
"""Requests of the longest context for which there should be room at once."""


def check(subject: Subject) -> Iterator[Finding]:
    """Engines that would not start on a GPU that they may get, or with room for hardly any request."""
    from drydock.engines.other_engines import other_engines
    from drydock.engines.served_models import served_models
    from drydock.errors import UsageError

    verdicts = {id(verdict.pod): verdict for verdict in subject.verdicts}
    for pod in subject.pods:
        verdict = verdicts.get(id(pod))
        if verdict is None:
            continue
        types = {name for pool in verdict.pools for name in pool.types}
        try:
            for engine in served_models((pod,), subject.manifests):
                yield from _judged(subject, engine, types)
            for other in other_engines((pod,)):
                yield from _of_another_kind(subject, other, types)
        except UsageError as error:
            yield subject.finding(
                FITS,
                pod.manifest,
                f"The engine refuses its arguments: {error.message}.",
                _remedy(error),
                path=pod.path,
                pain=PAIN,
            )


def _judged(subject: Subject, engine: "ServedModel", types: set[str]) -> Iterator[Finding]:
    if engine.unknown:
        yield subject.finding(
            REFUSED,
            engine.pod.manifest,
            f"{engine.names[0]} does not start: vLLM 0.26 has no argument {', '.join(engine.unknown)}.",
            "Correct the name, or leave it out.",
            path=engine.path,
            pain=PAIN,
        )
    if engine.model is None:
        yield subject.finding(
            UNKNOWN,
            engine.pod.manifest,
            f"Whether {engine.args.model or engine.names[0]} fits into its GPUs is not known: "
            f"{engine.guess or 'the catalogue has no model of that name'}.",
            "Name it as the Hub does (`engine.servedModelName` where weights come from a folder), or put its "
            f"config.json into values/shapes/{engine.names[0].replace('/', '--')}.json.",
            path=engine.path,
            pain=PAIN,
            severity=Severity.NOTE,
        )
        yield from _by_name(subject, engine, types)
        return
    by_gpu = _by_gpu(subject, types)
    findings = [(gpu, _on_gpu(subject, engine, engine.model, gpu, names)) for gpu, names in by_gpu.items()]
    worst = [(gpu, found) for gpu, found in findings if found]
    worst.sort(key=lambda pair: (pair[1].severity is not Severity.ERROR, pair[0].memory_gib))
    if worst:
        yield _guessed(worst[0][1], engine.guess) if engine.guess else worst[0][1]


def _guessed(finding: Finding, guess: str) -> Finding:
    """The same of an engine of which something is assumed: no error."""
    words = f"{finding.reason.rstrip('.')} ({guess})."
    severity = Severity.WARNING if finding.severity is Severity.ERROR else finding.severity
    return replace(finding, reason=words, severity=severity)


def _of_another_kind(subject: Subject, engine: "OtherEngine", types: set[str]) -> Iterator[Finding]:
    if not engine.gpus:
        return
    path = f"{engine.pod.path}.containers.{engine.container}"
    yield subject.finding(
        UNKNOWN,
        engine.pod.manifest,
        f"Whether {engine.name} fits into its GPUs is not known: {engine.reason}.",
        "Compare the size of its weights with the GPUs' memory, or serve it with vLLM.",
        path=path,
        pain=PAIN,
        severity=Severity.NOTE,
    )
    yield from _too_large(subject, engine.pod.manifest, path, types, engine.name, None, engine.gpus, 1.0)


def _remedy(error: "UsageError") -> str:
    text = (error.remedy or "correct the engine's arguments").rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _by_gpu(subject: Subject, types: set[str]) -> Mapping["Gpu", list[str]]:
    from drydock.engines.served_models import gpu_of

    found: dict[Gpu, list[str]] = {}
    for name in sorted(types):
        gpu = gpu_of(subject.catalogue.types[name])
        if gpu is not None:
            found.setdefault(gpu, []).append(name)
    return found


def _on_gpu(subject: Subject, engine: "ServedModel", model: "Model", gpu: "Gpu", types: list[str]) -> Finding | None:
    from drydock.engines.fit import longest, remedy
    from drydock.engines.gpu_memory import memory_fit
    from drydock.errors import UsageError

    count = engine.args.tensor_parallel_size * engine.args.pipeline_parallel_size
    what = f"{engine.names[0]} (taken for {model.name})" if engine.assumed else engine.names[0]
    where = f"{f'{count} x ' if count > 1 else ''}{gpu.name} ({', '.join(types[:3])}{', ...' if types[3:] else ''})"
    try:
        fit = memory_fit(gpu, model, engine.args)
    except UsageError as error:
        return subject.finding(
            FITS,
            engine.pod.manifest,
            f"{what} does not start on {where}: {error.message.rstrip('.')}.",
            _remedy(error),
            path=engine.path,
            pain=PAIN,
        )
    if fit.refused is not None:
        return subject.finding(
            REFUSED,
            engine.pod.manifest,
            f"{what} does not start on {where}: {fit.refused.reason}.",
            fit.refused.remedy,
            path=engine.path,
            pain=PAIN,
        )
    if fit.error:
        return subject.finding(
            FITS,
            engine.pod.manifest,
            f"{what} does not start on {where}: {fit.why} (each GPU: {_account(fit)}).",
            remedy(gpu, model, engine.args, fit),
            path=engine.path,
            pain=PAIN,
        )
    if fit.doubt:
        return subject.finding(
            UNCERTAIN,
            engine.pod.manifest,
            f"Whether {what} starts on {where} is uncertain: {fit.doubt} (each GPU: {_account(fit)}; a request of "
            f"{fit.max_model_len:,} tokens must fit).",
            remedy(gpu, model, engine.args, fit),
            path=engine.path,
            pain=PAIN,
            severity=Severity.WARNING,
        )
    if fit.max_concurrency < FEWEST_REQUESTS:
        return subject.finding(
            ROOM,
            engine.pod.manifest,
            f"The KV cache of {what} on {where} has {fit.tokens:,} tokens: {fit.max_concurrency:.1f} requests of the "
            f"longest context ({fit.max_model_len:,} tokens) at once.",
            f"Set maxModelLen to {longest(fit, FEWEST_REQUESTS):,} or less for {FEWEST_REQUESTS} of them, "
            + ("use an 8-bit KV cache (kvCacheDtype: fp8), " if gpu.fp8_tflops else "")
            + "or take larger GPUs.",
            path=engine.path,
            pain=PAIN,
            severity=Severity.WARNING,
        )
    return None


def _account(fit: "MemoryFit") -> str:
    rest = fit.activation_gib + fit.non_torch_gib + fit.graphs_deducted_gib
    return (
        f"{fit.requested_gib:.1f} GiB taken, weights {fit.weights_gib:.1f}, activations and the rest {rest:.1f}, "
        f"KV cache {max(fit.available_kv_gib, 0.0):.1f} GiB or {fit.tokens:,} tokens"
    )


def _by_name(subject: Subject, engine: "ServedModel", types: set[str]) -> Iterator[Finding]:
    args = engine.args
    count = args.tensor_parallel_size * args.pipeline_parallel_size
    share = args.gpu_memory_utilization
    manifest = engine.pod.manifest
    yield from _too_large(subject, manifest, engine.path, types, args.model, args.quantization, count, share)


def _too_large(
    subject: Subject,
    manifest: "Manifest",
    path: str,
    types: set[str],
    model: str,
    quantization: str | None,
    count: int,
    share: float,
) -> Iterator[Finding]:
    """Weights against so much of the GPUs' memory, where only the model's name is known: a guess."""
    from drydock.engines.catalogue import recognized, weights_by_name

    known = recognized(model)
    gib = known[0].weight_bytes(quantization or known[1]) / 2**30 if known else weights_by_name(model, quantization)
    share *= count
    small = sorted(
        (gpu for gpu in _by_gpu(subject, types) if gib is not None and gib > share * gpu.memory_gib),
        key=lambda gpu: gpu.memory_gib,
    )
    if small:
        yield subject.finding(
            FITS,
            manifest,
            f"By its name {model} has weights of some {gib:.0f} GiB, more than the "
            f"{share * small[0].memory_gib:.0f} GiB that its engine takes of {count} x {small[0].name}: it would not "
            "start.",
            "Take more or larger GPUs (accelerator.count, tensorParallelSize, gpuNames), or quantized weights.",
            path=path,
            pain=PAIN,
            severity=Severity.WARNING,
        )
