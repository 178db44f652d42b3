"""The lane with a real kube-apiserver: `python -m tests.kube`."""
