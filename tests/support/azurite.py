"""Azurite, Microsoft's storage emulator: real blobs and queues for the unmodified SDK, on the loopback."""

import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from azure.storage.queue import QueueSasPermissions, QueueServiceClient, generate_queue_sas

from tests.support.node.install import Packages

# Microsoft publishes both: they open every emulator and nothing else.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 60
SAS_LIFETIME = timedelta(hours=1)
END_WITH_PARENT = Path(__file__).parent / "node" / "end_with_parent.js"


class AzuriteError(Exception):
    """Azurite did not start; the message has what it wrote."""


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite: where it listens, who may enter, and the file it writes its log to."""

    blob_url: str
    queue_url: str
    log: Path
    account: str = ACCOUNT
    key: str = KEY

    def container(self, name: str) -> str:
        """Create a container and return its URL with a SAS, as Kusto hands it out."""
        with BlobServiceClient(self.blob_url, credential=self.key) as service:
            service.create_container(name)
        sas = generate_container_sas(
            self.account,
            name,
            account_key=self.key,
            permission=ContainerSasPermissions(read=True, write=True, list=True, delete=True),
            expiry=datetime.now(UTC) + SAS_LIFETIME,
        )
        return f"{self.blob_url}/{name}?{sas}"

    def queue(self, name: str) -> str:
        """Create a queue and return its URL with a SAS, as Kusto hands it out."""
        with QueueServiceClient(self.queue_url, credential=self.key) as service:
            service.create_queue(name)
        sas = generate_queue_sas(
            self.account,
            name,
            account_key=self.key,
            permission=QueueSasPermissions(read=True, add=True, update=True, process=True),
            expiry=datetime.now(UTC) + SAS_LIFETIME,
        )
        return f"{self.queue_url}/{name}?{sas}"


@contextlib.contextmanager
def running(packages: Packages) -> Iterator[Azurite]:
    """Run Azurite in memory, on ports it chooses itself, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder:
        log = Path(folder, "azurite.log")
        with (
            log.open("wb") as output,
            subprocess.Popen(
                _command(packages), cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                urls = _listening(process, log)
                yield Azurite(f"{urls['Blob']}/{ACCOUNT}", f"{urls['Queue']}/{ACCOUNT}", log)
            finally:
                process.kill()


def _command(packages: Packages) -> list[str]:
    """Return the command line; a port of 0 lets the system choose, so that no two runs meet."""
    script = packages.modules / "azurite" / "dist" / "src" / "azurite.js"
    ports = [word for service in ("blob", "queue", "table") for word in (f"--{service}Port", "0")]
    # The Python storage libraries may speak a newer API version than this Azurite has heard of.
    options = ["--silent", "--disableTelemetry", "--inMemoryPersistence", "--skipApiVersionCheck"]
    return [str(packages.node), "--require", str(END_WITH_PARENT), str(script), *ports, *options]


def _listening(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Wait until Azurite says where its services listen, and return their URLs by name."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        message = log.read_text(errors="replace")
        urls = dict(re.findall(r"Azurite (\w+) service is successfully listening at (\S+)", message))
        if {"Blob", "Queue"} <= urls.keys():
            return urls
        time.sleep(0.05)
    raise AzuriteError(
        f"Azurite did not start in {START_SECONDS} s; it said: {log.read_text(errors='replace')[-2000:]}"
    )
