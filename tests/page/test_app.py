"""The page over real HTTP: read-only, closed, and the same numbers as its JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from prometheus_client import CollectorRegistry

from green_llm.api import status
from green_llm.domain.request import Kind, ObjectKey, Problem
from green_llm.errors import InvalidInputError
from green_llm.observability.server import application
from green_llm.page.account import Account
from green_llm.page.horizon import Horizon
from green_llm.page.now import Now
from green_llm.page.past import Past
from green_llm.page.what_if import WhatIf
from support.pages import Site, a_site_served
from support.planner import outcomes
from support.resources import NOW, a_fleet, a_policy

DOCUMENT = Path(__file__).parents[2] / "docs" / "page.md"
VIEWS = ("/", "/horizon", "/history", "/account", "/what-if")


@pytest.fixture
def site() -> Iterator[Site]:
    with a_site_served() as found:
        yield found


async def filled(site: Site) -> Site:
    for outcome in await outcomes(a_fleet(), steps=3):
        site.record(outcome)
    return site


async def test_every_view_is_a_page_and_a_document(site: Site) -> None:
    await filled(site)
    for view in VIEWS:
        page = site.ask(view)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), view
        document = site.ask("/api/v1" + ("/now" if view == "/" else view)).json
        assert document["apiVersion"] == "v1"
        assert document["policy"] == "default"
    index = site.ask("/api/v1").json
    assert [entry["name"] for entry in index["policies"]] == ["default"]
    assert all(site.ask(view).status == 200 for view in index["views"])
    # Prices of 50 instead of 100 USD/MWh: the page says what the document says.
    cost = site.ask("/api/v1/now").json["rates"][0]
    assert cost["change"] == pytest.approx(-0.5)
    assert "−50.0 %" in site.ask("/").text


async def test_the_metrics_are_beside_it(site: Site) -> None:
    await filled(site)
    answer = site.ask("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'greenllm_in_force_cost_per_hour{currency="USD",policy="default",site="cheap"}' in answer.text


async def test_it_is_closed(site: Site) -> None:
    await filled(site)
    for path in (*VIEWS, "/api/v1/now", "/static/page.css", "/metrics", "/nowhere"):
        headers = site.ask(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert site.ask(path, method).status in (404, 405)
    for view in VIEWS:
        text = site.ask(view).text
        assert not re.findall(r"(?:src|href|action)=[\"']?(?:https?:)?//", text)
        assert not re.search(r"<[^>]+\s(?:style|on\w+)=", text)
        inline = re.findall(r"<script(?![^>]*\ssrc=)([^>]*)>", text)
        assert all('type="application/json"' in attributes for attributes in inline)


async def test_it_answers_to_its_own_names_only(site: Site) -> None:
    assert site.ask("/metrics", Host="rebound.example.com").status == 421
    assert site.ask("/metrics", Host="localhost:9464").status == 200
    with a_site_served(address="0.0.0.0") as everywhere:  # noqa: S104 - as in a pod
        assert everywhere.ask("/metrics", Host="green-llm.svc").status == 200


async def test_with_a_token_nothing_is_shown_without_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n", encoding="utf-8")
    with a_site_served(token_file=str(file)) as site:
        await filled(site)
        for path in (*VIEWS, "/metrics", "/api/v1", "/static/page.css"):
            refused = site.ask(path)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic")
            assert site.ask(path, Authorization="Bearer wrong").status == 401
            assert site.ask(path, Authorization="Basic %%%").status == 401
            assert site.ask(path, Authorization="Bearer s3cret").status == 200
        assert site.ask("/", Authorization="Basic YW55Ym9keTpzM2NyZXQ=").status == 200  # anybody:s3cret
        file.write_text("exchanged", encoding="utf-8")
        assert site.ask("/", Authorization="Bearer s3cret").status == 401
        assert site.ask("/", Authorization="Bearer exchanged").status == 200
        file.unlink()
        assert site.ask("/", Authorization="Bearer exchanged").status == 503


def test_a_token_file_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="GREEN_LLM_TOKEN_FILE .*cannot be read"):
        application(CollectorRegistry(), "127.0.0.1", str(tmp_path / "none"))
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is empty"):
        application(CollectorRegistry(), "127.0.0.1", str(tmp_path / "empty"))


async def test_what_is_not_there_is_named(site: Site) -> None:
    empty = site.ask("/")
    assert (empty.status, "nothing has been planned here yet" in empty.text) == (404, True)
    await filled(site)
    wrong = site.ask("/api/v1/now?policy=other")
    assert (wrong.status, wrong.json["message"]) == (404, 'there is no policy "other" here; known: default')
    assert site.ask("/api/v1/history?hours=never").status == 404
    assert site.ask("/api/v1/what-if?objective=delay").json["message"] == (
        '"delay" is no objective with others after it; take one of: cost, emissions'
    )


async def test_before_anything_is_planned_verdicts_are_shown(site: Site) -> None:
    key = ObjectKey(Kind.POLICY, "", "default")
    wrong = Problem(key, "spec.mode", 'must be Shadow or Active, not "Actve"', "Invalid")
    site.statuses[key] = status.rejected_status([wrong], NOW, None)
    page = site.ask("/horizon")
    assert page.status == 404
    assert "must be Shadow or Active, not &#34;Actve&#34;" in page.text
    (resource,) = site.ask("/api/v1/now").json["resources"]
    assert (resource["name"], resource["ready"]) == ("default", False)
    site.page.stands_by = lambda: "this replica stands by"
    assert site.ask("/api/v1/now").json["message"] == "this replica stands by"
    # An interval that fails is the nearer reason.
    site.page.failures = {"default": "the ledger is damaged"}
    assert site.ask("/api/v1/now").json["message"] == "policy default: the ledger is damaged"


async def test_a_planner_that_is_late_or_fails_is_said_on_every_view(site: Site) -> None:
    await filled(site)
    (entry,) = site.ask("/api/v1").json["policies"]
    assert entry["trouble"] is None
    site.page.recorded = lambda: {"default": time.monotonic() - 3600.0}
    site.page.failures = {"default": "ledger of default: <gone>"}
    (entry,) = site.ask("/api/v1").json["policies"]
    assert entry["trouble"].startswith("The planner is late: it last planned 60 min ago and should every 5 min.")
    assert entry["trouble"].endswith("The last interval came to nothing and is tried again: ledger of default: <gone>")
    assert site.ask("/api/v1/now").json["messages"][0] == entry["trouble"]
    assert "not up to date" in site.ask("/").text
    for view in VIEWS:
        text = site.ask(view).text
        assert text.count("<li>The planner is late" if view == "/" else 'bad">The planner is late') == 1, view
        assert "<gone>" not in text
    # Intervals of a replay do not come at their period.
    site.page.real_time, site.page.failures = False, {}
    assert site.ask("/api/v1").json["policies"][0]["trouble"] is None


async def test_all_policies_are_shown_beside_each_other(site: Site) -> None:
    await filled(site)
    assert "All policies" not in site.ask("/").text
    (other,) = await outcomes(a_fleet(policies={"other": a_policy(name="other")}, demands={}), policy="other")
    site.record(other)
    text = site.ask("/?policy=other").text
    assert "All policies" in text
    assert 'href="/?policy=default"' in text
    assert other.error is not None
    assert other.error in text


async def test_conditions_of_every_resource_are_shown(site: Site) -> None:
    await filled(site)
    document = site.ask("/api/v1/now").json
    found = {(entry["kind"], entry["name"]): entry for entry in document["resources"]}
    assert found.keys() == {
        ("GreenPolicy", "default"), ("InferenceDemand", "assistant"), ("InferenceSite", "near"), ("InferenceSite", "cheap"),
    }  # fmt: skip
    assert found["InferenceDemand", "assistant"]["ready"]
    assert "<strong>Routed=True</strong> Written" in site.ask("/").text


async def test_static_files_are_kept_for_ever_under_their_version(site: Site) -> None:
    await filled(site)
    page = site.ask("/horizon").text
    (plotly,) = re.findall(r'data-plotly="([^"]+)"', page)
    script = site.ask(plotly)
    assert (script.status, len(script.body) > 1_000_000) == (200, True)
    packed = site.ask(plotly, **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(script.body) / 2
    assert "immutable" in packed.headers["Cache-Control"]
    assert site.ask("/static/../app.py").status == 404


def names_of(kind: Any, seen: set[Any]) -> set[str]:
    """Names of a document's fields, and of those of what is in it."""
    if not is_dataclass(kind):
        return {name for part in get_args(kind) for name in names_of(part, seen)}
    if kind in seen:
        return set()
    seen.add(kind)
    hints = get_type_hints(kind)
    return {entry.name for entry in fields(kind)} | {n for hint in hints.values() for n in names_of(hint, seen)}


@pytest.mark.parametrize("kind", [Now, Horizon, Past, Account, WhatIf])
def test_every_field_is_documented(kind: type) -> None:
    section = re.search(
        rf"^## `/api/v1/\S+`: {kind.__name__}$(.*?)(?=^## |\Z)",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert section is not None
    documented = set(re.findall(r"`([a-z_]+)`", section.group(1)))
    assert names_of(kind, set()) - documented == set()


def test_no_field_of_v1_goes() -> None:
    """What programs may rely on; a field that is added is added here, one that goes needs ``v2``."""
    kept = json.loads((Path(__file__).parents[1] / "data" / "page-v1.json").read_text(encoding="utf-8"))
    found = {kind.__name__: sorted(names_of(kind, set())) for kind in (Now, Horizon, Past, Account, WhatIf)}
    assert kept == found


async def test_the_index_is_documented(site: Site) -> None:
    await filled(site)
    section = DOCUMENT.read_text(encoding="utf-8").partition("## `/api/v1`: Index")[2].partition("\n## ")[0]
    index = site.ask("/api/v1").json
    assert {*index, *index["policies"][0]} - {"apiVersion", "kind"} == set(re.findall(r"`([a-z_]+)`", section))
