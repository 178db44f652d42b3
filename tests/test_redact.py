"""Secrets never reach a message, and what is no secret remains readable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.redact import first_sentence, redacted

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL2t1c3RvIn0.c2VjcmV0LXNpZ25hdHVyZQ"
SAS = "https://acct.blob.core.windows.net/temp?sv=2022-11-02&se=2026-11-25T00%3A00Z&sr=c&sp=w&sig=aB3%2Bs3cr3t%3D"


@pytest.mark.parametrize(
    ("text", "secret", "kept"),
    [
        (SAS, "aB3%2Bs3cr3t%3D", "https://acct.blob.core.windows.net/temp?<signature>"),
        (f"PUT '{SAS}' failed (403)", "sp=w", "failed (403)"),
        (f'{{"uri":"{SAS}","x":1}}', "se=2026", '","x":1}'),
        ("?SIG=AbCdEf&sv=1 end", "AbCdEf", " end"),
        ("body sig=AbCdEf, more", "AbCdEf", "more"),
        ("client_secret=hush&grant_type=x", "hush", "client_secret=<secret>&grant_type=x"),
        ("password=hunter2 refused", "hunter2", "refused"),
        ("access_token=abc.def", "abc.def", "access_token=<secret>"),
        (f"Authorization: Bearer {TOKEN}", TOKEN, "Authorization: Bearer <secret>"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNz", "Basic <secret>"),
        (f"token {TOKEN} expired", "c2VjcmV0", "token <token> expired"),
        ("AccountName=a;AccountKey=Eby8vdM02xNOcq==;Endpoint=b", "Eby8vdM02xNOcq", "AccountName=a;"),
        ("SharedAccessSignature=sv%3D1%26x", "sv%3D1", "SharedAccessSignature=<secret>"),
        ("http://h/?token=hush&window=1h", "hush", "http://h/?token=<secret>&window=1h"),
        ("http://h/?x-api-key=hush&a=b", "hush", "api-key=<secret>&a=b"),
        ("--metadata db_password=hush", "hush", "db_password=<secret>"),
        ("https://c.kusto.windows.net;Fed=True;AppKey=hush;x", "hush", "AppKey=<secret>;x"),
        ("Application Key=hush;x", "hush", "Application Key=<secret>;x"),
        ("http://user:pa55@opencost:9003/allocation", "pa55", "http://<credentials>@opencost:9003/allocation"),
        ("http://user@opencost:9003", "user", "opencost:9003"),
        ("http://user:p@ssw0rd@host:9003/a", "ssw0rd", "http://<credentials>@host:9003/a"),
        ("http://user:p'ssw\"0rd@host", "0rd", "http://<credentials>@host"),
        ('{"password":"hunter3","a":1}', "hunter3", '"a":1}'),
        ('{"clientSecret": "hun\\"ter3", "a": 1}', "ter3", ', "a": 1}'),
        ('{"api-key":12345}', "12345", "}"),
        ("{'access_token': 'hunter3'}", "hunter3", "}"),
        ('message: {\\"password\\":\\"hunter3\\"} end', "hunter3", "end"),
        ('{"db.password":"hunter3', "hunter3", "db.password"),
    ],
)
def test_secrets_are_taken_out(text: str, secret: str, kept: str) -> None:
    """Signatures, tokens, keys and passwords are removed, the rest of the message is kept."""
    assert secret in text
    assert secret not in redacted(text)
    assert kept in redacted(text)
    assert redacted(redacted(text)) == redacted(text)
    # An error is text as well.
    assert secret not in redacted(ValueError(text))


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:9003/allocation?window=2026-11-23T10:00:00Z,2026-11-23T11:00:00Z&aggregate=label:app",
        "OpenCostAllocation/prod/20261123T1000Z-20261123T1100Z/7c6d98098920 holds 61 rows.",
        "Basic auth is not supported; a bearer is needed.",
        "mail ops@example.com or see https://example.com/@team",
        "design=new signal=old",
        '{"tokens":3,"keyboard":"x","password":',
        "--metadata 'team' is not key=value, and a monkey=banana is none.",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    """Addresses of OpenCost, names of batches and plain words are not changed."""
    assert redacted(text) == text


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.text(st.characters(codec="ascii", exclude_characters="?&= \n\r\t\"'<>"), max_size=10),
    st.text("abcdefABCDEF0123456789%+/", min_size=12, max_size=60),
    st.sampled_from(["", " ", "' failed", '"}', "&sv=1", ">"]),
)
def test_a_signature_is_removed_anywhere(before: str, secret: str, after: str) -> None:
    """A signed query string is removed whatever surrounds it."""
    assert secret not in redacted(f"https://h/{before}?sp=w&sig={secret}{after}")


def test_first_sentence() -> None:
    """A long message is quoted by its first sentence, on one line, without secrets, of bounded length."""
    assert first_sentence("It broke.\n  at x.go:12") == "It broke."
    assert first_sentence("a  b\n c") == "a b c"
    assert first_sentence("version 1.2 is odd. Really") == "version 1.2 is odd."
    assert first_sentence("error occurred: 0) Errors: x", 300) == "error occurred"
    assert first_sentence("Error: illegal window: [nil, nil)") == "illegal window: [nil, nil)"
    assert first_sentence("  failed:\n  * at 10.0.0.1:9090\n") == "failed: * at 10.0.0.1:9090"
    assert first_sentence("a\x1b[2Jb\u202ec") == "a\\u001b[2Jb\\u202ec"
    assert first_sentence("Bearer abcdefghijkl. More") == "Bearer <secret> More"
    long = first_sentence("x" * 1000)
    assert len(long) == 200
    assert long.endswith("…")
    assert first_sentence("x" * 20, limit=20) == "x" * 20
    assert first_sentence("") == ""
