"""The only package that knows the Kubernetes API: a thin client, and stores that live in the cluster."""
