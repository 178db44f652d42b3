"""Addresses are read into parts, shown without credentials, and reached through the environment's proxy."""

from __future__ import annotations

import pytest

from opencost_kusto.address import parse, proxy_for
from opencost_kusto.errors import UsageError


@pytest.mark.parametrize(
    ("text", "shown", "credentials"),
    [
        ("http://localhost:9003", "http://localhost:9003", None),
        (" https://Host/model/ ", "https://host/model", None),
        ("http://[::1]:9003/", "http://[::1]:9003", None),
        ("http://user:p@ssw0rd@host:9003", "http://host:9003", ("user", "p@ssw0rd")),
        ("http://user:pa ssw@host", "http://host", ("user", "pa ssw")),
        ("http://user:p'ssw\"@host", "http://host", ("user", "p'ssw\"")),
        ("http://us%40er:p%2Fss@host", "http://host", ("us@er", "p/ss")),
        ("http://user@host", "http://host", ("user", "")),
    ],
)
def test_an_address_is_shown_by_its_parts(text: str, shown: str, credentials: tuple[str, str] | None) -> None:
    """Whatever a password holds, what is shown of an address is scheme, host, port and path."""
    address = parse(text)
    assert str(address) == shown
    assert address.credentials == credentials


@pytest.mark.parametrize(
    "text",
    [
        "http://user:HUSH/ss@host",
        "http://user:pa#HUSH@host",
        "http://user:pa?HUSH@host",
        "user:HUSH@host:9003",
        "https//user:HUSH@host",
        "http://user:HUSH@host:99999",
        "http://user:HUSH@",
        "http://user:HUSH\n@host",
    ],
)
def test_a_refused_address_is_not_repeated_where_it_may_hold_a_password(text: str) -> None:
    """An address with an @ that is none is refused without a word of it."""
    with pytest.raises(UsageError, match="is not the address of an OpenCost") as refused:
        parse(text)
    assert "HUSH" not in str(refused.value)
    assert "user" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("LOCALHOST", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f.1", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("0.0.0.0", True),
        ("opencost.opencost.svc", True),
        ("opencost.opencost.svc.cluster.local", True),
        ("opencost.opencost.svc.cluster.local.", True),
        ("opencost.example.com", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("localhost.example.com", False),
        ("svc", False),
        ("xsvc", False),
    ],
)
def test_no_proxy_leads_to_this_machine_or_this_cluster(host: str, local: bool) -> None:
    """Loopback in every spelling and names that only a cluster resolves are reached directly; all others are not."""
    environment = {"http_proxy": "http://proxy:3128"}
    assert (proxy_for(parse(f"http://{host}:9003"), environment) is None) == local


@pytest.mark.parametrize(
    ("endpoint", "environment", "variable"),
    [
        ("http://h", {"HTTP_PROXY": "http://p:1"}, "HTTP_PROXY"),
        ("http://h", {"http_proxy": "p:1", "HTTP_PROXY": "q:1"}, "http_proxy"),
        ("https://h", {"HTTP_PROXY": "p:1", "HTTPS_PROXY": "q:1"}, "HTTPS_PROXY"),
        ("https://h", {"HTTP_PROXY": "p:1"}, None),
        ("https://h", {"ALL_PROXY": "p:1"}, "ALL_PROXY"),
        ("http://h", {"HTTP_PROXY": " ", "ALL_PROXY": "p:1"}, "ALL_PROXY"),
        ("http://h", {}, None),
    ],
)
def test_a_proxy_is_the_one_the_environment_names(endpoint: str, environment: dict[str, str], variable: str) -> None:
    """The scheme's own variable precedes the one for all schemes, in lower case first."""
    proxy = proxy_for(parse(endpoint), environment)
    assert (proxy and proxy.variable) == variable


@pytest.mark.parametrize(
    ("no_proxy", "bypassed"),
    [
        ("cost.example.com", True),
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("*", True),
        ("other.com, EXAMPLE.COM", True),
        ("example.com:9003", True),
        ("example.com:9004", False),
        ("ample.com", False),
        ("cost.example.com.org", False),
        (",", False),
    ],
)
def test_no_proxy_lists_names(no_proxy: str, bypassed: bool) -> None:
    """NO_PROXY lists hosts and the domains they are in, with or without a port."""
    environment = {"HTTP_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert (proxy_for(parse("http://cost.example.com:9003"), environment) is None) == bypassed


@pytest.mark.parametrize(
    ("no_proxy", "bypassed"), [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.2.0.0/16", False), ("fd00::/8", False)]
)
def test_no_proxy_lists_networks(no_proxy: str, bypassed: bool) -> None:
    """NO_PROXY lists addresses and networks too."""
    environment = {"HTTP_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert (proxy_for(parse("http://10.1.2.3:9003"), environment) is None) == bypassed


def test_a_proxy_is_shown_without_its_password() -> None:
    """A message names the proxy and its variable, never its credentials."""
    proxy = proxy_for(parse("http://h"), {"HTTP_PROXY": "http://user:HU@SH@proxy:3128"})
    assert proxy is not None
    assert str(proxy) == "the proxy http://proxy:3128 that HTTP_PROXY names"
    assert proxy.url == "http://user:HU@SH@proxy:3128"


@pytest.mark.parametrize("text", ["http://user:HUSH@", "ftp://user:HUSH@p", "http://p:99999"])
def test_a_proxy_that_is_none_is_refused(text: str) -> None:
    """What cannot be a proxy is refused by its variable, and not repeated."""
    with pytest.raises(UsageError, match="HTTP_PROXY") as refused:
        proxy_for(parse("http://h"), {"HTTP_PROXY": text})
    assert "HUSH" not in str(refused.value)
