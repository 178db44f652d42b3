"""Certificates of a connection to OpenCost: which are trusted, which is shown, and what a failure of TLS means."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opencost_kusto.errors import UsageError
from opencost_kusto.extract.doors import CA, CERT, KEY, Doors
from opencost_kusto.names import variable

# The option of the address, which a certificate has to name.
ENDPOINT = "--endpoint"
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_EXPIRED, _OTHER_NAME = 10, (62, 64)
# By OpenSSL's names, what a server sends that wants another client certificate, or one at all.
_UNWANTED = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """`authorities` is a file or folder with those trusted, None for the ones of `requests`; `named` says who set it.

    `client` is the certificate shown to the server and the file of its key, which may be the same. `name` says, for an
    option of the doors, what a user sets instead of it.
    """

    authorities: str | None = None
    named: str = ""
    client: tuple[str, str] | None = None
    name: Callable[[str], str] = variable

    def why(self, error: ssl.SSLError) -> tuple[str, str]:
        """What a failure means, and what to do."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._untrusted(error)
        if error.reason in _UNWANTED:
            if self.client is None:
                return "the server wants a client certificate", f"Set {self.name(CERT)} and {self.name(KEY)}."
            said = (
                f"the server does not accept the client certificate in {self.client[0]}, which {self.name(CERT)} names"
            )
            return f"{said} ({error.reason})", "Check its issuer and whether it has expired."
        said = str(error.strerror or error.reason or error).rstrip(".")
        return said, f"Is it http?{self.perhaps(error)}"

    def perhaps(self, error: BaseException) -> str:
        """A sentence with a blank before it, where a server has hung up: some do so over the client's certificate."""
        if not isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
            return ""
        cure = f"set {self.name(CERT)}" if self.client is None else f"check the one in {self.client[0]}"
        return f" If it wants a client certificate, {cure}."

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
        said = str(error.verify_message or error.strerror).rstrip(".")
        if error.verify_code in _OTHER_NAME:
            return (
                f"its certificate is for another name ({said})",
                f"Use a name of the certificate as {self.name(ENDPOINT)}.",
            )
        if error.verify_code == _EXPIRED:
            return f"its certificate is not valid now ({said})", "Renew it, or check this machine's clock."
        others = "set REQUESTS_CA_BUNDLE"
        if self.authorities is not None:
            others = f"add it to {self.authorities}, which {self.named} names"
        cure = f"Set {self.name(CA)} to the file with the certificate of its CA, or {others}."
        if self.named == self.name(CA):
            cure = f"Add the certificate of its CA to {self.authorities}, which {self.named} names."
        return f"its certificate is not trusted ({said})", cure


def certificates(doors: Doors, environment: Mapping[str, str], name: Callable[[str], str] = variable) -> Certificates:
    """The certificates for an OpenCost: those of its doors, else of the environment.

    `name` says, for an option of the doors, what a user sets instead of it. Raises UsageError for a file that cannot be
    used, by its name and who named it.
    """
    named = {name(CA): doors.ca, **{one: environment.get(one, "").strip() for one in _CA_VARIABLES}}
    who, authorities = next(((one, path) for one, path in named.items() if path), ("", None))
    if authorities is not None:
        _load_authorities(who, authorities)
    if doors.cert is None:
        return Certificates(authorities, who, name=name)
    client = doors.cert, doors.key or doors.cert
    _load_client(*client, name)
    return Certificates(authorities, who, client, name)


def _load_authorities(who: str, path: str) -> None:
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"{who} names {path}, which cannot be used: {why}.") from error


def _load_client(certificate: str, key: str, name: Callable[[str], str]) -> None:
    """Try the client's certificate and key: what OpenSSL refuses later has no file in its message."""
    for who, path in ((CERT, certificate), (KEY, key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise UsageError(f"{name(who)} names {path}, which cannot be used: {error.strerror}.") from error
    prompted = []

    def no_password() -> bytes:
        prompted.append(True)
        return b""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        why = f"it is no certificate in PEM that fits the key in {key}"
        if prompted:
            why = f"the key in {key} is encrypted. Store it without a password, readable to this user alone"
        elif error.reason == "KEY_VALUES_MISMATCH":
            why = f"the key in {key} is of another certificate"
        raise UsageError(f"{name(CERT)} names {certificate}, which cannot be used: {why}.") from error
