"""opencost-kusto.toml: read strictly, and each mistake has its line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencost_kusto.config import Config, Keys, read
from opencost_kusto.errors import UsageError

KEYS: Keys = {
    "kusto": {"kusto_uri": str, "database": str},
    "defaults": {"wait": bool, "timeout": float, "workers": int, "dataset": list, "metadata": dict, "every": str},
    "clusters": {"name": str, "endpoint": str, "retired": bool, "currency": str, "metadata": dict},
}
FILE = """
[kusto]
kusto_uri = "https://c.region.kusto.windows.net"

[defaults]
timeout = 60
dataset = ["allocation"]
metadata = { team = "finops" }

[[clusters]]
name = "prod"
endpoint = "https://opencost.prod.example"
currency = "EUR"

[[clusters]]
name = "old"
endpoint = "http://old:9003"
retired = true
[clusters.metadata]
team = "a"
"""


def written(folder: Path, text: str) -> str:
    """The path of a file with a text."""
    path = folder / "c.toml"
    path.write_text(text)
    return str(path)


def test_a_file_is_read_with_the_line_of_each_value(tmp_path: Path) -> None:
    """Sections, clusters and lines."""
    path = written(tmp_path, FILE)
    found = read(path, KEYS)
    assert {name: one.value for name, one in found.settings.items()} == {
        "kusto_uri": "https://c.region.kusto.windows.net",
        "timeout": 60,
        "dataset": ["allocation"],
        "metadata": {"team": "finops"},
    }
    assert found.defaults["timeout"].place == f"{path}, line 6"
    prod, old = found.clusters
    assert (prod.name, prod.endpoint, prod.retired, prod.place) == (
        "prod",
        "https://opencost.prod.example",
        False,
        f"{path}, line 10",
    )
    assert (prod.settings["currency"].value, prod.settings["currency"].place) == ("EUR", f"{path}, line 13")
    assert (old.retired, old.settings["metadata"].value, old.settings["metadata"].place) == (
        True,
        {"team": "a"},
        f"{path}, line 19",
    )
    assert Config().settings == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kusto\n", r"is not TOML: .*\(at line 1, column 7\)"),
        ("[kustos]\n", r"line 1: there is no section 'kustos'. Did you mean 'kusto'\?"),
        ("kusto = 1\n", r"line 1: kusto is a section: write \[kusto\]"),
        ("\n[kusto]\ndatabse = 'x'\n", r"line 3: \[kusto\] has no key 'databse'. Did you mean 'database'\?"),
        ("[defaults]\ndatabase = 'x'\n", r"line 2: \[defaults\] has no key 'database'. It is a key of \[kusto\]\."),
        ("[kusto]\nmetadata = 1\n", r"has no key 'metadata'. It is a key of \[defaults\] and \[\[clusters\]\]\."),
        ("timeout = 60\n", r"line 1: there is no section 'timeout'. It is a key of \[defaults\]\."),
        ("[kusto]\nzzz = 1\n", "has no key 'zzz'. There are database, kusto_uri"),
        ("[defaults]\nwait = 'yes'\n", "line 2: wait is 'yes', and must be true or false"),
        ("[defaults]\ntimeout = true\n", "line 2: timeout is True, and must be a number"),
        ("[defaults]\nworkers = 2.5\n", "line 2: workers is 2.5, and must be a whole number"),
        ("[defaults]\nworkers = true\n", "line 2: workers is True, and must be a whole number"),
        ("[defaults]\ndataset = [1]\n", "must be a text or a list of texts"),
        ("[defaults]\nmetadata = {a = 1}\n", "must be a table"),
        ("[defaults]\nmetadata.a = 1\n", "line 2: metadata is .*, and must be a table of texts"),
        ("\ufeff[defaults]\nwait = 1\n", "line 2: wait is 1"),
        ("[defaults]\nmetadata = " + "{a=" * 3000 + "1" + "}" * 3000, "nested too deeply"),
        ("[clusters.a]\nname = 'a'\n", r"line 1: write \[\[clusters\]\]"),
        (
            "\nclusters = [{name='a', endpoint='b'},\n{name='A', endpoint='b'}]\n",
            "line 2: there is a cluster 'A' already",
        ),
        ("[clusters]\nname = 'a'\n", r"line 1: write \[\[clusters\]\], with two brackets"),
        ("[[clusters]]\nname = 'a'\n", "line 1: a cluster needs 'endpoint'"),
        ("[[clusters]]\nendpoint = 'http://a'\n", "line 1: a cluster needs 'name'"),
        ("[[clusters]]\nname = '$(NAME)'\nendpoint = 'http://a'\n", "line 2: name is .* a variable that nothing"),
        (
            "[[clusters]]\nname='a'\nendpoint='http://a'\n[[clusters]]\nname='A'\nendpoint='http://b'\n",
            "line 4: there is a cluster 'A' already",
        ),
        (
            "[[clusters]]\nname='a'\nendpoint='http://a'\n[[clusters]]\nname='b'\nendpoint='http://b'\nx=1\n",
            r"line 7: \[\[clusters\]\] has no key 'x'",
        ),
    ],
)
def test_each_mistake_has_its_place(tmp_path: Path, text: str, message: str) -> None:
    """The file, the line, the key, and what may have been meant."""
    with pytest.raises(UsageError, match=f"^{tmp_path}/c.toml.*{message}"):
        read(written(tmp_path, text), KEYS)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, or not a text."""
    with pytest.raises(UsageError, match=r"--config /no/c.toml cannot be read: No such file"):
        read("/no/c.toml", KEYS)
    (tmp_path / "c.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not TOML"):
        read(str(tmp_path / "c.toml"), KEYS)
