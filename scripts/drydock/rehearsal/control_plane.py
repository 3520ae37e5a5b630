"""Command lines of the unmodified control plane: etcd, API server, controller manager and scheduler."""

import json
from collections.abc import Mapping
from pathlib import Path

from drydock.rehearsal.credentials import SERVICE_ADDRESSES, Credentials

# etcd listens on sockets in the cluster's own folder: no port, and no other user can reach it.
ETCD_SOCKET = Path("etcd-client.sock:0")
"""Of etcd for its clients, in the cluster's folder."""
_ETCD_CLIENT = f"unix://{ETCD_SOCKET}"
_ETCD_PEER = "unix://etcd-peer.sock:0"

EKS_ADMISSION_PLUGINS = ("NodeRestriction", "ExtendedResourceToleration")
"""Admission plugins that EKS turns on and upstream leaves off (EKS user guide, "platform versions", 1.30 and newer).

The others of EKS's list (PodSecurity, RuntimeClass, DefaultStorageClass, Priority, ResourceQuota...) are on by default.
"""

_UNUSED_CONTROLLERS = (
    # Nothing attaches volumes here: the pods' volumes count as attached once they are bound.
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "node-route-controller",
    "service-lb-controller",
    "cloud-node-lifecycle-controller",
    "legacy-serviceaccount-token-cleaner-controller",
)


def etcd(tools: Mapping[str, Path]) -> list[str | Path]:
    """Etcd without syncs to disk: its data lives no longer than the cluster."""
    return [
        tools["etcd"],
        "--name=drydock",
        "--data-dir=etcd",
        "--unsafe-no-fsync",
        "--snapshot-count=5000",
        "--auto-compaction-retention=0",
        f"--listen-client-urls={_ETCD_CLIENT}",
        f"--advertise-client-urls={_ETCD_CLIENT}",
        f"--listen-peer-urls={_ETCD_PEER}",
        f"--initial-advertise-peer-urls={_ETCD_PEER}",
        f"--initial-cluster=drydock={_ETCD_PEER}",
        "--logger=zap",
        "--log-level=warn",
    ]


def api_server(tools: Mapping[str, Path], credentials: Credentials, port: int, egress: Path) -> list[str | Path]:
    """The API server on a loopback port, with RBAC and the admission plugins that EKS turns on.

    `egress` is the file that configures how it reaches pods (`kubelet.tunnel`).
    """
    return [
        tools["kube-apiserver"],
        f"--etcd-servers={_ETCD_CLIENT}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={credentials.server_certificate}",
        f"--tls-private-key-file={credentials.server_key}",
        f"--client-ca-file={credentials.authority}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        f"--egress-selector-config-file={egress}",
        f"--admission-control-config-file={_admission(credentials)}",
        f"--kubelet-client-certificate={credentials.caller_certificate}",
        f"--kubelet-client-key={credentials.caller_key}",
        "--authorization-mode=Node,RBAC",
        "--anonymous-auth=false",
        f"--enable-admission-plugins={','.join(EKS_ADMISSION_PLUGINS)}",
        "--allow-privileged=true",
        "--enable-priority-and-fairness=false",
        "--event-ttl=24h",
        "--profiling=false",
        "--endpoint-reconciler-type=none",
        "--shutdown-delay-duration=0s",
    ]


def _admission(credentials: Credentials) -> Path:
    """Has the API server show its certificate to every webhook, so that these need answer to it alone."""
    kubeconfig, configuration = credentials.folder / "webhooks.kubeconfig", credentials.folder / "admission.json"
    user = {"client-certificate": str(credentials.caller_certificate), "client-key": str(credentials.caller_key)}
    kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]}))
    plugin = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(kubeconfig),
    }
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {"name": f"{kind}AdmissionWebhook", "configuration": plugin} for kind in ("Mutating", "Validating")
        ],
    }
    configuration.write_text(json.dumps(content))
    return configuration


def controller_manager(tools: Mapping[str, Path], credentials: Credentials) -> list[str | Path]:
    """The controllers, each with its own service account as on EKS; no port is opened."""
    kubeconfig = credentials.kubeconfig("kube-controller-manager")
    return [
        tools["kube-controller-manager"],
        f"--kubeconfig={kubeconfig}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={credentials.service_account_key}",
        f"--root-ca-file={credentials.authority}",
        "--controllers=*," + ",".join(f"-{name}" for name in _UNUSED_CONTROLLERS),
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def scheduler(tools: Mapping[str, Path], credentials: Credentials, folder: Path) -> list[str | Path]:
    """The scheduler; no port is opened.

    A pod that found no node is looked at again a second after the next one appears, not up to ten: that changes when
    pods are bound, never where.
    """
    config = folder / "scheduler.json"
    content = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {
            "kubeconfig": str(credentials.kubeconfig("kube-scheduler")),
            "qps": 200,
            "burst": 400,
        },
        "leaderElection": {"leaderElect": False},
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 1,
        "enableProfiling": False,
    }
    config.write_text(json.dumps(content, indent=1))
    return [tools["kube-scheduler"], f"--config={config}", "--secure-port=0"]
