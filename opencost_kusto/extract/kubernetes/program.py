"""Programs that sign in to a cluster (`exec` of a kubeconfig), and the replacement of a missing kubelogin."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.kubernetes.access import Entra
from opencost_kusto.names import shown
from opencost_kusto.redact import first_sentence
from opencost_kusto.times import utc_now

# The application that AKS clusters take tokens for: learn.microsoft.com/azure/aks/kubelogin-authentication.
_AKS_SERVER = "6dae42f8-4368-4678-94ff-3960e28e3630"
_KUBELOGIN, _SERVER_ID = "kubelogin", "--server-id"
# How long a program may take, and how soon before its expiry a credential is renewed.
_SECONDS = 120.0
_RENEWED_BEFORE = timedelta(seconds=30)


class Program:
    """A program whose output is a credential, which is kept until shortly before it expires.

    `run` runs it and returns the `status` of the ExecCredential. Raises OpenCostError where it is missing or fails:
    a request without a sign-in is never sent.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], dict[str, Any]],
        *,
        hint: str = "",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self._run, self._hint, self._now = run, hint, now
        self._lock = threading.Lock()
        self._status: dict[str, Any] | None = None

    def status(self) -> dict[str, Any]:
        """The credential, renewed if it has expired."""
        with self._lock:
            if self._status is None or self._expired(self._status):
                self._status = self._checked(self._ran())
            return self._status

    def token(self) -> str:
        """The token of the credential."""
        token = self.status().get("token")
        if not token:
            raise self._failed("it returned a certificate where it returned a token before")
        return str(token)

    def _ran(self) -> Any:
        try:
            return self._run()
        except OSError as error:
            raise self._failed(str(error.strerror or error)) from error
        except subprocess.TimeoutExpired as late:
            raise self._failed(f"it did not end within {late.timeout:g} s, and was stopped") from None

    def _checked(self, status: Any) -> dict[str, Any]:
        pair = ("clientCertificateData", "clientKeyData")
        if not isinstance(status, dict) or not (status.get("token") or all(status.get(name) for name in pair)):
            raise self._failed("it returned neither a token nor a certificate with its key")
        if not isinstance(status.get("token") or "", str):
            raise self._failed("its token is no text")
        return status

    def _expired(self, status: dict[str, Any]) -> bool:
        text = status.get("expirationTimestamp")
        try:
            return bool(text) and datetime.fromisoformat(str(text)) - _RENEWED_BEFORE <= self._now()
        except (ValueError, TypeError):
            return True

    def failed(self, error: Exception) -> OpenCostError:
        """The error for a program that ran and failed."""
        if isinstance(error, UnicodeDecodeError | json.JSONDecodeError | TypeError | AttributeError | KeyError):
            return self._failed("what it printed is no ExecCredential in JSON")
        return self._failed(first_sentence(str(error), 300))

    def absent(self) -> OpenCostError:
        """The error for a program that is not installed, with the kubeconfig's hint how to install it."""
        return self._failed(f"it is not installed{self._hint and '. '}{self._hint}")

    def _failed(self, why: str) -> OpenCostError:
        text = (
            f"Signing in to Kubernetes failed: the program {shown(self.name)} of the kubeconfig did not return a "
            f"credential: {why.rstrip('.')}. Nothing was sent without a sign-in."
        )
        return OpenCostError(text, code=ReasonCode.UNAUTHORIZED)


def executed(
    arguments: list[str], version: str, environment: dict[str, str], folder: str, seconds: float = _SECONDS
) -> Any:
    """The `status` of the ExecCredential of a version that a program prints.

    A program with a terminal may ask there, and is of its process group. Any other has a group of its own, which is
    killed where it does not end in time: what it has started must not run on. Raises subprocess.TimeoutExpired, OSError
    where it cannot be run, and ValueError, TypeError or UnicodeDecodeError for what it prints or how it ends.
    """
    interactive = sys.stdin is not None and sys.stdin.isatty()
    request = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": interactive}}
    process = subprocess.Popen(
        arguments,
        stdin=None if interactive else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if interactive else subprocess.PIPE,
        cwd=folder or None,
        env={**environment, "KUBERNETES_EXEC_INFO": json.dumps(request)},
        text=True,
        shell=os.name == "nt",
        start_new_session=not interactive,
    )
    try:
        printed, complaint = process.communicate(timeout=seconds)
    except BaseException:
        _kill(process, group=not interactive)
        raise
    if process.returncode:
        raise ValueError(f"it ended with {process.returncode}: {(complaint or '').strip() or 'no more output'}")
    return _status(json.loads(printed), version)


def _kill(process: subprocess.Popen[str], *, group: bool) -> None:
    """End a program, and with its group the processes that it has started."""
    if group and sys.platform != "win32":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _status(document: Any, version: str) -> Any:
    """The status of an ExecCredential; raises ValueError for another document."""
    if document["apiVersion"] != version:
        raise ValueError(f"its apiVersion {shown(document['apiVersion'])} does not match {version}")
    return document["status"]


def missing(command: str, folder: str, environment: Mapping[str, str]) -> bool:
    """Whether a command is not installed; one with a slash is relative to the kubeconfig's folder."""
    if os.sep in command:
        return not os.access(Path(folder) / command, os.X_OK)
    return shutil.which(command, path=environment.get("PATH")) is None


def kubelogin_token(command: str, args: list[str], entra: Entra | None) -> Callable[[], str] | None:
    """The token that Azure's kubelogin would get, by azure-identity; None for another program."""
    if entra is None or Path(command).stem != _KUBELOGIN or _SERVER_ID not in args:
        return None
    at = args.index(_SERVER_ID) + 1
    return entra(f"{args[at] if at < len(args) else _AKS_SERVER}/.default")
