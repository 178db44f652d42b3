"""A real kube-apiserver with its store on the loopback, for one test session.

Nothing runs pods: they are objects whose status the test writes, and their addresses lead to servers of the test.
"""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import requests
import yaml

from tests.kube.binaries import Binaries
from tests.kube.egress import Egress
from tests.kube.recorder import kubeconfig
from tests.support.authority import Authority

OBJECTS = Path(__file__).parent / "objects"
NODE = "10.0.1.1"
# Tokens of users, and their groups.
TOKENS = {"admin": "system:masters", "reader": "", "nobody": "", "late": ""}
_READY_SECONDS = 120.0


class Cluster:
    """A running API server. `url`, `ca` and `kubeconfig(...)` lead to it; `egress.ports` from it to pods."""

    def __init__(self, binaries: Binaries, folder: Path, *flags: str) -> None:
        self.folder, self._binaries, self._flags = folder, binaries, flags
        self._stack = ExitStack()
        self._authority = Authority(folder, "cluster")
        self.ca = self._authority.ca
        self.port = _free()
        self.url = f"https://127.0.0.1:{self.port}"
        self._session = requests.Session()
        self._session.verify, self._session.trust_env = self.ca, False
        self._session.headers["Authorization"] = "Bearer admin-token"

    def __enter__(self) -> Self:
        self.egress = self._stack.enter_context(Egress(self.folder / "egress.sock"))
        store, peer = f"http://127.0.0.1:{_free()}", f"http://127.0.0.1:{_free()}"
        self._run(
            "etcd",
            *(str(self._binaries.etcd), "--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", store, "--advertise-client-urls", store, "--log-level", "error"),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"default={peer}",
            ),
        )
        server = self._apiserver(store)
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            running = server.poll() is None and time.monotonic() < deadline
            assert running, (self.folder / "apiserver.log").read_text()[-2000:]
            time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _apiserver(self, store: str) -> subprocess.Popen[bytes]:
        certificate, key = self._authority.issue("kube-apiserver")
        client, client_key = self._authority.issue("kubelet-client")
        public, accounts = self._authority.issue("service-accounts")
        tokens = self.folder / "tokens.csv"
        tokens.write_text("".join(f"{name}-token,{name},{name},{group}\n" for name, group in TOKENS.items()))
        egress = self.folder / "egress.yaml"
        transport = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(self.egress.path)}}}
        selection = {"egressSelections": [{"name": "cluster", "connection": transport}]}
        kinds = {"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration"}
        egress.write_text(yaml.safe_dump(kinds | selection))
        return self._run(
            "apiserver",
            *(str(self._binaries.apiserver), "--etcd-servers", store, "--secure-port", str(self.port)),
            *("--bind-address", "127.0.0.1", "--endpoint-reconciler-type", "none"),
            *("--service-cluster-ip-range", "10.0.0.0/24", "--authorization-mode", "RBAC"),
            *("--tls-cert-file", certificate, "--tls-private-key-file", key, "--client-ca-file", self.ca),
            *("--token-auth-file", str(tokens), "--egress-selector-config-file", str(egress)),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-key-file", public, "--service-account-signing-key-file", accounts),
            *("--kubelet-client-certificate", client, "--kubelet-client-key", client_key, *self._flags),
        )

    def kubelet(self, port: int) -> None:
        """Start KWOK as the kubelet of all nodes; every forwarded port ends at `port` of the loopback."""
        listening = _free()
        forward = {"forwards": [{"target": {"address": "127.0.0.1", "port": port}}]}
        kinds = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterPortForward", "metadata": {"name": "all"}}
        texts = [yaml.safe_dump(kinds | {"spec": forward}), *(path.read_text() for path in self._binaries.stages)]
        settings = self.folder / "kwok.yaml"
        settings.write_text("\n---\n".join(texts))
        certificate, key = self._authority.issue("kubelet")
        self._run(
            "kwok",
            *(str(self._binaries.kwok), "--kubeconfig", str(self.kubeconfig("admin")), "--manage-all-nodes"),
            *("--server-address", f"127.0.0.1:{listening}", "--node-port", "10250", "--config", str(settings)),
            *("--tls-cert-file", certificate, "--tls-private-key-file", key),
        )
        self.egress.ports[f"{NODE}:10250"] = listening
        deadline = time.monotonic() + _READY_SECONDS
        while "kwok" not in self.get("/api/v1/nodes/node-0")["status"].get("nodeInfo", {}).get("kubeletVersion", ""):
            assert time.monotonic() < deadline, (self.folder / "kwok.log").read_text()[-2000:]
            time.sleep(0.3)
        addresses = {"addresses": [{"type": "InternalIP", "address": NODE}]}
        daemon = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
        self.patch("/api/v1/nodes/node-0/status", {"status": addresses | daemon})

    def kubeconfig(self, user: str, settings: dict[str, Any] | None = None, **cluster: Any) -> Path:
        """A kubeconfig of this cluster; `settings` are the user's instead of a token."""
        of = {"certificate-authority": self.ca, **cluster}
        return kubeconfig(self.folder / f"{user}.kubeconfig", self.url, user, settings, **of)

    def wait_for_policy(self) -> None:
        """Wait until admission policies are in force, which takes a second or two."""
        path = "/api/v1/namespaces/kube-system/pods/http:cost-analysis-agent-0:9003/proxy/healthz"
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            headers = {"Authorization": "Bearer reader-token"}
            if self._session.get(self.url + path, headers=headers, timeout=30).status_code == 422:
                return
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def certificate(self, name: str) -> tuple[str, str]:
        """The files of a client certificate and its key."""
        return self._authority.issue(name)

    def get(self, path: str) -> Any:
        """Read an object as an administrator."""
        return self._json(self._session.get(self.url + path, timeout=30))

    def post(self, path: str, document: dict[str, Any], **query: str) -> Any:
        """Send an object as an administrator."""
        return self._json(self._session.post(self.url + path, json=document, params=query, timeout=30))

    def patch(self, path: str, document: dict[str, Any]) -> Any:
        """Merge into an object as an administrator."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._json(self._session.patch(self.url + path, json=document, headers=headers, timeout=30))

    def delete(self, path: str) -> None:
        """Delete an object, or a collection, at once."""
        self._json(self._session.delete(self.url + path, json={"gracePeriodSeconds": 0}, timeout=30))

    def apply(self, document: dict[str, Any], **query: str) -> Any:
        """Send an object as an administrator, to the collection of its kind."""
        group = document["apiVersion"]
        root = "/api/v1" if group == "v1" else f"/apis/{group}"
        namespace = document["metadata"].get("namespace")
        kind = document["kind"].lower()
        irregular = {"endpoints": "endpoints", "priorityclass": "priorityclasses"}
        plural = irregular.get(kind) or (f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s")
        inside = f"/namespaces/{quote(namespace)}" if namespace else ""
        return self.post(f"{root}{inside}/{plural}", document, **query)

    def load(self, name: str) -> None:
        """Send the objects of a file."""
        for document in yaml.safe_load_all((OBJECTS / name).read_text("utf-8")):
            self.apply(document)

    def ready(self, namespace: str, pod: str, ip: str, *, ready: bool = True) -> None:
        """Give a pod an address, and make it ready or not."""
        state = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.patch(f"/api/v1/namespaces/{namespace}/pods/{pod}/status", {"status": state | {"conditions": conditions}})

    def _json(self, response: requests.Response) -> Any:
        assert response.ok, response.text
        return response.json()

    def _ready(self) -> bool:
        try:
            return self._session.get(f"{self.url}/readyz", timeout=5).text == "ok"
        except requests.RequestException:
            return False

    def _run(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
