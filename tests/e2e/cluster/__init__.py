"""Tests on a cluster with a node; a package, so that the node is gone when they have ended."""
