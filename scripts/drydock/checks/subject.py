"""What a check looks at: one environment as it renders, beside what its account can buy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import NO_ORIGINS, Origins, telling_keys
from drydock.checks.values_files import Place
from drydock.scheduling.account import Account, account_of
from drydock.scheduling.feasibility import PodVerdict, Scheduling, avoids_karpenter
from drydock.scheduling.instance_types.region import Catalogue, load_catalogue
from drydock.scheduling.pods import PodUse
from drydock.scheduling.pools import Pool, find_pools
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment


@dataclass(frozen=True)
class Subject:
    """One environment under the checks.

    Attributes:
        rendered: the environment and its objects.
        account: where its nodes can be bought.
        catalogue: instance types of the region.
        values: of the umbrella and its charts, as Helm merges them; empty where Helm did not run.
    """

    rendered: RenderedEnvironment
    account: Account
    catalogue: Catalogue
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def manifests(self) -> Sequence[Manifest]:
        """Every object of the environment."""
        return self.rendered.manifests

    @cached_property
    def origins(self) -> Origins:
        """Where the environment's files set what its objects say."""
        return Origins.of(self.rendered.environment)

    @cached_property
    def _release_origins(self) -> Mapping[str, Origins]:
        releases = self.rendered.environment.brought.releases
        return {release.name: Origins.of_values(release.values_files, release.set_values) for release in releases}

    def origins_of(self, manifest: Manifest) -> Origins:
        """Where values set what an object says: those of the suite, or of the release that it is from."""
        return self._release_origins.get(manifest.source, NO_ORIGINS) if manifest.source else self.origins

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """Node pools, in the order in which Karpenter tries them."""
        return find_pools(self.manifests, self.account, self.catalogue)

    @cached_property
    def scheduling(self) -> Scheduling:
        """Pods against pools."""
        return Scheduling.of(self.manifests, self.pools)

    @property
    def pods(self) -> tuple[PodUse, ...]:
        """Every pod as it would be admitted."""
        return self.scheduling.pods

    @cached_property
    def verdicts(self) -> tuple[PodVerdict, ...]:
        """Where each pod that Karpenter is to host can run."""
        return tuple(verdict for verdict in self.scheduling.verdicts() if not avoids_karpenter(verdict.pod))

    def verdicts_on(self, pool: Pool) -> list[PodVerdict]:
        """Verdicts of the pods that a pool can host."""
        return [verdict for verdict in self.verdicts if any(one.hosts and one.pool is pool for one in verdict.pools)]

    def finding(
        self,
        check: str,
        manifest: Manifest,
        reason: str,
        remedy: str,
        *,
        path: str = "",
        pain: int = 0,
        severity: Severity = Severity.ERROR,
        keys: Sequence[str] = (),
        value: object = None,
        cause: str = "",
    ) -> Finding:
        """A finding about one object, with the line of the environment's values that it comes from.

        `keys` are those of values that may be at fault, the most telling first (those of the path come after them), and
        `value` is what is wrong, as the object has it. The other arguments are as `Finding` has them.
        """
        place = self.origins_of(manifest).locate(manifest, (*keys, *telling_keys(path)), value) or Place("", 0)
        if place.suffix and reason.endswith("."):
            reason = f"{reason[:-1]}{place.suffix}."
        return Finding(
            environment=self.rendered.environment.name,
            check=check,
            reason=reason,
            remedy=remedy,
            severity=severity,
            chart=manifest.chart,
            template=manifest.template,
            object=manifest.identity,
            path=path,
            file=place.file or file_of(manifest),
            line=place.line,
            pain=pain,
            cause=cause,
            release=manifest.source,
        )


def subject_of(rendered: RenderedEnvironment, catalogue: Catalogue, account: Account | None = None) -> Subject:
    """An environment under the checks, in the account that its objects expect unless another is given."""
    expected = account or account_of(rendered.environment, rendered.manifests)
    return Subject(rendered, expected, catalogue)


def load_subject(cache_dir: Path, rendered: RenderedEnvironment) -> Subject:
    """An environment under the checks, with the instance types of its region.

    Raises:
        DrydockError: the region is unknown.
    """
    account = account_of(rendered.environment, rendered.manifests)
    return subject_of(rendered, load_catalogue(cache_dir, account.region), account)


def file_of(manifest: Manifest) -> str:
    """The file to open for an object: its template or manifest."""
    return manifest.file or template_file(manifest.template)


def template_file(template: str) -> str:
    """A template's file relative to the project, from the path that Helm gives it.

    `genai-platform/charts/vllm/templates/deployment.yaml` lies in `charts/vllm/templates/deployment.yaml`.
    """
    folder, separator, rest = template.partition("/templates/")
    return f"charts/{folder.rpartition('/')[2]}{separator}{rest}"
