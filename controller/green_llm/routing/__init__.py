"""Routes: reading and changing the weights of their rules, and nothing else."""
