"""One Kusto database: the client, sign-in, errors and deadlines."""
