"""Patches of routes, as the API server would apply them."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from green_llm.domain.routes import BackendKey, Route, RouteWrite
from green_llm.kube.mirror import ANNOTATION, OVERWRITTEN, Mirror, is_contended
from green_llm.kube.routes import build_patch, restoring_patch

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
A, B = (BackendKey("", "Service", "inference", name, 80) for name in "ab")


def body(a: int = 700, b: int = 300, **annotations: str) -> dict[str, Any]:
    references = [{"name": name, "port": 80, "weight": weight} for name, weight in (("a", a), ("b", b))]
    metadata: dict[str, Any] = {"name": "iowa", "namespace": "inference", "uid": "u", "resourceVersion": "7"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
        "spec": {"rules": [{"name": "chat", "backendRefs": references}]},
    }  # fmt: skip


class TestFailedError(Exception):
    """What the API server answers as 422."""

    __test__ = False


def apply(document: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902, as far as we use it."""
    found = copy.deepcopy(document)
    for operation in operations:
        *steps, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = found
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        match operation["op"]:
            case "test":
                if place.get(last) != operation["value"]:
                    raise TestFailedError(operation)
            case "add":
                place[last] = operation["value"]
            case "remove":
                del place[last]
    return found


def route_of(document: dict[str, Any]) -> Route:
    mirror = Mirror()
    mirror.put(document)
    key = next(iter(mirror._routes())).key
    found = mirror.route(key)
    assert found is not None
    return found


def written(document: dict[str, Any], a: int, b: int, now: datetime = NOW) -> dict[str, Any]:
    change = RouteWrite(route_of(document), {"chat": {A: a, B: b}})
    return apply(document, build_patch(document, change, now))


def weights(document: dict[str, Any]) -> list[int]:
    return [reference["weight"] for reference in document["spec"]["rules"][0]["backendRefs"]]


def test_a_write_notes_the_originals_and_a_restore_gives_them_back() -> None:
    ours = written(body(), 400, 600)
    assert weights(ours) == [400, 600]
    again = written(ours, 0, 1000)
    assert json.loads(again["metadata"]["annotations"][ANNOTATION])["chat"]["original"] == {str(A): 700, str(B): 300}
    back = apply(again, restoring_patch(again, {"chat"}))
    assert weights(back) == [700, 300]
    assert back["metadata"]["annotations"] == {}


def test_weights_of_somebody_else_are_not_restored() -> None:
    theirs = copy.deepcopy(written(body(), 400, 600))
    theirs["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    back = apply(theirs, restoring_patch(theirs, {"chat"}))
    assert weights(back) == [1, 600]
    assert back["metadata"]["annotations"] == {}


@pytest.mark.parametrize("change", ["uid", "name", "weight", "rule"])
def test_a_patch_is_refused_where_the_route_is_not_what_was_read(change: str) -> None:
    document = body()
    operations = build_patch(document, RouteWrite(route_of(document), {"chat": {A: 1, B: 999}}), NOW)
    reference = document["spec"]["rules"][0]["backendRefs"][0]
    match change:
        case "uid":
            document["metadata"]["uid"] = "another"
        case "name":
            reference["name"] = "c"
        case "weight":
            reference["weight"] = 5
        case "rule":
            document["spec"]["rules"][0]["name"] = "code"
    with pytest.raises(TestFailedError):
        apply(document, operations)


def test_one_overwrite_is_no_fight_and_three_within_minutes_are() -> None:
    document = written(body(), 400, 600)
    for n in range(3):
        assert not is_contended(document, NOW)
        document["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
        document = written(document, 400, 600, NOW + timedelta(minutes=n))
    assert document["metadata"]["annotations"][OVERWRITTEN].count(",") == 2
    last = NOW + timedelta(minutes=2)
    assert is_contended(document, last)
    assert is_contended(document, NOW + timedelta(minutes=9, seconds=59))
    assert not is_contended(document, NOW + timedelta(minutes=10)), "tried again when the first is long ago"
    assert not is_contended(body(**{OVERWRITTEN: "no time,,"}), NOW)
    back = apply(document, restoring_patch(document, {"chat"}))
    assert back["metadata"]["annotations"] == {}


def test_our_own_new_weights_are_no_overwrite() -> None:
    document = written(written(body(), 400, 600), 300, 700)
    assert OVERWRITTEN not in document["metadata"]["annotations"]
