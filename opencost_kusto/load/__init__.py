"""Rows to Kusto: spool, ingestion, tracking, replacement and the run log."""
