"""Access to a cluster by any kubeconfig, and what it says when it does not work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drydock.errors import ClusterError, UsageError


def api_client(kubeconfig: Path) -> Any:
    """A client that gives up at once when nothing answers.

    Raises:
        UsageError: the file is no kubeconfig.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    except config.ConfigException as error:
        raise UsageError(f"--kubeconfig {kubeconfig}: {error}", remedy="Give a file that kubectl takes.") from error
    configuration.retries = False
    return client.ApiClient(configuration)


@contextmanager
def asking() -> Iterator[None]:
    """Tell failures of calls in the block.

    Raises:
        ClusterError: the API server refused or does not answer.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise ClusterError(f"the API server answered {error.status}: {error.body or error.reason}") from error
    except HTTPError as error:
        raise ClusterError(
            f"the API server does not answer: {error}", remedy="Is the kubeconfig the right one?"
        ) from error
