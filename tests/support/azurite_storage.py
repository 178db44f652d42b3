"""Storage in an Azurite that is already running, so that blobs and messages pass a real storage service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerSasPermissions, generate_container_sas
from azure.storage.queue import QueueSasPermissions, QueueServiceClient, TextBase64DecodePolicy, generate_queue_sas

from opencost_kusto.emulator.kusto.storage import BlobNotFound, Message

# Microsoft publishes both: they open every storage emulator and nothing else.
_ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_LIFETIME: Final = timedelta(days=1)
_HIDDEN_SECONDS: Final = 600


class AzuriteStorage:
    """Fresh containers and one queue in an Azurite, given its blob and queue URLs, which end in the account's name."""

    poll_seconds = 0.05

    def __init__(self, blob_url: str, queue_url: str, *, containers: int = 2) -> None:
        run = uuid.uuid4().hex[:12]
        self._expiry = datetime.now(UTC) + _LIFETIME
        self._blobs = BlobServiceClient(blob_url, credential=_KEY)
        self._queues = QueueServiceClient(queue_url, credential=_KEY)
        self._container_names = [f"temp-{run}-{number}" for number in range(containers)]
        self._queue_name = f"ready-{run}"
        self._urls = blob_url, queue_url
        for name in self._container_names:
            self._blobs.create_container(name)
        self._queues.create_queue(self._queue_name)
        self._queue = self._queues.get_queue_client(self._queue_name, message_decode_policy=TextBase64DecodePolicy())

    def __enter__(self) -> AzuriteStorage:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back."""
        self._queue.close()
        self._blobs.close()
        self._queues.close()

    def containers(self) -> list[str]:
        """The containers' URLs, signed."""
        permission = ContainerSasPermissions(read=True, add=True, create=True, write=True)
        return [f"{self._urls[0]}/{name}?{self._container_sas(name, permission)}" for name in self._container_names]

    def queues(self) -> list[str]:
        """The queue's URL, signed."""
        permission = QueueSasPermissions(add=True)
        sas = generate_queue_sas(_ACCOUNT, self._queue_name, _KEY, permission=permission, expiry=self._expiry)
        return [f"{self._urls[1]}/{self._queue_name}?{sas}"]

    def receive(self) -> Message | None:
        """The next message, hidden from others until it is done or ten minutes have passed."""
        with _unreachable():
            received = self._queue.receive_message(visibility_timeout=_HIDDEN_SECONDS)
        return None if received is None else Message(received.content, received)

    def done(self, message: Message) -> None:
        """Delete the message."""
        with _unreachable(), suppress(ResourceNotFoundError):
            self._queue.delete_message(message.handle)  # type: ignore[arg-type]

    def blob(self, url: str) -> bytes:
        """The blob's bytes, read with the address and signature in the message."""
        with _unreachable(), BlobClient.from_blob_url(url) as client:
            try:
                return bytes(client.download_blob().readall())
            except ResourceNotFoundError:
                raise BlobNotFound(url.split("?")[0]) from None

    def _container_sas(self, name: str, permission: ContainerSasPermissions) -> str:
        return str(generate_container_sas(_ACCOUNT, name, _KEY, permission=permission, expiry=self._expiry))


@contextmanager
def _unreachable() -> Iterator[None]:
    try:
        yield
    except AzureError as wrong:
        raise ConnectionError(f"Azurite: {wrong}") from wrong
