"""Which windows are present, missing, expired or lost; filling gaps, backfill and status."""
