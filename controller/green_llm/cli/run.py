"""``green-llm run``."""


def run() -> int:
    """Later."""
    return 0
