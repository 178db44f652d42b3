"""Where blobs and queue messages lie between the client and the ingestion: a seam, and one in memory behind it."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from opencost_kusto.emulator.http import Reply, Request

_XML: Final = '<?xml version="1.0" encoding="utf-8"?>'
_MESSAGE_TEXT: Final = re.compile(rb"<MessageText>(.*?)</MessageText>", re.DOTALL)


class Message(NamedTuple):
    """A queue message taken for ingestion; `handle` is the storage's own."""

    text: str
    handle: object


class BlobNotFound(Exception):
    """There is no blob at this address."""


class Storage(Protocol):
    """Blob containers and queues that clients write to by signed URL and the ingestion reads.

    Raises ConnectionError where it cannot be reached; the ingestion then tries again.
    """

    @property
    def poll_seconds(self) -> float:
        """How long to wait before an empty queue is polled again."""

    def containers(self) -> Sequence[str]:
        """The signed URLs given out for uploads."""

    def queues(self) -> Sequence[str]:
        """The signed URLs given out for ingestion messages."""

    def receive(self) -> Message | None:
        """Take the next message; it is gone only when it is `done`."""

    def done(self, message: Message) -> None:
        """Delete a message that was dealt with."""

    def blob(self, url: str) -> bytes:
        """The content of a blob, by the address in a message; raises `BlobNotFound`."""


class MemoryStorage:
    """Storage in memory, served on the emulator's own port.

    `container_names` and `queue_names` are what is given out, in this order, and may be changed at any time;
    `blobs` maps `container/blob` to its bytes.
    """

    poll_seconds = 0.01

    def __init__(self, url: str, *, containers: int = 2, queues: int = 2) -> None:
        self.container_names = [f"tempstorage-{number}" for number in range(containers)]
        self.queue_names = [f"ready-for-aggregation-{number}" for number in range(queues)]
        self.blobs: dict[str, bytes] = {}
        self._url = url
        self._signature = secrets.token_urlsafe(32)
        self._blocks: dict[tuple[str, str], bytes] = {}
        self._messages: deque[str] = deque()
        self._lock = threading.Lock()

    def containers(self) -> list[str]:
        """The containers' URLs."""
        return [self._signed(name, "sr=c&sp=rcw") for name in self.container_names]

    def queues(self) -> list[str]:
        """The queues' URLs."""
        return [self._signed(name, "sp=a") for name in self.queue_names]

    def receive(self) -> Message | None:
        """The oldest message of all queues."""
        with self._lock:
            return Message(_decoded(self._messages.popleft()), None) if self._messages else None

    def done(self, message: Message) -> None:
        """A message received here is already gone."""

    def blob(self, url: str) -> bytes:
        """The blob's bytes."""
        path = unquote(urlsplit(url).path).lstrip("/")
        try:
            return self.blobs[path]
        except KeyError:
            raise BlobNotFound(path) from None

    def serves(self, request: Request) -> bool:
        """Whether a request is addressed to this storage."""
        first = request.path.split("/")[1]
        return first in {*self.container_names, *self.queue_names}

    def respond(self, request: Request) -> Reply:
        """Respond to what the storage clients of the SDK send: put a blob, in one piece or in blocks, or a message."""
        if request.param("sig") != self._signature:
            return _refusal(403, "AuthenticationFailed", "The signature is missing or wrong.")
        first, _, rest = request.path.lstrip("/").partition("/")
        if request.method == "PUT" and first in self.container_names and rest:
            return self._put(f"{first}/{rest}", request)
        if request.method == "POST" and first in self.queue_names and rest == "messages":
            return self._post(request)
        return _refusal(400, "UnsupportedOperation", f"{request.method} {request.path} is not served here.")

    def _signed(self, name: str, permission: str) -> str:
        expires = datetime.now(UTC) + timedelta(days=1)
        return f"{self._url}/{name}?sv=2024-11-04&se={expires:%Y-%m-%dT%H:%M:%SZ}&{permission}&sig={self._signature}"

    def _put(self, path: str, request: Request) -> Reply:
        part = request.param("comp")
        with self._lock:
            if part == "block":
                self._blocks[path, request.param("blockid") or ""] = request.body
                return _created()
            if path in self.blobs and request.headers.get("if-none-match") == "*":
                return _refusal(409, "BlobAlreadyExists", "The specified blob already exists.")
            if part == "blocklist":
                ids = [element.text or "" for element in ElementTree.fromstring(request.body)]
                if any((path, id) not in self._blocks for id in ids):
                    return _refusal(400, "InvalidBlockList", "The specified block list is invalid.")
                self.blobs[path] = b"".join(self._blocks.pop((path, id)) for id in ids)
            else:
                self.blobs[path] = request.body
        return _created()

    def _post(self, request: Request) -> Reply:
        found = _MESSAGE_TEXT.search(request.body)
        if found is None:
            return _refusal(400, "InvalidXmlDocument", "There is no message text.")
        with self._lock:
            self._messages.append(found[1].decode())
        now = format_datetime(datetime.now(UTC), usegmt=True)
        times = "".join(f"<{name}>{now}</{name}>" for name in ("InsertionTime", "ExpirationTime", "TimeNextVisible"))
        ids = f"<MessageId>{uuid.uuid4()}</MessageId><PopReceipt>{secrets.token_hex(8)}</PopReceipt>"
        body = f"{_XML}<QueueMessagesList><QueueMessage>{ids}{times}</QueueMessage></QueueMessagesList>"
        return Reply(201, {"Content-Type": "application/xml"}, body.encode())


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


def _created() -> Reply:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    headers = {"ETag": f'"{secrets.token_hex(8)}"', "Last-Modified": now, "x-ms-request-server-encrypted": "true"}
    return Reply(201, headers)


def _refusal(status: int, code: str, message: str) -> Reply:
    body = f"{_XML}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Reply(status, {"Content-Type": "application/xml", "x-ms-error-code": code}, body.encode())
