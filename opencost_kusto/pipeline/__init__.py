"""The three stages together: sync, replay, export, and many sources at once."""
