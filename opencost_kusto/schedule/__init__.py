"""Scheduled sync: the trigger loop, the health endpoint and Kubernetes manifests."""
