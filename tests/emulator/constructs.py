"""Every construct that the program sends to Kusto, as the review of it counts them, with its verdict.

Right: a test shows that it is as Microsoft documents it. Otherwise a note says why it stays, or that it is gone. Tests
are named by their module below `tests`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Construct(NamedTuple):
    """What is sent, the tests that show it right, and a note where something is not shown, or was removed."""

    sent: str
    tests: tuple[str, ...] = ()
    note: str = ""

    @property
    def verdict(self) -> str:
        """`right`, or why not."""
        return "right" if self.tests and not self.note else self.note


GONE: Final = "Not sent any more: "
CLIENT, ERRORS, KQL = "kusto.test_client.", "kusto.test_sdk_errors.", "database.test_kql."
BOOTSTRAP, INGEST, REPLACE = "database.test_bootstrap.", "load.test_ingest.", "load.test_replace."
EMULATOR, FAULTS, ASSUMED = "emulator.", "faults.", "database.test_assumptions."

CONSTRUCTS: Final[dict[int, Construct]] = {
    1: Construct(
        "POST /v1/rest/mgmt and /v2/rest/query with application, request id, deadline and consistency",
        (
            CLIENT + "test_every_statement_names_the_program_and_its_request",
            CLIENT + "test_the_service_ends_a_query_when_we_do",
            CLIENT + "test_what_proves_is_read_fresh",
        ),
    ),
    2: Construct(
        'v1 and v2 answers: a null string is ""',
        (EMULATOR + "test_responses.test_a_string_is_empty_where_others_are_null",),
    ),
    3: Construct(
        ".show database schema as json, parameters of functions compared",
        (
            BOOTSTRAP + "test_each_difference_is_found_and_mended",
            BOOTSTRAP + "test_a_default_is_compared_however_it_is_quoted",
        ),
    ),
    4: Construct(
        ".create-merge table with docstring and folder; .alter table docstring for one that exists",
        (BOOTSTRAP + "test_a_table_that_exists_gets_its_sentence_by_a_command_of_its_own",),
    ),
    5: Construct(".alter-merge table column-docstrings", (KQL + "test_commands_of_tables_are_clean",)),
    6: Construct(
        ".create-or-alter table ingestion json mapping, fenced",
        (KQL + "test_mappings_take_each_key_to_its_column", KQL + "test_commands_of_tables_are_clean"),
    ),
    7: Construct("paths $.Record.a.b", (EMULATOR + "test_ingestion.test_paths_reach_into_records",)),
    8: Construct(
        ".alter-merge policy ingestionbatching",
        (KQL + "test_policies_are_those_of_the_design",),
        "Right, and without effect on a tagged blob, which Kusto seals alone; it is for rows that others queue.",
    ),
    9: Construct(
        ".alter policy extent_tags_retention, prefix ingest-by:",
        (
            KQL + "test_policies_are_those_of_the_design",
            EMULATOR + "test_rules.test_a_rule_can_be_obeyed_and_not_broken",
            BOOTSTRAP + "test_a_refused_nicety_does_not_stop_it",
        ),
    ),
    10: Construct("a fenced literal on one line", (KQL + "test_what_is_fenced_is_one_command",)),
    11: Construct(
        ".create-or-alter function, callees first",
        (
            KQL + "test_bundled_commands_are_in_the_order_they_must_run",
            EMULATOR + "test_commands.test_a_function_that_does_not_read_or_resolve_is_refused",
        ),
    ),
    12: Construct(
        "functions as tables, and as the right side of a join",
        (EMULATOR + "test_commands.test_a_function_that_resolves_is_stored",),
    ),
    13: Construct(
        ".show table ingestion json mappings",
        (KQL + "test_mappings_are_read_in_every_spelling_of_kusto", INGEST + "test_a_mapping_that_may_not_be_read"),
    ),
    14: Construct(".show table policy", (ASSUMED + "test_every_assumption_is_tried_and_the_table_dropped",)),
    15: Construct(
        ".show ingestion failures of the last day, of the database and the table, skipped ones left out",
        (
            INGEST + "test_failures_are_those_of_our_blobs",
            "load.test_tracker.test_a_skipped_blob_is_no_failure",
            "load.test_tracker.test_a_permanent_failure_is_counted_again",
            FAULTS + "test_documented.test_a_refusal_that_shows_nowhere",
        ),
    ),
    16: Construct(
        ".show tables | where TableName startswith",
        (FAULTS + "test_replace_steps.test_what_a_killed_run_left_is_swept_a_day_later",),
    ),
    17: Construct(
        ".create table X based-on T", note=GONE + "a staging table has the columns of the live one, by Database User."
    ),
    18: Construct(".alter table policy auto_delete", (REPLACE + "test_the_staging_table",)),
    19: Construct(".alter table policy merge", note=GONE + "rows are counted and moved whatever merges."),
    20: Construct(
        "queued ingestion into a table made a moment ago",
        (FAULTS + "test_replace.test_a_response_that_changed_replaces_the_first",),
    ),
    21: Construct("extent_id() of a batch's rows", note=GONE + "`.update table` names rows, not extents."),
    22: Construct(
        ".show table extents, tags parted by line breaks",
        (
            EMULATOR + "test_extents.test_tags_match_in_full",
            FAULTS + "test_documented.test_a_source_with_a_blank_in_its_name",
        ),
    ),
    23: Construct(
        ".set-or-append of neighbours",
        note=GONE + "no row of another batch is copied; the run log is written so.",
    ),
    24: Construct(
        ".replace extents",
        note=GONE + "`.update table … move` and `append` replace in one transaction, on Fabric too.",
    ),
    25: Construct(
        "moved extents keep their tags",
        (EMULATOR + "test_update.test_rows_are_deleted_and_others_added_in_one_transaction",),
    ),
    26: Construct(
        ".drop table ifexists", (FAULTS + "test_replace_steps.test_a_staging_table_that_cannot_be_dropped_is_named",)
    ),
    27: Construct(
        "the queue message: format, mapping, tags and ingestIfNotExists as JSON strings",
        (INGEST + "test_the_tag_of_a_message", CLIENT + "test_a_blob_is_queued_with_its_tag_or_with_none"),
    ),
    28: Construct("one tag for each batch, which is one blob", (INGEST + "test_the_tag_of_a_message",)),
    29: Construct(
        "the table is read before anything is sent, whatever its tags say",
        (
            FAULTS + "test_damage.test_two_copies_are_ingested_at_the_same_moment",
            FAULTS + "test_damage.test_deleted_rows_are_loaded_again",
        ),
    ),
    30: Construct("multijson: one bad record refuses the file", (FAULTS + "test_refused.test_a_poisoned_record",)),
    31: Construct(
        "JSON null, numbers and times with microseconds",
        (
            EMULATOR + "test_ingestion.test_what_is_absent_or_null_is_null",
            EMULATOR + "test_ingestion.test_a_row_is_returned_as_it_was_ingested",
        ),
    ),
    32: Construct(
        "dynamic values of 1 MiB at most",
        (
            EMULATOR + "test_ingestion.test_a_dynamic_value_beyond_a_mebibyte_is_null",
            FAULTS + "test_documented.test_a_value_that_kusto_drops",
        ),
        "Stays without an encoding policy: records are kilobytes, Kubernetes limits the annotations of an object to "
        "256 KiB, and a run says where a row is longer. A user may set BigObject; bootstrap leaves it.",
    ),
    33: Construct(
        "a blob of a batch, whatever its number of rows",
        ("load.test_holdings.test_a_complete_response",),
        "Stays: a batch of 100,000 rows is 300 MB raw, between the advised 100 MB and 1 GB; the limit is 6 GB.",
    ),
    34: Construct(
        "the proof in whole millionths, halves up on both sides",
        (KQL + "test_the_proof_has_integers", "schema.test_micros.test_kql_rounds_the_same_way"),
    ),
    35: Construct("in (…ids…), 100 to a query", ("load.test_holdings.test_many_batches_are_many_queries",)),
    36: Construct(
        "answers below 500,000 rows and 64 MB",
        (
            "coverage.test_months.test_a_long_period_is_read_month_by_month",
            "coverage.test_months.test_status_counts_every_month_once",
            EMULATOR + "test_responses.test_a_result_beyond_the_limits_fails",
        ),
    ),
    37: Construct(
        "options compared where they may be null", ("coverage.test_status.test_some_types_of_assets_are_not_all",)
    ),
    38: Construct("datetime literals and durations", (KQL + "test_texts_our_code_sends_are_clean",)),
    39: Construct(
        "throttling (429) is waited for",
        (ERRORS + "test_throttling_is_transient", FAULTS + "test_engine.test_throttled_then_fine"),
    ),
    40: Construct(
        "a missing table of ours points to bootstrap",
        (
            ERRORS + "test_a_missing_table_of_ours_points_to_bootstrap",
            ERRORS + "test_a_missing_table_of_somebody_else_does_not",
        ),
    ),
    41: Construct("ingest- and the host; Fabric", (CLIENT + "test_the_ingestion_address_follows_from_the_engine",)),
    42: Construct(
        ".add database ['x-y'] ingestors",
        (
            "kusto.test_rights.test_a_name_with_hyphens_and_blanks_is_quoted",
            "database.test_least_rights.test_the_grants_of_a_task_are_enough",
        ),
    ),
    43: Construct("failures and mappings that may not be read", (INGEST + "test_a_mapping_that_may_not_be_read",)),
    44: Construct(
        "kql/dashboard.json",
        (
            "kql.test_dashboard.test_a_tile_has_the_options_of_an_exported_one",
            "kql.test_dashboard.test_query_passes_the_analyser",
        ),
        "As exported dashboards are; no import has been seen.",
    ),
}

# What the review proposes and the program does not do, by the words of the guide `operations` that say so, and why.
STAYS: Final[dict[str, str]] = {
    "**Ingestion over REST**": "In preview, without a client for Python; how it reports a hit of a tag is open.",
    "**Large values.**": "Records are kilobytes, and a run notes a row in which Kusto may drop a value.",
    "Do labels that look like other types stay?": "The documentation leaves it open; `doctor --write` measures it.",
}

# The rules of the review, and the tests that hold each.
REVIEW: Final[dict[str, tuple[str, ...]]] = {
    "K1 the prefix of tag retention, and niceties": (
        KQL + "test_policies_are_those_of_the_design",
        BOOTSTRAP + "test_a_refused_nicety_does_not_stop_it",
        BOOTSTRAP + "test_a_refused_nicety_is_a_warning_and_exit_0",
    ),
    "K2 a hit of a tag is no failure": (
        FAULTS + "test_queue.test_a_skipped_message_is_no_failure",
        "load.test_tracker.test_a_skipped_blob_is_no_failure",
    ),
    "K3 replacement": (
        FAULTS + "test_replace.test_rows_of_other_batches_in_the_same_extent_stay",
        FAULTS + "test_replace.test_a_cluster_that_cannot_move",
        FAULTS + "test_documented.test_a_source_with_a_blank_in_its_name",
        "database.test_least_rights.test_the_grants_of_a_task_are_enough",
    ),
    "K4 errors inside an answer": (
        FAULTS + "test_queue.test_an_error_inside_a_response",
        ERRORS + "test_a_transient_error_inside_a_response_is_retried",
    ),
    "K5 rights": (
        "database.test_least_rights.test_pasting_what_the_doctor_prints_leads_to_a_run",
        ERRORS + "test_a_forbidden_query_names_the_command_that_mends_it",
        "kusto.test_rights.test_the_guide_has_every_task_and_its_lines",
    ),
    "K6 single ingestions": (
        FAULTS + "test_documented.test_one_slot_takes_several_batches",
        "load.test_tracker.test_the_timeout_counts_from_the_last_landing",
        "load.test_run_log.test_entries_go_in_few_commands",
    ),
    "K7 strong and fresh reads": (
        FAULTS + "test_documented.test_what_proves_is_strong_and_fresh",
        CLIENT + "test_fabric_gets_no_consistency_property",
    ),
    "K8 upgrades converge": (
        BOOTSTRAP + "test_each_difference_is_found_and_mended",
        BOOTSTRAP + "test_a_table_that_exists_gets_its_sentence_by_a_command_of_its_own",
    ),
    "K9 why a blob did not land": (
        FAULTS + "test_documented.test_a_refusal_that_shows_nowhere",
        FAULTS + "test_refused.test_the_mapping_is_missing",
        INGEST + "test_failures_are_those_of_our_blobs",
    ),
    "K10 signing in": (
        "kusto.test_signin.test_a_malformed_tenant_names_its_variable",
        "kusto.test_signin.test_the_authority_of_a_national_cloud_is_the_cluster_s",
        ERRORS + "test_a_refused_token_is_final",
        CLIENT + "test_a_refused_connection_is_named",
        CLIENT + "test_a_name_without_an_address_is_named",
        CLIENT + "test_an_unknown_certificate_is_named_and_not_tried_again",
        CLIENT + "test_a_proxy_that_is_down_is_named",
        CLIENT + "test_a_machine_without_azure_cli_gets_one_sentence",
        CLIENT + "test_a_host_that_the_user_trusts_may_get_a_token",
    ),
    "K11 support and operations": (
        CLIENT + "test_every_statement_names_the_program_and_its_request",
        ERRORS + "test_a_refusal_prints_the_ids_for_support",
        CLIENT + "test_a_command_that_must_not_run_twice_is_sent_once",
        "kql.test_dashboard.test_viewers_share_cached_results",
        "coverage.test_months.test_a_long_period_is_read_month_by_month",
    ),
    "K12 small things": (
        "schema.test_micros.test_kql_rounds_the_same_way",
        "load.test_tracker.test_no_reason_has_the_signature_of_a_blob",
        FAULTS + "test_documented.test_a_value_that_kusto_drops",
        # Whether labels that look like other types stay is not documented for certain: a cluster says.
        ASSUMED + "test_every_assumption_is_tried_and_the_table_dropped",
    ),
}
