"""A platform team's tests of its own values, and of the cluster that they are installed on."""

from pathlib import Path

import pytest
from pykube import Node, Pod

from drydock.errors import RenderError

OURS = Path(__file__).with_name("values.yaml")


def test_no_more_than_one_gpu_is_bought(render_environment):
    pools = {each.name: each.content["spec"] for each in render_environment("dev", files=[OURS]).of_kind("NodePool")}
    assert pools["gpu"]["limits"]["nvidia.com/gpu"] == 1


def test_a_misspelt_key_is_refused(render_environment):
    with pytest.raises(RenderError, match="maxModelLength"):
        render_environment("dev", files=[OURS], set_values=["vllm.models.llama-3-8b.engine.maxModelLength=1"])


def test_the_model_has_a_node_with_a_gpu(kube_cluster, drydock_deployed):
    client = kube_cluster.kube_client
    pods = Pod.objects(client).filter(
        namespace=drydock_deployed.environment.namespace, selector={"app.kubernetes.io/name": "vllm"}
    )
    names = {each.obj["spec"].get("nodeName") for each in pods}
    assert names, "there is no pod of a model"
    assert None not in names, "a pod waits for a node"
    for each in Node.objects(client):
        if each.name in names:
            assert each.labels["karpenter.k8s.aws/instance-gpu-name"] in {"a10g", "l4"}


@pytest.mark.accelerator
def test_the_gpu_computes(kube_cluster):
    listed = kube_cluster.kubectl(
        "exec --namespace genai deployment/genai-vllm-llama-3-8b -- nvidia-smi", output_format=""
    )
    assert "NVIDIA-SMI" in listed
