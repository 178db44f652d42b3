"""Certificates of a connection to OpenCost: those trusted, the one presented, and the meaning of a failure of TLS."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
class Naming:
    """What a user calls the options of the doors; `embedded` are those whose content stands there, and no path."""

    name: Callable[[str], str] = variable
    embedded: frozenset[str] = frozenset()

    def called(self, option: str) -> str:
        """What sets an option; a variable of the environment is called as it is."""
        return option if option in _CA_VARIABLES else self.name(option)

    def stored(self, option: str, path: str) -> str:
        """Where the content of an option is: in a file, or in the option itself."""
        return self.called(option) if option in self.embedded else path

    def file(self, option: str, path: str) -> str:
        """The same, with the option that names the file."""
        return self.called(option) if option in self.embedded else f"{path}, which {self.called(option)} names"

    def unusable(self, option: str, path: str, why: str) -> UsageError:
        """The error for content that cannot be used."""
        what = self.called(option) if option in self.embedded else f"{self.called(option)} names {path}, which"
        return UsageError(f"{what} cannot be used: {why}.")


@dataclass(frozen=True, slots=True)
class Certificates:
    """`authorities` is a file or folder with those trusted, None for the ones of `requests`; `named` says who set it.

    `client` is the certificate shown to the server and the file of its key, which may be the same. `naming` says what a
    user sets instead of the options of the doors.
    """

    authorities: str | None = None
    named: str = CA
    client: tuple[str, str] | None = None
    naming: Naming = field(default_factory=Naming)

    def why(self, error: ssl.SSLError) -> tuple[str, str]:
        """The meaning of a failure, and the advice."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._untrusted(error)
        if error.reason in _UNWANTED:
            if self.client is None:
                return (
                    "the server wants a client certificate",
                    f"Set {self.naming.name(CERT)} and {self.naming.name(KEY)}.",
                )
            problem = f"the server does not accept the client certificate in {self.naming.file(CERT, self.client[0])}"
            return f"{problem} ({error.reason})", "Check its issuer and whether it has expired."
        problem = str(error.strerror or error.reason or error).rstrip(".")
        return problem, f"Is it http?{self.perhaps(error)}"

    def perhaps(self, error: BaseException) -> str:
        """A sentence with a blank before it, where a server has hung up: some do so over the client's certificate."""
        if not isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
            return ""
        cure = f"set {self.naming.name(CERT)}"
        if self.client is not None:
            cure = f"check the one in {self.naming.stored(CERT, self.client[0])}"
        return f" If it wants a client certificate, {cure}."

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
        problem = str(error.verify_message or error.strerror).rstrip(".")
        if error.verify_code in _OTHER_NAME:
            return (
                f"its certificate is for another name ({problem})",
                f"Use a name of the certificate as {self.naming.name(ENDPOINT)}.",
            )
        if error.verify_code == _EXPIRED:
            return f"its certificate is not valid now ({problem})", "Renew it, or check this machine's clock."
        others, place = "set REQUESTS_CA_BUNDLE", ""
        if self.authorities is not None:
            place = self.naming.file(self.named, self.authorities)
            others = f"add it to {place}"
        cure = f"Set {self.naming.name(CA)} to the file with the certificate of its CA, or {others}."
        if place and self.named == CA:
            cure = f"Add the certificate of its CA to {place}."
        return f"its certificate is not trusted ({problem})", cure


def certificates(doors: Doors, environment: Mapping[str, str], naming: Naming | None = None) -> Certificates:
    """The certificates for an OpenCost: those of its doors, else of the environment.

    `naming` says what a user sets instead of the options of the doors. Raises UsageError for what cannot be used, by
    its name and who named it.
    """
    naming = naming or Naming()
    named = {CA: doors.ca, **{one: environment.get(one, "").strip() for one in _CA_VARIABLES}}
    who, authorities = next(((one, path) for one, path in named.items() if path), (CA, None))
    if authorities is not None:
        _load_authorities(who, authorities, naming)
    if doors.cert is None:
        return Certificates(authorities, who, naming=naming)
    client = doors.cert, doors.key or doors.cert
    _load_client(*client, naming)
    return Certificates(authorities, who, client, naming)


def _load_authorities(who: str, path: str, naming: Naming) -> None:
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise naming.unusable(who, path, str(why)) from error


def _load_client(certificate: str, key: str, naming: Naming) -> None:
    """Try the client's certificate and key: what OpenSSL refuses later has no file in its message."""
    for who, path in ((CERT, certificate), (KEY, key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise naming.unusable(who, path, str(error.strerror)) from error
    prompted = []

    def no_password() -> bytes:
        prompted.append(True)
        return b""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        where = naming.stored(KEY, key)
        why = f"it is no certificate in PEM that fits the key in {where}"
        if prompted:
            why = f"the key in {where} is encrypted. Store it without a password, readable to this user alone"
        elif error.reason == "KEY_VALUES_MISMATCH":
            why = f"the key in {where} is of another certificate"
        raise naming.unusable(CERT, certificate, why) from error
