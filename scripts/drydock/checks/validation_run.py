"""One cold run of all checks: the programs side by side, and Python's own work beside them."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from os import cpu_count
from pathlib import Path
from typing import Any

from drydock.checks import accepted, schema_conformance
from drydock.checks.findings import Finding, Severity, folded
from drydock.checks.helm_output import SCHEMA_REFUSAL, lint_findings, refusal, release_refusal, versions_of
from drydock.checks.places import region_finding
from drydock.checks.registry import Check, run_checks
from drydock.checks.subject import Subject, file_of
from drydock.checks.unused_values import unused_values
from drydock.checks.values_files import misshapen
from drydock.checks.values_schema import CHECK as VALUES
from drydock.checks.values_schema import merged_values, refused_values
from drydock.errors import DrydockError
from drydock.progress import Progress
from drydock.project import Project
from drydock.scheduling.account import account_of
from drydock.scheduling.instance_types.region import Catalogue, load_catalogue
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest, parse_manifests
from drydock.suite.render import (
    HELMS,
    RenderedEnvironment,
    kube_version,
    parse_release,
    release_command,
    template_command,
)
from drydock.suite.sources import HelmRelease
from drydock.tools import process
from drydock.tools.process import Completed

DIFFERS = "render-differs"


_Started = Mapping[str, Sequence["Future[Completed]"]]
"""Calls of `helm template` under way, by Helm, in the order of the releases."""


@dataclass(frozen=True)
class Outcome:
    """Findings by environment, and of the charts alone (None when they were not asked for)."""

    environments: Mapping[str, tuple[Finding, ...]]
    charts: tuple[Finding, ...] | None


@dataclass(frozen=True)
class _Rendering:
    """What the Helms made of an environment.

    Attributes:
        environment: what was rendered.
        manifests: objects of the first Helm, empty when it refused.
        findings: what is wrong already.
        values: of the umbrella and its charts, as Helm merges them; None when it cannot.
    """

    environment: Environment
    manifests: tuple[Manifest, ...]
    findings: tuple[Finding, ...]
    values: "Future[Any]"


class Run:
    """Programs in a pool of as many threads as there are processors; close it to end what still runs."""

    def __init__(
        self,
        project: Project,
        tools: Mapping[str, Path],
        charts: AssembledCharts,
        schemas: Path,
        progress: Progress,
        more: Sequence[Check] = (),
    ) -> None:
        self._more = more
        self._project = project
        self._tools = tools
        self._charts = charts
        self._schemas = schemas
        self._progress = progress
        self._pool = ThreadPoolExecutor(max_workers=cpu_count() or 2)
        self._catalogues: dict[str, Catalogue] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def check(self, environments: Sequence[Environment], *, lint: bool) -> Outcome:
        """Check the environments, and with `lint` the charts."""
        names = ", ".join(each.name for each in environments)
        with self._progress.step(f"Render {names or 'nothing'} with Helm 3 and Helm 4"):
            started = {each.name: self._render(each) for each in environments}
            values = {each.name: self._merge(each) for each in environments}
            linted = self._pool.submit(self._lint) if lint else None
            renderings = [self._rendering(each, started[each.name], values[each.name]) for each in environments]
        with self._progress.step("Check the objects"):
            nonconforming = self._pool.submit(self._nonconforming, renderings)
            rendered = [rendering for rendering in renderings if rendering.manifests]
            for region in {account_of(each.environment, each.manifests).region for each in rendered}:
                with suppress(DrydockError):  # reported with the environment's findings
                    self._catalogue(region)
            wrong = nonconforming.result()
            found = {rendering.environment.name: self._found(rendering, wrong) for rendering in renderings}
            of_charts = _of_charts(linted.result().stdout, found) if linted else None
        return Outcome({name: folded(map(self._shown, findings)) for name, findings in found.items()}, of_charts)

    def _shown(self, finding: Finding) -> Finding:
        """The finding with its file as it is called in the project."""
        roots = (f"{self._project.base}/", f"{self._project.root}/")
        return replace(finding, file=finding.file.removeprefix(roots[0]).removeprefix(roots[1]))

    def _merge(self, environment: Environment) -> "Future[Any]":
        if not environment.suite:
            return self._pool.submit(dict)
        return self._pool.submit(merged_values, self._tools[HELMS[0]], self._charts.umbrella, environment)

    def _render(self, environment: Environment) -> _Started:
        return {
            name: tuple(
                self._pool.submit(process.run, command, env=process.SHORT_LIVED, check=False) for command in commands
            )
            for name in HELMS
            for commands in [self._commands(self._tools[name], environment)]
        }

    def _commands(self, helm: Path, environment: Environment) -> list[list[str]]:
        """The calls of `helm template`: the suite's, then those of the releases beside it."""
        arguments = [*environment.helm_arguments(), "--kube-version", kube_version(environment)]
        own = template_command(helm, self._charts.umbrella, arguments, namespace=environment.namespace)
        releases = environment.brought.releases
        return [*([own] if environment.suite else []), *(release_command(helm, each, environment) for each in releases)]

    def _lint(self) -> Completed:
        folders = sorted(path for path in self._charts.folder.iterdir() if (path / "Chart.yaml").is_file())
        return process.run([self._tools[HELMS[0]], "lint", *folders], env=process.SHORT_LIVED, check=False)

    def _rendering(self, environment: Environment, started: _Started, values: "Future[Any]") -> _Rendering:
        done = [dict(zip(HELMS, each, strict=True)) for each in zip(*_results(started), strict=True)]
        findings = list(self._misshapen(environment))
        manifests = list(environment.brought.manifests)
        if environment.suite:
            refused, own = self._own(environment, done.pop(0), values)
            if refused and not own:
                return _Rendering(environment, (), tuple(findings) or refused, values)
            findings += refused
            manifests = [*own, *manifests]
        for release, completed in zip(environment.brought.releases, done, strict=True):
            refused, own = _of_release(environment, release, completed)
            findings += refused
            manifests += own
        return _Rendering(environment, tuple(manifests), tuple(findings), values)

    def _own(
        self, environment: Environment, done: Mapping[str, Completed], values: "Future[Any]"
    ) -> tuple[tuple[Finding, ...], tuple[Manifest, ...]]:
        """Findings on the suite's own render, and its objects."""
        failed = _failed(done)
        if failed:
            return tuple(self._refused(environment, done, failed, values.result())), ()
        first, second = (done[name].stdout for name in HELMS)
        manifests = parse_manifests(first)
        differing = () if first == second else _differences(environment, manifests, parse_manifests(second))
        return (*differing, *unused_values(self._charts.umbrella, environment, values.result())), manifests

    def _refused(
        self, environment: Environment, done: Mapping[str, Completed], failed: Sequence[str], values: Any
    ) -> Iterator[Finding]:
        stderr = done[failed[0]].stderr
        refused = (
            refused_values(values, self._project, self._charts.umbrella, environment)
            if SCHEMA_REFUSAL in stderr
            else []
        )
        if refused:
            yield from refused
            return
        versions = versions_of(failed) if len(failed) < len(done) else ""
        yield refusal(environment, stderr, versions=versions)

    def _misshapen(self, environment: Environment) -> Iterator[Finding]:
        """What is wrong with the files themselves."""
        for file in environment.values_files:
            yield from misshapen(environment.name, file)

    def _nonconforming(self, renderings: Sequence[_Rendering]) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """What kubeconform says, by document; one that several environments share is looked at once."""
        documents = list(dict.fromkeys(manifest.text for each in renderings for manifest in each.manifests))
        crds = [
            each.content
            for rendering in renderings
            for each in rendering.manifests
            if each.source and each.kind == "CustomResourceDefinition"
        ]
        wrong = schema_conformance.nonconforming(self._tools["kubeconform"], self._schemas, documents, crds)
        return {documents[position]: reasons for position, reasons in wrong.items()}

    def _object_findings(
        self, rendering: _Rendering, wrong: Mapping[str, tuple[tuple[str, str], ...]]
    ) -> Iterator[Finding]:
        for manifest in rendering.manifests:
            for path, reason in wrong.get(manifest.text, ()):
                yield _object_finding(rendering.environment, manifest, schema_conformance.CHECK, reason, path)

    def _found(self, rendering: _Rendering, wrong: Mapping[str, tuple[tuple[str, str], ...]]) -> list[Finding]:
        beside = [*rendering.findings, *self._object_findings(rendering, wrong)]
        why = accepted.reasons(rendering.environment, rendering.manifests)
        return [*accepted.marked(beside, why), *self._checks(rendering, wrong, beside)]

    def _checks(
        self, rendering: _Rendering, wrong: Mapping[str, object], beside: Sequence[Finding]
    ) -> tuple[Finding, ...]:
        """Findings in the objects that conform to their APIs."""
        manifests = tuple(manifest for manifest in rendering.manifests if manifest.text not in wrong)
        if not manifests:
            return ()
        environment = rendering.environment
        account = account_of(environment, manifests)
        try:
            catalogue = self._catalogue(account.region)
        except DrydockError as error:
            finding = region_finding(environment, account.region, error)
            if finding.severity is Severity.ERROR:
                return (finding,)
            manifests = tuple(
                manifest for manifest in manifests if manifest.kind != "NodePool"
            )  # nothing is known of their nodes
            subject = Subject(RenderedEnvironment(environment, manifests), account, Catalogue(account.region, {}))
            return (finding, *run_checks(subject, self._more, beside))
        values = rendering.values.result() or {}
        subject = Subject(RenderedEnvironment(environment, manifests), account, catalogue, values)
        return run_checks(subject, self._more, beside)

    def _catalogue(self, region: str) -> Catalogue:
        if region not in self._catalogues:
            self._catalogues[region] = load_catalogue(self._project.cache_dir, region)
        return self._catalogues[region]


def _results(started: _Started) -> list[list[Completed]]:
    return [[future.result() for future in started[name]] for name in HELMS]


def _failed(done: Mapping[str, Completed]) -> list[str]:
    return [name for name, completed in done.items() if completed.returncode != 0]


def _of_release(
    environment: Environment, release: HelmRelease, done: Mapping[str, Completed]
) -> tuple[tuple[Finding, ...], tuple[Manifest, ...]]:
    """Findings on the render of a chart that is not the suite's, and its objects."""
    failed = _failed(done)
    if failed:
        versions = versions_of(failed) if len(failed) < len(done) else ""
        return (release_refusal(environment, release, done[failed[0]].stderr, versions=versions),), ()
    first, second = (parse_release(release, done[name].stdout) for name in HELMS)
    return tuple(_differences(environment, first, second)), first


def _of_charts(lint_output: str, found: Mapping[str, Sequence[Finding]]) -> tuple[Finding, ...]:
    """What `helm lint` finds, without refused values that an environment's findings already report with their line."""
    told = {finding.chart for findings in found.values() for finding in findings if finding.check == VALUES}
    linted = (finding for finding in lint_findings(lint_output) if SCHEMA_REFUSAL not in finding.reason)
    return tuple(each for each in linted if each.chart not in told or not each.reason.startswith("- at "))


def _differences(environment: Environment, first: Sequence[Manifest], second: Sequence[Manifest]) -> Iterator[Finding]:
    """Objects that the two Helms, and so two renders, do not agree on."""
    others = {(each.template, each.identity): each for each in second}
    for manifest in first:
        other = others.pop((manifest.template, manifest.identity), None)
        if other is None or other.content != manifest.content:
            place = _first_difference(manifest.content, other.content if other else None)
            reason = f"Two renders, by {versions_of(HELMS)}, differ at {place or 'the whole object'}."
            yield _object_finding(environment, manifest, DIFFERS, reason, place)
    for manifest in others.values():
        yield _object_finding(environment, manifest, DIFFERS, "Only Helm 3 renders this object.", "")


def _first_difference(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            if key not in one or key not in other or one[key] != other[key]:
                below = _first_difference(one.get(key), other.get(key))
                return f"{key}.{below}" if below else str(key)
    if isinstance(one, list) and isinstance(other, list):
        for position, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            if mine != theirs:
                below = _first_difference(mine, theirs)
                return f"{position}.{below}" if below else str(position)
    return ""


_REMEDIES = {
    DIFFERS: "Take random values, times and lookups out of the template; refer to an existing Secret instead.",
    schema_conformance.CHECK: "Correct the template, or the value that sets it.",
}
_PAINS = {DIFFERS: 8}


def _object_finding(environment: Environment, manifest: Manifest, check: str, reason: str, path: str) -> Finding:
    remedy = _REMEDIES[check]
    if manifest.source and reason.startswith(schema_conformance.NO_API):
        remedy = "Bring the CRD among the manifests, or install what defines it first."
    random = check == DIFFERS and manifest.source
    return Finding(
        environment.name,
        check,
        reason,
        remedy,
        severity=Severity.WARNING if random else Severity.ERROR,
        chart=manifest.chart,
        template=manifest.template,
        object=manifest.identity,
        path=path,
        file=file_of(manifest),
        pain=_PAINS.get(check, 0),
        release=manifest.source,
    )
