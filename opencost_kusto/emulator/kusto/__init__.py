"""A Kusto in memory, as strict as Microsoft's documentation where the program could go wrong by it.

It has tables, mappings, policies, extents with their tags, stored functions, roles, queued and inline ingestion,
`.update table` and soft delete. What a Kusto may do beyond that, and a small one rarely does, is switched on by a
`Behaviour`. Policies are checked, and those of merging, tag retention, auto delete and row-level security have their
effect, restricted views when switched on; those of caching, retention, sharding, batching and update have none.

It has no materialized views, streaming ingestion, continuous export, queries across databases or clusters, external
tables, `.execute database script` or asynchronous commands. Queries are those that duckdb-kql can run on DuckDB; a
built-in function beyond them is refused as unknown. `round` goes half up, which Kusto does not document.
"""
