"""Ends work on a control plane as soon as the control plane has ended, whatever the work waits for."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from drydock.errors import DrydockError

_POLL_SECONDS = 0.25
_LATE_SECONDS = 1.0
"""A call may find the API server gone this long before its supervisor says why."""
_SIGNAL = signal.SIGUSR2

Failure = Callable[[], DrydockError | None]


class _EndedError(BaseException):
    """Raised in the main thread; no `except Exception` on the way holds it up."""


class _Watch:
    """Polls in a thread of its own, and interrupts the main thread once."""

    def __init__(self, failure: Failure) -> None:
        self.found: DrydockError | None = None
        self._failure = failure
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._over.set()
        if self._thread.ident:
            self._thread.join()

    def look(self) -> DrydockError | None:
        self.found = self.found or self._failure()
        return self.found

    def look_for(self, seconds: float) -> DrydockError | None:
        end = time.monotonic() + seconds
        while not (found := self.look()) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS / 5)
        return found

    def _poll(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            if self.look():
                with self._lock:
                    if not self._over.is_set():
                        signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
                return


@contextmanager
def while_alive(failure: Failure) -> Iterator[None]:
    """Run the block for as long as `failure` gives None; in the main thread it is interrupted wherever it waits.

    In another thread only an error of the block's own is explained.

    Raises:
        DrydockError: the failure, also in place of an error of the block that it caused.
    """
    watch = _Watch(failure)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(_SIGNAL, _interrupt) if in_main else None
    if in_main:
        watch.start()
    try:
        try:
            yield
        finally:
            watch.stop()
    except _EndedError:
        if watch.found is None:  # that of an outer block
            raise
        raise watch.found from None
    except (DrydockError, OSError) as error:
        found = watch.look_for(_LATE_SECONDS)
        if found and found is not error:
            raise found from error
        raise
    finally:
        if in_main:
            signal.signal(_SIGNAL, before)
    if watch.found:
        raise watch.found


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise _EndedError
