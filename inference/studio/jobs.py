"""Which session of the app is making something, and whether its owner wants it to end. A session is one open page."""

from __future__ import annotations

import threading

from manifests import UserError


class StoppedError(UserError):
    """The owner of a job wants it to end."""


class Job:
    """One thing that a session makes."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends it at its next `check`; before it has begun, at once."""
        self._stopped.set()

    def check(self) -> None:
        """Raises `StoppedError` once `stop` was called."""
        if self._stopped.is_set():
            raise StoppedError("stopped")


class Jobs:
    """The job of every session, from when it is asked for: one that still waits for another session's can be stopped as well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, Job] = {}

    def ask(self, session: str) -> Job:
        """A new job; the session's former one ends."""
        with self._lock:
            if former := self._of.get(session):
                former.stop()
            self._of[session] = Job()
            return self._of[session]

    def of(self, session: str) -> Job:
        """The session's job; a new one where none was asked for."""
        with self._lock:
            return self._of.setdefault(session, Job())

    def end(self, session: str, job: Job) -> None:
        """Forgets a job that is over."""
        with self._lock:
            if self._of.get(session) is job:
                del self._of[session]

    def stop(self, session: str) -> None:
        """Ends the session's job and no other's; nothing without one."""
        with self._lock:
            if job := self._of.get(session):
                job.stop()
