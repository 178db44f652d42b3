"""The benchmark: whole pipelines from socket to gzip, their memory, and the gates they must pass."""
