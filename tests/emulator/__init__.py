"""The local emulator, tried by the unmodified SDK."""
