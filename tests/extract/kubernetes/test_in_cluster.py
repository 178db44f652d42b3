"""From a pod of the cluster: the add-on by its pod's address, the API server by the token that is mounted."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from opencost_kusto.emulator import OpenCostEmulator
from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.kubernetes.address import parse
from opencost_kusto.extract.kubernetes.route import KubernetesRoute
from opencost_kusto.extract.kubernetes.service_account import service_account
from tests.kube.recorder import Exchange, Replay, recorded
from tests.support.authority import Authority
from tests.support.relay import TlsFront

LIST = next(one for one in recorded("add-on") if "/pods?" in one.path)
# A pod of this machine; a real one has another address.
HERE = LIST._replace(body=LIST.body.replace("10.244.0.5", "127.0.0.1"))
EXPIRED = Exchange(LIST.path, *recorded("sign-in")[0][1:])


@pytest.mark.parametrize("renewed", [True, False])
def test_the_token_is_read_for_each_request(tmp_path: Path, renewed: bool) -> None:
    """A token that has expired is refused once, read anew, and refused for good where it is the same."""
    authority = Authority(tmp_path)
    Path(authority.ca).rename(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("first\n")
    responses = [HERE, EXPIRED, *([HERE] if renewed else [EXPIRED])]
    with OpenCostEmulator() as opencost, Replay(responses) as server, ExitStack() as stack:
        front = stack.enter_context(TlsFront(authority.server(), int(server.url.rpartition(":")[2])))
        environment = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(front.port)}
        port = opencost.url.rpartition(":")[2]
        address = parse(f"in-cluster://kube-system/pod:cost-analysis-agent:{port}")

        def way() -> KubernetesRoute:
            return KubernetesRoute(
                address, connect_timeout=5, timeout=20, sign_in=lambda: service_account(environment, tmp_path)
            )

        first, second = way(), way()
        assert b"".join(first.get("/clusterInfo", {}))
        assert first.taken == f"pod kube-system/cost-analysis-agent-0, port {port}, by its address 127.0.0.1"
        (tmp_path / "token").write_text("second")
        if renewed:
            assert b"".join(second.get("/clusterInfo", {}))
        else:
            with pytest.raises(
                OpenCostError, match="does not accept the token of this pod's service account"
            ) as refused:
                second.get("/clusterInfo", {})
            assert refused.value.code is ReasonCode.UNAUTHORIZED
        first.close()
        second.close()
    assert list(dict.fromkeys(server.authorizations)) == ["Bearer first", "Bearer second"]
    assert len(server.authorizations) == 3
    assert all("authorization" not in one.headers for one in opencost.requests)


def test_outside_the_cluster_a_service_is_not_reached() -> None:
    """The message says where such an address is for: nothing is forwarded there."""
    way = KubernetesRoute(parse("in-cluster://nowhere/opencost"), connect_timeout=5, timeout=20)
    with pytest.raises(OpenCostError, match="Is this a pod of that cluster, is the Service or the pod there") as missed:
        way.get("/clusterInfo", {})
    way.close()
    assert missed.value.code is ReasonCode.UNREACHABLE
