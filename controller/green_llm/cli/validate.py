"""``green-llm validate``."""


def validate() -> int:
    """Later."""
    return 0
