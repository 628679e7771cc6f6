"""The operator's role, against what the API server saw it do in all other tests. Runs last by its name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import yaml

from support.control_plane import ControlPlane
from support.operator_process import NAMESPACE

ROOT = Path(__file__).parents[2]


def test_rbac_is_what_is_used(cluster: ControlPlane, request: pytest.FixtureRequest) -> None:
    """After all scenarios: (group, resource, verb) granted equals (group, resource, verb) used."""
    if not {"test_operator.py", "test_routing.py", "test_signals.py"} <= {
        item.path.name for item in request.session.items
    }:
        reason = "what is used shows only after all scenarios: run the whole of tests/e2e"
        if request.config.getoption("lf"):  # It did fail, and this run cannot say that it does no longer.
            pytest.fail(reason)
        pytest.skip(reason)
    granted: set[tuple[str, str, str]] = set()
    for document in yaml.safe_load_all((ROOT / "deploy" / "base" / "rbac.yaml").read_text()):
        for rule in document.get("rules", []):
            granted |= {(g, r, v) for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
    used: set[tuple[str, str, str]] = set()
    for entry in cluster.audit():
        ref = entry.get("objectRef")
        if ref is not None and entry["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:green-llm":
            name = ref["resource"] + (f"/{ref['subresource']}" if ref.get("subresource") else "")
            used.add((ref.get("apiGroup", ""), name, entry["verb"]))
            # A namespace that is being deleted forbids creation too; that is no question of RBAC. Nor is what a starting
            # API server refuses before it has read the roles.
            received = datetime.fromisoformat(entry["requestReceivedTimestamp"])
            if not any(begun <= received <= ready for begun, ready in cluster.starts):
                assert entry["annotations"].get("authorization.k8s.io/decision") == "allow", (ref, entry["verb"])
    assert "*" not in {part for grant in granted for part in grant}
    assert used - granted == set()
    assert granted - used == set()
