"""The sign-in of a pod: the token and the certificates that Kubernetes mounts into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opencost_kusto.address import Address
from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract.doors import CA, Doors
from opencost_kusto.extract.kubernetes.access import Access, Authorization
from opencost_kusto.names import shown

MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


def service_account(environment: Mapping[str, str], mounted: Path = MOUNTED) -> Access:
    """The API server of the cluster this pod runs in; the token is read for each request, since it is rotated.

    Raises UsageError outside a pod, and in one without a token.
    """
    host = environment.get(_HOST)
    if not host:
        raise UsageError(
            f"This is not a pod: {_HOST} is not set. in-cluster:// is for pods; elsewhere write kube://CONTEXT."
        )
    port = environment.get(_PORT) or "443"
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise UsageError(
            f"{_PORT} is {shown(port)}, which is no port. Kubernetes sets it in each pod: do not replace it."
        )
    token = mounted / "token"
    if not token.is_file():
        raise UsageError(
            f"This pod has no token of its service account at {token}. Set automountServiceAccountToken: true, or name "
            "the Service as in-cluster://NAMESPACE/SERVICE:PORT, which needs no token."
        )

    def authorization() -> str:
        try:
            return f"Bearer {token.read_text('utf-8', 'replace')}"
        except OSError as error:
            text = f"The token of the service account at {token} cannot be read: {error.strerror}."
            raise OpenCostError(text, code=ReasonCode.UNAUTHORIZED) from None

    server = Address("https", host, int(port))
    doors = Doors(
        headers={"Authorization": Authorization(authorization, f"the token in {token}")}, ca=str(mounted / "ca.crt")
    )
    return Access(server, doors, "the pod's service account", origin=str(mounted), settings={CA: "ca.crt"})
