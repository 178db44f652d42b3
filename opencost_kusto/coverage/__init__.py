"""Which windows are landed, missing, expired or lost; catch-up, backfill and status."""
