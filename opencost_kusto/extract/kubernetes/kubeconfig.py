"""The sign-in of a kubeconfig: certificates, tokens, files and programs. The door to `kubernetes`.

The library reads and merges the files. Programs (`exec`) and token files are left to this module: the library would
send a request without a sign-in where a program fails, and reads a token file once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from opencost_kusto import address
from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract.doors import CA, CERT, KEY, Doors
from opencost_kusto.extract.kubernetes.access import Access, Authorization, Entra
from opencost_kusto.extract.kubernetes.embedded import embedded
from opencost_kusto.extract.kubernetes.program import Program, executed, kubelogin_token, missing
from opencost_kusto.extract.tls import ENDPOINT
from opencost_kusto.names import shown
from opencost_kusto.redact import first_sentence

_INSTALL = "kube:// needs the extra kubernetes: pip install '.[kubernetes]' from a clone."
_SETTINGS = {
    CA: "certificate-authority",
    CERT: "client-certificate",
    KEY: "client-key",
    ENDPOINT: "server or tls-server-name",
}
_IMPERSONATION = frozenset({"as", "as-uid", "as-groups", "as-user-extra"})
_GET = "az aks get-credentials -g GROUP -n CLUSTER"


def kubeconfig(context: str | None, environment: Mapping[str, str], entra: Entra | None = None) -> Access:
    """The API server of a context, or of the current one, and the sign-in of its user.

    `entra` returns tokens of Microsoft Entra where kubelogin is not installed. Raises UsageError for a file or a
    context that cannot be used and when the library is not installed, OpenCostError when the sign-in fails.
    """
    with _read(environment) as (merged, paths):
        from kubernetes.client import Configuration
        from kubernetes.config.kube_config import KubeConfigLoader

        chosen = _context(merged.value, context, paths)
        user = _user(merged, chosen, paths)
        cluster = merged["clusters"].get_with_name(chosen["context"]["cluster"])["cluster"].value
        origin = f"the kubeconfig {paths}{' (KUBECONFIG)' if 'KUBECONFIG' in environment else ''}"
        own = {**embedded(cluster, origin), **({} if user is None else embedded(user.value, origin))}
        token, signed_in_by = _sign_in(user, environment, entra)
        loader = KubeConfigLoader(merged, active_context=chosen["name"], config_base_path=None)
        settings = Configuration()
        loader.load_and_set(settings)
        # Read here, since older versions of the library leave it out.
        proxy = cluster.get("proxy-url")
        if user is not None:
            own = {**dict.fromkeys(embedded(user.value, origin), signed_in_by), **own}
    access = replace(
        _access(settings, str(chosen["context"]["cluster"]), token, signed_in_by),
        origin=origin,
        settings={**_SETTINGS, **own},
        embedded=frozenset(own),
    )
    if user is not None and not access.doors.headers and access.doors.cert is None:
        raise _unsigned(str(chosen["context"]["user"]))
    if not proxy:
        return access
    return replace(access, doors=replace(access.doors, proxy=address.named_proxy("proxy-url of the kubeconfig", proxy)))


def contexts(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each context of the kubeconfig and the name of its cluster, if any; raises UsageError as `kubeconfig` does."""
    with _read(environment) as (merged, _):
        found = [one.value for one in merged.value.get("contexts") or []]
        return [(str(one["name"]), str((one.get("context") or {}).get("cluster") or "")) for one in found]


@contextmanager
def _read(environment: Mapping[str, str]) -> Iterator[tuple[Any, str]]:
    """The files of KUBECONFIG, merged, and their paths; what is wrong with their content is a UsageError."""
    try:
        from kubernetes.config import ConfigException
        from kubernetes.config.kube_config import KubeConfigMerger
        from kubernetes.config.kube_config import yaml as library_yaml
    except ImportError as error:
        raise UsageError(_INSTALL) from error
    paths = environment.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    try:
        merger = KubeConfigMerger(paths)
        if merger.config is None:
            raise UsageError(f"There is no kubeconfig at {paths}: set KUBECONFIG, or run {_GET}.")
        # The first file that names one, as in kubectl; the library takes the last.
        named = (one.get("current-context") for one in merger.config_files.values())
        merger.config.value["current-context"] = next(filter(None, named), None)
        yield merger.config, paths
    except ConfigException as error:
        # The library names a user by all its settings, in braces.
        why = first_sentence(str(error).replace(". ", ": ", 1).partition("{")[0]).rstrip("/")
        raise UsageError(f"The kubeconfig {paths} cannot be used: {why}") from None
    except KeyError as error:
        raise UsageError(f"The kubeconfig {paths} cannot be used: a key {error} is missing.") from error
    except (AttributeError, TypeError) as error:
        raise UsageError(f"The kubeconfig {paths} cannot be used: a part of it is of another type.") from error
    except (OSError, ValueError, library_yaml.YAMLError) as error:
        why = first_sentence(str(error)) or type(error).__name__
        raise UsageError(f"The kubeconfig {paths} cannot be read: {why}") from error


def _context(config: dict[str, Any], name: str | None, paths: str) -> dict[str, Any]:
    """A context by its name, or the current one; raises UsageError, which lists those that are there."""
    found = {str(one.value["name"]): one.value for one in config.get("contexts") or []}
    wanted = name or config.get("current-context") or ""
    if wanted in found:
        return dict(found[wanted])
    listed = ", ".join(map(shown, sorted(found)[:20])) or "none"
    missed = f"no context {shown(wanted)}" if wanted else "no current context"
    raise UsageError(f"The kubeconfig {paths} has {missed}; it has {listed}. Write one as kube://CONTEXT.")


def _user(merged: Any, chosen: dict[str, Any], paths: str) -> Any:
    """The node of the context's user, whose `value` is its settings; None if it has none.

    Raises UsageError for a user that is not there, and for one that acts as another.
    """
    name = chosen["context"].get("user")
    if not name:
        return None
    found = merged["users"].get_with_name(name, safe=True) if merged.safe_get("users") else None
    if found is None:
        context = shown(str(chosen["name"]))
        raise UsageError(f"The kubeconfig {paths} has no user {shown(str(name))}, which its context {context} names.")
    if not found.value.get("user"):
        return None
    if acts := sorted(_IMPERSONATION & found.value["user"].keys()):
        raise UsageError(
            f"The user {shown(str(name))} of the kubeconfig {paths} has {', '.join(acts)}: impersonation is not "
            "supported. Name a context whose user has the rights itself."
        )
    return found["user"]


def _unsigned(user: str) -> OpenCostError:
    return OpenCostError(
        f"Signing in to Kubernetes failed: the user {shown(user)} of the kubeconfig has no token, certificate or "
        "program that signs in. An auth-provider is replaced by a program: on AKS, kubelogin convert-kubeconfig. "
        "Nothing was sent without a sign-in.",
        code=ReasonCode.UNAUTHORIZED,
    )


def _sign_in(user: Any, environment: Mapping[str, str], entra: Entra | None) -> tuple[Callable[[], str] | None, str]:
    """What returns the user's token, and how to call it; None leaves the sign-in to the library.

    A program's certificate, and nothing of a program or a token file, is left in the user's settings.
    """
    if user is None:
        return None, "no user"
    settings: dict[str, Any] = user.value
    # Kubernetes has no other since 1.26; the library would send nothing, or a token that has expired.
    if (settings.get("auth-provider") or {}).get("name") != "oidc":
        settings.pop("auth-provider", None)
    folder = str(Path(user.path or ".").absolute().parent)
    for name in ("client-certificate", "client-key"):
        # The library looks for them beside the file that has the cluster.
        if name in settings:
            settings[name] = str(Path(folder) / settings[name])
    if file := settings.pop("tokenFile", None):
        settings.pop("token", None)
        return _reader(Path(folder) / file), "a token file"
    if settings.get("token") or "exec" not in settings:
        return None, "a client certificate" if any(name.startswith("client-c") for name in settings) else "a token"
    node = user["exec"]
    settings.pop("exec")
    command, args = str(node.value.get("command", "")), list(map(str, node.value.get("args") or []))
    program = _program(node, command, folder)
    path = {**environment, **{one["name"]: one["value"] for one in node.value.get("env") or []}}
    if missing(command, folder, path):
        if (token := kubelogin_token(command, args, entra)) is not None:
            return token, "Microsoft Entra, since kubelogin is not installed"
        raise program.absent()
    status = program.status()
    if status.get("token"):
        return program.token, f"the program {command}"
    for key, name in (("clientCertificateData", "client-certificate-data"), ("clientKeyData", "client-key-data")):
        settings[name] = base64.standard_b64encode(str(status[key]).encode()).decode()
    return None, f"a client certificate of the program {command}"


def _program(node: Any, command: str, folder: str) -> Program:
    from kubernetes.config import ConfigException
    from kubernetes.config.exec_provider import ExecProvider

    def run() -> Any:
        try:
            found = ExecProvider(node, folder)
            return executed(found.args, found.api_version, found.env, folder)
        except (ConfigException, ValueError, TypeError, AttributeError, KeyError) as error:
            # What it printed may be of any type, in any encoding, and a secret.
            raise program.failed(error) from None

    program = Program(command, run, hint=first_sentence(str(node.value.get("installHint") or ""), 400))
    return program


def _reader(file: Path) -> Callable[[], str]:
    """Reads a token file for each request: tokens in files are rotated."""

    def read() -> str:
        try:
            return file.read_text("utf-8", "replace").strip()
        except OSError as error:
            text = f"The token file {file} of the kubeconfig cannot be read: {error.strerror}."
            raise OpenCostError(text, code=ReasonCode.UNAUTHORIZED) from None

    return read


def _server(text: str) -> address.Address:
    """The address of an API server; raises UsageError, which does not repeat it: it may have a password."""
    try:
        return address.parse(text)
    except UsageError:
        text = "The cluster of the kubeconfig has a server that is no address; write https://HOST:PORT."
        raise UsageError(text) from None


def _access(settings: Any, cluster: str, token: Callable[[], str] | None, signed_in_by: str) -> Access:
    """What the library read, and the token that it does not get."""
    server = _server(settings.host)

    def authorization() -> str:
        # Before version 36 of the library it has another name.
        return next(filter(None, map(settings.get_api_key_with_prefix, ("BearerToken", "authorization"))), "")

    value: Callable[[], str] | None = None
    if token is not None:
        value = lambda: f"Bearer {token()}"  # noqa: E731
    elif authorization():
        value = authorization
    doors = Doors(
        headers={} if value is None else {"Authorization": Authorization(value, f"{signed_in_by} of the kubeconfig")},
        ca=settings.ssl_ca_cert,
        cert=settings.cert_file,
        key=settings.key_file,
    )
    return Access(server, doors, signed_in_by, cluster, bool(settings.verify_ssl), settings.tls_server_name)
