"""Values and pure functions: what the rest of the package talks about. Standard library and numpy only."""
