"""A local OpenCost."""
