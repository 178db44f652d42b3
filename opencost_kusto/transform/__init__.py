"""Records to rows."""
