"""The meaning of an API server's refusals, and the advice for each."""

from __future__ import annotations

from shlex import quote

from opencost_kusto.extract.kubernetes.address import IN_CLUSTER
from opencost_kusto.extract.kubernetes.rights import Right
from opencost_kusto.extract.kubernetes.status import ApiRefusal

_ACCOUNT = "system:serviceaccount:"
# The policies of AKS Automatic, by Azure/AKS#5645 and #5640, begin like this.
_AKS_POLICY = "aks-managed-"


def explained(refusal: ApiRefusal, right: Right | None, endpoint: str) -> ApiRefusal:
    """The refusal of a request for `endpoint` that needs `right`, in a sentence with advice."""
    return ApiRefusal(_text(refusal, right, endpoint), refusal.status, refusal.retry_after)


def _text(refusal: ApiRefusal, right: Right | None, endpoint: str) -> str:
    status = refusal.status
    if status.code == 401 and endpoint.startswith(IN_CLUSTER):
        return (
            "The cluster does not accept the token of this pod's service account (401). Check that the account still "
            "exists, and start the pod again."
        )
    if status.code == 401:
        return (
            "The cluster does not accept this sign-in (401). Sign in again: az login, az aks get-credentials, or "
            "kubectl get namespaces with the same context."
        )
    if status.denied:
        return _denied(refusal, right)
    if status.code == 403 and right is not None:
        return _forbidden(refusal, right, endpoint)
    if status.code == 404 and right is not None and right.resource.startswith("services"):
        return _no_service(right)
    if status.no_endpoints and right is not None:
        return (
            f"No pod of the Service {_service(right)} is ready, or the Service has no port {_port(right)}. See: "
            f"kubectl -n {right.namespace} get pods,service"
        )
    if status.no_port and right is not None:
        return (
            f"The Service {_service(right)} has no port {_port(right)}. See: kubectl -n {right.namespace} get service"
        )
    if status.code in (503, 400) and right is not None:
        return (
            f"The pod behind {right.name or right.resource} does not respond ({status.reason}): it is starting, "
            "listens on another port, or a network policy is in the way."
        )
    return str(refusal)


def _forbidden(refusal: ApiRefusal, right: Right, endpoint: str) -> str:
    """The refusal of a right that a Role can grant."""
    user = refusal.status.subject
    text = f"{user or 'This sign-in'} has no right to {right}."
    if right.namespace is None or right.resource == "services":
        # A Role for this would grant more than a full address needs.
        return f"{text} Searching needs it. Write the full address, kube://CONTEXT/NAMESPACE/SERVICE:PORT."
    subject = f"User:{user or 'NAME'}"
    if user and user.startswith(_ACCOUNT):
        subject = f"ServiceAccount:{user.removeprefix(_ACCOUNT)}"
    return (
        f"{text} Have an administrator apply what this prints: opencost-kusto manifest --rbac --endpoint "
        f"{quote(endpoint)} --subject {quote(subject)}"
    )


def _denied(refusal: ApiRefusal, right: Right | None) -> str:
    """The refusal of an admission policy, which no Role changes."""
    policy = refusal.status.policy or ""
    what = f" to {right}" if right is not None else ""
    who = f"The admission policy {policy}" if policy else "An admission policy"
    text = f"{who} denied the request{what}: {refusal.status.reason}."
    if policy.startswith(_AKS_POLICY):
        text += " AKS Automatic guards its system namespaces, and no Role changes that."
    return (
        f"{text} Still possible: run in the cluster with in-cluster://, which reaches the pod by its address, or "
        "install the OpenCost chart in a namespace of your own."
    )


def _no_service(right: Right) -> str:
    return (
        f"There is no Service {_service(right)}, or it has no endpoints. See: kubectl -n {right.namespace} get "
        "service,endpoints. Without NAMESPACE/SERVICE in the address, OpenCost is searched for."
    )


def _service(right: Right) -> str:
    return f"{right.namespace}/{(right.name or '').removeprefix('http:').partition(':')[0]}"


def _port(right: Right) -> str:
    return (right.name or "").rpartition(":")[2]


def no_endpoints(namespace: str, name: str) -> str:
    """The sentence for a Service that selects no pod."""
    return (
        f"The Service {namespace}/{name} has no endpoints: no pod matches its selector. See: "
        f"kubectl -n {namespace} get pods,endpoints"
    )
