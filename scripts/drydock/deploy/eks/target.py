"""An EKS cluster in an account of your own: Terraform, then Karpenter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from drydock.clusters.kube import apply_objects, await_access
from drydock.deploy.deployments import Deployment
from drydock.deploy.eks import contents
from drydock.deploy.eks.caller import check_account, check_snapshot, has_log_group, has_node_entry, has_spot_role
from drydock.deploy.eks.cost import hourly_cost
from drydock.deploy.eks.kubeconfig import find_aws_cli, write_kubeconfig
from drydock.deploy.eks.leftovers import (
    CLUSTER_TAG,
    Leftover,
    check_ours,
    find_caused,
    find_leftovers,
    remove_leftovers,
    stop_karpenter,
)
from drydock.deploy.eks.ownership import (
    adopt_old_state,
    check_before_change,
    check_before_removal,
    check_versions,
    state_key,
)
from drydock.deploy.eks.terraform import Backend, Plan, Terraform, TerraformError
from drydock.deploy.eks.variables import check_variables
from drydock.deploy.target import Overlay, Reached
from drydock.errors import ClusterError
from drydock.progress import Progress
from drydock.project import Project
from drydock.scheduling.account import DEFAULT_REGION, global_values
from drydock.scheduling.instance_types.region import load_catalogue
from drydock.suite.cluster_description import describe
from drydock.suite.environments import Environment, environment_names, load_environment
from drydock.tools.on_path import find_terraform

_KARPENTER_RIGHTS = "aws_iam_role_policy.karpenter[0]"
_SPOT_ROLE = "aws_iam_service_linked_role.spot[0]"
_NODE_ENTRY = "aws_eks_access_entry.nodes[0]"
_ZONES = 3
_LOG_GROUP = "aws_cloudwatch_log_group.cluster"


@dataclass(frozen=True)
class EksTarget:
    """See the module.

    Attributes:
        project: holds ci/eks, and `eks` in the environment's file.
        deployment: its name is the cluster's; its settings name account, Region, owner and the state's bucket.
        agree: shown the cost before anything is made.
    """

    project: Project
    deployment: Deployment
    agree: Callable[[str], None]
    name: str = "eks"

    def check(self, progress: Progress) -> None:
        """See Target: Terraform and the AWS CLI are there, and the credentials are of the account that was named."""
        environment = load_environment(self.project, self.deployment.environment)
        configuration, target = self.project.root / "ci" / "eks", describe(environment)
        check_variables(environment, configuration, self._given(), target.terraform_variables())
        with progress.step("Account"):
            find_terraform()
            check_account(self._account, self._region)
            check_snapshot(environment, self._account, self._region)
            check_ours(self.deployment.name, self._region)
            if bucket := self.deployment.settings.get("backend_bucket"):
                check_versions(bucket, self.deployment.settings.get("backend_region") or self._region)
            find_aws_cli()

    def known(self) -> Overlay:
        """See Target: name, tags, Region and zones.

        AWS chooses the zones of a new VPC unless they are set: those of the values stand for them in the same Region,
        and in another one its first three, as ci/eks takes them.
        """
        variables = self._variables()
        zones = () if variables.get("vpc") else variables.get("zones", ())
        if not zones and not variables.get("vpc") and not self._is_at_home():
            types = load_catalogue(self.project.cache_dir, self._region).types.values()
            zones = sorted({zone for facts in types for zone in facts.zones})[:_ZONES]
        return self._overlay({"cluster_name": self.deployment.name, "region": self._region, "zones": zones})

    def _is_at_home(self) -> bool:
        """Whether the Region is that of the environment's values."""
        values = global_values(load_environment(self.project, self.deployment.environment))
        return bool(values.get("region", DEFAULT_REGION) == self._region)

    def create(self, progress: Progress) -> Reached:
        """See Target; shows the cost of the plan first, when it makes anything."""
        from drydock.scheduling.prices import load_prices

        terraform = self._terraform(progress)
        owner, take_over = self.deployment.settings.get("owner", ""), bool(self.deployment.settings.get("take_over"))
        made = terraform.managed()
        check_before_change(self.deployment.name, self._region, made, owner=owner, take_over=take_over)
        prices = load_prices(self.project, progress, self._region)
        plan = terraform.plan(progress)
        try:
            cost = hourly_cost(plan.resources, prices)
            if plan.changes:
                expires = f"It expires at {self.deployment.expires}."
                self.agree("\n".join((cost, expires, *_losses(plan), *self._reach())))
        except BaseException:
            plan.file.unlink(missing_ok=True)
            raise
        terraform.apply(plan, progress)
        outputs = terraform.outputs()
        kubeconfig = self._folder / "kubeconfig"
        write_kubeconfig(kubeconfig, outputs)
        return Reached(kubeconfig, self._overlay(outputs), note=cost, outputs=outputs)

    def prepare(self, reached: Reached, environment: Environment, progress: Progress) -> None:
        """See Target: what the target's description has and Terraform does not make (contents.py)."""
        from drydock.clusters.crds import read_crds, upgrade_crds
        from drydock.deploy.helm_on_cluster import Helm
        from drydock.suite.charts import assemble_charts
        from drydock.suite.render import render
        from drydock.tools.build import ensure

        description = describe(environment)
        helm = Helm(ensure(self.project, ["helm4"], progress)["helm4"], reached.kubeconfig, self._folder)
        manifests = render(helm.program, assemble_charts(self.project), environment).manifests
        with progress.step("Contents of the target"):
            await_access(reached.kubeconfig)
            apply_objects(reached.kubeconfig, contents.objects_of(description, reached.outputs))
        if description.auto_mode:
            return
        name = self.deployment.name
        upgrade_crds(reached.kubeconfig, read_crds(self.project, ["karpenter"]), progress)
        command = contents.karpenter(name, description.karpenter, description.gates_for(manifests))
        helm.run(command, progress, f"Karpenter {description.karpenter}")
        if contents.needs_load_balancers(manifests, description):
            vpc = str(reached.outputs["vpc_id"])
            command = contents.load_balancer_controller(name, self._region, vpc, {CLUSTER_TAG: name})
            helm.run(command, progress, "AWS Load Balancer Controller")

    def give_up(self, progress: Progress) -> bool:
        """See Target: Terraform goes on from what it made; when it was never let, there is nothing to remember."""
        return not Terraform(find_terraform(), self._folder / "terraform", {}).applied

    def destroy(self, progress: Progress) -> None:
        """See Target: what Karpenter and others made goes first, then Terraform's; then it looks again.

        The account keeps the service-linked role of EC2 Spot, which other clusters may use by now.
        """
        check_account(self._account, self._region)
        check_ours(self.deployment.name, self._region)
        terraform = self._terraform(progress)
        made = terraform.managed()
        vpc = check_before_removal(self.deployment.name, self._region, made, applied=terraform.applied)
        if _KARPENTER_RIGHTS in made:  # IAM knows no Region: a namesake elsewhere has a role of this name too
            stop_karpenter(self.deployment.name, self._region)
        if made:
            self._sweep(partial(find_caused, vpc=vpc), progress)
        if _SPOT_ROLE in made:
            terraform.forget(_SPOT_ROLE)
        if made:
            self._destroy(terraform, vpc, progress)
        kept = self._sweep(partial(find_leftovers, vpc=vpc, own=not made), progress)
        if kept:
            raise ClusterError(
                "\n  ".join((f"left in account {self._account}:", *kept)),
                remedy=f"Repeat `drydock destroy {self.deployment.name}`, or remove them by hand.",
            )

    def _destroy(self, terraform: Terraform, vpc: str, progress: Progress) -> None:
        """Twice, when something came or could not go before that is in Terraform's way."""
        try:
            terraform.apply(terraform.plan(progress, destroy=True), progress)
        except TerraformError:
            if not find_caused(self.deployment.name, self._region, vpc):
                raise
            self._sweep(partial(find_caused, vpc=vpc), progress)
            terraform.apply(terraform.plan(progress, destroy=True), progress)

    def _sweep(self, find: Callable[[str, str], Sequence[Leftover]], progress: Progress) -> tuple[str, ...]:
        with progress.step("Leftovers by tag") as step:
            found = find(self.deployment.name, self._region)
            for each in found:
                progress.note(f"  removing {each.kind} {each.id}")
            step.detail(f"{len(found)} found")
            return remove_leftovers(found, self._region)

    def _terraform(self, progress: Progress) -> Terraform:
        settings = self.deployment.settings
        bucket = settings.get("backend_bucket", "")
        region = settings.get("backend_region") or self._region
        terraform = Terraform(find_terraform(), self._folder / "terraform", {})
        backend = Backend(bucket, state_key(self._account, self._region, self.deployment.name), region)
        if bucket and adopt_old_state(bucket, region, self._account, self._region, self.deployment.name):
            progress.note(f"The state was copied to {backend.key} of {bucket}: its key names account and Region now.")
        terraform.init(self.project.root / "ci" / "eks", backend, progress)
        made = terraform.managed()
        found = {
            # The account has one such role: once made it stays this deployment's, or a second plan would remove it.
            "make_spot_role": _SPOT_ROLE in made or not has_spot_role(self._region),
            "adopt_node_entry": _NODE_ENTRY not in made and has_node_entry(self.deployment.name, self._region),
            "adopt_log_group": _LOG_GROUP not in made and has_log_group(self.deployment.name, self._region),
        }
        return replace(terraform, variables={**found, **self._variables()})

    def _variables(self) -> dict[str, Any]:
        name = self.deployment.environment  # of what another checkout deployed it may be unknown here
        if name not in environment_names(self.project):
            return self._given()
        environment = load_environment(self.project, name)
        return {**describe(environment).terraform_variables(), **environment.eks, **self._given()}

    def _reach(self) -> tuple[str, ...]:
        """What people have to know of the way to the API server, which is asked for once the cluster is there."""
        if self._variables().get("public_access_cidrs"):
            return ()
        return (
            "Its API server answers inside of the VPC alone: this machine has to be there, or in public_access_cidrs.",
        )

    def _overlay(self, outputs: Mapping[str, Any]) -> Overlay:
        return Overlay(values=contents.values_of(outputs, auto_mode=bool(self._variables().get("auto_mode"))))

    def _given(self) -> dict[str, Any]:
        """Variables that the command line gives."""
        return {
            "account_id": self._account,
            "region": self._region,
            "cluster_name": self.deployment.name,
            "environment": self.deployment.environment,
            "owner": self.deployment.settings.get("owner") or "unknown",
            "expires_at": self.deployment.expires,
            "namespace": self.deployment.namespace,
        }

    @property
    def _account(self) -> str:
        return str(self.deployment.settings["account_id"])

    @property
    def _region(self) -> str:
        return str(self.deployment.settings["region"])

    @property
    def _folder(self) -> Path:
        return self.deployment.folder(self.project)


def _losses(plan: Plan) -> tuple[str, ...]:
    """What a plan deletes or replaces, for people who are about to agree."""
    lost = sorted(address for address, actions in plan.changes.items() if "delete" in actions)
    return ("It deletes or replaces:", *(f"  {address}" for address in lost)) if lost else ()
