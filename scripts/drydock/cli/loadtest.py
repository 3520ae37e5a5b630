"""drydock loadtest."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import ArrivalName, EnvironmentName, NumberRange, objective_options
from drydock.cli.output import format_option
from drydock.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from drydock.loadtest.dialects import Dialect, Parameter
    from drydock.loadtest.load_test import ClusterModel, LimitSearch, LoadTestRequest, Rates, Repetitions
    from drydock.loadtest.secrets import Secret
    from drydock.loadtest.settings import Arrival, LoadPlan
    from drydock.suite.objectives import Objectives

_OF_A_CLUSTER = ("kubeconfig", "context", "namespace", "in_cluster", "in_cluster_values")
_ONLY_IN_URLS = frozenset(":/.")


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The options that say what to load, as click gives them."""

    target: str
    model: str
    kubeconfig: Path | None
    context: str | None
    namespace: str | None
    in_cluster: bool
    in_cluster_values: tuple[Path, ...]
    rate: float | None
    concurrency: int | None
    arrival: str
    burstiness: float
    end_rate: float | None
    trace: Path | None
    rates: str | None
    find_limit: bool
    precision: float
    duration: float
    warm_up: float
    workload: str | None
    dataset: Path | None
    completions: bool
    no_stream: bool
    loras: tuple[str, ...]
    api_key_env: str | None
    api_key_file: Path | None
    api_name: str
    headers: tuple[str, ...]
    header_variables: tuple[str, ...]
    header_files: tuple[str, ...]
    queries: tuple[str, ...]
    query_variables: tuple[str, ...]
    query_files: tuple[str, ...]
    body_fields: tuple[str, ...]
    dropped: tuple[str, ...]
    renamed: tuple[str, ...]
    ca_file: Path | None
    insecure: bool
    timeout: float
    environment: str | None
    objectives_file: Path | None
    objective_texts: tuple[str, ...]
    repetitions: int
    processes: int
    seed: int
    gpu: str | None
    tensor_parallel: int
    baseline: Path | None


@click.command("loadtest")
@click.argument("target", metavar="URL|ENVIRONMENT")
@click.option("--model", required=True, metavar="NAME", help="Name of the model, as the server lists it.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Kubeconfig of the cluster of an ENVIRONMENT; default $KUBECONFIG.",
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig.")
@click.option("--namespace", metavar="NAME", help="Namespace of the model; default the environment's.")
@click.option("--in-cluster", is_flag=True, help="Generate the load in the cluster, by Jobs with --processes pods.")
@click.option(
    "--in-cluster-values",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Values file for the chart loadtest, in particular its image.",
)
@click.option("--rate", type=float, metavar="N", help="Conversations started per second (open loop).")
@click.option(
    "--concurrency", type=int, metavar="N", help="Number of clients, each with one request at a time (closed loop)."
)
@click.option(
    "--arrival",
    type=ArrivalName(),
    default="poisson",
    show_default=True,
    help="Spacing of the conversations of an open loop; constant is equal gaps.",
)
@click.option("--burstiness", type=float, default=0.5, show_default=True, help="Shape of gamma arrivals; 1 is Poisson.")
@click.option("--end-rate", type=float, metavar="N", help="Change the rate from --rate to N over the load (a ramp).")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of start times in seconds, one per line (open loop).",
)
@click.option("--rates", metavar="N,N,...", help="Sweep: run one load after the other, at each of these rates.")
@click.option("--find-limit", is_flag=True, help="Search from --rate for the highest rate that meets the objectives.")
@click.option(
    "--precision",
    type=NumberRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Precision of the rate that --find-limit finds, as a share.",
)
@click.option(
    "--duration",
    type=float,
    default=60.0,
    show_default=True,
    metavar="S",
    help="Time during which requests are sent, in seconds.",
)
@click.option(
    "--warm-up",
    type=float,
    default=0.0,
    show_default=True,
    metavar="S",
    help="Warm-up before the measurement, in seconds.",
)
@click.option(
    "--workload", metavar="NAME", help="Preset of prompts and answers, for example chat; default 512 and 128 tokens."
)
@click.option("--dataset", type=click.Path(path_type=Path), metavar="FILE", help="JSONL file of prompts.")
@click.option("--completions", is_flag=True, help="Use /v1/completions instead of /v1/chat/completions.")
@click.option("--no-stream", is_flag=True, help="Request answers without streaming; there is no time to first token.")
@click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="NAME",
    help="LoRA adapter to request in place of --model; repeatable, used evenly.",
)
@click.option("--api-key-env", metavar="VARIABLE", help="Environment variable that holds the API key.")
@click.option("--api-key-file", type=click.Path(path_type=Path), metavar="FILE", help="File that holds the API key.")
@click.option(
    "--api",
    "api_name",
    default="vllm",
    show_default=True,
    metavar="NAME",
    help="Dialect of the endpoint: vllm, openai, strict, azure or azure-v1.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Header of each request; repeatable.")
@click.option(
    "--header-env",
    "header_variables",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="Secret header, from an environment variable.",
)
@click.option("--header-file", "header_files", multiple=True, metavar="NAME=FILE", help="Secret header, from a file.")
@click.option(
    "--query", "queries", multiple=True, metavar="NAME=VALUE", help="Query parameter of each request; repeatable."
)
@click.option(
    "--query-env",
    "query_variables",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="Secret query parameter, from an environment variable.",
)
@click.option(
    "--query-file", "query_files", multiple=True, metavar="NAME=FILE", help="Secret query parameter, from a file."
)
@click.option(
    "--body", "body_fields", multiple=True, metavar="NAME=JSON", help="Additional field of each request's body."
)
@click.option(
    "--drop-field", "dropped", multiple=True, metavar="NAME", help="Field to leave out of each request's body."
)
@click.option(
    "--rename-field", "renamed", multiple=True, metavar="OLD=NEW", help="Rename a field of each request's body."
)
@click.option(
    "--ca-file", type=click.Path(path_type=Path), metavar="FILE", help="Certificate authorities to trust, in PEM."
)
@click.option("--insecure", is_flag=True, help="Do not verify the certificate of an https endpoint.")
@click.option(
    "--timeout", type=float, default=600.0, show_default=True, metavar="S", help="Timeout of each request, in seconds."
)
@click.option("--environment", type=EnvironmentName(), metavar="ENV", help="Environment whose objectives must be met.")
@objective_options
@click.option(
    "--repetitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of runs, each with a seed of its own.",
)
@click.option(
    "--processes",
    type=int,
    default=1,
    show_default=True,
    help="Processes (in a cluster: pods) of the generator, which share the load.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--gpu", metavar="NAME", help="GPU of the server (h100, l4, ...): warn of a TPOT that it cannot reach.")
@click.option(
    "--tensor-parallel", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs per engine, for --gpu."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Result folder of an earlier load test to compare with.",
)
@click.option(
    "--fail-on-regression", is_flag=True, help="With --baseline: exit with 1 when a measure is significantly worse."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write the results into DIR.")
@format_option()
def command(output: Path | None, form: str, fail_on_regression: bool, **given: Any) -> None:
    r"""Load an OpenAI-compatible endpoint and measure it; latencies count from when a request was due.

    The endpoint is a URL, or a model of an environment that runs in a cluster.

    \b
    Examples:
      drydock loadtest http://localhost:8000 --model llama --rate 5 --warm-up 10 --objective ttft_p95_ms=500
      drydock loadtest http://localhost:8000 --model llama --find-limit --rate 2 --environment prod -o result
      drydock loadtest http://localhost:8000 --model llama --rates 1,2,4,8,16 --workload chat -o sweep
      drydock loadtest http://localhost:8000 --model llama --rate 5 --repetitions 5 --baseline last-week
      drydock loadtest https://llm.example.com/v1 --model llama --concurrency 32 --workload rag \
        --api-key-env API_KEY --environment prod -o result
      drydock loadtest prod --model llama-3-8b --kubeconfig prod.kubeconfig --rate 1
      drydock loadtest prod --model llama-3-8b --in-cluster --processes 4 --rate 40 -o result

    Before the load, the endpoint must list its models: a wrong address, key, path or model ends the command.

    Exit status: 0 when the objectives were met, 1 when one was missed, no server answers or the run does not count
    (the generator could not keep up, or a worker was lost), 2 for wrong usage, key, path or model, 130 when
    interrupted. An interrupt (Ctrl-C, SIGTERM) keeps what was measured until then.
    """
    from drydock.loadtest.load_test import run_load_test
    from drydock.loadtest.outputs import write_results
    from drydock.loadtest.tables import print_result

    options = _Options(**given)
    if fail_on_regression and not options.baseline:
        raise UsageError("--fail-on-regression without --baseline", remedy="Name the earlier result, --baseline DIR.")
    request = _request(options)
    if output is not None:
        _make(output)
    tested = run_load_test(request, lambda line: click.echo(line, err=True))
    if output is not None:
        write_results(output, tested.document, tested.loads)
        click.echo(f"Report: {output / 'report.html'}", err=True)
    if form == "json":
        click.echo(json.dumps(tested.document, indent=2, allow_nan=False))
    else:
        print_result(tested.document, tested.loads)
    if tested.document["interrupted"]:
        raise SystemExit(EXIT_INTERRUPTED)
    if not tested.passed or (fail_on_regression and tested.regressions):
        raise SystemExit(1)


def _request(options: _Options) -> "LoadTestRequest":
    """What the options ask for.

    Raises:
        UsageError: options contradict each other, or a file, a name or a number is wrong.
    """
    from drydock.loadtest.load_test import GpuBound, LoadTestRequest

    loads = _loads(options)
    environment = options.environment or (
        None if _is_url(options.target) or options.objectives_file else options.target
    )
    objectives = _objectives(environment, options.objectives_file, options.objective_texts)
    key = _own_key(options)
    plan = _plan(options, loads, key)
    return LoadTestRequest(
        plan=plan,
        loads=loads,
        objectives=objectives,
        model=_cluster_model(options),
        baseline=options.baseline,
        gpu=GpuBound(options.gpu, options.tensor_parallel) if options.gpu else None,
    )


def _loads(options: _Options) -> "Repetitions | Rates | LimitSearch":
    from drydock.loadtest.load_test import LimitSearch, Rates, Repetitions

    if not options.rates and not options.find_limit:
        return Repetitions(options.repetitions)
    if options.baseline:
        raise UsageError(
            "--baseline compares repetitions of one load, not a sweep", remedy="Give it with --rate or --concurrency."
        )
    if options.rates and options.find_limit:
        raise UsageError("--rates and --find-limit both choose the loads", remedy="Give one of them.")
    if options.repetitions > 1 or options.concurrency is not None:
        raise UsageError(
            "a sweep of rates takes neither --repetitions nor --concurrency", remedy="Leave them out, or the sweep."
        )
    if not options.rates:
        return LimitSearch(options.precision)
    try:
        rates = Rates([float(part) for part in options.rates.split(",")])
    except ValueError as error:
        raise UsageError(f"--rates {options.rates}: not numbers", remedy="Give them like 1,2,4.") from error
    if options.rate is not None:
        raise UsageError("--rate and --rates both choose the loads", remedy="Give one of them.")
    return rates


def _objectives(environment: str | None, file: Path | None, texts: tuple[str, ...]) -> "Objectives":
    from drydock.project import Project
    from drydock.suite.environments import load_environment
    from drydock.suite.objectives import Objectives, merged, objectives, read_objectives

    if environment and file:
        raise UsageError("--environment and --objectives both name objectives", remedy="Give one of them.")
    found = read_objectives(file) if file else Objectives()
    if environment:
        loaded = load_environment(Project.discover(), environment)
        found = objectives(loaded.objectives, f"{loaded.file}: objectives")
    return merged(found, texts)


def _is_url(target: str) -> bool:
    """One without a scheme too, which is reported as wrong, and not as an unknown environment."""
    return not _ONLY_IN_URLS.isdisjoint(target)


def _own_key(options: _Options) -> "Secret | None":
    from drydock.loadtest.secrets import Secret

    if options.api_key_env and options.api_key_file:
        raise UsageError("--api-key-env and --api-key-file both name a key", remedy="Give one of them.")
    if options.in_cluster and (options.api_key_env or options.api_key_file):
        raise UsageError("--in-cluster takes the API key from the Secret of the model", remedy="Leave the key out.")
    if options.api_key_file:
        return Secret.from_file(options.api_key_file)
    return Secret.from_environment(options.api_key_env) if options.api_key_env else None


def _cluster_model(options: _Options) -> "ClusterModel | None":
    """The model of an environment's cluster; None for a URL."""
    from drydock.loadtest.cluster.endpoints import Cluster
    from drydock.loadtest.load_test import ClusterModel
    from drydock.project import Project
    from drydock.suite.environments import load_environment

    if _is_url(options.target):
        named = [f"--{name.replace('_', '-')}" for name in _OF_A_CLUSTER if getattr(options, name)]
        if named:
            raise UsageError(f"{', '.join(named)} with a URL", remedy="Name an environment to find a cluster's model.")
        return None
    project = Project.discover()
    namespace = options.namespace or load_environment(project, options.target).namespace
    if options.in_cluster_values and not options.in_cluster:
        raise UsageError("--in-cluster-values without --in-cluster", remedy="Give both, or neither.")
    cluster = Cluster(options.kubeconfig, options.context, namespace)
    return ClusterModel(project, cluster, options.in_cluster, options.in_cluster_values)


def _url_parts(target: str) -> "tuple[str, list[tuple[str, str]]]":
    """A URL without its parameters, and these."""
    from urllib.parse import parse_qsl, urlsplit, urlunsplit

    if not target.startswith(("http://", "https://")):
        return target, []
    try:
        parts = urlsplit(target)
    except ValueError:
        return target, []
    return urlunsplit(parts._replace(query="")), parse_qsl(parts.query, keep_blank_values=True)


def _parameters(
    kind: str, plain: tuple[str, ...], variables: tuple[str, ...], files: tuple[str, ...]
) -> "list[Parameter]":
    """Those given as they are, and secret ones from variables and files."""
    from drydock.loadtest.dialects import Parameter
    from drydock.loadtest.secrets import Secret

    def pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
        for text in texts:
            if "=" not in text.strip("="):
                raise UsageError(f"{option}: not NAME=VALUE", remedy=f"Write it like {option} NAME=VALUE.")
        return [(text.partition("=")[0], text.partition("=")[2]) for text in texts]

    found = [Parameter(*pair) for pair in pairs(f"--{kind}", plain)]
    for name, variable in pairs(f"--{kind}-env", variables):
        found.append(Parameter(name, Secret.from_environment(variable)))
    for name, file in pairs(f"--{kind}-file", files):
        found.append(Parameter(name, Secret.from_file(Path(file))))
    return found


def _dialect(options: _Options, parameters: "list[tuple[str, str]]") -> "Dialect":
    from drydock.loadtest.dialects import Parameter, dialect, with_query

    made = dialect(
        options.api_name,
        headers=_parameters("header", options.headers, options.header_variables, options.header_files),
        query=_parameters("query", options.queries, options.query_variables, options.query_files),
        rename=options.renamed,
        drop=options.dropped,
        add=options.body_fields,
    )
    return with_query(made, [Parameter(name, value) for name, value in parameters]) if parameters else made


def _plan(options: _Options, loads: "Repetitions | Rates | LimitSearch", key: "Secret | None") -> "LoadPlan":
    from drydock.loadtest.load_test import URL_OF_A_CLUSTER
    from drydock.loadtest.presets import dataset, preset
    from drydock.loadtest.settings import LoadPlan, Stage, Target, Workload

    if options.workload and options.dataset:
        raise UsageError("--workload and --dataset both name prompts", remedy="Give one of them.")
    workload = Workload("512 and 128 tokens")
    if options.workload:
        workload = preset(options.workload)
    if options.dataset:
        workload = dataset(options.dataset)
    url, parameters = _url_parts(options.target)
    target = Target(
        base_url=url if _is_url(options.target) else URL_OF_A_CLUSTER,
        api_key=key,
        model=options.model,
        endpoint="completions" if options.completions else "chat",
        stream=not options.no_stream,
        timeout_seconds=options.timeout,
        loras=options.loras,
        dialect=_dialect(options, parameters),
        verify_tls=not options.insecure,
        ca_file=options.ca_file,
    )
    stage = Stage(_arrival(options, loads), options.duration, options.warm_up)
    return LoadPlan(target, workload, stage, options.processes, options.seed)


def _arrival(options: _Options, loads: "Repetitions | Rates | LimitSearch") -> "Arrival":
    from drydock.loadtest.load_test import LimitSearch, Rates
    from drydock.loadtest.settings import Closed

    rate, concurrency, trace = options.rate, options.concurrency, options.trace
    if isinstance(loads, Rates):
        rate = loads.rates[0]
    elif isinstance(loads, LimitSearch):
        rate = rate or 1.0
    if sum(kind is not None for kind in (rate, concurrency, trace)) == 1:
        if options.end_rate is not None and rate is None:
            raise UsageError("--end-rate without --rate", remedy="A ramp goes from --rate to --end-rate.")
        if trace is not None:
            return _trace(trace)
        if concurrency is not None:
            return Closed(concurrency)
        if rate is not None:
            return _open_loop(rate, options)
    raise UsageError(
        "a load needs one of --rate, --concurrency and --trace",
        remedy="Give --rate 5, for example, or --rates 1,2,4 for a sweep.",
    )


def _open_loop(rate: float, options: _Options) -> "Arrival":
    from drydock.loadtest.settings import Constant, Gamma, Poisson, Ramp

    if options.end_rate is not None:
        return Ramp(rate, options.end_rate)
    if options.arrival == "gamma":
        return Gamma(rate, options.burstiness)
    return Constant(rate) if options.arrival == "constant" else Poisson(rate)


def _trace(file: Path) -> "Arrival":
    from drydock.loadtest.settings import Trace

    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read --trace {file}: {error}", remedy="Give a text file of times in seconds, one per line."
        ) from error
    times = []
    for number, line in enumerate(lines, 1):
        try:
            times += [float(line)] if line.strip() else []
        except ValueError as error:
            raise UsageError(
                f"--trace {file}, line {number}: {line!r} is not a number of seconds",
                remedy="Write one time per line, in seconds from the start, like 0.25.",
            ) from error
    return Trace(tuple(times))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder}: {error.strerror}", remedy="Name a folder that can be written to.") from error
