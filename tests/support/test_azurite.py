"""The storage emulator takes blobs and queue messages from Microsoft's own storage libraries."""

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from tests.support.azurite import Azurite, AzuriteError, running
from tests.support.node.install import Packages

pytestmark = pytest.mark.azurite


def test_a_blob_is_uploaded_and_read_by_sas(azurite: Azurite) -> None:
    """A blob that is uploaded with a container's SAS is read back byte for byte."""
    with ContainerClient.from_container_url(azurite.container("blobs")) as container:
        container.upload_blob("part.json.gz", b"\x1f\x8b rows")
        assert container.download_blob("part.json.gz").readall() == b"\x1f\x8b rows"


def test_a_message_is_posted_and_received_by_sas(azurite: Azurite) -> None:
    """A message that is posted with a queue's SAS is received once and no longer exists when deleted."""
    with QueueClient.from_queue_url(azurite.queue("messages")) as queue:
        queue.send_message("one message")
        received = list(queue.receive_messages())
        assert [message.content for message in received] == ["one message"]
        queue.delete_message(received[0])
        assert not queue.peek_messages()


def test_a_sas_opens_only_its_own_container(azurite: Azurite) -> None:
    """A SAS for one container is refused by another."""
    azurite.container("theirs")
    url = azurite.container("ours").replace("/ours?", "/theirs?")
    with (
        ContainerClient.from_container_url(url, retry_total=0) as container,
        pytest.raises(HttpResponseError, match="AuthorizationFailure"),
    ):
        container.upload_blob("part.json.gz", b"rows")


def test_a_start_that_fails_has_the_output_of_azurite(node_packages: Packages) -> None:
    """Where Azurite is not installed, the error has Node's message."""
    empty = Packages(node_packages.node, node_packages.modules / "nowhere")
    with pytest.raises(AzuriteError, match="Cannot find module"), running(empty):
        pass
