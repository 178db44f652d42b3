"""OpenCost to records."""
