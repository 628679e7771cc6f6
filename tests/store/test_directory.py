"""A directory of YAML files: what is read, what is written, and what is left as it was."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from green_llm.domain import ledger_file as ledger
from green_llm.domain.amounts import Amounts, Ledger
from green_llm.domain.request import Kind, ObjectKey
from green_llm.domain.routes import Route, RouteKey, RouteWrite
from green_llm.errors import StoreError
from green_llm.store import files
from green_llm.store.directory import DirectoryStore

KEY = RouteKey("gateway.networking.k8s.io", "HTTPRoute", "inference", "r")
HEAD = """\
# a comment at the top
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: inference}   # and here
spec:
  rules:
"""
ROUTES = {
    "flow": (
        "  - name: chat\n    backendRefs:\n    - {name: a, port: 80, weight: 1000} # near\n    - {name: b, port: 80, weight: 0}\n",
        "  - name: chat\n    backendRefs:\n    - {name: a, port: 80, weight: 250} # near\n    - {name: b, port: 80, weight: 750}\n",
    ),
    "block, odd order, quotes": (
        "  - backendRefs:\n      - weight:   1000   # now\n        \"name\": 'a'\n        port: 80\n      -   port: 80\n          name: b\n          weight: 0\n    name: chat\n",
        "  - backendRefs:\n      - weight:   250   # now\n        \"name\": 'a'\n        port: 80\n      -   port: 80\n          name: b\n          weight: 750\n    name: chat\n",
    ),
    "no weight yet, block": (
        "  - name: chat\n    backendRefs:\n    - name: a   # first\n      port: 80\n    - name: b\n      port: 80\n      weight: 0\n",
        "  - name: chat\n    backendRefs:\n    - name: a   # first\n      weight: 250\n      port: 80\n    - name: b\n      port: 80\n      weight: 750\n",
    ),
    "no weight yet, flow": (
        "  - {name: chat, backendRefs: [{name: a, port: 80}, {port: 80, name: b}]}\n",
        "  - {name: chat, backendRefs: [{name: a, weight: 250, port: 80}, {port: 80, name: b, weight: 750}]}\n",
    ),
    "no end of line": (
        "  - name: chat\n    backendRefs:\n    - {name: b, port: 80, weight: 1}\n    - port: 80\n      name: a",
        "  - name: chat\n    backendRefs:\n    - {name: b, port: 80, weight: 750}\n    - port: 80\n      name: a\n      weight: 250",
    ),
    "accents before it": (
        "  # éàü 漢字\n  - name: chat\n    backendRefs: [{name: a, port: 80, weight: 7}, {name: b, port: 80, weight: 3}]  # ü\n",
        "  # éàü 漢字\n  - name: chat\n    backendRefs: [{name: a, port: 80, weight: 250}, {name: b, port: 80, weight: 750}]  # ü\n",
    ),
}


def put(root: Path, text: str, name: str = "routes.yaml") -> DirectoryStore:
    (root / name).write_text(text, encoding="utf-8", newline="")
    store = DirectoryStore(root)
    store.load()
    return store


async def the_route(store: DirectoryStore) -> Route:
    return (await store.read([KEY]))[KEY]


def change(route: Route, a: int, b: int, rule: str = "chat") -> RouteWrite:
    weights = {key: (a if key.name == "a" else b) for key in route.rule(rule).weights}
    return RouteWrite(route, {rule: weights})


@pytest.mark.parametrize(("before", "after"), ROUTES.values(), ids=ROUTES.keys())
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
async def test_only_the_weights_change(tmp_path: Path, before: str, after: str, ending: str, mark: str) -> None:
    other = "---\n# another document\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n"
    tail = "" if before[-1] != "\n" else other
    store = put(tmp_path, (mark + HEAD + before + tail).replace("\n", ending))
    route = await the_route(store)
    found = await store.write(change(route, 250, 750))
    text = (tmp_path / "routes.yaml").read_bytes().decode()
    assert text == (mark + HEAD + after + tail).replace("\n", ending)
    assert found == await the_route(store)
    assert not store.changed(), "an edit of ours is no edit"
    # Writing what is there already is no write at all.
    stamp = files.stamp(tmp_path / "routes.yaml")
    await store.write(change(found, 250, 750))
    assert files.stamp(tmp_path / "routes.yaml") == stamp
    assert found == await the_route(put(tmp_path, text))


async def test_twice_in_a_row(tmp_path: Path) -> None:
    store = put(tmp_path, HEAD + ROUTES["flow"][0])
    await store.write(change(await the_route(store), 5, 995))
    await store.write(change(await the_route(store), 1000, 0))
    assert (tmp_path / "routes.yaml").read_text() == HEAD + ROUTES["flow"][0]


async def test_an_edit_in_between_is_not_overwritten(tmp_path: Path) -> None:
    store = put(tmp_path, HEAD + ROUTES["flow"][0])
    route = await the_route(store)
    edited = HEAD + ROUTES["flow"][0].replace("weight: 0", "weight: 3")
    (tmp_path / "routes.yaml").write_text(edited)
    with pytest.raises(StoreError, match="has changed in .* since it was read"):
        await store.write(change(route, 250, 750))
    assert (tmp_path / "routes.yaml").read_text() == edited
    assert store.changed()


@pytest.mark.parametrize(
    "rules",
    [
        "  - name: chat\n    backendRefs: &refs [{name: a, port: 80, weight: 7}, {name: b, port: 80}]\n"
        "  - name: code\n    backendRefs: *refs\n",
        "  - name: chat\n    backendRefs: [{name: a, port: 80, weight: &w 7}, {name: b, port: 80, weight: *w}]\n",
    ],
)
async def test_what_cannot_be_written_alone_is_refused(tmp_path: Path, rules: str) -> None:
    store = put(tmp_path, HEAD + rules)
    with pytest.raises(StoreError, match="cannot be written alone|is not YAML"):
        await store.write(change(await the_route(store), 250, 750))
    assert (tmp_path / "routes.yaml").read_text() == HEAD + rules


async def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = put(tmp_path, HEAD + ROUTES["flow"][0])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        await store.write(change(await the_route(store), 250, 750))
    assert (tmp_path / "routes.yaml").read_text() == HEAD + ROUTES["flow"][0]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["routes.yaml"]


async def test_a_route_that_leads_outside_is_not_written(tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(HEAD + ROUTES["flow"][0])
    root = tmp_path / "root"
    root.mkdir()
    (root / "routes.yaml").symlink_to(outside)
    store = DirectoryStore(root)
    store.load()
    with pytest.raises(StoreError, match="leads outside"):
        await store.write(change(await the_route(store), 250, 750))


async def test_the_mode_of_a_file_stays(tmp_path: Path) -> None:
    store = put(tmp_path, HEAD + ROUTES["flow"][0])
    (tmp_path / "routes.yaml").chmod(0o640)
    await store.write(change(await the_route(store), 250, 750))
    assert (tmp_path / "routes.yaml").stat().st_mode & 0o777 == 0o640


def test_unreadable_files_are_named_and_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [unclosed\n")
    (tmp_path / "b.yaml").write_text("just text\n")
    (tmp_path / "c.yaml").write_text("kind: Thing\n")
    (tmp_path / "d.yaml").write_text("apiVersion: greenllm.dev/v1alpha1\nkind: GreenPolice\nmetadata: {name: x}\n")
    (tmp_path / "e.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "f.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: foreign}\n")
    (tmp_path / "g.yaml").write_text(
        "kind: Namespace\napiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {a: b}}\n"
    )
    (tmp_path / ".hidden.yaml").write_text("kind: [\n")
    (tmp_path / "x.status.yaml").write_text("kind: [\n")
    loaded = DirectoryStore(tmp_path).load()
    found = "\n".join(loaded.unreadable)
    assert "a.yaml:2:1: is not YAML" in found
    assert "b.yaml:1: is no mapping" in found
    assert "c.yaml:1: a document has no apiVersion and kind" in found
    assert 'd.yaml:2: kind: "GreenPolice" is unknown' in found
    assert "e.yaml: is not UTF-8 text" in found
    assert 'g.yaml:3: the key "kind" is there twice' in found
    assert len(loaded.unreadable) == 6
    assert loaded.namespace_labels == {"n": {"a": "b"}}


def test_an_object_in_two_files_is_a_problem(tmp_path: Path) -> None:
    text = "apiVersion: greenllm.dev/v1alpha1\nkind: SignalSource\nmetadata: {name: s}\nspec: {provider: Persistence}\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text)
    loaded = DirectoryStore(tmp_path).load()
    (problem,) = loaded.problems
    assert problem.key == ObjectKey(Kind.SOURCE, "", "s")
    assert "a.yaml:3; keep one" in problem.message


def test_edits_are_noticed(tmp_path: Path) -> None:
    store = put(tmp_path, HEAD + ROUTES["flow"][0])
    assert not store.changed()
    (tmp_path / "new.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n")
    assert store.changed()
    store.load()
    (tmp_path / "s.csv").write_text("start\n")
    store.read_text("s.csv")
    assert not store.changed()
    (tmp_path / "s.csv").write_text("start,end\n")
    assert store.changed()
    store.read_text("s.csv")
    (tmp_path / "new.yaml").unlink()
    assert store.changed()


def test_files_outside_the_directory_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(StoreError, match="is outside"):
        DirectoryStore(root).read_text("../secret")
    with pytest.raises(StoreError, match="does not exist"):
        DirectoryStore(root).read_text("missing.csv")


def test_config_maps_hold_recordings_too(tmp_path: Path) -> None:
    store = put(tmp_path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: 'start,end'}\n")
    assert store.read_text("configmap:c/k")[1] == "start,end"
    with pytest.raises(StoreError, match='no ConfigMap "c" with the key "z"'):
        store.read_text("configmap:c/z")


LEDGER = Ledger(
    charged_until=datetime(2026, 11, 1, 12, 34, 56, 789000, tzinfo=UTC),
    in_force={"iowa": Amounts(cost_paid=1.25, queries=3.0)},
    nearest={"ohio": Amounts(emissions_kg=0.1)},
    uncharged_seconds=12.5,
    period_start=datetime(2026, 10, 5, tzinfo=UTC),
    used_liters=1 / 3,
    slot_start=datetime(2026, 11, 1, 12, tzinfo=UTC),
    slot_liters=0.1,
    held_since={"texas": datetime(2026, 11, 1, 11, tzinfo=UTC)},
    last_write={"HTTPRoute/inference/r/chat": datetime(2026, 11, 1, 12, tzinfo=UTC)},
)


def test_a_ledger_comes_back_as_it_was(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    assert store.load_ledger("default") is None
    store.save_ledger("default", LEDGER)
    assert DirectoryStore(tmp_path).load_ledger("default") == LEDGER


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"format": "other/1"}', ledger.dump(LEDGER)[:-30], ledger.dump(LEDGER).replace("used_liters", "used")],
)
def test_a_damaged_ledger_is_never_begun_anew(tmp_path: Path, text: str) -> None:
    store = DirectoryStore(tmp_path)
    store.save_ledger("default", LEDGER)
    (tmp_path / "state" / "ledger-default.json").write_text(text)
    with pytest.raises(StoreError, match="the ledger is damaged .* restore it from a copy, or delete it"):
        store.load_ledger("default")


def test_status_is_written_beside_the_file_and_only_when_it_changes(tmp_path: Path) -> None:
    text = "apiVersion: greenllm.dev/v1alpha1\nkind: SignalSource\nmetadata: {name: s}\nspec: {provider: Persistence}\n"
    store = put(tmp_path, text, "sources.yaml")
    key = ObjectKey(Kind.SOURCE, "", "s")
    store.write_status({key: {"conditions": []}})
    path = tmp_path / "sources.status.yaml"
    stamp = files.stamp(path)
    assert store.read_status() == {key: {"conditions": []}}
    store.write_status({key: {"conditions": []}})
    assert files.stamp(path) == stamp
    assert not store.changed()
    fresh = DirectoryStore(tmp_path)
    fresh.load()
    assert fresh.read_status() == {key: {"conditions": []}}
    fresh.write_status({key: {"conditions": [{"type": "Ready"}]}})
    assert fresh.read_status()[key] == {"conditions": [{"type": "Ready"}]}


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no directory"):
        DirectoryStore(tmp_path / "nope")


async def test_the_weights_of_adoption_are_noted_once(tmp_path: Path) -> None:
    store = put(tmp_path, HEAD + ROUTES["flow"][0])
    before = await the_route(store)
    assert [rule.original for rule in before.rules] == [None] * len(before.rules)
    await store.write(change(before, 250, 750))
    await store.write(change(await the_route(store), 0, 1000))
    again = DirectoryStore(tmp_path)
    again.load()
    (found,) = (await again.read([before.key])).values()
    assert [rule.original for rule in found.rules if rule.original] == [dict(before.rules[0].weights)]
