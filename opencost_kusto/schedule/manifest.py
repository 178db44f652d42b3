"""A scheduled sync as Kubernetes objects. The door to PyYAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml

from opencost_kusto.errors import UsageError
from opencost_kusto.schema.columns import Json

NAME = "opencost-kusto"
PORT = 8080
# A minute after the windows are closed, with the schedule's own lag of ten: by how long they are.
CRONS = {"10m": "1-59/10 * * * *", "1h": "11 * * * *", "1d": "11 0 * * *"}
# Measured at their peak: 61 MB for 50,000 rows in one answer, 72 MB for a whole `schedule --once` of a small cluster's
# day. Several sources are brought side by side.
MEMORY = {"requests": "128Mi", "limits": "256Mi"}
# A schedule that is told to end takes up to 25 s; then the process still has to end.
GRACE = 45
# No user of the image is meant: any but root will do, as files are only written to /tmp.
_USER = 10001
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"[\w][\w.:/@-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a cluster, from which image, and as which Azure identity.

    Raises UsageError for an image, a namespace or a client id that cannot be one.
    """

    image: str
    client_id: str
    namespace: str = "opencost"

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise UsageError(
                "Name the container image with --image: none is published, so build one; the README has its Dockerfile."
            )
        if not _ID.fullmatch(self.client_id):
            raise UsageError("Name the managed identity by its client id, a GUID, with --client-id.")
        if not _LABEL.fullmatch(self.namespace):
            raise UsageError(f"{self.namespace!r} is not the name of a Kubernetes namespace.")

    @property
    def subject(self) -> str:
        """What the identity's federated credential must name."""
        return f"system:serviceaccount:{self.namespace}:{NAME}"


class Word(str):
    """A string that is always quoted: what is none to one reader of YAML (1e3, 0o17) is a number to another."""

    __slots__ = ()


def cron_job(place: Place, cron: str, args: Sequence[str]) -> list[Json]:
    """A service account and a job that runs the command with `args` at the times of a crontab line in UTC."""
    job = {
        # Another try now; whatever is still missing then, the next job finds.
        "backoffLimit": 1,
        # A job that hangs must not keep the next one from starting for ever.
        "activeDeadlineSeconds": 3000,
        "template": _pod(place, args, {"restartPolicy": "Never"}),
    }
    spec = {
        "schedule": Word(cron),
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }
    return [_account(place), {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": _metadata(place), "spec": spec}]


def deployment(place: Place, args: Sequence[str]) -> list[Json]:
    """A service account and one pod that runs the command with `args`, which must listen on `PORT`, for ever."""
    container = {
        "ports": [{"name": "http", "containerPort": PORT}],
        "livenessProbe": {**_probe("/healthz"), "periodSeconds": 20, "failureThreshold": 3},
        # Not ready until the first tick has ended well, which may take as long as catching up does.
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 30},
    }
    spec = {
        "replicas": 1,
        # A second one beside it would do no harm, and all the work again.
        "strategy": {"type": "Recreate"},
        "progressDeadlineSeconds": 3600,
        "selector": {"matchLabels": _labels()},
        "template": _pod(place, args, {}, container),
    }
    return [
        _account(place),
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(place), "spec": spec},
    ]


def rendered(objects: Iterable[Json]) -> str:
    """Objects as YAML, a document each."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes what is Python's own, and quoted words."""


_Dumper.add_representer(Word, lambda dumper, word: dumper.represent_scalar("tag:yaml.org,2002:str", word, style='"'))


def _account(place: Place) -> Json:
    annotations = {"azure.workload.identity/client-id": Word(place.client_id)}
    metadata = {**_metadata(place), "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _metadata(place: Place) -> Json:
    return {"name": NAME, "namespace": place.namespace, "labels": _labels()}


def _labels() -> Json:
    return {"app.kubernetes.io/name": NAME}


def _probe(path: str) -> Json:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5}


def _pod(place: Place, args: Sequence[str], more: Json, container: Json | None = None) -> Json:
    """A pod as the restricted standard of pod security asks for, with Azure's token and /tmp to write to."""
    # The webhook of workload identity mounts its own token; nobody here asks the Kubernetes API.
    labels = {**_labels(), "azure.workload.identity/use": "true"}
    spec = {
        **more,
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": GRACE,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{**_container(place, args), **(container or {})}],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    return {"metadata": {"labels": labels}, "spec": spec}


def _container(place: Place, args: Sequence[str]) -> Json:
    return {
        "name": NAME,
        "image": place.image,
        "args": [Word(word) for word in args],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {
            "requests": {"cpu": "50m", "memory": MEMORY["requests"]},
            "limits": {"cpu": "1", "memory": MEMORY["limits"]},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
