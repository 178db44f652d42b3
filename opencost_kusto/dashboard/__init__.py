"""The dashboard: its tiles, and pictures of them."""
