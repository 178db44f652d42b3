"""The SDK's errors as ours: a reason code, one sentence with the cause, and what to do about it."""

from __future__ import annotations

import inspect
import socket
from dataclasses import replace
from types import ModuleType

import azure.kusto.data.exceptions as sdk
import azure.kusto.ingest.exceptions
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.sdk_errors import TRANSLATIONS, Exchange, translate
from opencost_kusto.kusto.signin import ADVICE

URI = "https://shop.westeurope.kusto.windows.net"
QUERY = Exchange(URI, "the query T …", "Costs", "T | count", "opencost-kusto;1")
UPLOAD = Exchange(URI, "the upload of x", storage="Kusto's storage")

SIGNED = "https://x.blob.core.windows.net/c/b.gz?sv=2024-11-04&sp=rw&sig=abcdefSECRET%3D"
# Raised for wrong use of the SDK from Python, which no service can cause.
PROGRAMMING = {"KustoAioSyntaxError", "KustoAsyncUsageError"}


def exceptions() -> list[type[Exception]]:
    """Every exception class the SDK has."""
    modules: tuple[ModuleType, ...] = (sdk, azure.kusto.ingest.exceptions)
    members = (member for module in modules for _, member in inspect.getmembers(module, inspect.isclass))
    found = {member for member in members if issubclass(member, Exception) and member.__module__.startswith("azure.")}
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_every_exception_of_the_sdk_is_translated(kind: type[Exception]) -> None:
    """A class of the SDK, or a base of it below Exception, has a line in the table."""
    names = {cls.__name__ for cls in kind.__mro__}
    assert names & set(TRANSLATIONS) or kind.__name__ in PROGRAMMING


def test_the_table_names_nothing_that_does_not_exist() -> None:
    """A class that the SDK renamed would leave a line that never matches."""
    azure = {"ClientAuthenticationError", "CredentialUnavailableError", "AzureError"}
    assert set(TRANSLATIONS) - azure <= {kind.__name__ for kind in exceptions()}


@pytest.mark.parametrize(
    "error",
    [
        sdk.KustoBlobError(HttpResponseError(f"PUT {SIGNED} refused")),
        sdk.KustoServiceError(f"failed at {SIGNED}"),
        sdk.KustoClientError(f"failed at {SIGNED}"),
        ServiceRequestError(f"no route to {SIGNED}"),
        HttpResponseError(f"{SIGNED} said 403"),
        ValueError(f"odd: {SIGNED}"),
        ClientAuthenticationError("client_secret=abcdefSECRET was wrong"),
        CredentialUnavailableError("Authorization: Bearer abcdefSECRET.abc"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_secrets_are_never_printed(error: Exception) -> None:
    """Signatures and tokens are taken out of whatever the SDK says."""
    for exchange in (QUERY, UPLOAD):
        message = str(translate(error, exchange))
        assert "SECRET" not in message
        assert message.endswith((".", ")"))


def response(status: int, activity: str = "") -> requests.Response:
    """An HTTP response as the SDK puts it into its errors."""
    made = requests.Response()
    made.status_code = status
    made.headers["x-ms-activity-id"] = activity
    return made


def api_error(status: int, message: str, *, permanent: bool = True, activity: str = "") -> KustoError:
    """What Kusto's REST interface says of a failure, translated.

    https://learn.microsoft.com/kusto/api/rest/response-http
    """
    printed = {"code": "X", "message": "short", "@type": "T", "@message": message, "@permanent": permanent}
    return translate(sdk.KustoApiError({"error": printed}, http_response=response(status, activity=activity)), QUERY)


@pytest.mark.parametrize("permanent", [True, False])
def test_an_error_of_the_service_is_permanent_or_not(permanent: bool) -> None:
    """Kusto's own `@permanent` decides, and its own sentence is quoted."""
    error = api_error(400, "Operator not known. More.", permanent=permanent)
    assert str(error) == f"Kusto at {URI} refused the query T …: Operator not known. (request opencost-kusto;1)"
    assert (error.transient, error.code, error.exit_code) == (not permanent, ReasonCode.REFUSED, 5)


def test_a_refusal_prints_the_ids_for_support() -> None:
    """ActivityId, from the response's header, and our own request id are in the sentence."""
    printed = str(api_error(400, "No.", activity="0f8f-1"))
    assert printed.endswith("(ActivityId 0f8f-1, request opencost-kusto;1)")


def test_the_activity_of_an_error_inside_a_response_is_printed() -> None:
    """An error in the middle of a response has its ActivityId in its context."""
    printed = {"code": "X", "message": "m", "@message": "No.", "@permanent": True, "@context": {"activityId": "0f8f-2"}}
    error = translate(sdk.KustoMultiApiError([{"OneApiErrors": [{"error": printed}]}]), QUERY)
    assert "ActivityId 0f8f-2" in str(error)


@pytest.mark.parametrize(("permanents", "transient"), [([True], False), ([False], True), ([True, False], True)])
def test_a_transient_error_inside_a_response_is_retried(permanents: list[bool], transient: bool) -> None:
    """A query fails in the middle with HTTP 200; `@permanent: false` of any error makes it worth another attempt.

    The shape is that of azure-kusto-python's recorded `query_partial_results_defer_is_false.json`.
    """
    printed = [
        {"error": {"code": "LimitsExceeded", "message": "m", "@message": "Low.", "@permanent": each}}
        for each in permanents
    ]
    assert translate(sdk.KustoMultiApiError([{"OneApiErrors": printed}]), QUERY).transient is transient


def test_a_forbidden_query_names_the_command_that_mends_it() -> None:
    """Kusto names the principal; the sentence has the right that is missing and the line that grants it."""
    error = api_error(403, "Principal 'aadapp=1;2' is not authorized to read database 'Costs'.")
    assert (error.code, error.transient) == (ReasonCode.FORBIDDEN, False)
    assert (
        "It needs Database Viewer; an administrator of the database runs: "
        ".add database ['Costs'] viewers ('aadapp=1;2')" in str(error)
    )


def test_a_forbidden_command_without_a_principal_has_a_placeholder() -> None:
    """Where Kusto names no principal, the line has a placeholder for the identity."""
    printed = {"code": "Forbidden", "message": "m", "@message": "Not authorized.", "@permanent": True}
    exchange = Exchange(URI, "the command …", "Costs", ".create-or-alter function F() { 1 }")
    error = translate(sdk.KustoApiError({"error": printed}, http_response=response(403)), exchange)
    assert ".add database ['Costs'] admins ('aadapp=<client id>;<tenant id>')" in str(error)


def test_a_refused_token_is_final() -> None:
    """401 means the token: another attempt with it does not help."""
    exchange = replace(QUERY, advice=ADVICE["cli"])
    error = translate(sdk.KustoServiceError("401. Missing adequate access rights.", response(401)), exchange)
    assert (error.code, error.transient) == (ReasonCode.UNAUTHORIZED, False)
    assert "AZURE_TENANT_ID" in str(error)
    assert "Install" not in str(error)


def test_throttling_is_transient() -> None:
    """429 is worth another attempt."""
    error = translate(sdk.KustoThrottlingError("The request was throttled by the server.", response(429)), QUERY)
    assert (error.code, error.transient) == (ReasonCode.THROTTLED, True)


@pytest.mark.parametrize(
    "printed",
    [
        "Semantic error: 'where' operator: Failed to resolve table or column expression named 'OpenCostAllocation'.",
        "Semantic error: SEM0260: Unknown function: 'OpenCostByNamespace'.",
        "Entity ID 'OpenCostAssets' of kind 'Table' was not found.",
    ],
)
def test_a_missing_table_of_ours_points_to_bootstrap(printed: str) -> None:
    """A missing table or function of the schema has its own reason code, and the message names the command."""
    error = api_error(400, printed)
    assert (error.code, error.transient) == (ReasonCode.NOT_BOOTSTRAPPED, False)
    assert "Run opencost-kusto bootstrap, which creates it." in str(error)


@pytest.mark.parametrize(
    "printed",
    [
        "Entity ID '[DB OpenCostProd v?.?]' of kind 'Database' was not found.",
        "Entity ID 'OpenCostProd' of kind 'Database' was not found.",
        "Entity name 'OpenCostProd' of kind 'Database' does not exist.",
        "Entity not found: Database 'OpenCostProd' could not be found.",
    ],
)
def test_a_missing_database_is_not_one_that_bootstrap_creates(printed: str) -> None:
    """A database whose name begins as our tables do is one that the user misspelled."""
    error = api_error(400, printed)
    assert (error.code, error.transient, error.cure) == (ReasonCode.NOT_FOUND, False, ".show databases")
    assert "bootstrap" not in str(error)


def test_a_404_names_address_and_database() -> None:
    """The SDK replaces what Kusto says in a 404, which may be about the database, by a sentence of its own."""
    error = translate(sdk.KustoServiceError("The requested endpoint 'x' does not exist.", response(404)), QUERY)
    assert error.code is ReasonCode.NOT_FOUND
    assert "Check address and database" in str(error)


@pytest.mark.parametrize("status", [200, 302])
def test_a_response_that_is_not_kustos_is_named_as_such(status: int) -> None:
    """A login page or a redirect of something on the way is quoted, and named as what it is."""
    error = translate(sdk.KustoServiceError("<html>Log in</html>", response(status)), QUERY)
    assert "This is no response of Kusto: check the address" in str(error)


def test_a_missing_table_of_somebody_else_does_not() -> None:
    """A name that is not ours is no reason to bootstrap."""
    assert api_error(400, "Failed to resolve table or column expression named 'Costs'").code is ReasonCode.REFUSED


@pytest.mark.parametrize("error", [HttpResponseError("busy"), sdk.KustoBlobError(HttpResponseError("busy"))])
def test_a_refused_upload_has_its_reason(error: Exception) -> None:
    """The message of the storage account is what the reader needs."""
    assert str(translate(error, UPLOAD)) == "Kusto's storage refused the upload of x: busy."


def test_a_refusal_of_storage_is_not_about_who_signed_in() -> None:
    """Azure's client calls a 403 of storage an authentication error; it is about the signed address."""
    refused = ClientAuthenticationError("This request is not authorized.")
    refused.status_code = 403
    error = translate(refused, UPLOAD)
    assert (error.code, error.transient) == (ReasonCode.REFUSED, True)
    assert str(error).startswith("Kusto's storage refused the upload of x: This request is not authorized.")


def test_a_failed_sign_in_is_one_sentence_with_its_fix() -> None:
    """The credential's message is taken out of the SDK's wrapper, without its representation."""
    inner = CredentialUnavailableError("Azure CLI not found on path")
    wrapped = sdk.KustoAuthenticationError("AzureIdentityTokenProvider", inner, credential=object())
    error = translate(wrapped, Exchange(URI, "the query print …", "Costs", "print 1", advice=ADVICE["cli"]))
    assert str(error) == (
        f"Signing in to {URI} failed: Azure CLI not found on path. "
        "Install Azure CLI and run az login, or choose another --auth."
    )
    assert (error.code, error.transient) == (ReasonCode.UNAUTHORIZED, False)


def test_a_sign_in_service_that_is_not_reached_is_no_matter_of_secrets() -> None:
    """An outage of DNS on the way to the authority may pass, and a schedule continues after it."""
    inner = ClientAuthenticationError("Authentication failed: HTTPSConnection(…)")
    inner.__cause__ = ServiceRequestError("Failed to resolve", error=socket.gaierror(-2, "unknown"))
    wrapped = sdk.KustoAuthenticationError("AzureIdentityTokenProvider", inner, credential=object())
    error = translate(wrapped, replace(QUERY, advice=ADVICE["client-secret"]))
    assert str(error) == (
        f"Signing in to {URI} failed: the sign-in service cannot be reached: the name of the host does not resolve "
        "(DNS). Check DNS, firewall and proxy for its address, such as login.microsoftonline.com."
    )
    assert (error.code, error.transient) == (ReasonCode.UNREACHABLE, True)


def test_unreachable_storage_points_to_the_firewall() -> None:
    """The cluster chose the address, so the user cannot correct it."""
    refused = ServiceRequestError("Failed to connect", error=ConnectionRefusedError(111, "Connection refused"))
    error = translate(refused, replace(UPLOAD, storage="Storage x.blob.core.windows.net"))
    assert str(error).endswith(
        "cannot be reached: connection refused. The cluster chooses this address: allow it in firewall, proxy and DNS."
    )
    assert error.cure.startswith("The cluster chooses this address")


def test_a_credential_that_is_not_set_up_is_no_network_error() -> None:
    """A managed identity tries an address that only machines of Azure have."""
    inner = CredentialUnavailableError("ManagedIdentityCredential authentication unavailable.")
    inner.__cause__ = ServiceRequestError("timed out", error=socket.gaierror(-2, "unknown"))
    wrapped = sdk.KustoAuthenticationError("AzureIdentityTokenProvider", inner, credential=object())
    error = translate(wrapped, replace(QUERY, advice=ADVICE["managed-identity"]))
    assert (error.code, error.transient, error.cure) == (
        ReasonCode.UNAUTHORIZED,
        False,
        ADVICE["managed-identity"],
    )


def test_a_token_file_that_is_missing_is_named() -> None:
    """The pod does not have the label with which the webhook mounts it."""
    inner = FileNotFoundError(2, "No such file or directory", "/var/run/token")
    wrapped = sdk.KustoAuthenticationError("AzureIdentityTokenProvider", inner, credential=object())
    error = translate(wrapped, replace(QUERY, advice=ADVICE["workload-identity"]))
    assert "No such file or directory: /var/run/token. Check the label azure.workload.identity/use" in str(error)


def test_an_address_the_sdk_does_not_trust_names_the_option() -> None:
    """A host of one's own gets a token only when the user names it."""
    assert "--trusted-host" in str(translate(sdk.KustoClientInvalidConnectionStringException("untrusted"), QUERY))
