"""opencost-kusto.toml on the command line: precedence, selection of clusters, and what `config` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import certifi
import pytest
import typer.main
import yaml

from opencost_kusto import Kusto, bootstrap
from opencost_kusto.cli import app
from opencost_kusto.cli.config import proposed
from opencost_kusto.cli.configuration import Configured, keys
from opencost_kusto.cli.source_options import SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.usage import refusal
from opencost_kusto.config import CLUSTERS, DEFAULTS, KUSTO, Config, read
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.errors import NotLandedError, UsageError
from opencost_kusto.extract.kubernetes.address import parse
from opencost_kusto.extract.kubernetes.kubeconfig import contexts
from opencost_kusto.shard import Shard
from tests.support.documents import GUIDES, ROOT
from tests.support.recorded import OpenCostEmulator

HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
Run = Callable[..., tuple[int, str]]


def configuration(path: Path | str) -> Config:
    """A file, as the commands read it."""
    return read(str(path), keys(typer.main.get_command(app)))


def with_defaults(path: Path, text: str) -> tuple[Config, dict[str, Any]]:
    """A file with a text, and its [defaults] as the options that they set."""
    path.write_text(text)
    file = configuration(path)
    return file, {name: one.value for name, one in file.defaults.items()}


@pytest.fixture(scope="module")
def opencost() -> Iterator[OpenCostEmulator]:
    """The OpenCost of every cluster."""
    with OpenCostEmulator() as server:
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: the exit code and what is on stdout."""

    def run(*arguments: str) -> tuple[int, str]:
        code = app(list(arguments), standalone_mode=False, obj=Process()) or 0
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def file(opencost: OpenCostEmulator, tmp_path: Path) -> str:
    """A file with two clusters and a retired one."""
    path = tmp_path / "opencost-kusto.toml"
    path.write_text(
        f"""
[kusto]
kusto_uri = "https://c.region.kusto.windows.net"
database = "OpenCost"

[defaults]
timeout = 60
aggregate = "namespace"
metadata = {{ team = "finops", stage = "any", api_key = "HUSH" }}

[[clusters]]
name = "prod"
endpoint = "{opencost.url.replace("://", "://user:HUSH@")}"
currency = "eur"
aggregate = "container"
metadata = {{ stage = "prod", api_key = "HUSH", note = "a=b" }}

[[clusters]]
name = "test"
endpoint = "{opencost.url}"
opencost_header = "X-Tenant=@{tmp_path}/tenant"

[[clusters]]
name = "old"
endpoint = "http://127.0.0.1:9"
retired = true
"""
    )
    (tmp_path / "tenant").write_text("HUSH")
    return str(path)


def settings(out: str) -> dict[str, tuple[Any, str]]:
    """The settings of a JSON document, and where each is from."""
    return {name: (one["value"], one["from"]) for name, one in json.loads(out)["settings"].items()}


def rows(run: Run, file: str, cluster: str, *more: str) -> list[dict[str, Any]]:
    """The allocations of a dry run."""
    arguments = ("--window", HOUR, "--dataset", "allocation", "--output", "-")
    code, out = run("sync", "--config", file, "--cluster", cluster, *arguments, *more)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_each_value_has_its_precedence(run: Run, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, environment, file, default: value by value, and `config` prints which it was."""
    monkeypatch.setenv("OPENCOST_KUSTO_CONFIG", file)
    monkeypatch.setenv("OPENCOST_KUSTO_TIMEOUT", "70")
    monkeypatch.setenv("OPENCOST_KUSTO_DATABASE", "Environment")
    code, out = run("config", "--database", "Line", "-o", "json")
    assert code == 0
    found = settings(out)
    assert found["database"] == ("Line", "command line")
    assert found["timeout"] == (70.0, "environment OPENCOST_KUSTO_TIMEOUT")
    assert found["kusto_uri"] == ("https://c.region.kusto.windows.net", f"{file}, line 3")
    assert found["metadata"] == (["team=finops", "stage=any", "api_key=<secret>"], f"{file}, line 9")
    assert found["every"] == ("1h", "default")


def test_config_shows_no_secret(run: Run, file: str) -> None:
    """Addresses without credentials, names of files; what a cluster's own value does not count for is marked."""
    _, out = run("config", "--config", file, "--aggregate", "pod", "-o", "json")
    assert "HUSH" not in out
    found = {(one["cluster"], one["setting"]): (one["value"], one["from"]) for one in json.loads(out)["clusters"]}
    assert found["prod", "currency"] == ("eur", f"{file}, line 14")
    assert found["prod", "aggregate"] == ("container", "not used: set for all")
    assert found["old", "retired"][0] is True
    assert found["prod", "metadata"][0] == {"stage": "prod", "api_key": "<secret>", "note": "a=b"}
    _, table = run("config", "--config", file)
    assert "HUSH" not in table
    assert "X-Tenant=@" in table


def test_config_prints_the_named_clusters_alone(run: Run, file: str) -> None:
    """--cluster selects as it does for a command that requests them, and refuses what is not there."""
    for names in (["test"], ["prod", "test"]):
        _, out = run("config", "--config", file, "-o", "json", *(f"--cluster={name}" for name in names))
        assert {one["cluster"] for one in json.loads(out)["clusters"]} == set(names)
    with pytest.raises(UsageError, match="There is no cluster 'nope'; there are old, prod, test"):
        run("config", "--config", file, "--cluster", "nope")


def test_a_cluster_has_its_own_settings(run: Run, file: str, opencost: OpenCostEmulator) -> None:
    """A cluster's aggregate, metadata and sign-in override the defaults, and the command line overrides them."""
    prod = rows(run, file, "prod")
    assert {(one["Source"], one["Aggregate"]) for one in prod} == {("prod", "container")}
    assert prod[0]["Metadata"]["stage"] == "prod"
    assert prod[0]["Metadata"]["team"] == "finops"
    assert "x-tenant" not in opencost.requests[-1].headers
    test = rows(run, file, "test")
    assert {(one["Source"], one["Aggregate"]) for one in test} == {("test", "namespace")}
    assert opencost.requests[-1].headers["x-tenant"] == "HUSH"
    line = rows(run, file, "prod", "--aggregate", "namespace", "--metadata", "a=b")
    assert {one["Aggregate"] for one in line} == {"namespace"}
    assert (line[0]["Metadata"]["a"], "stage" in line[0]["Metadata"]) == ("b", False)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ('{ " team\\r" = "shop\\r\\n" }', None),
        ('{ "$(KEY)" = "x" }', "is a variable"),
        ('{ a = "1", "a " = "2" }', "twice"),
    ],
)
def test_metadata_of_a_cluster_is_that_of_an_option(tmp_path: Path, metadata: str, message: str | None) -> None:
    """Keys in the file are names as those of --metadata are, and a mistake has its place."""
    path = tmp_path / "c.toml"
    path.write_text(f'[[clusters]]\nname = "a"\nendpoint = "http://h:1"\nmetadata = {metadata}\n')
    sources = SourceOptions(configured=Configured(configuration(path)))
    if message is None:
        with sources.opencosts() as [one]:
            assert one.settings.metadata == {"team": "shop"}
        return
    with pytest.raises(UsageError, match=f"c.toml, line 4: .*{message}"):
        sources.opencosts().__enter__()


def test_the_currency_of_a_cluster_is_that_of_its_source(file: str, opencost: OpenCostEmulator) -> None:
    """What the file says of one cluster, what the command line says of all."""
    configured = Configured(configuration(file))
    with SourceOptions(configured=configured, currency="usd").opencosts() as found:
        assert [(one.cluster, one.source().currency) for one in found] == [("prod", "EUR"), ("test", "USD")]
    stronger = Configured(configured.file, frozenset({"currency"}))
    with SourceOptions(configured=stronger, currency="usd", endpoint=opencost.url).opencosts() as found:
        assert [one.source().currency for one in found] == ["USD"]


def test_a_cluster_has_the_retention_of_its_store(tmp_path: Path) -> None:
    """What the file sets for one cluster overrides what the option sets for all."""
    path, hour = tmp_path / "c.toml", timedelta(hours=1)
    clusters = ('name = "a"\nendpoint = "http://a"\nopencost_retention = "1h=168"', 'name = "b"\nendpoint = "http://b"')
    path.write_text("".join(f"[[clusters]]\n{one}\n" for one in clusters))
    configured = Configured(configuration(path))
    for text, kept in ((None, [168, None]), ("1h=72", [168, 72])):
        with SourceOptions(configured=configured, opencost_retention=text).opencosts() as found:
            assert [(one.settings.kept or {}).get(hour) for one in found] == kept


def test_a_cluster_has_its_own_doors_and_time(tmp_path: Path, opencost: OpenCostEmulator) -> None:
    """What the file says of one cluster comes before what it says of all, and after the command line."""
    path = tmp_path / "c.toml"
    for name in ("all", "own"):
        (tmp_path / name).write_text(name)
    own = f"request_timeout = 7\nopencost_header = 'X-A=@{tmp_path}/own'\n"
    clusters = "".join(f"[[clusters]]\nname = '{name}'\nendpoint = '{opencost.url}'\n" for name in "ba")
    path.write_text(clusters + own)
    file = configuration(path)
    of_all: dict[str, Any] = {"request_timeout": 5.0, "opencost_header": [f"X-A=@{tmp_path}/all"]}
    for stronger, expected in (
        (frozenset[str](), {"a": (7.0, "own"), "b": (5.0, "all")}),
        (frozenset({"request_timeout"}), {"a": (5.0, "own"), "b": (5.0, "all")}),
    ):
        with SourceOptions(configured=Configured(file, stronger), **of_all).opencosts() as found:
            sent = {}
            for one in found:
                one.capabilities()
                sent[one.cluster] = one.timeout, opencost.requests[-1].headers["x-a"]
        assert sent == expected


@pytest.mark.parametrize(
    "cluster",
    [
        "endpoint = 'https://h'\nopencost_scope = 'api://a/.default'",
        "endpoint = 'in-cluster://opencost/opencost:9003'",
        "endpoint = 'HTTP://127.0.0.1:1'\nopencost_header = 'X-A=@a'",
    ],
)
def test_doors_of_all_are_for_clusters_that_have_a_use(tmp_path: Path, cluster: str) -> None:
    """A door of [defaults] keeps no cluster from another way in; on the command line it is refused."""
    doors = f"opencost_token_file = 't'\nopencost_ca = '{certifi.where()}'\n"
    text = f"[defaults]\n{doors}[[clusters]]\nname = 'a'\n{cluster}\n"
    file, of_all = with_defaults(tmp_path / "c.toml", text)
    with SourceOptions(configured=Configured(file), **of_all).opencosts() as [one]:
        assert one.cluster == "a"
    stronger = SourceOptions(configured=Configured(file, frozenset(of_all)), **of_all)
    with pytest.raises(UsageError), stronger.opencosts():
        pass


def test_a_door_of_all_is_used_where_it_can_be(tmp_path: Path, opencost: OpenCostEmulator) -> None:
    """The token is sent to a cluster on this machine, which has no use for a certificate."""
    (tmp_path / "token").write_text("HUSH")
    doors = f"opencost_token_file = '{tmp_path}/token'\nopencost_ca = '{certifi.where()}'\n"
    text = f"[defaults]\n{doors}[[clusters]]\nname = 'a'\nendpoint = '{opencost.url}'\n"
    file, of_all = with_defaults(tmp_path / "c.toml", text)
    with SourceOptions(configured=Configured(file), **of_all).opencosts() as [one]:
        one.capabilities()
    assert opencost.requests[-1].headers["authorization"] == "Bearer HUSH"


def test_a_value_that_an_option_refuses_has_its_place(tmp_path: Path) -> None:
    """A value that only the option can check is refused with the line of the file, not with a variable."""
    path = tmp_path / "c.toml"
    path.write_text("[defaults]\ngzip_level = 99\n")
    with pytest.raises(Exception, match="not in the range 1<=x<=9") as refused:
        app(["config", "--config", str(path)], standalone_mode=False, obj=Process())
    assert str(refusal(refused.value)).startswith(f"{path}, line 2, gzip_level: ")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("aggregate = 'foo'", ": OpenCost does not aggregate by 'foo'"),
        ("every = 'soon'", ", every: 'soon' is not a duration"),
        ("every = '7m'", ", every: Windows of 7 minutes do not tile a day"),
        ("cron = 'a b'", ", cron 'a b' is no crontab line"),
        ("dataset = 'costs'", ", dataset: There is no dataset 'costs'"),
        ("jitter = '2h'", ", jitter 2h must be shorter"),
        ("share_idle = true\ninclude_idle = true", ", share_idle is not for schedule and backfill"),
        ("catch_up = '5m'", ": No closed window lies in the catch-up"),
        ("jitter = 'x'", ", jitter: 'x' is not a duration"),
        ("timeout = 0", ", timeout 0 is not possible"),
        ("run_id = '\"quoted\"'", ", run_id is "),
    ],
)
def test_what_is_wrong_with_a_default_has_its_place(tmp_path: Path, setting: str, message: str) -> None:
    """What the file says of all clusters, and a command refuses, is named by its line; not so on the command line."""
    path = tmp_path / "c.toml"
    path.write_text(f"[kusto]\nkusto_uri = 'http://127.0.0.1:1'\ndatabase = 'd'\n[defaults]\n{setting}\n")
    arguments = ["schedule", "--once", "--endpoint", "http://127.0.0.1:1", "--auth", "none", "--config", str(path)]
    with pytest.raises(UsageError) as refused:
        app(arguments, standalone_mode=False, obj=Process())
    text = str(refused.value)
    assert message in text
    assert text.startswith(f"{path}, line 5")
    with pytest.raises(UsageError, match=r"--every \(or OPENCOST_KUSTO_EVERY\): 'soon'"):
        app([*arguments[:-2], "--every", "soon"], standalone_mode=False, obj=Process())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("auth = 'cl'", ", auth cl is unknown"),
        ("auth = 'none'", ", auth none is for plain http"),
        ("kusto_uri = 'c.example.com'", ", kusto_uri: 'c.example.com' is not the address"),
        ("kusto_uri = 'https://u:HUSH@c.example.com'", ", kusto_uri: A Kusto address is"),
        ("ingest_uri = 'nope'", ", ingest_uri: 'nope' is not the address"),
        ("database = 'a;b'", ", database: 'a;b' is not the name"),
    ],
)
@pytest.mark.parametrize("command", ["config", "status"])
def test_what_is_wrong_with_kusto_has_its_place(tmp_path: Path, command: str, setting: str, message: str) -> None:
    """`config` finds it before a command that signs in does."""
    kusto = {"kusto_uri": "https://c.region.kusto.windows.net", "database": "d"}
    others = [f"{name} = '{value}'" for name, value in kusto.items() if name != setting.split()[0]]
    path = tmp_path / "c.toml"
    path.write_text("\n".join(["[kusto]", setting, *others]))
    with pytest.raises(UsageError) as refused:
        app([command, "--config", str(path)], standalone_mode=False, obj=Process())
    assert str(refused.value).startswith(f"{path}, line 2{message}")
    assert "HUSH" not in str(refused.value)


def test_config_needs_no_database_and_signs_in_nowhere(run: Run, tmp_path: Path) -> None:
    """A file for pods, whose environment has the rest, can be checked anywhere."""
    path = tmp_path / "c.toml"
    path.write_text("[kusto]\nauth = 'workload-identity'\n")
    assert run("config", "--config", str(path))[0] == 0
    path.write_text("[kusto]\nauth = 'client-secret'\nkusto_uri = 'https://c.region.kusto.windows.net'\n")
    assert run("config", "--config", str(path))[0] == 0


@pytest.mark.parametrize(
    "command",
    [("schedule", "--once"), ("backfill", "--from", "2026-11-01", "--to", "2026-11-02")],
    ids=lambda one: one[0],
)
def test_idle_cost_is_not_shared_in_scheduled_windows(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Neither for all clusters nor for one, of which the message has the line."""
    path = tmp_path / "c.toml"
    path.write_text("[[clusters]]\nname = 'a'\nendpoint = 'http://a'\ninclude_idle = true\nshare_idle = true\n")
    place = ("--kusto-uri", "http://127.0.0.1:1", "--database", "d", "--auth", "none")
    with pytest.raises(UsageError, match=r"c\.toml, line 5, share_idle is not for schedule and backfill"):
        app([*command, *place, "--config", str(path)], standalone_mode=False, obj=Process())
    idle = ("--include-idle", "--share-idle", "--endpoint", "http://a")
    with pytest.raises(UsageError, match=r"^--share-idle is not for schedule and backfill"):
        app([*command, *place, *idle], standalone_mode=False, obj=Process())


@pytest.mark.parametrize("of_all", ["[defaults]\ninclude_idle = true\n", ""])
def test_idle_cost_is_shared_where_it_is_included(tmp_path: Path, of_all: str) -> None:
    """A cluster may share the idle cost that the file or the command line includes for all."""
    path = tmp_path / "c.toml"
    path.write_text(f"{of_all}[[clusters]]\nname = 'a'\nendpoint = 'http://a'\nshare_idle = true\n")
    file = configuration(path)
    stronger = frozenset[str]() if of_all else frozenset({"include_idle"})
    with SourceOptions(configured=Configured(file, stronger)).opencosts() as [one]:
        assert one.settings.options == {"share_idle": True}


def test_clusters_are_selected_or_named(run: Run, file: str, opencost: OpenCostEmulator) -> None:
    """--cluster selects those of the file and of --source, and names the one of --endpoint."""
    with pytest.raises(UsageError, match="There is no cluster 'nope'; there are old, prod, test"):
        rows(run, file, "nope")
    with pytest.raises(UsageError, match=r"line \d+: the cluster old is retired"):
        rows(run, file, "old")
    with pytest.raises(UsageError, match="takes the rows of one source"):
        rows(run, file, "prod", "--cluster", "test")
    assert {one["Source"] for one in rows(run, file, "mine", "--endpoint", opencost.url)} == {"mine"}
    sources = ("--source", f"a={opencost.url}", "--source", f"b={opencost.url}")
    assert {one["Source"] for one in rows(run, file, "b", *sources)} == {"b"}
    with pytest.raises(UsageError, match="--cluster can give it one name only"):
        rows(run, file, "a", "--endpoint", opencost.url, "--cluster", "b")


def test_replicas_divide_the_clusters(file: str, opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """Each cluster that is not retired is that of one replica; one OpenCost cannot be divided, and no key does it."""
    configured = Configured(configuration(file))
    found = []
    for index in range(3):
        with SourceOptions(configured=configured, shard=f"{index}/3").opencosts() as some:
            found += [one.cluster for one in some]
    assert sorted(map(str, found)) == ["prod", "test"]
    sources = [f"a{number}={opencost.url}" for number in range(20)]
    with SourceOptions(source=sources, cluster=["a1", "a2"], shard="1/2").opencosts() as some:
        assert {one.cluster for one in some} == {name for name in ("a1", "a2") if Shard(1, 2).has(name)}
    with pytest.raises(UsageError, match="there is one OpenCost only"), SourceOptions(shard="0/2").opencosts():
        pass
    (tmp_path / "c.toml").write_text("[defaults]\nshard = '0/3'\n")
    with pytest.raises(UsageError, match="has no key 'shard'"):
        configuration(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("currency = 'euro'", "4: The currency 'euro' is no code"),
        ("aggregate = 'foo'", "4: OpenCost does not aggregate by 'foo'"),
        ("share_idle = true", "4: share_idle has no effect alone: add include_idle = true"),
        ("share_idle = true\ninclude_idle = false\n[defaults]\ninclude_idle = true", "4: share_idle has no effect"),
        ("opencost_resolution = '7m'", "4: .*does not divide a day"),
        ("opencost_retention = '2h=7'", "4: .*such as 1h=168"),
        ("opencost_key = 'k'", "4, opencost_key needs --opencost-cert"),
        ("opencost_header = 'a=b'", "4, opencost_header is NAME=@FILE"),
        ("request_timeout = 0", "4, request_timeout 0 is not possible"),
        (
            "opencost_token_file = 't'\nopencost_scope = 's'",
            "4, opencost_token_file or .*, line 5, opencost_scope, not both",
        ),
        ("opencost_ca = '/no'", "4, opencost_ca has no use for"),
        ("opencost_port = 1", "4: .* has no key 'opencost_port'"),
        ("window = '1h'", "4: .* has no key 'window'"),
        ("[defaults]\ncurrency = 'euro'", "5, currency: The currency 'euro'"),
        ("[defaults]\nopencost_header = 'a=b'", "5, opencost_header is NAME=@FILE"),
    ],
)
def test_what_is_wrong_with_a_cluster_has_its_place(run: Run, tmp_path: Path, more: str, message: str) -> None:
    """`config` finds what a sync would refuse, with the file and the line."""
    path = tmp_path / "c.toml"
    path.write_text(f"[[clusters]]\nname = 'a'\nendpoint = 'http://a:9003'\n{more}\n")
    with pytest.raises(UsageError, match=rf"c\.toml, line {message}"):
        run("config", "--config", str(path))


def test_a_kubeconfig_becomes_clusters(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each context is proposed, a second one of a cluster as a comment; the result is a file that can be read."""
    kube = tmp_path / "kube"
    kube.write_text(
        """
apiVersion: v1
kind: Config
clusters: [{name: aks-prod, cluster: {server: "https://a"}}, {name: aks-test, cluster: {server: "https://b"}}]
users: [{name: u, user: {token: HUSH}}]
contexts:
  - {name: team/prod, context: {cluster: aks-prod, user: u}}
  - {name: admin, context: {cluster: aks-prod, user: u}}
  - {name: test, context: {cluster: aks-test, user: u}}
"""
    )
    monkeypatch.setenv("KUBECONFIG", str(kube))
    assert contexts({"KUBECONFIG": str(kube)}) == [
        ("team/prod", "aks-prod"),
        ("admin", "aks-prod"),
        ("test", "aks-test"),
    ]
    _, out = run("config", "--from-kubeconfig")
    assert 'name = "aks-prod"\nendpoint = "kube://team%2Fprod"' in out
    assert '# endpoint = "kube://admin"' in out
    assert "HUSH" not in out
    (tmp_path / "c.toml").write_text(out)
    _, document = run("config", "--config", str(tmp_path / "c.toml"), "-o", "json")
    assert [one["cluster"] for one in json.loads(document)["clusters"]] == ["aks-prod", "aks-test"]
    with pytest.raises(UsageError, match="prints TOML: leave out --format"):
        run("config", "--from-kubeconfig", "-o", "json")
    with pytest.raises(UsageError, match="has no context"):
        list(proposed([]))


ODD = ["my aks/prod", "arn:aws:eks:eu-west-1:1:cluster/a", "Köln", "emoji 🚀", 'q"d', "100%", "a\\b", " blank "]
UNFIT = {"'q'": "the quotes are part of it", "$(X)": "is a variable", "a\tb": "U+0009", "\x7fa": "007F", "": "empty"}


def test_odd_names_of_a_kubeconfig_become_clusters_or_comments(tmp_path: Path) -> None:
    """Whatever contexts are called, the file can be read, each address leads back, and each comment says why."""
    text = "\n".join(proposed((f"{name}x", name) for name in [*ODD, *UNFIT]))
    (tmp_path / "c.toml").write_text(text, "utf-8")
    clusters = configuration(tmp_path / "c.toml").clusters
    assert [one.name for one in clusters] == [name.strip() for name in ODD]
    assert [parse(one.endpoint).context for one in clusters] == [f"{name}x" for name in ODD]
    message = [line for line in text.splitlines() if line.startswith("# The cluster of the context")]
    assert len(message) == len(UNFIT)
    assert all(why in line for line, why in zip(message, UNFIT.values(), strict=True))


def test_a_context_without_a_cluster_is_a_comment(tmp_path: Path) -> None:
    """One that is broken does not keep the others from being proposed."""
    path = tmp_path / "kube"
    path.write_text("contexts: [{name: a}, {name: b, context: {user: u}}, {name: c, context: {cluster: d}}]\n")
    assert contexts({"KUBECONFIG": str(path)}) == [("a", ""), ("b", ""), ("c", "d")]
    assert [line for line in proposed(contexts({"KUBECONFIG": str(path)})) if line and line[0] != "#"] == [
        "[[clusters]]",
        'name = "d"',
        'endpoint = "kube://c"',
    ]


def test_the_files_of_the_chart_and_of_the_guide_can_be_read(tmp_path: Path) -> None:
    """What they show is a file that every command takes."""
    values = (ROOT / "tests" / "data" / "chart" / "fleet" / "values.yaml").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", GUIDES["configuration"], re.DOTALL)
    for text, clusters in ((yaml.safe_load(values)["config"], 3), (example, 3)):
        path = tmp_path / "c.toml"
        path.write_text(text)
        assert len(configuration(path).clusters) == clusters


def test_the_guide_names_every_key() -> None:
    """The keys of [kusto] and [[clusters]] stand in the guide, and the defaults of the guide exist."""
    options = keys(typer.main.get_command(app))
    for section in (KUSTO, CLUSTERS):
        for key in options[section]:
            assert f"`{key}`" in GUIDES["configuration"], key
    assert {"timeout", "every", "dataset", "metadata", "opencost_ca", "aggregate"} <= options[DEFAULTS].keys()
    assert not {"endpoint", "source", "cluster", "config"} & options[DEFAULTS].keys()


def test_status_names_the_configured_clusters_that_never_landed(
    file: str, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    """--expect fails for each of the file but the retired one; without it, and without a file, it does not."""
    with KustoEmulator(latency=0) as emulator:
        with Kusto(emulator.url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        place = ("--kusto-uri", emulator.url, "--database", emulator.database, "--auth", "none")
        assert run("status", "--config", file, *place)[0] == 0
        with pytest.raises(NotLandedError, match=r"^never landed: prod, test\. The lines above"):
            run("status", "--config", file, "--expect", "-o", "json", *place)
        assert [one["cluster"] for one in json.loads(capsys.readouterr().out)] == ["prod", "test"]
        with pytest.raises(NotLandedError, match=r"^never landed: test\. "):
            run("status", "--config", file, "--expect", "--cluster", "test", *place)
        with pytest.raises(UsageError, match="--expect needs --config"):
            run("status", "--expect", *place)
