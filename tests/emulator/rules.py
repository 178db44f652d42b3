"""The rules of Kusto that the emulator keeps, each with the page that states it.

Pages are below https://learn.microsoft.com/kusto/, whose source is MicrosoftDocs/dataexplorer-docs, folder
data-explorer/kusto. `COMMANDS` are rules that one command can obey or break; the rest name the tests that do both.

Queries run on DuckDB, which compares names of columns without case and some types more loosely than Kusto. There the
second witness is Microsoft's analyser: it judges every text that the program ships or sends (`tests/database/test_kql`,
`tests/kql`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

FENCE: Final = "```"


class CommandRule(NamedTuple):
    """A rule, the page that states it, a command that obeys it, one that breaks it, and what Kusto says to that."""

    page: str
    obeyed: str
    broken: str
    message: str


class Rule(NamedTuple):
    """A rule, the page that states it, and the tests in this folder that obey it and that break it.

    What breaks a rule is refused, skipped, hidden or cut, as the page says. Often one test does both.
    """

    page: str
    obeyed: str
    broken: str = ""

    @property
    def tests(self) -> tuple[str, str]:
        """The test that obeys the rule, and the one that breaks it."""
        return self.obeyed, self.broken or self.obeyed


def _policy(name: str, document: str, verb: str = ".alter") -> str:
    return f"{verb} table Costs policy {name} {FENCE}{document}{FENCE}"


def _enabled(table: str, policy: str) -> str:
    return f".alter table {table} policy {policy}"


def _tags(prefix: str, period: str = "1.00:00:00") -> str:
    return _policy("extent_tags_retention", f'[{{"TagPrefix": "{prefix}", "RetentionPeriod": "{period}"}}]')


def _batching(field: str, value: str) -> str:
    return _policy("ingestionbatching", f'{{"{field}": {value}}}', ".alter-merge")


def _moving(tags: str) -> str:
    return (
        f".update table Costs delete D move Same with (extentTagsToMove={tags}) <| let D = Costs | where Name == 'x';"
    )


COMMANDS: Final[dict[str, CommandRule]] = {
    "the prefix of a tag retention ends in a colon": CommandRule(
        "management/extent-tags-retention-policy", _tags("ingest-by:"), _tags("ingest-by"), "only colon"
    ),
    "the prefix of a tag retention has one colon": CommandRule(
        "management/extent-tags-retention-policy", _tags("drop-by:"), _tags("ingest-by:Costs/:"), "only colon"
    ),
    "a retention period is a timespan": CommandRule(
        "management/extent-tags-retention-policy", _tags("a:", "02:00:00"), _tags("a:", "bananas"), "not a timespan"
    ),
    "a tag retention is an array": CommandRule(
        "management/extent-tags-retention-policy",
        _tags("a:"),
        _policy("extent_tags_retention", '{"TagPrefix": "a:", "RetentionPeriod": "1.00:00:00"}'),
        "not an array",
    ),
    "batching takes 10 seconds or more": CommandRule(
        "management/batching-policy",
        _batching("MaximumBatchingTimeSpan", '"00:00:10"'),
        _batching("MaximumBatchingTimeSpan", '"00:00:01"'),
        "between 00:00:10 and 00:30:00",
    ),
    "batching takes 30 minutes or less": CommandRule(
        "management/batching-policy",
        _batching("MaximumBatchingTimeSpan", '"00:30:00"'),
        _batching("MaximumBatchingTimeSpan", '"00:30:01"'),
        "between 00:00:10 and 00:30:00",
    ),
    "a batch has 1 to 25,000 items": CommandRule(
        "management/batching-policy",
        _batching("MaximumNumberOfItems", "25000"),
        _batching("MaximumNumberOfItems", "25001"),
        "between 1 and 25000",
    ),
    "a batch has 100 to 4,096 MB": CommandRule(
        "management/batching-policy",
        _batching("MaximumRawDataSizeMB", "100"),
        _batching("MaximumRawDataSizeMB", "99"),
        "between 100 and 4096",
    ),
    "a policy has no other properties": CommandRule(
        "management/batching-policy",
        _batching("MaximumNumberOfItems", "5"),
        _batching("MaximumItems", "5"),
        "no property 'MaximumItems'",
    ),
    "a table expires in the future": CommandRule(
        "management/auto-delete-policy",
        _policy("auto_delete", '{"ExpiryDate": "2999-01-01T00:00:00Z"}'),
        _policy("auto_delete", '{"ExpiryDate": "2020-01-01T00:00:00Z"}'),
        "not after the current time",
    ),
    "an expiry date is not null": CommandRule(
        "management/auto-delete-policy",
        _policy("auto_delete", '{"ExpiryDate": "2999-01-01", "DeleteIfNotEmpty": true}'),
        _policy("auto_delete", '{"DeleteIfNotEmpty": true}'),
        "not a datetime",
    ),
    "merging is allowed or not": CommandRule(
        "management/merge-policy",
        _policy("merge", '{"AllowMerge": false, "AllowRebuild": false}', ".alter-merge"),
        _policy("merge", '{"AllowMerge": "no"}', ".alter-merge"),
        "'AllowMerge' is not a bool",
    ),
    "a soft delete period is a timespan": CommandRule(
        "management/retention-policy",
        _policy("retention", '{"SoftDeletePeriod": "365.00:00:00", "Recoverability": "Enabled"}'),
        _policy("retention", '{"SoftDeletePeriod": "a year"}'),
        "not a timespan",
    ),
    "row-level security and restricted view exclude each other": CommandRule(
        "management/row-level-security-policy",
        _enabled("Costs", "row_level_security enable 'Costs'"),
        _enabled("Costs", "restricted_view_access true"),
        "table 'Costs' has RowLevelSecurityPolicy",
    ),
    "restricted view and row-level security exclude each other": CommandRule(
        "management/restricted-view-access-policy",
        _enabled("Costs", "restricted_view_access true"),
        _enabled("Costs", "row_level_security enable 'Costs'"),
        "table 'Costs' has RestrictedViewAccessPolicy",
    ),
    "a secured table reads no other secured table": CommandRule(
        "management/row-level-security-policy",
        _enabled("Costs", "row_level_security enable 'Costs'"),
        _enabled("Same", "row_level_security enable 'Costs'"),
        "its query reads Costs",
    ),
    "a policy is JSON": CommandRule(
        "management/alter-table-ingestion-batching-policy",
        _policy("ingestionbatching", "{}"),
        _policy("ingestionbatching", "{"),
        "not valid JSON",
    ),
    "a table is renamed to a name that is free": CommandRule(
        "management/rename-table-command",
        ".rename table Same to Renamed",
        ".rename table Costs to Other",
        "already exists",
    ),
    "a column keeps its type": CommandRule(
        "management/create-merge-table-command",
        ".create-merge table Costs (Name: string, More: long)",
        ".create-merge table Costs (Name: long)",
        "is of type string",
    ),
    "a table is made once": CommandRule(
        "management/create-table-command",
        ".create table New (A: string) ifnotexists",
        ".create table Costs (A: string)",
        "already exists",
    ),
    "a mapping has paths": CommandRule(
        "management/json-mapping",
        """.create-or-alter table Costs ingestion json mapping 'm' '[{"column":"Name","Properties":{"Path":"$.n"}}]'""",
        """.create-or-alter table Costs ingestion json mapping 'm' '[{"column":"Name"}]'""",
        "needs a column and a path",
    ),
    "a delete predicate has a where": CommandRule(
        "concepts/data-soft-delete",
        ".delete table Costs records <| Costs | where Name == 'x'",
        ".delete table Costs records <| Costs | take 1",
        "at least one 'where'",
    ),
    "a delete predicate has five operators": CommandRule(
        "concepts/data-soft-delete",
        ".delete table Costs records <| Costs | extend A = 1 | where A == 1 | order by A asc | take 1 | project A",
        ".delete table Costs records <| Costs | where Name == 'x' | distinct Name",
        "operator 'distinct'",
    ),
    "a delete predicate is about one table": CommandRule(
        "concepts/data-soft-delete",
        ".delete table Costs records <| Costs | where Name == 'x'",
        ".delete table Costs records <| Other | where A == 'x'",
        "only reference the table 'Costs'",
    ),
    "moved extents come from a table of the same schema": CommandRule(
        "management/update-table-command",
        ".update table Costs delete D move Same <| let D = Costs | where Name == 'x';",
        ".update table Costs delete D move Other <| let D = Costs | where Name == 'x';",
        "schema of table 'Other'",
    ),
    "a delete predicate reads no other table": CommandRule(
        "concepts/data-soft-delete",
        ".delete table Costs records <| Costs | where Name in ('x')",
        ".delete table Costs records <| Costs | where Name in (toscalar(Other | summarize max(A)))",
        "only reference the table 'Costs'",
    ),
    "whether an update is a trial is a bool": CommandRule(
        "management/update-table-command",
        ".update table Costs delete D append A with (whatif=true) <| let D = Costs | where Name == 'x'; let A = Same;",
        ".update table Costs delete D append A with (whatif=yes) <| let D = Costs | where Name == 'x'; let A = Same;",
        "not a bool",
    ),
    "tags of extents to move are an array": CommandRule(
        "management/update-table-command",
        _moving("""'["a"]'"""),
        _moving("'a'"),
        "not an array of texts",
    ),
    "tags of ingested rows are an array": CommandRule(
        "ingestion-properties",
        """.set-or-append Costs with (tags='["ingest-by:a"]') <| Same""",
        ".set-or-append Costs with (tags='ingest-by:a') <| Same",
        "not an array of texts",
    ),
    "a name has letters, digits and few signs": CommandRule(
        "query/schema-entities/entity-names",
        ".create table ['a b-c.d_e'] (A: string)",
        ".create table ['a;b'] (A: string)",
        "not a valid name",
    ),
    "a name has 1,024 characters": CommandRule(
        "query/schema-entities/entity-names",
        f".create table {'x' * 1024} (A: string)",
        f".create table {'x' * 1025} (A: string)",
        "not a valid name",
    ),
    "names with two underscores at an end are reserved": CommandRule(
        "query/schema-entities/entity-names",
        ".create table New (_A_: string)",
        ".create table New (__A: string)",
        "not a valid name",
    ),
    "a default is a literal of the type": CommandRule(
        "query/functions/user-defined-functions",
        ".create-or-alter function P(a: long = 5, b: string = 'x', c: datetime = datetime(null)) { Costs }",
        ".create-or-alter function P(a: string = 5) { Costs }",
        "no literal of type string",
    ),
    "a default is no calculation": CommandRule(
        "query/functions/user-defined-functions",
        ".create-or-alter function P(a: datetime = datetime(2026-01-01)) { Costs }",
        ".create-or-alter function P(a: datetime = ago(1d)) { Costs }",
        "no literal of type datetime",
    ),
    "parameters with a default come last": CommandRule(
        "query/functions/user-defined-functions",
        ".create-or-alter function P(b: string, a: string = 'x') { Costs }",
        ".create-or-alter function P(a: string = 'x', b: string) { Costs }",
        "without a default follows one with it",
    ),
    "a call has the arguments of its function": CommandRule(
        "query/functions/user-defined-functions",
        ".create-or-alter function P() { F() }",
        ".create-or-alter function P() { F(1) }",
        "expects 0 to 0 arguments, not 1",
    ),
    "an update policy has the columns of its table": CommandRule(
        "management/update-policy",
        _policy("update", '[{"IsEnabled": true, "Source": "Same", "Query": "Same"}]'),
        _policy("update", '[{"IsEnabled": true, "Source": "Other", "Query": "Other"}]'),
        "UpdatePolicy is malformed",
    ),
    "the source of an update policy is there": CommandRule(
        "management/update-policy",
        _policy("update", '[{"IsEnabled": true, "Source": "Same", "Query": "Same"}]'),
        _policy("update", '[{"IsEnabled": true, "Source": "Nothing", "Query": "Same"}]'),
        "'Nothing' could not be found",
    ),
    "an application is named with its tenant": CommandRule(
        "management/reference-security-principals",
        ".add database OpenCost viewers ('aadapp=a;b', 'aaduser=a@example.com', 'aadgroup=a;b')",
        ".add database OpenCost viewers ('aadapp=a')",
        "not a principal",
    ),
    "tables have a case": CommandRule(
        "query/schema-entities/entity-names",
        ".set New <| Same",
        ".set Newer <| same",
        "named 'same'",
    ),
    "databases have no case": CommandRule(
        "query/schema-entities/entity-names",
        ".show database opencost principal roles",
        ".show database opencosts principal roles",
        "could not be found",
    ),
    "both identifiers of an update are defined": CommandRule(
        "management/update-table-command",
        ".update table Costs delete D append A <| let D = Costs | where Name == 'x'; let A = Same;",
        ".update table Costs delete D append A <| let D = Costs | where Name == 'x';",
        "'A' is not defined",
    ),
    "appended columns are those of the table": CommandRule(
        "management/data-ingestion/ingest-from-query",
        ".set-or-append Costs <| Same",
        ".set-or-append Costs <| Other",
        "schema does not match",
    ),
    "only a new table is set": CommandRule(
        "management/data-ingestion/ingest-from-query", ".set New <| Same", ".set Costs <| Same", "already exists"
    ),
    "only a table that is there is appended to": CommandRule(
        "management/data-ingestion/ingest-from-query", ".append Costs <| Same", ".append New <| Same", "'New' could not"
    ),
    "a function calls what is there": CommandRule(
        "management/create-alter-function",
        ".create-or-alter function F() { Costs | where strlen(Name) > 1 }",
        ".create-or-alter function F() { Nothing() }",
        "Unknown function: 'Nothing'",
    ),
    "a function reads tables that are there": CommandRule(
        "management/create-alter-function",
        ".create-or-alter function F() { Costs }",
        ".create-or-alter function F() { Nothing | count }",
        "Failed to resolve table or column expression named 'Nothing'",
    ),
    "a function reads columns that are there": CommandRule(
        "management/create-alter-function",
        ".create-or-alter function F() { Costs | where Name == 'x' }",
        ".create-or-alter function F() { Costs | where Nothing == 'x' }",
        "Failed to resolve scalar expression named 'Nothing'",
    ),
    "inline data has a mapping that is there": CommandRule(
        "management/data-ingestion/ingest-inline",
        ".ingest inline into table Other <| x",
        ".ingest inline into table Other with (format='json', ingestionMappingReference='m') <| {}",
        "Mapping reference 'm'",
    ),
}

RULES: Final[dict[str, Rule]] = {
    "each command needs its least role": Rule(
        "access-control/role-based-access-control",
        "test_access.test_the_least_role_is_enough",
        "test_access.test_a_missing_role_is_refused_with_kustos_message",
    ),
    "reading needs a reader": Rule(
        "access-control/role-based-access-control", "test_access.test_reading_needs_a_reader"
    ),
    "ingesting needs an ingestor": Rule(
        "access-control/role-based-access-control", "test_access.test_an_ingestor_ingests_and_a_viewer_does_not"
    ),
    "roles on a table are shown of that table": Rule(
        "management/security-roles", "test_access.test_only_the_creator_is_admin"
    ),
    "roles are granted and dropped": Rule(
        "management/manage-database-security-roles", "test_access.test_roles_are_granted_shown_and_dropped"
    ),
    "row-level security replaces a table": Rule(
        "management/row-level-security-policy", "test_access.test_row_level_security_replaces_the_table"
    ),
    "a restricted view needs a further role": Rule(
        "management/restricted-view-access-policy", "test_access.test_restricted_view_access_needs_a_further_role"
    ),
    "names of a function are resolved when it is created": Rule(
        "management/create-alter-function",
        "test_commands.test_a_function_that_resolves_is_stored",
        "test_commands.test_a_function_that_does_not_read_or_resolve_is_refused",
    ),
    "a copy has all but the update policy": Rule(
        "management/create-table-based-on-command",
        "test_commands.test_a_table_based_on_another_has_all_but_the_update_policy",
    ),
    "delete and append are one transaction": Rule(
        "management/update-table-command",
        "test_update.test_rows_are_deleted_and_others_added_in_one_transaction",
        "test_update.test_an_append_of_another_schema_deletes_nothing",
    ),
    "whatif shows counts and changes nothing": Rule(
        "management/update-table-command",
        "test_update.test_whatif_shows_counts_and_changes_nothing",
        "test_update.test_rows_are_deleted_and_others_added_in_one_transaction",
    ),
    "one command deletes 5 million records at most": Rule(
        "management/update-table-command", "test_update.test_one_command_deletes_five_million_records_at_most"
    ),
    "predicates of a delete are limited": Rule(
        "concepts/data-soft-delete",
        "test_update.test_a_predicate_may_use_five_operators",
        "test_update.test_other_predicates_are_refused",
    ),
    "soft delete keeps tags": Rule(
        "concepts/data-soft-delete",
        "test_update.test_an_extent_that_lost_rows_keeps_its_tags_and_times",
        "test_behaviour.test_tags_outlive_rows_until_compaction",
    ),
    "`has` compares whole tags": Rule("management/show-extents", "test_extents.test_tags_match_in_full"),
    "a tag lands once in its table": Rule(
        "management/extent-tags",
        "test_ingestion.test_a_tag_is_free_again_when_its_extent_is_dropped",
        "test_ingestion.test_a_tag_lands_once_in_its_table",
    ),
    "tags stay until their retention ends": Rule(
        "management/extent-tags-retention-policy", "test_behaviour.test_tags_expire_by_their_policy"
    ),
    "extents merge, but for some": Rule(
        "management/merge-policy",
        "test_behaviour.test_extents_merge_at_any_time",
        "test_behaviour.test_what_may_not_merge_does_not",
    ),
    "a table is dropped after its expiry": Rule(
        "management/auto-delete-policy", "test_behaviour.test_a_table_is_dropped_when_its_time_is_over"
    ),
    "ingestion failures are those of the engine": Rule(
        "management/ingestion-failures",
        "test_ingestion.test_a_missing_table_fails",
        "test_behaviour.test_messages_get_lost_late_or_doubled",
    ),
    "slots are limited and shown": Rule(
        "management/show-capacity-command", "test_behaviour.test_a_slot_takes_one_blob_at_a_time"
    ),
    "commands are throttled": Rule("management/capacity-policy", "test_behaviour.test_requests_are_throttled"),
    "weak reads are stale": Rule("concepts/query-consistency", "test_behaviour.test_stale_reads_see_an_earlier_state"),
    "results are cached": Rule(
        "query/query-results-cache",
        "test_behaviour.test_results_are_cached_unless_their_age_must_be_zero",
        "test_behaviour.test_results_of_secured_tables_are_not_cached",
    ),
    "a query fails when part of its answer is sent": Rule(
        "concepts/partial-query-failures", "test_behaviour.test_queries_fail_inside_their_result"
    ),
    "an answer has 500,000 records and 64 MB": Rule(
        "concepts/query-limits", "test_responses.test_a_result_beyond_the_limits_fails"
    ),
    "a string is never null": Rule(
        "query/scalar-data-types/null-values", "test_responses.test_a_string_is_empty_where_others_are_null"
    ),
    "a bag has no order": Rule(
        "query/scalar-data-types/dynamic", "test_responses.test_the_keys_of_a_bag_are_reordered"
    ),
    "a dynamic value has at most 1 MiB": Rule(
        "query/scalar-data-types/dynamic", "test_ingestion.test_a_dynamic_value_beyond_a_mebibyte_is_null"
    ),
    "names may hold blanks and hyphens": Rule(
        "query/schema-entities/entity-names",
        "test_responses.test_a_database_of_any_name_takes_rows",
        "test_commands.test_another_database_is_not_found",
    ),
    "now is the time of the service": Rule("query/now-function", "test_responses.test_now_is_the_clock_of_the_service"),
    "ingestion_time is that of the row": Rule(
        "query/ingestion-time-function",
        "test_responses.test_the_newest_row_by_the_time_of_its_ingestion",
        "test_update.test_moved_rows_keep_the_time_of_their_ingestion",
    ),
    "inline data is there when the command ends": Rule(
        "management/data-ingestion/ingest-inline",
        "test_ingestion.test_rows_are_ingested_inline_at_once",
        "test_ingestion.test_inline_data_that_cannot_be_read_is_an_error",
    ),
    "commands have an endpoint of their own": Rule(
        "management", "test_commands.test_a_command_does_not_run_as_a_query"
    ),
    "a query consistency is one of five": Rule(
        "api/rest/request-properties", "test_commands.test_a_consistency_is_one_of_five"
    ),
    "one bad record refuses a multijson file": Rule(
        "ingest-json-formats",
        "test_ingestion.test_multijson_takes_records_in_any_layout",
        "test_ingestion.test_a_bad_record_fails_the_file",
    ),
}

# What "as strict as the documentation" means, and the rules in `COMMANDS` and `RULES` that say so.
STRICTNESS: Final[dict[str, tuple[str, ...]]] = {
    "policies are validated": (
        "an update policy has the columns of its table",
        "the prefix of a tag retention has one colon",
        "a retention period is a timespan",
        "batching takes 10 seconds or more",
        "a batch has 1 to 25,000 items",
        "a policy has no other properties",
        "a table expires in the future",
        "merging is allowed or not",
        "row-level security and restricted view exclude each other",
    ),
    "each client has roles": (
        "each command needs its least role",
        "reading needs a reader",
        "ingesting needs an ingestor",
        "a restricted view needs a further role",
    ),
    "callees and columns are resolved": (
        "a function calls what is there",
        "a function reads tables that are there",
        "a function reads columns that are there",
        "a call has the arguments of its function",
        "tables have a case",
        "names of a function are resolved when it is created",
    ),
    "null strings": ("a string is never null",),
    "bag keys": ("a bag has no order",),
    "whole tags": ("`has` compares whole tags",),
    "result limits": ("an answer has 500,000 records and 64 MB",),
    "one ingestion slot": ("slots are limited and shown",),
    "refusals that show nowhere": ("ingestion failures are those of the engine",),
    ".update table": (
        "delete and append are one transaction",
        "whatif shows counts and changes nothing",
        "moved extents come from a table of the same schema",
        "both identifiers of an update are defined",
        "predicates of a delete are limited",
        "a delete predicate reads no other table",
        "one command deletes 5 million records at most",
    ),
    ".show capacity": ("slots are limited and shown",),
    "principals": ("roles are granted and dropped", "roles on a table are shown of that table"),
    "dynamic values of 1 MiB": ("a dynamic value has at most 1 MiB",),
    "several databases": ("names may hold blanks and hyphens", "databases have no case"),
}
