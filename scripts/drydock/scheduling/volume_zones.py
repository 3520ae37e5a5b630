"""Where a pod's volumes let it run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from drydock.scheduling.pods import PodUse
from drydock.scheduling.requirements import Requirement, Requirements, from_expressions, merged, requirement
from drydock.suite.manifests import Manifest

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Storage:
    """Storage objects of an environment by name.

    Attributes:
        claims, volumes, classes: PersistentVolumeClaim, PersistentVolume and StorageClass objects.
    """

    claims: Mapping[str, Manifest] = field(default_factory=dict)
    volumes: Mapping[str, Manifest] = field(default_factory=dict)
    classes: Mapping[str, Manifest] = field(default_factory=dict)

    @classmethod
    def of(cls, manifests: Sequence[Manifest]) -> "Storage":
        """The storage objects among an environment's."""
        kinds = ("PersistentVolumeClaim", "PersistentVolume", "StorageClass")
        return cls(*({manifest.name: manifest for manifest in manifests if manifest.kind == kind} for kind in kinds))

    def claims_of(self, pod: PodUse) -> list[tuple[str, Fields]]:
        """Claims that a pod mounts, each with its spec; a claim that the environment does not hold has an empty one."""
        templates = {
            template["metadata"]["name"]: template.get("spec") or {}
            for template in (pod.manifest.content.get("spec") or {}).get("volumeClaimTemplates") or ()
        }
        found = list(templates.items()) if pod.manifest.kind == "StatefulSet" else []
        for volume in pod.spec.get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            ephemeral = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
            if claim:
                made = self.claims[claim].content.get("spec") or {} if claim in self.claims else {}
                found.append((claim, pod.claims.get(claim, made)))
            elif ephemeral:
                found.append((volume["name"], ephemeral.get("spec") or {}))
        return found

    def alternatives(self, pod: PodUse) -> list[Requirements]:
        """Requirements that the pod's volumes put on its node, any one of which will do.

        Source: karpenter v1.14, pkg/controllers/provisioning/scheduling/volumetopology.go.
        """
        terms = [self._terms(spec) for _, spec in self.claims_of(pod)]
        return [merged(*chosen) for chosen in product(*(term for term in terms if term))]

    def storage_class(self, claim: Fields) -> Manifest | None:
        """The class that a claim names, when the environment holds it."""
        return self.classes.get(str(claim.get("storageClassName") or ""))

    def _terms(self, claim: Fields) -> list[list[Requirement]]:
        volume = self.volumes.get(str(claim.get("volumeName") or ""))
        if volume is not None:
            required = ((volume.content.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}
            terms = required.get("nodeSelectorTerms") or ()
            return [from_expressions(term.get("matchExpressions")) for term in terms if term.get("matchExpressions")]
        storage_class = self.storage_class(claim)
        if storage_class is None:
            return []
        return [
            [
                requirement(expression["key"], "In", expression["values"])
                for expression in term.get("matchLabelExpressions") or ()
            ]
            for term in storage_class.content.get("allowedTopologies") or ()
        ]
