"""Pods of one release beside the schema of another."""
