"""Values that would open the platform, or hold a credential, are refused, and no refusal prints one."""

from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart

MODEL = {
    "source": {"huggingFace": {"id": "org/model"}, "size": "1Gi"},
    "accelerator": {"kind": "nvidia", "pool": "gpu"},
}
PUBLIC_INGRESS = {"alb.ingress.kubernetes.io/scheme": "internet-facing"}
EVERYBODY: dict[str, Any] = {"namespaceSelector": {}}


def vllm(**fields: Any) -> dict[str, Any]:
    return {"models": {"small": {**MODEL, **fields}}}


def hub(**fields: Any) -> dict[str, Any]:
    return {"ingress": {"enabled": True, "annotations": PUBLIC_INGRESS}, **fields}


@pytest.mark.parametrize(
    ("chart", "values", "reason"),
    [
        ("vllm", vllm(extraEnv={"VLLM_SERVER_DEV_MODE": "1"}), "any client may change, pause or reload the engine"),
        ("vllm", vllm(extraEnv={"VLLM_ALLOW_RUNTIME_LORA_UPDATING": True}), "any client may change"),
        ("vllm", vllm(extraEnv={"OPENAI_KEY": "x"}), "a credential in values"),
        ("vllm", vllm(extraEnv={"github_token": "x"}), "a credential in values"),
        ("vllm", vllm(extraEnv={"PROXY": "http://me:secret@proxy:3128"}), "the address holds a password"),
        ("vllm", vllm(engine={"loraAdapters": {"a": {"path": "./../../proc/self"}}}), "does not match pattern"),
        ("vllm", vllm(engine={"loraAdapters": {"a": {"path": "./a/../b"}}}), "does not match pattern"),
        (
            "kuberay",
            {"clusterDefaults": {"env": {"HF_TOKEN": "x"}}, "rayClusters": {"a": {}}},
            "a credential in values",
        ),
        (
            "kuberay",
            {"clusterDefaults": {"env": {"AWS_SECRET_ACCESS_KEY": "x"}}, "rayClusters": {"a": {}}},
            "a credential in values",
        ),
        ("jupyterhub", {"hub": {"extraEnv": {"github_token": "x"}}}, "a credential in values"),
        (
            "jupyterhub",
            hub(hub={"authenticator": {"type": "dummy", "allowPasswordless": True}}),
            "lets the world in without a password",
        ),
        (
            "jupyterhub",
            {
                "ingress": {
                    "enabled": True,
                    "annotations": {
                        **PUBLIC_INGRESS,
                        "alb.ingress.kubernetes.io/inbound-cidrs": "0.0.0.0/1, 128.0.0.0/1",
                    },
                },
                "hub": {"authenticator": {"type": "custom"}, "config": {"JupyterHub": {"authenticator_class": "own"}}},
            },
            "a good part of the internet",
        ),
        (
            "argo",
            {
                "global": {"region": "us-west-2"},
                "server": {"auth": {"server": True}, "networkPolicy": {"ingress": {"all": EVERYBODY}}},
            },
            "every pod of the cluster would have the server's own rights",
        ),
        ("model-gateway", {"models": {"a": {"url": "https://me:secret@provider.example"}}}, "does not match pattern"),
    ],
)
def test_it_is_refused(render_chart: RenderChart, chart: str, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render_chart(chart, values)


def test_a_refused_address_of_a_database_is_not_printed(render_chart: RenderChart) -> None:
    url = "postgresql://hub:hunter2@db.example.com/hub"
    with pytest.raises(RenderError, match=r"hub\.db\.url: set DIALECT://USER@HOST/DATABASE") as refusal:
        render_chart("jupyterhub", {"hub": {"db": {"type": "postgres", "url": url}}})
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "RAY_TOKEN_PATH", "KEYS_DIR"])
def test_names_that_only_sound_like_it_are_not(render_chart: RenderChart, name: str) -> None:
    assert render_chart("vllm", vllm(extraEnv={name: "x"}))
