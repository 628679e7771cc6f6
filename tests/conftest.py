"""Options and fixtures of all tests."""

from __future__ import annotations

import pytest

from support.cluster_fixtures import cluster, operator, plane

__all__ = ["cluster", "operator", "plane"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="Rewrite golden files instead of comparing.")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten; read the difference before committing it."""
    return bool(request.config.getoption("--rewrite-golden"))
