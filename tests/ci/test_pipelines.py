"""The pipelines of the guides are YAML, and every command in it is one that our command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
import yaml

from opencost_kusto.ci.metadata import pipeline
from opencost_kusto.cli import app
from tests.support.documents import ALL, GUIDES

SECTION = GUIDES["pipelines"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def fences(text: str, language: str) -> list[str]:
    """The fenced texts of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def scripts(value: Any) -> Iterator[str]:
    """What a pipeline's steps hand to a shell."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("bash", "run", "script", "inlineScript"):
                yield each
            else:
                yield from scripts(each)
    elif isinstance(value, list):
        for each in value:
            yield from scripts(each)


def calls(script: str) -> list[list[str]]:
    """The arguments of each of our commands in a shell script, up to the end of the command."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        _, ours, rest = line.partition("opencost-kusto ")
        if ours and not line.lstrip().startswith(("az ", "#", "helm ", "python3 ")):
            # A bar between quotes is KQL's, and stays.
            end = re.search(r"""^((?:'[^']*'|"[^"]*"|[^'"])*?)(?: \|{1,2} | && | > | &$|$)""", rest)
            found.append(shlex.split(end[1] if end else rest))
    return found


PIPELINES = {re.findall(r"azure|github", text, re.IGNORECASE)[0].lower(): text for text in fences(SECTION, "yaml")}
IN_PIPELINES = [
    call for text in PIPELINES.values() for script in scripts(yaml.safe_load(text)) for call in calls(script)
]
IN_SHELLS = [call for text in fences(ALL, "sh") for call in calls(text)]


def test_the_reading_finds_them() -> None:
    """Both pipelines are YAML with steps, and call us; so do the shells of the guides."""
    assert list(PIPELINES) == ["azure", "github"]
    assert [call[0] for call in IN_PIPELINES] == ["sync", "sync"]
    assert {"bootstrap", "sync", "backfill", "schedule", "manifest", "run", "query"} <= {call[0] for call in IN_SHELLS}
    assert calls('x="$(date)"\nopencost-kusto sync --since "$START" \\\n  --auth cli || code=$?\n') == [
        ["sync", "--since", "$START", "--auth", "cli"]
    ]


@pytest.mark.parametrize("call", [*IN_PIPELINES, *IN_SHELLS], ids=" ".join)
def test_the_command_line_accepts_them(call: list[str]) -> None:
    """Every option in the pipelines and shell examples of the guides exists and has its value."""
    name, *arguments = call
    if "--config" in arguments:
        # Whose file is the reader's.
        del arguments[arguments.index("--config") : arguments.index("--config") + 2]
    assert COMMANDS[name].make_context(name, arguments).params


@pytest.mark.parametrize("arguments", [["sync", "--sins", "$START"], ["sync", "--since"], ["sync", "now"]])
def test_what_is_wrong_would_be_found(arguments: list[str]) -> None:
    """A misspelt option, one without its value and a stray word do not parse, so parsing means something."""
    with pytest.raises(Exception, match=r"No such option|requires an argument|unexpected extra argument"):
        COMMANDS[arguments[0]].make_context(arguments[0], arguments[1:])


def test_environments_set_what_is_read() -> None:
    """Each OPENCOST_KUSTO variable that a pipeline sets is one that an option of `sync` reads."""
    accepted = {parameter.envvar for parameter in COMMANDS["sync"].params}
    for text in PIPELINES.values():
        variables = set(re.findall(r"OPENCOST_KUSTO_\w+", text))
        assert len(variables) == 3
        assert variables <= accepted


def test_starts_and_summaries_go_where_they_are_read() -> None:
    """Each pipeline sets the START that it reads, and shows the file that it writes."""
    azure, github = PIPELINES.values()
    assert "task.setvariable variable=START]" in azure
    assert 'echo "START=' in github
    assert '"##vso[task.uploadsummary]$page"' in azure
    assert '--summary "$GITHUB_STEP_SUMMARY"' in github


def test_run_ids_are_of_variables_we_read_too() -> None:
    """The run ids of the guides are made of the variables that Metadata is made of."""
    azure = {"TF_BUILD": "True", "BUILD_BUILDID": "4821", "SYSTEM_JOBATTEMPT": "2"}
    github = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "165", "GITHUB_RUN_ATTEMPT": "3"}
    for call, environment in zip(IN_PIPELINES, (azure, github), strict=True):
        run_id = call[call.index("--run-id") + 1]
        values = {variable: environment[variable] for variable in re.findall(r"\$(\w+)", run_id)}
        metadata = pipeline(environment)
        assert list(values.values()) == [metadata["ciRunId"], metadata["ciRunAttempt"]]
