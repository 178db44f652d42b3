"""Responses of any size, made of the recorded records with names and numbers varied, and a server for them."""

from __future__ import annotations

import random
import re
import sys
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from opencost_kusto.extract import responses
from tests.support.recordings import recording

VERSION = "1.112"
_HEAD, _TAIL = b'{"code":200,"status":"success","data":[{', b"}]}"
# What the stand-in for OpenCost sends at a time is smaller; a larger piece favours no pipeline.
_CHUNK = 1 << 15


def record_texts(rows: int) -> list[bytes]:
    """The records of an answer with so many rows: each recorded one again and again, as another pod of another node.

    In the order of their names, which is that of the keys in OpenCost's answers: Go writes maps sorted.
    """
    chance = random.Random(7)
    recorded = list(responses.records([recording(VERSION, "allocation_hour.json")]))
    texts = []
    for row in range(rows):
        copy, which = divmod(row, len(recorded))
        text = re.sub(rb"vmss0000(\d\d)", rb"vmss%04d\1" % copy, recorded[which])
        texts.append(msgspec.json.encode(_varied(msgspec.json.decode(text), copy, chance)))
    return sorted(texts, key=_name)


def body(rows: int) -> bytes:
    """A complete /allocation response."""
    return _HEAD + b",".join(b'"%b":%b' % (_name(text).encode(), text) for text in record_texts(rows)) + _TAIL


def _name(text: bytes) -> str:
    return msgspec.json.decode(text, type=_Named).name


class _Named(msgspec.Struct):
    name: str


def _varied(record: dict[str, Any], copy: int, chance: random.Random) -> dict[str, Any]:
    """A record under another pod's name, with its fractions a little more or less, so that gzip is not flattered."""
    parts = record["name"].split("/")
    parts[-2] = f"{parts[-2]}-{copy:x}"
    record["name"] = "/".join(parts)
    if "pod" in record["properties"]:
        record["properties"]["pod"] = parts[-2]
    factor = chance.uniform(0.5, 1.5)
    return {key: round(value * factor, 5) if isinstance(value, float) else value for key, value in record.items()}


@cache
def _wire(rows: int) -> bytes:
    """The response as it is sent over the socket, in chunks."""
    complete = body(rows)
    pieces = (complete[at : at + _CHUNK] for at in range(0, len(complete), _CHUNK))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve /ROWS/allocation with so many rows, and the requests about the server."""
        _, rows, path = self.path.partition("?")[0].split("/", 2)
        if path == "allocation":
            wire = _wire(int(rows))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(wire)
            return
        info = b'{"code":200,"data":{"id":"aks-shop-prod-weu"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(info)))
        self.end_headers()
        self.wfile.write(info)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve on a free port, printed once the payloads of the sizes given as arguments are made."""
    for rows in sys.argv[1:]:
        _wire(int(rows))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
