"""What the planner says of itself: metrics, logs, decision records."""
