"""A name has one spelling, and what is an accident is refused where it is given."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import fields

import pytest
import typer
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.option_groups import grouped
from opencost_kusto.cli.options import LogOptions, RunOptions
from opencost_kusto.cli.source_options import SourceOptions
from opencost_kusto.errors import UsageError
from opencost_kusto.names import LONGEST, identity, shown, unknown, variable

repeatable = settings(derandomize=True, max_examples=300, deadline=None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("prod", "prod"),
        ("  prod\r\n", "prod"),
        ("\ufeffprod".lstrip("\ufeff"), "prod"),
        ("aks prod (west)", "aks prod (west)"),
        ("кластер-1", "кластер-1"),
        # A letter and its accent, as macOS writes file names.
        ("cafe\u0301", "café"),
        ("arn:aws:eks:eu-west-1:1234:cluster/prod", "arn:aws:eks:eu-west-1:1234:cluster/prod"),
        ('rig 19"', 'rig 19"'),
        ("it's", "it's"),
        ("50% cpu, 80% ram", "50% cpu, 80% ram"),
        ("a$b {c} (d)", "a$b {c} (d)"),
        ("x" * LONGEST, "x" * LONGEST),
    ],
)
def test_what_is_a_name(text: str, found: str) -> None:
    """A name loses the blanks around it and gets the one form that Unicode has for its letters."""
    assert identity(text, "--cluster") == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        (" \t\r\n", "is empty"),
        ("a\nb", "U.000A .a control character"),
        ("\x1b[31mprod", "U.001B .a control character"),
        ("a\x00b", "U.0000"),
        ("a\u202eb", "U.202E .not printable"),
        ("a\u200bb", "U.200B"),
        ("\ufeffprod", "U.FEFF"),
        ("caf\udce9", "U.DCE9 .half of a character"),
        ('"prod"', "quotes"),
        ("'prod'", "quotes"),
        ("`prod`", "quotes"),
        ("“prod”", "quotes"),
        ('"', "quotes"),
        (' "prod"\r', "quotes"),
        ("$(CLUSTER_NAME)", "nothing has set or replaced"),
        ("run-$(Build.BuildId)-1", "'.*Build.BuildId.' is a variable"),
        ("${CLUSTER}", "is a variable"),
        ("${{ variables.cluster }}", "is a variable"),
        ("$[variables.cluster]", "is a variable"),
        ("{{ .Values.cluster }}", "is a variable"),
        ("%CLUSTER%", "is a variable"),
        ("$CLUSTER", "is a variable"),
        ("x" * (LONGEST + 1), "513 characters long"),
        ({"a": 1}, "is not a text but {'a': 1}"),
        (7, "is not a text but 7"),
        (True, "is not a text"),
        (None, "is not a text"),
        (["prod"], "is not a text"),
    ],
)
def test_what_is_no_name(text: object, why: str) -> None:
    """What is empty, unprintable, quoted, unset, endless or no text is refused in one line that says where it is."""
    with pytest.raises(UsageError, match=why) as refused:
        identity(text, "--cluster (or OPENCOST_KUSTO_CLUSTER)")
    message = str(refused.value)
    assert message.startswith("--cluster (or OPENCOST_KUSTO_CLUSTER) is ")
    assert message.isprintable()
    assert len(message) < 250


def test_an_option_is_named_with_its_variable() -> None:
    """A message names the variable too, for users who set that."""
    assert variable("--run-id") == "--run-id (or OPENCOST_KUSTO_RUN_ID)"


hostile = st.sampled_from(["\x1b", "\r", '"', "'", "$(", ")", "${", "}", "%", "{{", "}}", "\u0301", "\u2028", "\udc80"])
texts = st.lists(hostile | st.characters(codec=None) | st.sampled_from("abc-./ "), max_size=12).map("".join)


def outcome(text: str) -> tuple[str | None, str]:
    """The name, or None and the refusal."""
    try:
        return identity(text, "--cluster"), ""
    except UsageError as refused:
        return None, str(refused)


@repeatable
@given(texts)
@example("\u0344")
def test_a_name_is_always_one_printable_line_in_one_form(text: str) -> None:
    """Whatever is accepted is trimmed, printable and normalized, can be stored as UTF-8, and is a fixed point."""
    found, refused = outcome(text)
    assert refused.isprintable()
    if found is None:
        return
    assert found == found.strip()
    assert found.isprintable()
    assert found
    assert unicodedata.is_normalized("NFC", found)
    assert found.encode().decode() == found
    assert identity(found, "--cluster") == found


@repeatable
@given(texts, st.sampled_from(["", " ", "\t", "\r\n", "\u00a0"]), st.sampled_from(["", " ", "\n", "\u3000"]))
def test_blanks_and_forms_make_no_second_name(text: str, before: str, after: str) -> None:
    """Blanks around a text, and the composed or decomposed form of its letters, never make another cluster."""
    assume(text == text.strip())
    spellings = [text, before + text + after, unicodedata.normalize("NFD", text)]
    assert len({outcome(spelling)[0] for spelling in spellings}) == 1


@repeatable
@given(
    st.sampled_from(["$({})", "${{{}}}", "$[{}]", "${{{{{}}}}}", "{{{{ {} }}}}", "%{}%"]),
    st.sampled_from(["A", "a_b", "Build.Id"]),
)
def test_no_unset_variable_is_a_name(form: str, inner: str) -> None:
    """However a pipeline writes a variable, alone or inside a name, what it did not replace is refused."""
    for text in (form.format(inner), f"a-{form.format(inner)}", f"{form.format(inner)}/b"):
        with pytest.raises(UsageError, match="is a variable"):
            identity(text, "--cluster")


@pytest.mark.parametrize(
    ("name", "known", "printed"),
    [
        ("nope", ["b", "a"], "There is no cluster 'nope'; there are a, b."),
        ("nope", [], "there are none."),
        ("aks-12", [f"aks-{number:03}" for number in range(300)], "there are aks-012, aks-102, aks-112"),
        ("aks-12", [f"aks-{number:03}" for number in range(300)], " and 290 more."),
        ("???", [f"aks-{number:03}" for number in range(300)], "aks-008, aks-009 and 290 more."),
    ],
)
def test_an_unknown_cluster_is_named_with_others(name: str, known: list[str], printed: str) -> None:
    """All of a few, the most similar of many, else the first."""
    assert printed in unknown(name, known)


def test_what_is_quoted_is_short_and_printable() -> None:
    """A value from outside is quoted on one line, however long or odd it is."""
    assert shown("a\x1b\n") == r"'a\x1b\n'"
    assert len(shown("x" * 9999)) == 60


@pytest.mark.parametrize(
    ("give", "named"),
    [
        (lambda text: RunOptions(run_id=text).run({}), "OPENCOST_KUSTO_RUN_ID"),
        (lambda text: RunOptions(scenario_name=text).run({}), "OPENCOST_KUSTO_SCENARIO_NAME"),
        (lambda text: RunOptions(metadata=[f"{text}=1"]).run({}), "OPENCOST_KUSTO_METADATA"),
        (lambda text: SourceOptions(cluster=[text]).opencosts().__enter__(), "OPENCOST_KUSTO_CLUSTER"),
        (lambda text: SourceOptions(source=[f"{text}=http://h:1"]).opencosts().__enter__(), "OPENCOST_KUSTO_SOURCE"),
        (
            lambda text: KustoOptions("http://h:1", database=text, auth="none").kusto(),
            "OPENCOST_KUSTO_DATABASE",
        ),
    ],
)
@pytest.mark.parametrize("text", ["$(UNSET)", '"quoted"', "esc\x1b[0m", "caf\udce9"])
def test_every_identity_that_a_user_gives_is_a_name(give: Callable[[str], object], named: str, text: str) -> None:
    """Cluster, sources, run id, scenario, metadata keys and database: what is no name is refused by its variable."""
    with pytest.raises(UsageError, match=named):
        give(text)


def test_marks_lose_the_line_ends_of_env_files() -> None:
    """A carriage return at the end of a value, as Windows writes env files, is no part of a mark."""
    run = RunOptions(run_id="run-7\r", scenario_name=" s1\r\n", metadata=["team\r=shop"]).run({})
    assert (run.id, run.scenario_name, run.metadata) == ("run-7", "s1", {"team": "shop"})
    with SourceOptions(cluster=["crlf-1\r"]).opencosts() as opencosts:
        assert [one.cluster for one in opencosts] == ["crlf-1"]


def test_a_text_that_is_not_utf_8_is_refused_by_its_option() -> None:
    """Python hands on bytes that are not UTF-8 as half characters; no option may carry them to a table or a log."""

    def nothing(summary: str) -> None:
        """A command that takes one option."""
        del summary

    command = grouped(nothing)
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    with pytest.raises(UsageError, match=r"--summary .or OPENCOST_KUSTO_SUMMARY. is not UTF-8: 'caf.udce9'"):
        command(context, summary="caf\udce9", **{one.name: one.default for one in fields(LogOptions)})
