"""Writes down what an API server says, and says it again: requests and responses, without who requested."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import requests
import yaml

DATA = Path(__file__).parents[1] / "data" / "kubernetes"
_PROXY, _LARGE = "/proxy/", "/proxy/metrics"
# As a real API server says it (apimachinery, NewNotFound).
_NOT_FOUND = '{"kind":"Status","apiVersion":"v1","message":"pods \\"%s\\" not found","reason":"NotFound","code":404}'
_PASSED_ON = ("Authorization", "Connection", "Upgrade")


class Exchange(NamedTuple):
    """A request's path with its query, and the response."""

    path: str
    status: int
    type: str
    body: str


class _Server:
    """An HTTP server on the loopback that serves each GET by `respond`."""

    def __init__(self, respond: Callable[[BaseHTTPRequestHandler], Exchange]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = respond(self)
                body = found.body.encode()
                self.send_response(found.status)
                self.send_header("Content-Type", found.type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Recorder(_Server):
    """Passes requests on to an API server; `exchanges` are what was said."""

    def __init__(self, url: str, ca: str) -> None:
        self.exchanges: list[Exchange] = []

        def respond(request: BaseHTTPRequestHandler) -> Exchange:
            names = [name for name in request.headers if name in _PASSED_ON or name.startswith("Sec-WebSocket-")]
            headers = {"Accept-Encoding": "identity", **{name: request.headers[name] for name in names}}
            response = requests.get(url + request.path, headers=headers, verify=ca, timeout=30)
            kind = response.headers.get("Content-Type", "")
            found = Exchange(request.path, response.status_code, kind, _brief(response.text))
            self.exchanges.append(found)
            return found

        super().__init__(respond)

    def write(self, name: str) -> None:
        """Store the exchanges."""
        DATA.mkdir(exist_ok=True)
        documents = [each._asdict() for each in self.exchanges if each.status != 200 or not each.path.endswith(_LARGE)]
        (DATA / f"{name}.json").write_text(json.dumps(documents, indent=1) + "\n", encoding="utf-8")


class Replay(_Server):
    """Says again what was recorded; a path that was requested several times has its responses in their order."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self.requested: list[str] = []
        self.authorizations: list[str | None] = []
        ahead: dict[str, list[Exchange]] = defaultdict(list)
        for each in exchanges:
            ahead[each.path].append(each)

        def respond(request: BaseHTTPRequestHandler) -> Exchange:
            # A proxy is requested a whole address.
            path = urlsplit(request.path)._replace(scheme="", netloc="").geturl()
            self.requested.append(path)
            self.authorizations.append(request.headers["Authorization"])
            found = ahead.get(path)
            if not found:
                return Exchange(path, 404 if _PROXY in path else 599, "text/plain", f"{path} was never requested")
            return found.pop(0) if len(found) > 1 else found[0]

        super().__init__(respond)


class Proxy(_Server):
    """Says again what an API server said of itself; its proxies lead to an OpenCost.

    The pod `replaced` gets another name once the proxy has led to /allocation once.
    """

    def __init__(self, url: str, exchanges: Iterable[Exchange], replaced: str = "") -> None:
        known = {each.path: each for each in exchanges if _PROXY not in each.path}
        self.requested: list[str] = []

        def respond(request: BaseHTTPRequestHandler) -> Exchange:
            before, proxied, path = request.path.partition(_PROXY)
            gone = replaced if any(one.startswith("allocation") for one in self.requested) else ""
            if not proxied:
                found = known[request.path]
                return found._replace(body=found.body.replace(gone, f"{gone}-new")) if gone else found
            if gone and f":{gone}:" in before:
                return Exchange(path, 404, "application/json", _NOT_FOUND % gone)
            self.requested.append(path)
            response = requests.get(f"{url}/{path}", timeout=30)
            return Exchange(path, response.status_code, response.headers.get("Content-Type", ""), response.text)

        super().__init__(respond)


def of_the_api(paths: Iterable[str]) -> list[str]:
    """The paths that say how an API server is requested: its own, and the first of each OpenCost."""
    return [path for path in paths if _PROXY not in path or path.endswith("/clusterInfo")]


def recorded(name: str) -> list[Exchange]:
    """The exchanges of a recording."""
    return [Exchange(**each) for each in json.loads((DATA / f"{name}.json").read_text("utf-8"))]


def kubeconfig(path: Path, url: str, user: str = "me", settings: dict[str, Any] | None = None, **cluster: Any) -> Path:
    """A kubeconfig whose only context, `tests`, is of the cluster `aks-tests`."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{"name": "aks-tests", "cluster": {"server": url, **cluster}}],
        "contexts": [{"name": "tests", "context": {"cluster": "aks-tests", "user": user}}],
        "users": [{"name": user, "user": {"token": f"{user}-token"} if settings is None else settings}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def _brief(text: str) -> str:
    """A body without who wrote which field of an object when."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if isinstance(document, dict):
        for one in [document, *(document.get("items") or [])]:
            if isinstance(one, dict) and isinstance(one.get("metadata"), dict):
                one["metadata"].pop("managedFields", None)
    return json.dumps(document)
