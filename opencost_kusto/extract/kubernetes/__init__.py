"""OpenCost inside a Kubernetes cluster, through the API server or, in the cluster, at its address there."""
