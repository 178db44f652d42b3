"""Faults at the wire, as a test injects them, seen by the unmodified SDK."""

from __future__ import annotations

import gzip
import io
import socket

import pytest
import requests
from azure.kusto.data.exceptions import KustoApiError, KustoNetworkError, KustoThrottlingError
from azure.storage.blob import BlobServiceClient

from opencost_kusto.emulator import LOSE_REPLY, CloseConnection, KustoEmulator, Reply, Request
from opencost_kusto.errors import UsageError
from tests.emulator.conftest import ROW, Client, lines
from tests.support.recorded import Emulator


def test_a_fault_replaces_the_reply(costs: Client) -> None:
    """A reply from the fault is what the client gets, here throttling."""
    costs.emulator.fault = lambda request: Reply(429, {"Retry-After": "1"}, b"{}") if request.csl else None
    with pytest.raises(KustoThrottlingError):
        costs.count()
    costs.emulator.fault = None
    assert costs.count() == 0


def test_a_fault_closes_the_connection(costs: Client) -> None:
    """Raising CloseConnection is a network error to the client."""

    def fault(_: Request) -> Reply | None:
        raise CloseConnection

    costs.emulator.fault = fault
    with pytest.raises(KustoNetworkError):
        costs.count()


def test_a_first_container_that_refuses_is_seen_by_the_sdk(costs: Client) -> None:
    """The upload continues with the second container, with nothing left in the stream: the SDK's known trap."""

    def fault(request: Request) -> Reply | None:
        return Reply(403) if request.path.startswith("/tempstorage-0/") else None

    costs.emulator.fault = fault
    costs.send(lines([ROW]))
    costs.emulator.wait_idle()
    assert [failure["ErrorCode"] for failure in costs.failures()] == ["BadRequest_EmptyBlob"]
    assert costs.count() == 0


def test_a_lost_reply_has_its_effect(costs: Client) -> None:
    """The request is carried out and the client hears nothing, so that it sends again."""
    costs.emulator.fault = lambda request: LOSE_REPLY if request.method == "PUT" else None
    url = costs.emulator.storage.containers()[0].replace("?", "/blob?")
    with requests.Session() as session, pytest.raises(requests.ConnectionError):
        session.put(url, data=b"rows", timeout=10)
    assert costs.emulator.storage.blob(url) == b"rows"


def test_a_message_that_is_delivered_twice_lands_once(costs: Client) -> None:
    """What a client posts again after a lost reply is the same message, and its tag lands it once."""
    costs.send(lines([ROW]), tag="once")
    [posted] = [request for request in costs.emulator.requests if request.path.endswith("/messages")]
    with requests.Session() as session:
        session.post(costs.emulator.url + posted.target, data=posted.body, timeout=10)
    costs.emulator.wait_idle()
    assert (costs.count(), [one["ErrorCode"] for one in costs.failures()]) == (1, ["Skipped_IngestByTagAlreadyExists"])


def test_a_truncated_body_is_noticed() -> None:
    """A Content-Length larger than the body makes the client see a body cut short."""
    with KustoEmulator() as emulator, requests.Session() as session:
        emulator.fault = lambda _request: Reply(200, {"Content-Length": "100"}, b"short")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(emulator.url, timeout=10)


def test_only_the_loopback_is_bound(client: Client) -> None:
    """No other address of the machine responds."""
    assert client.emulator.url.startswith("http://127.0.0.1:")
    port = int(client.emulator.url.rsplit(":", 1)[1])
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", port))


def test_a_taken_port_is_a_usage_error() -> None:
    """The message names the port."""
    with KustoEmulator() as first:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(UsageError, match=f"port {port} "):
            KustoEmulator(port)


def test_both_ends_start_together_and_stop() -> None:
    """The emulator responds at two addresses, and at none after its block."""
    with Emulator() as emulator, requests.Session() as session:
        urls = emulator.opencost_url + "/healthz", emulator.kusto_url + "/"
        assert [session.get(url, timeout=10).status_code for url in urls] == [200, 404]
    with requests.Session() as session:
        for url in urls:
            with pytest.raises(requests.ConnectionError):
                session.get(url, timeout=10)


def test_storage_refuses_a_wrong_signature(costs: Client) -> None:
    """A container is open only to the signature that was given out."""
    url = costs.emulator.storage.containers()[0].replace("sig=", "sig=x").replace("?", "/blob?")
    with requests.Session() as session:
        reply = session.put(url, data=b"rows", headers={"x-ms-blob-type": "BlockBlob"}, timeout=10)
    assert (reply.status_code, reply.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


def test_blobs_in_blocks_are_put_together(costs: Client) -> None:
    """A blob too large for one request arrives in blocks and is complete."""
    container, _, signature = costs.emulator.storage.containers()[0].rpartition("?")
    host, _, name = container.rpartition("/")
    with (
        BlobServiceClient(f"{host}/?{signature}", max_single_put_size=4, max_block_size=4) as service,
        service.get_blob_client(name, "large") as blob,
    ):
        blob.upload_blob(io.BytesIO(b"0123456789"), length=10)
    assert costs.emulator.storage.blob(f"{container}/large?{signature}") == b"0123456789"


def test_the_identity_token_can_be_refused(costs: Client) -> None:
    """A fault can be aimed at one command by its text."""

    def fault(request: Request) -> Reply | None:
        return Reply(403, {}, b'{"error":{"@message":"no"}}') if "identity token" in request.csl else None

    costs.emulator.fault = fault
    with pytest.raises(KustoApiError):
        costs.send(gzip.compress(b"{}"))
