"""The master's results, fetched from its pod (`drydock.loadtest.results_server`)."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.errors import ClusterError, DrydockError
from drydock.loadtest.messages import snapshot_from
from drydock.loadtest.records import Snapshot
from drydock.loadtest.run_files import RECORDS_FILE, RUN_FILE

_BETWEEN_LOOKS = 0.5
_PATIENCE_SECONDS = 60.0
_CALL_SECONDS = 60.0
_OK = 200


@dataclass
class Collector:
    """Follows one run and brings it home.

    Args:
        url: of the master.
        on_progress: called with each snapshot.
        states: describes the pods, for an error.
    """

    url: str
    on_progress: Callable[[Snapshot], None]
    states: Callable[[], str]

    def __post_init__(self) -> None:
        import urllib3

        self._pool = urllib3.PoolManager(retries=False)

    def collect(self, folder: Path) -> None:
        """Wait until the run is over and write its files; an interrupt (Ctrl-C) ends it early, a second one at once.

        Raises:
            ClusterError: the master does not answer any more.
            DrydockError: the load could not be made.
        """
        interrupted = False
        while True:
            try:
                if self._is_done():
                    break
                time.sleep(_BETWEEN_LOOKS)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                self._call("POST", "/interrupt")
        for name in (RECORDS_FILE, RUN_FILE):
            (folder / name).write_bytes(self._call("GET", f"/{name}"))
        self._call("POST", "/collected")

    def _is_done(self) -> bool:
        progress: dict[str, Any] = json.loads(self._call("GET", "/progress"))
        if progress["snapshot"]:
            self.on_progress(snapshot_from(progress["snapshot"]))
        if progress["error"]:
            states = self.states()
            self._call("POST", "/collected")
            raise DrydockError(f"{progress['error']} ({states})", remedy=progress["remedy"])
        return bool(progress["done"])

    def _call(self, method: str, path: str) -> bytes:
        """What it answers; tried again for a minute, for a connection may break that the run survives."""
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = self._pool.request(method, f"{self.url}{path}", timeout=_CALL_SECONDS)
                if answer.status == _OK:
                    return bytes(answer.data)
                problem = f"it answered {answer.status}"
            except HTTPError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the load test's master does not answer: {problem} ({self.states()})",
                    remedy="Look at its pod: kubectl describe pod, kubectl logs.",
                )
            time.sleep(_BETWEEN_LOOKS)
