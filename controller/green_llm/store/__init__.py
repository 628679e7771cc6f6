"""Where resources live: a directory of YAML files (the embedded run, GitOps)."""
