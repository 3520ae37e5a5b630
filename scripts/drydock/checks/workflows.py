"""Workflows of Argo can store what they make: repository, region, credentials, ServiceAccount, rights (pain 25)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.subject import Subject
from drydock.documents import load_yaml_leniently
from drydock.scheduling.pods import ARGO_KINDS
from drydock.suite.manifests import Manifest

ARTIFACTS = "workflow-artifacts"
ACCOUNT = "workflow-service-account"
PAIN = 25

_CONTROLLER = "workflow-controller-configmap"
_DEFAULTS = "artifact-repositories"
_DEFAULT_KEY = "workflows.argoproj.io/default-artifact-repository"
_STORES = ("s3", "gcs", "azure", "oss", "hdfs")
_NEEDED = {"create", "patch"}

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class _Place:
    """A namespace of the release, as a workflow in it sees it, and where in its object the workflow stands."""

    subject: Subject
    namespace: str
    path: str

    def named(self, kind: str, name: str) -> Manifest | None:
        for manifest in self.subject.manifests:
            if manifest.kind == kind and manifest.name == name and self.holds(manifest):
                return manifest
        return None

    def holds(self, manifest: Manifest) -> bool:
        return (manifest.namespace or self.subject.rendered.environment.namespace) == self.namespace

    def is_account(self, subject: Fields, name: str) -> bool:
        namespace = subject.get("namespace") or self.subject.rendered.environment.namespace
        return (subject.get("kind"), subject.get("name"), namespace) == ("ServiceAccount", name, self.namespace)


def check(subject: Subject) -> Iterator[Finding]:
    """Workflows whose artifacts have no place, and whose pods have no ServiceAccount that may report."""
    for manifest in subject.manifests:
        if manifest.kind in ARGO_KINDS:
            workflow: Any = manifest.content
            for key in ARGO_KINDS[manifest.kind]:
                workflow = (workflow or {}).get(key) or {}
            namespace = manifest.namespace or subject.rendered.environment.namespace
            place = _Place(subject, namespace, ".".join(ARGO_KINDS[manifest.kind]))
            yield from _artifacts(subject, manifest, workflow, place)
            yield from _accounts(subject, manifest, workflow, place)


def _artifacts(subject: Subject, manifest: Manifest, workflow: Fields, place: _Place) -> Iterator[Finding]:
    path = next(_stored(workflow, place.path), "")
    if not path:
        return
    reference = workflow.get("artifactRepositoryRef") or {}
    found = _repository(reference, place)
    if found is None:
        holder = f"ConfigMap {reference.get('configMap') or _DEFAULTS}"
        named = f"{holder} does not hold it" if reference else f"neither {holder} nor the controller names one"
        yield subject.finding(
            ARTIFACTS,
            manifest,
            f"Its artifacts have no repository in namespace {place.namespace}: {named}.",
            "Set argo.artifactRepository.bucket, or name a ConfigMap of the namespace under artifactRepositoryRef.",
            path=f"{place.path}.artifactRepositoryRef" if reference else path,
            pain=PAIN,
        )
        return
    for lack, remedy in _lacks(found):
        yield subject.finding(ARTIFACTS, manifest, f"Its artifact repository {lack}.", remedy, path=path, pain=PAIN)


def _stored(workflow: Fields, path: str) -> Iterator[str]:
    """Paths of artifacts that go to the repository, or come from it, because they name no bucket of their own."""
    for position, template in enumerate(workflow.get("templates") or ()):
        for side in ("inputs", "outputs"):
            for artifact in (template.get(side) or {}).get("artifacts") or ():
                own = artifact.get("s3") or {}
                elsewhere = any(name in artifact for name in ("raw", "git", "http", "from", *_STORES[1:]))
                if not (own.get("bucket") or elsewhere):
                    yield f"{path}.templates.{position}.{side}.artifacts.{artifact.get('name')}"


def _repository(reference: Fields, place: _Place) -> Fields | None:
    """The repository of a workflow: the one that it names, its namespace's, or the controller's; None without one."""
    names = [str(reference.get("configMap") or _DEFAULTS)] if reference else [_DEFAULTS]
    for name in names:
        manifest = place.named("ConfigMap", name)
        if manifest is not None:
            annotations = manifest.content["metadata"].get("annotations") or {}
            key = str(reference.get("key") or annotations.get(_DEFAULT_KEY) or "")
            text = (manifest.content.get("data") or {}).get(key)
            if text:
                return _fields(load_yaml_leniently(text))
    if reference:
        return None
    for manifest in place.subject.manifests:
        if manifest.kind == "ConfigMap" and manifest.name == _CONTROLLER:
            data = manifest.content.get("data") or {}
            text = data.get("artifactRepository")
            configured = _fields(load_yaml_leniently(text or data.get("config") or ""))
            whole = configured if text else configured.get("artifactRepository")
            return _fields(whole) or None
    return None


def _fields(content: Any) -> Fields:
    return content if isinstance(content, dict) else {}


def _lacks(repository: Fields) -> Iterator[tuple[str, str]]:
    if not any(repository.get(store) for store in _STORES):
        yield "names no store", f"Set one of {', '.join(_STORES)}."
    bucket = repository.get("s3")
    if not bucket:
        return
    if not bucket.get("bucket"):
        yield "names no bucket", "Set s3.bucket."
    if not bucket.get("region"):
        yield "names no region, so requests are signed for another", "Set s3.region."
    keys = bucket.get("accessKeySecret") and bucket.get("secretKeySecret")
    if not (bucket.get("useSDKCreds") or keys):
        yield (
            "names no credentials, and does not take those of the ServiceAccount either",
            "Set s3.useSDKCreds for IRSA or EKS Pod Identity.",
        )


def _accounts(subject: Subject, manifest: Manifest, workflow: Fields, place: _Place) -> Iterator[Finding]:
    for path, name in dict.fromkeys(_named_accounts(workflow, place.path)):
        lack = ""
        if not name:
            lack = "has no ServiceAccount of its own: it runs as the namespace's default, which may report no results"
        elif place.named("ServiceAccount", name) is None:
            lack = f"runs as ServiceAccount {name}, which namespace {place.namespace} does not have"
        elif not _verbs(place, name) >= _NEEDED:
            lack = f"runs as ServiceAccount {name}, which may not create and patch workflowtaskresults"
        if lack:
            yield subject.finding(
                ACCOUNT,
                manifest,
                f"A pod of it {lack}.",
                f"Have a ServiceAccount in namespace {place.namespace}, bound to a Role that may create and patch "
                "workflowtaskresults of argoproj.io (argo.workflows.namespaces does both).",
                path=path,
                pain=PAIN,
            )


def _named_accounts(workflow: Fields, path: str) -> Iterator[tuple[str, str]]:
    """Path and name of the ServiceAccount of each template that has a pod; empty for none."""
    general = str(workflow.get("serviceAccountName") or "")
    for position, template in enumerate(workflow.get("templates") or ()):
        if any(template.get(body) for body in ("container", "script", "containerSet", "resource", "data")):
            own = str(template.get("serviceAccountName") or "")
            where = f"{path}.templates.{position}.serviceAccountName" if own else f"{path}.serviceAccountName"
            yield where, own or general


def _verbs(place: _Place, account: str) -> set[str]:
    """What a ServiceAccount may do with workflowtaskresults of its namespace."""
    allowed: set[str] = set()
    for binding in place.subject.manifests:
        binds_here = binding.kind == "ClusterRoleBinding" or (binding.kind == "RoleBinding" and place.holds(binding))
        if binds_here and any(place.is_account(subject, account) for subject in binding.content.get("subjects") or ()):
            allowed |= _granted(place, binding.content.get("roleRef") or {})
    return allowed


def _granted(place: _Place, reference: Fields) -> set[str]:
    """What a Role or ClusterRole lets its holders do with workflowtaskresults."""
    allowed: set[str] = set()
    for manifest in place.subject.manifests:
        if (manifest.kind, manifest.name) == (reference.get("kind"), reference.get("name")):
            if manifest.kind == "Role" and not place.holds(manifest):
                continue
            for rule in manifest.content.get("rules") or ():
                groups, resources = {*rule.get("apiGroups", ())}, {*rule.get("resources", ())}
                if {"argoproj.io", "*"} & groups and {"workflowtaskresults", "*"} & resources:
                    allowed |= {*rule.get("verbs", ())}
    return allowed | _NEEDED if "*" in allowed else allowed
