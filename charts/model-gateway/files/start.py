"""Starts LiteLLM with the chart's configuration, behind the request filter."""

import json
import os
import sys
from pathlib import Path

import audit
import configuration
import keys
from prometheus_client import Counter
from request_filter import Refusal, RequestFilter

SHORTEST_MASTER_KEY = 20
BODY_BYTES = 16 * 2**20
REFUSED = Counter("gateway_refused_requests", "Requests that the gateway refused before LiteLLM.", ["status"])


def check_credentials() -> None:
    """Leave without credentials that are one: LiteLLM takes an empty master key for the key of a request without any.

    Raises:
        SystemExit: one is missing, empty or too short.
    """
    master = os.environ.get("LITELLM_MASTER_KEY", "")
    if not master.startswith("sk-") or len(master) < SHORTEST_MASTER_KEY or master != master.strip():
        sys.exit(
            "gateway: the master key (masterKeySecret of the chart model-gateway) must begin with sk- and have at "
            f"least {SHORTEST_MASTER_KEY} characters, none of them white space at an end: make one with "
            "sk-$(openssl rand -hex 24)"
        )
    empty = [name for name in ("DATABASE_URL", "REDIS_PASSWORD") if not os.environ.get(name, "unset").strip()]
    if empty:
        sys.exit(f"gateway: {empty[0]} is empty: fill in the Secret that it comes from, or name none in the values")


def note(refusal: Refusal) -> None:
    """Count a refusal, and write it to the audit log."""
    REFUSED.labels(refusal.status).inc()
    if keys.SETTINGS["audit"]["stdout"]:
        audit.write(
            {
                "key": refusal.key,
                "keyHash": refusal.key_hash,
                "model": refusal.model,
                "status": "failure",
                "code": refusal.status,
                "error": refusal.message,
            }
        )


def main() -> None:
    """Write the configuration and serve."""
    check_credentials()
    settings = configuration.read_json(configuration.SETTINGS)
    os.environ[configuration.ACTIVATOR_TOKEN] = configuration.activator_token(os.environ["LITELLM_MASTER_KEY"])
    file = Path(os.environ.get("TMPDIR", "/tmp")) / "litellm.yaml"  # noqa: S108 (an emptyDir of the pod)
    file.touch(mode=0o600)
    file.write_text(json.dumps(configuration.litellm_configuration(configuration.read_models(), settings)))
    from litellm.llms import load_guardrail_translation_mappings
    from litellm.proxy import proxy_server
    from litellm.proxy.proxy_cli import run_server

    load_guardrail_translation_mappings()  # seconds of imports, that the first request would wait for
    # The last middleware is the first that a request meets.
    proxy_server.app.add_middleware(
        RequestFilter,
        authenticate=None if settings["database"] else keys.caller,
        models=lambda: {model.name for model in configuration.read_models()},
        refused=note,
        management=settings["database"],
        body_bytes=BODY_BYTES,
    )
    run_server(["--config", str(file), "--num_workers", "1", *sys.argv[1:]])


if __name__ == "__main__":
    main()
