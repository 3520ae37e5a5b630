"""Access to a cluster by any kubeconfig, and what it says when it does not work."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drydock.errors import ClusterError, UsageError

FIELD_MANAGER = "drydock"
_CALL_SECONDS = 60
_PAGE = "500"
_REFUSED = (401, 403)
_OF_KUBECTL = "Give a file that kubectl takes to --kubeconfig, or set KUBECONFIG as for kubectl."


def api_client(kubeconfig: Path | None, context: str | None = None) -> Any:
    """A client that gives up at once when nothing answers; without a file, that of $KUBECONFIG or the default one.

    Raises:
        UsageError: there is no kubeconfig, or the file is not one.
    """
    import yaml
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        file = str(kubeconfig) if kubeconfig else None
        config.load_kube_config(file, context=context, client_configuration=configuration)
    except config.ConfigException as error:
        raise UsageError(
            f"no access to a cluster: {error}",
            remedy=_OF_KUBECTL,
        ) from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:  # the library checks no shapes
        raise UsageError(
            f"{kubeconfig or 'the kubeconfig'}: not a kubeconfig: {_why(error)}",
            remedy=_OF_KUBECTL,
        ) from error
    configuration.retries = False
    return client.ApiClient(configuration)


class KubeconfigAccess:
    """Access by any kubeconfig, for `Api`: certificates, tokens and programs that give tokens.

    Args:
        kubeconfig: None takes $KUBECONFIG or the default one, as kubectl does.

    Raises:
        UsageError: as `api_client`.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        self._client = api_client(kubeconfig)
        self.server: str = self._client.configuration.host

    def connect(self) -> Any:
        """See ClusterAccess."""
        return self._client.rest_client.pool_manager

    def credentials(self) -> Mapping[str, str]:
        """See ClusterAccess."""
        settings = self._client.configuration.auth_settings().values()
        return {
            setting["key"]: setting["value"] for setting in settings if setting["in"] == "header" and setting["value"]
        }


def _why(error: Exception) -> str:
    import yaml

    return " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else "it lacks what one must have"


@contextmanager
def asking(remedy: str = "") -> Iterator[None]:
    """Report failures of calls in the block.

    Args:
        remedy: what to do when the API server refuses.

    Raises:
        ClusterError: the API server refused or does not answer.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise ClusterError(
            f"the API server answered {error.status}: {error.body or error.reason}", remedy=remedy
        ) from error
    except HTTPError as error:
        raise ClusterError(
            f"the API server does not answer: {error}", remedy="Is the kubeconfig the right one?"
        ) from error


def any_path(kubeconfig: Path | None, context: str | None = None) -> Any:
    """A client for `get_json`; without a file or context those that `api_client` takes.

    Raises:
        UsageError: as `api_client`.
        kubernetes.client.exceptions.ApiException: the API server refused.
    """
    from kubernetes import dynamic

    return dynamic.DynamicClient(api_client(kubeconfig, context))


def get_json(cluster: Any, path: str, *, accept: str = "application/json", **parameters: str) -> Any:
    """What a path of the API answers, as plain data.

    Args:
        cluster: as `any_path` gives it.
        path: such as `/api/v1/pods`.
        accept: media type of the answer.
        parameters: of the query, such as `label_selector`.

    Raises:
        kubernetes.client.exceptions.ApiException: the API server refused.
    """
    response = cluster.request(
        "get", path, serialize=False, header_params={"Accept": accept}, _request_timeout=_CALL_SECONDS, **parameters
    )
    return json.loads(response.data)


def await_access(kubeconfig: Path, *, seconds: float = 120, pause: float = 3) -> None:
    """Wait until the API server lets the credentials in: EKS takes a while to know an access entry that was just made.

    Args:
        kubeconfig: of the cluster.
        seconds: after which it is given up.
        pause: seconds between two requests.

    Raises:
        ClusterError: it still refuses, or does not answer.
    """
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

    def refused(error: BaseException) -> bool:
        return isinstance(error, ApiException) and error.status in _REFUSED

    namespaces = client.CoreV1Api(api_client(kubeconfig))
    retrying = Retrying(
        retry=retry_if_exception(refused), stop=stop_after_delay(seconds), wait=wait_fixed(pause), reraise=True
    )
    with asking():
        retrying(namespaces.list_namespace, limit=1, _request_timeout=_CALL_SECONDS)


def list_objects(cluster: Any, path: str) -> tuple[list[Any], str]:
    """The objects of a collection, read in pages, and the version from which it can be watched.

    Args:
        cluster: as `any_path` gives it.
        path: of the collection.

    Raises:
        kubernetes.client.exceptions.ApiException: the API server refused.
    """
    query, items = {"limit": _PAGE}, []
    while True:
        page = get_json(cluster, path, **query)
        items += page["items"]
        metadata = page.get("metadata") or {}
        if not metadata.get("continue"):
            return items, str(metadata.get("resourceVersion", ""))
        query["_continue"] = metadata["continue"]


def apply_objects(kubeconfig: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Server-side apply objects, each field that they name for ourselves.

    Raises:
        ClusterError: the API server refused or does not answer.
    """
    from kubernetes import dynamic

    with asking():
        client = dynamic.DynamicClient(api_client(kubeconfig))
        for content in objects:
            kind = client.resources.get(api_version=content["apiVersion"], kind=content["kind"])
            kind.server_side_apply(body=dict(content), field_manager=FIELD_MANAGER, force_conflicts=True)
