"""The local stand-in, tried by the unmodified SDK."""
