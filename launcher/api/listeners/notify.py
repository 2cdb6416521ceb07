"""``notify``: tells a webhook, or a command, of a failure, a stall and the end of a run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from launcher.api.listeners.listener import Listener, RunFacts

STALL_S = 600.0
_TIMEOUT_S = 10.0
_KEPT_ENV = ("PATH", "HOME", "LANG", "LC_ALL", "USER")
_LONGEST = 2000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Where it is sent on, urllib would ask with a GET that has nothing of what is to be told."""

    def redirect_request(
        self, req: urllib.request.Request, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> None:
        raise urllib.error.URLError(f"it answers {code} and sends on to {newurl}; name that address")


class Notify(Listener):
    """``where``: an http(s) address, to which JSON is posted (``text``, ``run``, ``what``, ``outcome``, ``cause``,
    ``advice``), or a command, which gets that on its standard input. The command has none of the run's variables."""

    def __init__(self, where: str, run: RunFacts) -> None:
        super().__init__(where, run)
        self._stepped_at = time.monotonic()
        self._step = 0
        self._stalled = False

    def on_event(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "progressed" and event["global_step"] > self._step:
            self._step, self._stepped_at, self._stalled = event["global_step"], time.monotonic(), False
        elif kind == "task_changed" and event["state"] in ("backoff", "failed"):
            self._tell("failure", f"{event['task']} died: {event.get('reason') or 'no reason is known'}")
        elif kind == "host_changed" and event["state"] == "lost":
            self._tell("failure", f"host {event['host']} is lost: {event.get('message', '')}")
        elif kind == "run_ended":
            self._tell_end(event)
        elif self._step and not self._stalled and time.monotonic() - self._stepped_at > STALL_S:
            self._stalled = True
            self._tell("stall", f"no step since {self._step:,} for {STALL_S / 60:.0f} minutes")

    def _tell_end(self, event: Mapping[str, Any]) -> None:
        cause = event.get("cause") or {}
        outcome = str(event["outcome"])
        words = ": ".join(filter(None, (outcome.replace("_", " "), str(cause.get("message") or ""))))
        self._tell("end", words, outcome=outcome, cause=cause.get("message"), advice=cause.get("advice"))

    def _tell(self, what: str, text: str, **more: object) -> None:
        body = {"text": f"{self.run.name} {text}"[:_LONGEST], "run": self.run.name, "what": what, **more}
        data = json.dumps(body).encode()
        if self.where.startswith(("http://", "https://")):
            request = urllib.request.Request(self.where, data, {"Content-Type": "application/json"})
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_S):
                return
        env = {name: os.environ[name] for name in _KEPT_ENV if name in os.environ}
        subprocess.run(shlex.split(self.where), input=data, env=env, timeout=_TIMEOUT_S, check=True)
