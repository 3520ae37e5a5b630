"""An environment on a kind cluster: what needs no accelerator runs, the nodes of the node pools are stood in for."""

from dataclasses import dataclass
from pathlib import Path

from drydock.deploy.deployments import Deployment
from drydock.deploy.kind.docker import Docker, Kind, check_memory, check_ports
from drydock.deploy.kind.image import IMAGE, build_image
from drydock.deploy.kind.serve import order_for
from drydock.deploy.kind.stand_ins import apply_stand_ins, create_prerequisites
from drydock.deploy.target import Overlay, Reached
from drydock.errors import DrydockError, UsageError
from drydock.progress import Progress
from drydock.project import Project
from drydock.suite.cluster_description import describe
from drydock.suite.environments import Environment, load_environment

MEMORY_GIB = 4
_NETWORK = "kind"


@dataclass(frozen=True)
class KindTarget:
    """See the module.

    Attributes:
        project: holds ci/kind, and `kind` in the environment's file.
        deployment: its name is the cluster's; its settings may name the node's image and the base of ours.
    """

    project: Project
    deployment: Deployment
    name: str = "kind"

    def check(self, progress: Progress) -> None:
        """See Target: Docker answers and has the memory, the ports are free, the cluster's name is too."""
        with progress.step("Docker"):
            info = Docker().info()
            check_memory(info, self._environment.kind.get("memory", MEMORY_GIB))
        clusters = self._kind(progress).clusters()
        if self.deployment.name not in clusters:
            check_ports(self._configuration)
        elif not self._kubeconfig.exists():
            raise UsageError(
                f"there is a kind cluster {self.deployment.name} that Drydock did not make",
                remedy="Give another --name, or remove it: kind delete cluster --name " + self.deployment.name,
            )

    def known(self) -> Overlay:
        """See Target: `kind.values` of the environment's file."""
        return Overlay(tuple(self.project.values_dir / file for file in self._environment.kind.get("values", ())))

    def create(self, progress: Progress) -> Reached:
        """See Target; what was made is removed when it fails or is interrupted."""
        kind, name = self._kind(progress), self.deployment.name
        if name not in kind.clusters():
            image = self.deployment.settings.get("node_image", "")
            command = ["create", "cluster", "--name", name, "--config", str(self._configuration)]
            command += ["--kubeconfig", str(self._kubeconfig), *(["--image", image] if image else [])]
            try:
                kind.run(command, f"kind cluster {name}", progress)
                self._kubeconfig.chmod(0o600)
            except BaseException:
                self.destroy(progress)
                raise
        return Reached(self._kubeconfig, self.known())

    def prepare(self, reached: Reached, environment: Environment, progress: Progress) -> None:
        """See Target: the image of the stand-ins, the stand-ins, and the Secrets and storage classes."""
        from drydock.clusters.crds import read_crds, upgrade_crds
        from drydock.rehearsal.aws.expected_account import expected_account
        from drydock.rehearsal.prerequisites import find_prerequisites
        from drydock.scheduling.prices import load_prices
        from drydock.suite.charts import assemble_charts
        from drydock.suite.render import render
        from drydock.tools.build import ensure

        helm = ensure(self.project, ["helm4"], progress)["helm4"]
        manifests = render(helm, assemble_charts(self.project), environment).manifests
        base = self.deployment.settings.get("base_image", "")
        docker = Docker()
        build_image(self.project, docker, self._folder, base, progress)
        images = [IMAGE, *self._environment.kind.get("images", ())]
        command = ["load", "docker-image", *images, "--name", self.deployment.name]
        self._kind(progress).run(command, f"Load {', '.join(images)}", progress)
        upgrade_crds(reached.kubeconfig, read_crds(self.project, ["karpenter"]), progress)
        account, target = expected_account(environment, manifests), describe(environment)
        prices = load_prices(self.project, progress, account.region)
        with progress.step("Stand-ins for AWS and for nodes"):
            version, gates = self._version(reached.kubeconfig), target.gates_for(manifests)
            order = order_for(account, prices, version, gates)
            manifests_file = self.project.root / "ci" / "kind" / "stand-ins.yaml"
            apply_stand_ins(reached.kubeconfig, manifests_file, IMAGE, docker.identity(IMAGE), order)
        create_prerequisites(reached.kubeconfig, find_prerequisites(environment, manifests, target))

    def give_up(self, progress: Progress) -> bool:
        """See Target: nothing of it is left."""
        self.destroy(progress)
        return True

    def destroy(self, progress: Progress) -> None:
        """See Target: the cluster, the image of the stand-ins, and kind's network when no other cluster is on it."""
        docker = Docker()
        docker.info()
        kind = self._kind(progress)
        kind.run(
            ["delete", "cluster", "--name", self.deployment.name, "--kubeconfig", str(self._kubeconfig)],
            f"Remove the kind cluster {self.deployment.name}",
            progress,
        )
        left = kind.clusters()
        if self.deployment.name in left:
            raise DrydockError(f"the kind cluster {self.deployment.name} is still there", remedy="Look at `docker ps`.")
        if not left:
            docker.remove(IMAGE)
            docker.remove_network(_NETWORK)

    def _kind(self, progress: Progress) -> Kind:
        from drydock.tools.build import ensure

        return Kind(ensure(self.project, ["kind"], progress)["kind"])

    def _version(self, kubeconfig: Path) -> str:
        from kubernetes import client

        from drydock.clusters.kube import api_client, asking

        with asking():
            version = client.VersionApi(api_client(kubeconfig)).get_code()
        return f"{version.major}.{version.minor.rstrip('+')}"

    @property
    def _environment(self) -> Environment:
        return load_environment(self.project, self.deployment.environment)

    @property
    def _configuration(self) -> Path:
        own = self._environment.kind.get("cluster")
        return self.project.values_dir / own if own else self.project.root / "ci" / "kind" / "cluster.yaml"

    @property
    def _kubeconfig(self) -> Path:
        return self._folder / "kubeconfig"

    @property
    def _folder(self) -> Path:
        return self.deployment.folder(self.project)
