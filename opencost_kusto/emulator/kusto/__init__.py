"""A local Kusto: REST endpoint, commands, queued ingestion, and DuckDB as the engine."""
