"""drydock loadtest."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import ArrivalName, EnvironmentName, NumberRange, objective_options
from drydock.cli.output import format_option
from drydock.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from drydock.loadtest.cluster.endpoints import Cluster, Endpoint
    from drydock.loadtest.dialects import Dialect, Parameter
    from drydock.loadtest.secrets import Secret
    from drydock.loadtest.settings import Arrival, LoadPlan
    from drydock.project import Project
    from drydock.suite.objectives import Objectives

_OF_A_CLUSTER = ("kubeconfig", "context", "namespace", "in_cluster", "in_cluster_values")
_NOT_YET = "http://not-known-yet"
_ONLY_IN_URLS = frozenset(":/.")


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
def command(
    target: str,
    repetitions: int,
    output: Path | None,
    form: str,
    environment: str | None,
    objectives_file: Path | None,
    objective_texts: tuple[str, ...],
    baseline: Path | None,
    fail_on_regression: bool,
    **asked: Any,
) -> None:
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
    from dataclasses import replace

    from drydock.loadtest.baseline import read_baseline
    from drydock.loadtest.judgement import passed
    from drydock.loadtest.loads import at_rate, impossible, least_tpot, offer, repeated
    from drydock.loadtest.outputs import result, write_results
    from drydock.loadtest.preflight import check
    from drydock.loadtest.statistics import compare
    from drydock.loadtest.sweep import find_limit, sweep
    from drydock.loadtest.tables import print_result

    _check_comparison(baseline, fail_on_regression, searched=bool(asked["rates"] or asked["find_limit"]))
    rates = _rates(asked, repetitions)
    environment = environment or (None if _is_url(target) or objectives_file else target)
    wanted = _objectives(environment, objectives_file, objective_texts)
    own_key = _own_key(asked)
    target, parameters = _url_parts(target)
    plan = _plan(asked, parameters)
    if asked["gpu"]:
        least_tpot(asked["gpu"], asked["model"], asked["tensor_parallel"])
    earlier = read_baseline(baseline, plan) if baseline else None
    if output is not None:
        _make(output)
    with _endpoint(target, asked, own_key=own_key is not None) as endpoint:
        plan = replace(plan, target=replace(plan.target, base_url=endpoint.url, api_key=own_key or endpoint.key))
        if not asked["in_cluster"]:
            check(plan.target)
        searched = None
        if rates:
            searched = sweep(rates, lambda rate: offer(at_rate(plan, rate), wanted, site=endpoint.site))
        elif asked["find_limit"]:
            searched = find_limit(
                asked["rate"],
                lambda rate: offer(at_rate(plan, rate), wanted, site=endpoint.site),
                precision=asked["precision"],
            )
        loads = list(searched.loads) if searched else list(repeated(plan, wanted, repetitions, endpoint.site))
    warnings = [*([endpoint.note] if endpoint.note else []), *(earlier.notes if earlier else ())]
    if asked["gpu"]:
        told_so = (impossible(load.measures, asked["gpu"], asked["model"], asked["tensor_parallel"]) for load in loads)
        warnings += dict.fromkeys(filter(None, told_so))
    compared = compare(earlier.runs, [load.measures.values for load in loads]) if earlier else None
    outcome = result(plan, loads, searched=searched, compared=compared, warnings=warnings)
    if output is not None:
        write_results(output, outcome, loads)
        click.echo(f"Report: {output / 'report.html'}", err=True)
    if form == "json":
        click.echo(json.dumps(outcome, indent=2, allow_nan=False))
    else:
        print_result(outcome, loads)
    if outcome["interrupted"]:
        raise SystemExit(EXIT_INTERRUPTED)
    worse = [each["name"] for each in outcome["comparison"] or () if each["verdict"] == "worse"]
    if not passed(outcome) or (fail_on_regression and worse):
        raise SystemExit(1)


def _check_comparison(baseline: Path | None, fail_on_regression: bool, *, searched: bool) -> None:
    if baseline and searched:
        raise UsageError(
            "--baseline compares repetitions of one load, not a sweep", remedy="give it with --rate or --concurrency"
        )
    if fail_on_regression and not baseline:
        raise UsageError("--fail-on-regression without --baseline", remedy="name the earlier result, --baseline DIR")


def _rates(asked: dict[str, Any], repetitions: int) -> list[float]:
    """Rates of a sweep; empty for a single load or a search."""
    from drydock.loadtest.settings import Constant

    if not asked["rates"] and not asked["find_limit"]:
        return []
    if asked["rates"] and asked["find_limit"]:
        raise UsageError("--rates and --find-limit both choose the loads", remedy="Give one of them.")
    if repetitions > 1 or asked["concurrency"] is not None:
        raise UsageError(
            "a sweep of rates takes neither --repetitions nor --concurrency", remedy="leave them out, or the sweep"
        )
    if asked["find_limit"]:
        asked["rate"] = asked["rate"] or 1.0
        return []
    try:
        rates = [float(part) for part in asked["rates"].split(",")]
    except ValueError as error:
        raise UsageError(f"--rates {asked['rates']}: not numbers", remedy="Give them like 1,2,4.") from error
    for rate in rates:
        Constant(rate)
    if asked["rate"] is not None:
        raise UsageError("--rate and --rates both choose the loads", remedy="Give one of them.")
    asked["rate"] = rates[0]
    return rates


def _objectives(environment: str | None, file: Path | None, texts: tuple[str, ...]) -> "Objectives":
    from drydock.project import Project
    from drydock.suite.environments import load_environment
    from drydock.suite.objectives import Objectives, merged, objectives, read_objectives

    if environment and file:
        raise UsageError("--environment and --objectives both name objectives", remedy="give one of them")
    found = read_objectives(file) if file else Objectives()
    if environment:
        loaded = load_environment(Project.discover(), environment)
        found = objectives(loaded.objectives, f"{loaded.file}: objectives")
    return merged(found, texts)


def _is_url(target: str) -> bool:
    """One without a scheme too, which is reported as wrong, and not as an unknown environment."""
    return not _ONLY_IN_URLS.isdisjoint(target)


def _own_key(asked: dict[str, Any]) -> "Secret | None":
    from drydock.loadtest.secrets import Secret

    if asked["api_key_env"] and asked["api_key_file"]:
        raise UsageError("--api-key-env and --api-key-file both name a key", remedy="give one of them")
    if asked["in_cluster"] and (asked["api_key_env"] or asked["api_key_file"]):
        raise UsageError("--in-cluster takes the API key from the Secret of the model", remedy="leave the key out")
    if asked["api_key_file"]:
        return Secret.from_file(asked["api_key_file"])
    return Secret.from_environment(asked["api_key_env"]) if asked["api_key_env"] else None


def _endpoint(target: str, asked: dict[str, Any], *, own_key: bool) -> "AbstractContextManager[Endpoint]":
    """A URL as it is, or the model of an environment's cluster."""
    from contextlib import nullcontext

    from drydock.loadtest.cluster.endpoints import Cluster, Endpoint, from_here, from_inside
    from drydock.project import Project
    from drydock.suite.environments import load_environment

    if _is_url(target):
        named = [f"--{name.replace('_', '-')}" for name in _OF_A_CLUSTER if asked[name]]
        if named:
            raise UsageError(f"{', '.join(named)} with a URL", remedy="name an environment to find a cluster's model")
        return nullcontext(Endpoint(target))
    project = Project.discover()
    namespace = asked["namespace"] or load_environment(project, target).namespace
    cluster = Cluster(asked["kubeconfig"], asked["context"], namespace)
    if asked["in_cluster"]:
        inside = from_inside(
            project, cluster, asked["model"], asked["in_cluster_values"], lambda line: click.echo(line, err=True)
        )
        return _using(project, cluster, inside)
    if asked["in_cluster_values"]:
        raise UsageError("--in-cluster-values without --in-cluster", remedy="give both, or neither")
    return _using(project, cluster, from_here(cluster, asked["model"], own_key=own_key))


@contextmanager
def _using(
    project: "Project", cluster: "Cluster", endpoint: "AbstractContextManager[Endpoint]"
) -> "Iterator[Endpoint]":
    """A rehearsal's cluster stays while it is loaded, and the load ends with it."""
    from drydock.rehearsal.runs import in_use

    with in_use(project, cluster.kubeconfig), endpoint as found:
        yield found


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


def _parameters(asked: dict[str, Any], kind: str, plain: str) -> "list[Parameter]":
    """Those given as they are, and secret ones from variables and files."""
    from drydock.loadtest.dialects import Parameter
    from drydock.loadtest.secrets import Secret

    def pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
        for text in texts:
            if "=" not in text.strip("="):
                raise UsageError(f"{option}: not NAME=VALUE", remedy=f"write it like {option} NAME=VALUE")
        return [(text.partition("=")[0], text.partition("=")[2]) for text in texts]

    found = [Parameter(*pair) for pair in pairs(f"--{kind}", asked[plain])]
    for name, variable in pairs(f"--{kind}-env", asked[f"{kind}_variables"]):
        found.append(Parameter(name, Secret.from_environment(variable)))
    for name, file in pairs(f"--{kind}-file", asked[f"{kind}_files"]):
        found.append(Parameter(name, Secret.from_file(Path(file))))
    return found


def _dialect(asked: dict[str, Any], parameters: "list[tuple[str, str]]") -> "Dialect":
    from drydock.loadtest.dialects import Parameter, dialect, with_query

    made = dialect(
        asked["api_name"],
        headers=_parameters(asked, "header", "headers"),
        query=_parameters(asked, "query", "queries"),
        rename=asked["renamed"],
        drop=asked["dropped"],
        add=asked["body_fields"],
    )
    return with_query(made, [Parameter(name, value) for name, value in parameters]) if parameters else made


def _plan(asked: dict[str, Any], parameters: "list[tuple[str, str]]") -> "LoadPlan":
    """All but the endpoint's address and key."""
    from drydock.loadtest.presets import dataset, preset
    from drydock.loadtest.settings import LoadPlan, Stage, Target, Workload

    if asked["workload"] and asked["dataset"]:
        raise UsageError("--workload and --dataset both name prompts", remedy="give one of them")
    workload = Workload("512 and 128 tokens")
    if asked["workload"]:
        workload = preset(asked["workload"])
    if asked["dataset"]:
        workload = dataset(asked["dataset"])
    target = Target(
        base_url=_NOT_YET,
        model=asked["model"],
        endpoint="completions" if asked["completions"] else "chat",
        stream=not asked["no_stream"],
        timeout_seconds=asked["timeout"],
        loras=asked["loras"],
        dialect=_dialect(asked, parameters),
        verify_tls=not asked["insecure"],
        ca_file=asked["ca_file"],
    )
    stage = Stage(_arrival(asked), asked["duration"], asked["warm_up"])
    return LoadPlan(target, workload, stage, asked["processes"], asked["seed"])


def _arrival(asked: dict[str, Any]) -> "Arrival":
    from drydock.loadtest.settings import Closed, Constant, Gamma, Poisson, Ramp

    rate, concurrency, trace = asked["rate"], asked["concurrency"], asked["trace"]
    if sum(each is not None for each in (rate, concurrency, trace)) != 1:
        raise UsageError(
            "a load needs one of --rate, --concurrency and --trace",
            remedy="give --rate 5, for example, or --rates 1,2,4 for a sweep",
        )
    if asked["end_rate"] is not None and rate is None:
        raise UsageError("--end-rate without --rate", remedy="a ramp goes from --rate to --end-rate")
    if trace is not None:
        return _trace(trace)
    if rate is None:
        return Closed(concurrency)
    if asked["end_rate"] is not None:
        return Ramp(rate, asked["end_rate"])
    if asked["arrival"] == "gamma":
        return Gamma(rate, asked["burstiness"])
    return Constant(rate) if asked["arrival"] == "constant" else Poisson(rate)


def _trace(file: Path) -> "Arrival":
    from drydock.loadtest.settings import Trace

    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read --trace {file}: {error}", remedy="give a text file of times in s, one a line"
        ) from error
    times = []
    for number, line in enumerate(lines, 1):
        try:
            times += [float(line)] if line.strip() else []
        except ValueError as error:
            raise UsageError(
                f"--trace {file}, line {number}: {line!r} is no number of seconds",
                remedy="write one time a line, in s from the start, like 0.25",
            ) from error
    return Trace(tuple(times))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder}: {error.strerror}", remedy="name a folder that can be written to") from error
