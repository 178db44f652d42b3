"""Tests of what ships in `kql/`: functions, queries and the dashboard."""
