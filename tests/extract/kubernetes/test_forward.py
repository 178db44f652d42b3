"""A port-forward takes the place of a proxy that is forbidden, and is as strict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from opencost_kusto.errors import OpenCostError, OpenCostKustoError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from tests.extract.test_client import batch
from tests.kube.recorder import kubeconfig, recorded
from tests.kube.scenarios import ADD_ON
from tests.support.authority import Authority
from tests.support.port_forward import PortForward
from tests.support.raw import RawServer, chunked, sized
from tests.support.relay import ForwardProxy, TlsFront

PODS = recorded("policy")[0].path
LIST = next(one.body for one in recorded("add-on") if one.path == PODS)
FORWARD = "/api/v1/namespaces/kube-system/pods/cost-analysis-agent-0/portforward?ports=9003"
FORBIDDEN = next(one for one in recorded("forbidden-service") if one.status == 403).body
RECORDS = b'{"code":200,"data":[{"a":{"name":"a"}}]}'


def reply(status: int, body: str) -> bytes:
    """A response in JSON."""
    start = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{start}Connection: close\r\n\r\n{body}".encode()


def read(folder: Path, pod: bytes, *, error: str = "", refused: bool = False, timeout: float = 20) -> list[bytes]:
    """The records of an add-on whose pod sends `pod`, where the proxy of pods is forbidden."""
    with RawServer(pod) as server, PortForward(server.port, Replies(refused), error) as api:
        path = kubeconfig(folder / "config", api.url)
        with OpenCost(ADD_ON, environment={"KUBECONFIG": str(path)}, attempts=1, timeout=timeout) as client:
            found = list(client.records(batch("allocation"), lambda *_: None))
            taken = "pod kube-system/cost-analysis-agent-0, port 9003, by a port-forward of the API server"
            assert client.route == f"{taken} {api.url}"
        assert api.forwarded == [FORWARD]
    return found


class Replies(dict[str, bytes]):
    """What the API server says of each path: the pods, and that everything else is forbidden."""

    def __init__(self, refused: bool) -> None:
        super().__init__({PODS: reply(200, LIST)})
        if refused:
            self[FORWARD] = reply(403, FORBIDDEN)

    def __missing__(self, path: str) -> bytes:
        return reply(403, FORBIDDEN)


@pytest.mark.parametrize("pod", [sized(RECORDS), chunked(RECORDS)], ids=["length", "chunks"])
def test_records_are_read_through_a_port_forward(tmp_path: Path, pod: bytes) -> None:
    """The proxy is tried first; then the pod is reached by a WebSocket."""
    assert len(read(tmp_path, pod)) == 1


def test_many_frames_are_one_response(tmp_path: Path) -> None:
    """A response of a megabyte comes in frames of 20 kB, and is read as it was sent."""
    members = ",".join(f'"{number}":{{"name":"{number}","x":"{"x" * 1000}"}}' for number in range(1000))
    assert len(read(tmp_path, chunked(f'{{"code":200,"data":[{{{members}}}]}}'.encode()))) == 1000


@pytest.mark.parametrize(
    ("pod", "more", "code"),
    [
        (sized(RECORDS)[:-5], {}, ReasonCode.INCOMPLETE),
        (sized(RECORDS), {"error": "connection refused in the pod"}, ReasonCode.UNREACHABLE),
        (b"", {"timeout": 1}, ReasonCode.UNREACHABLE),
    ],
    ids=["cut", "error channel", "nothing"],
)
def test_what_breaks_off_is_no_response(tmp_path: Path, pod: bytes, more: dict[str, object], code: ReasonCode) -> None:
    """The checks are those of plain HTTP."""
    with pytest.raises(OpenCostKustoError) as failed:
        read(tmp_path, pod, **more)  # type: ignore[arg-type]
    assert failed.value.code is code


@pytest.mark.parametrize("trust", ["name", "unchecked"])
def test_certificates_are_those_of_the_kubeconfig(tmp_path: Path, trust: str) -> None:
    """A port-forward shows the client's certificate, and checks the server's by its CA and tls-server-name."""
    authority = Authority(tmp_path, "cluster")
    certificate, key = authority.issue("jane")
    cluster: dict[str, Any] = {"certificate-authority": authority.ca, "tls-server-name": "aks.internal"}
    if trust == "unchecked":
        cluster = {"insecure-skip-tls-verify": True}
    context = authority.server(names=[x509.DNSName("aks.internal")], clients=authority)
    with (
        RawServer(sized(RECORDS)) as server,
        PortForward(server.port, Replies(refused=False)) as api,
        TlsFront(context, int(api.url.rpartition(":")[2])) as front,
    ):
        settings = {"client-certificate": certificate, "client-key": key}
        path = kubeconfig(tmp_path / "config", front.url, "jane", settings, **cluster)
        with OpenCost(ADD_ON, environment={"KUBECONFIG": str(path)}, attempts=1, timeout=20) as client:
            assert len(list(client.records(batch("allocation"), lambda *_: None))) == 1
        assert api.forwarded == [FORWARD]


def test_a_port_forward_goes_through_the_proxy_of_the_kubeconfig(tmp_path: Path) -> None:
    """proxy-url is for the WebSocket, too."""
    with (
        RawServer(sized(RECORDS)) as server,
        PortForward(server.port, Replies(refused=False)) as api,
        ForwardProxy() as proxy,
    ):
        url = api.url.replace("127.0.0.1", "api.aks.example")
        path = kubeconfig(tmp_path / "config", url, "me", {}, **{"proxy-url": proxy.url})
        with OpenCost(ADD_ON, environment={"KUBECONFIG": str(path)}, attempts=1, timeout=20) as client:
            assert len(list(client.records(batch("allocation"), lambda *_: None))) == 1
        assert api.forwarded == [FORWARD]
    assert any(one.startswith(b"CONNECT api.aks.example:") for one in proxy.seen)


def test_two_refusals_are_one_message(tmp_path: Path) -> None:
    """Where both ways are forbidden, both rights are named."""
    with pytest.raises(OpenCostError) as failed:
        read(tmp_path, b"", refused=True)
    assert failed.value.code is ReasonCode.FORBIDDEN
    assert "no right to get pods/proxy" in str(failed.value)
    assert "A port-forward is refused too" in str(failed.value)
    assert "get and create pods/portforward cost-analysis-agent-0" in str(failed.value)
