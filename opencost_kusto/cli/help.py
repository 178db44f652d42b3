"""The help of a command: options in groups, those that are required first, and examples at the end."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

REQUIRED, OTHER = "Required", "Other options"
# Sections in this order; the others follow.
_FIRST = ("Arguments", REQUIRED, "OpenCost")
_VARIABLES = (
    "Every option that is not an action can also be set as an environment variable: --run-id as OPENCOST_KUSTO_RUN_ID. "
    "The command line wins."
)
# By command, the lines as they are typed; each is shorter than 80 columns.
EXAMPLES = {
    "sync": """export OPENCOST_KUSTO_KUSTO_URI=https://CLUSTER.REGION.kusto.windows.net
export OPENCOST_KUSTO_DATABASE=OpenCost
opencost-kusto sync --window yesterday --step 1h
opencost-kusto sync --since "$(date -u +%s)" --run-id test-41
opencost-kusto sync --dataset assets --output - | head -3""",
    "run": """opencost-kusto run --run-id test-41 -- ./load-test.sh""",
    "replay": "opencost-kusto replay /var/spool/opencost-kusto",
    "backfill": "opencost-kusto backfill --from 2026-11-01 --to 2026-11-15",
    "schedule": """opencost-kusto schedule --every 1h --listen :8080
opencost-kusto schedule --once -o json""",
    "bootstrap": """opencost-kusto bootstrap --auth cli
opencost-kusto bootstrap --print > opencost.kql""",
    "config": """opencost-kusto config --config opencost-kusto.toml
opencost-kusto config --from-kubeconfig > opencost-kusto.toml""",
    "status": "opencost-kusto status --max-age 3h",
    "cost": """opencost-kusto cost --by namespace --window lastmonth
opencost-kusto cost --by label:app --cluster prod --top 10
opencost-kusto cost --by node --with idle --compare previous
opencost-kusto cost --run test-42 --compare test-41 -o md""",
    "query": """opencost-kusto query --list
opencost-kusto query Chargeback --window lastmonth -o csv > chargeback.csv
opencost-kusto query OfRun --param runId=test-42
opencost-kusto query --kql 'OpenCostAllocation | where Timestamp > ago(1h)'""",
    "tables": "opencost-kusto tables -o csv > columns.csv",
    "manifest": """opencost-kusto manifest --image REGISTRY/opencost-kusto:1 \\
  --client-id CLIENT_ID --kusto-uri KUSTO_URI --database OpenCost \\
  -- --include-idle | kubectl apply -f -""",
    "doctor": "opencost-kusto doctor --auth cli",
    "dashboard": """opencost-kusto dashboard --kusto-uri KUSTO_URI > dashboard.json
opencost-kusto dashboard --pictures pictures --window lastmonth --auth cli""",
    "guide": "opencost-kusto guide commands",
    "demo": "opencost-kusto demo --keep",
    "emulator": "opencost-kusto emulator --opencost-port 9003 --kusto-port 8080",
}


class Command(TyperCommand):
    """A command whose help has a section for each group of options."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The complete first paragraph, beside the name in a completion: shells cut it at their own width."""
        del limit
        return " ".join((self.help or "").split("\n\n", 1)[0].split())

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the arguments, then the groups, then the options of every command."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in _FIRST}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                title = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or OTHER
                sections.setdefault(title, []).append(record)
        sections[OTHER] = sections.pop(OTHER, [])
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the examples, a line each as it is typed."""
        del ctx
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        formatter.write_paragraph()
        formatter.write_text(_VARIABLES)
