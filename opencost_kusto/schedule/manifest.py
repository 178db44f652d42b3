"""A scheduled sync as Kubernetes objects, from the YAML files in `templates`. The door to PyYAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

import yaml

from opencost_kusto.errors import UsageError
from opencost_kusto.extract.kubernetes.rights import Right, roles
from opencost_kusto.version import __version__

# The port on which a Deployment listens, as its template has it.
PORT = 8080
# A minute after the windows are closed, with the schedule's own lag of ten minutes, by the length of the windows.
CRONS = {"10m": "1-59/10 * * * *", "1h": "11 * * * *", "1d": "11 0 * * *"}
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"[\w][\w.:/@-]*")
_NO_TOKEN = re.compile(
    r"^( *)# .*the Kubernetes API is not used\.\n *(automountServiceAccountToken:) false$", re.MULTILINE
)
_ARGS = re.compile(r"^( *)- \$args$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a cluster, from which image, and as which Azure identity.

    Raises UsageError for an invalid image, namespace or client id.
    """

    image: str
    client_id: str
    namespace: str = "opencost"

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise UsageError(
                "Name the container image with --image: none is published, so build one. Its Dockerfile is in: "
                "opencost-kusto guide scheduled."
            )
        if not _ID.fullmatch(self.client_id):
            raise UsageError("Name the managed identity by its client id, a GUID, with --client-id.")
        if not _LABEL.fullmatch(self.namespace):
            raise UsageError(f"--namespace {self.namespace!r} is not the name of a Kubernetes namespace.")

    @property
    def subject(self) -> str:
        """The subject of the identity's federated credential."""
        return f"system:serviceaccount:{self.namespace}:opencost-kusto"


def cron_job(place: Place, cron: str, args: Sequence[str], *, token: bool = False) -> str:
    """The YAML of a service account and of a job that runs the command with `args` by a crontab line in UTC.

    `token` mounts a token for the Kubernetes API into the pod.
    """
    return _mounted(filled("cronjob", place, args, cron=cron), token)


def deployment(place: Place, args: Sequence[str], *, token: bool = False) -> str:
    """The YAML of a service account and of a pod that runs the command with `args`, which must listen on `PORT`.

    `token` mounts a token for the Kubernetes API into the pod.
    """
    return _mounted(filled("deployment", place, args), token)


def rbac(rights: Sequence[Right], to: dict[str, str], *, wide: bool = False) -> str:
    """The YAML of the least Roles for some rights, and of their bindings to a subject."""
    dumped = yaml.safe_dump_all(roles(rights, to, wide=wide), sort_keys=False, explicit_start=True)
    return str(dumped).rstrip("\n")


def _mounted(text: str, token: bool) -> str:
    """The objects with a token for the Kubernetes API, or without one."""
    if not token:
        return text
    return _NO_TOKEN.sub(r"\1# The address of OpenCost's pod is read from the Kubernetes API.\n\1\2 true", text)


def filled(name: str, place: Place, args: Sequence[str], **more: str) -> str:
    """A template with its values, each in quotes, so that 1e3 is a text to every reader of YAML."""
    values = {"image": place.image, "client_id": place.client_id, "namespace": place.namespace, "version": __version__}
    values |= more
    template = (files("opencost_kusto.schedule") / "templates" / f"{name}.yaml").read_text("utf-8")
    head, indent, rest = _ARGS.split(template)
    head, rest = (
        Template(part).substitute({key: quoted(value) for key, value in values.items()}) for part in (head, rest)
    )
    return head + "\n".join(f"{indent}- {quoted(word)}" for word in args) + rest


def quoted(text: str) -> str:
    """A text in double quotes, on one line."""
    return str(yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True)).rstrip("\n")
