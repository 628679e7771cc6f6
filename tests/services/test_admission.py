"""Who takes part, and what is said to the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from green_llm.domain.plan import Objective, Order
from green_llm.domain.request import (
    Backend,
    CsvSettings,
    DemandArea,
    DemandEntry,
    DemandLimits,
    Kind,
    LiveSettings,
    ManagedTemplate,
    Mode,
    ObjectKey,
    PersistenceSettings,
    Problem,
    ProviderSettings,
    Resources,
    RouteTarget,
    Source,
    SourceRef,
)
from green_llm.domain.routes import RouteKey, RouteRule, Rung, Verified
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import QueryClass, Selector, WaterBasis, WueModel
from green_llm.services.admission import Admission, admit
from support.resources import NOW, ROUTE, a_demand, a_fleet, a_policy, a_route, a_site, backend

ROUTES = {ROUTE: a_route()}
FROM_SOURCE = (DemandArea("iowa", (DemandEntry("chat", source=SourceRef("carbon")),)),)
DEMAND = ObjectKey(Kind.DEMAND, "inference", "assistant")


def verdict(resources: Resources, routes: Any = ROUTES) -> tuple[Admission, set[str]]:
    found = admit(resources, routes)
    return found, {problem.reason for problem in found.problems}


def with_demand(**changes: Any) -> Resources:
    return replace(a_fleet(), demands={"inference/assistant": a_demand(**changes)})


def with_policy(**changes: Any) -> Resources:
    return replace(a_fleet(), policies={"default": a_policy(**changes)})


def test_everything_is_admitted() -> None:
    found, reasons = verdict(a_fleet())
    assert not reasons
    (pair,) = found.requests["default"].pairs
    assert pair.sites == {"near", "cheap"}
    assert pair.fixed is None


@pytest.mark.parametrize(
    ("resources", "reason", "words"),
    [
        (with_demand(policy="defualt"), "PolicyNotFound", 'there is no GreenPolicy "defualt" (known: default)'),
        (with_policy(allowed_namespaces=None), "NamespaceNotAllowed", 'does not admit the namespace "inference"'),
        (with_policy(allowed_namespaces=Selector({"team": "a"})), "NamespaceNotAllowed", "spec.allowedNamespaces"),
        (with_demand(areas=(DemandArea("ohio", (DemandEntry("chat", (1.0,) * 24),)),)), "AreaNotFound", 'has no area "ohio" (known: iowa)'),
        (with_policy(limits=DemandLimits(queries_per_hour=999)), "LimitExceeded", "the peaks sum to 1000 queries per hour; GreenPolicy default allows 999"),
        (with_demand(areas=FROM_SOURCE), "SourceNotAllowed", 'SignalSource carbon does not admit the namespace "inference"'),
        (replace(with_demand(areas=FROM_SOURCE), sources={}, sites={}), "SourceNotFound", 'there is no SignalSource "carbon"'),
        (with_policy(limits=DemandLimits(delay_penalty_per_s=0.05)), "LimitExceeded", "0.1 is above the 0.05"),
    ],
)  # fmt: skip
def test_a_demand_is_refused_and_told_why(resources: Resources, reason: str, words: str) -> None:
    found, reasons = verdict(resources)
    assert reasons == {reason}
    assert not any(request.pairs for request in found.requests.values())
    assert any(words in problem.message for problem in found.problems)
    assert all(problem.key == ObjectKey(Kind.DEMAND, "inference", "assistant") for problem in found.problems)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signals": {SignalKind.ELECTRICITY_PRICE: (SignalRef("gone"),)}}, "SourceNotFound"),
        ({"water_basis": WaterBasis.WITHDRAWAL}, "WaterBasisMixed"),
    ],
)
def test_a_site_is_left_out_and_told_why(changes: dict[str, Any], reason: str) -> None:
    resources = replace(a_fleet(), sites={"near": a_site("near"), "cheap": a_site("cheap", **changes)})
    found, reasons = verdict(resources)
    assert reason in reasons
    assert "cheap" not in {site.name for site in found.requests["default"].sites}


@pytest.mark.parametrize(
    ("chain", "faults"),
    [
        ((SignalRef("meter"), SignalRef("price-near")), {0: "PriceBasisMissing"}),
        ((SignalRef("meter"),), {0: "PriceBasisMissing"}),
        ((SignalRef("meter", basis="DayAhead"), SignalRef("price-near")), {1: "PriceBasisMixed"}),
        ((SignalRef("meter", basis="DayAhead"), SignalRef("price-near", basis="DayAhead")), {}),
        ((SignalRef("meter", basis="DayAhead", adder_per_mwh=30.0), SignalRef("price-near")), {}),
        ((SignalRef("agile"), SignalRef("price-near")), {}),
        ((SignalRef("entsoe"), SignalRef("yesterday"), SignalRef("price-near")), {2: "PriceBasisMixed"}),
        ((SignalRef("grid-status"), SignalRef("price-near")), {0: "PriceBasisMissing"}),
    ],
)
def test_prices_of_no_basis_or_of_several_are_left_out_and_said(
    chain: tuple[SignalRef, ...], faults: dict[int, str]
) -> None:
    more: dict[str, ProviderSettings] = {
        "meter": CsvSettings("meter.csv"),
        "yesterday": PersistenceSettings(),
        **{
            name: LiveSettings(service, "https://example.org", 900.0)
            for name, service in (("agile", "OctopusAgile"), ("entsoe", "Entsoe"), ("grid-status", "GridStatusIo"))
        },
    }
    fleet = a_fleet()
    priced = {**a_site("near").signals, SignalKind.ELECTRICITY_PRICE: chain}
    sources = {**fleet.sources, **{name: Source(name=name, settings=settings) for name, settings in more.items()}}
    found = admit(
        replace(fleet, sites={**fleet.sites, "near": a_site("near", signals=priced)}, sources=sources), ROUTES
    )
    assert {problem.field: problem.reason for problem in found.problems} == {
        f"spec.signals.electricityPrice[{index}].basis": reason for index, reason in faults.items()
    }
    assert "near" in {site.name for site in found.requests["default"].sites}, "the rest of its chain is used"


def test_carbon_cost_needs_a_price_everywhere() -> None:
    _, reasons = verdict(with_policy(order=Order((Objective.CARBON,))))
    assert "CarbonPriceMissing" in reasons


def test_the_oldest_policy_wins_a_site() -> None:
    resources = replace(a_fleet(), policies={"a": a_policy(name="a", created=NOW), "default": a_policy(name="default")})
    found = admit(resources, ROUTES)
    assert [site.name for site in found.requests["default"].sites] == ["cheap", "near"]
    assert not found.requests["a"].sites


def test_an_absent_selector_selects_nothing() -> None:
    assert not admit(with_policy(sites=None), ROUTES).requests["default"].sites


def test_routes_and_rules_that_are_not_there() -> None:
    found, reasons = verdict(a_fleet(), {})
    assert reasons == {"RouteNotFound"}
    assert not found.requests["default"].pairs, "no traffic can arrive through it"
    _, reasons = verdict(a_fleet(), {ROUTE: a_route(rule="chats")})
    assert reasons == {"RuleNotFound"}
    twice = replace(a_route(), rules=a_route().rules * 2)
    _, reasons = verdict(a_fleet(), {ROUTE: twice})
    assert reasons == {"RuleAmbiguous"}


def test_a_site_that_is_not_in_the_rule_is_not_available() -> None:
    rule = RouteRule("chat", {backend("near"): 1})
    found, reasons = verdict(a_fleet(), {ROUTE: replace(a_route(), rules=(rule,))})
    assert not reasons
    assert found.requests["default"].pairs[0].sites == {"near"}


def test_a_stranger_without_weight_is_no_trouble() -> None:
    stranger = backend("near")._replace(name="llm-elsewhere")
    rule = RouteRule("chat", {backend("near"): 1, backend("cheap"): 0, stranger: 0})
    _, reasons = verdict(a_fleet(), {ROUTE: replace(a_route(), rules=(rule,))})
    assert not reasons


def test_classes_that_share_a_rule_must_allow_the_same_sites() -> None:
    classes = {
        "chat": QueryClass("chat", "large", 1.0, 1.0, 4.0, None, 0.0),
        "code": QueryClass("code", "large", 1.0, 1.0, 4.0, None, 0.0, Selector({"region": "eu"})),
    }
    entries = tuple(DemandEntry(name, (1.0,) * 24) for name in classes)
    target = RouteTarget(ROUTE, {"chat": "chat", "code": "chat"})
    found, reasons = verdict(with_demand(classes=classes, areas=(DemandArea("iowa", entries, (target,)),)))
    assert reasons == {"SharedRuleConflict"}
    assert all(pair.fixed is not None for pair in found.requests["default"].pairs)


def test_a_class_may_have_back_ends_of_its_own() -> None:
    other = backend("cheap")._replace(name="llm-cheap-code")
    rule = RouteRule("chat", {backend("near"): 1, other: 0})
    backends = (Backend("near", backend("near")), Backend("cheap", other, "chat"))
    found, reasons = verdict(with_demand(backends=backends), {ROUTE: replace(a_route(), rules=(rule,))})
    assert not reasons
    assert found.requests["default"].pairs[0].sites == {"near", "cheap"}


def test_routes_of_another_namespace_are_not_touched() -> None:
    foreign = RouteKey(ROUTE.group, ROUTE.kind, "other", ROUTE.name)
    _, reasons = verdict(a_fleet(), {foreign: replace(a_route(), key=foreign)})
    assert reasons == {"RouteNotFound"}


def test_a_site_that_cannot_be_sent_to_is_excluded_and_named() -> None:
    sick = frozenset({backend("cheap")})
    (pair,) = admit(a_fleet(), ROUTES, sick).requests["default"].pairs
    assert pair.sites == {"near"}
    assert pair.excluded == {"cheap": "Service inference/llm-cheap:8000 has no ready endpoint"}
    ungranted = {ROUTE: replace(a_route(), forbidden=sick)}
    (pair,) = admit(a_fleet(), ungranted).requests["default"].pairs
    assert pair.sites == {"near"}
    assert "no ReferenceGrant lets HTTPRoute inference/iowa refer to" in pair.excluded["cheap"]


def test_where_no_site_can_be_sent_to_the_weights_stay() -> None:
    (pair,) = admit(a_fleet(), ROUTES, frozenset({backend("cheap"), backend("near")})).requests["default"].pairs
    assert pair.fixed is not None
    assert pair.fixed.reason == "NoSiteAvailable"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contended": True}, "Contended"),
        ({"verified": Verified(Rung.REFUSED, "Gateway inference/edge: Accepted=False")}, "RouteNotAccepted"),
    ],
)
def test_a_route_that_is_not_ours_to_steer_keeps_its_traffic_in_the_model(changes: dict[str, Any], reason: str) -> None:
    found, reasons = verdict(a_fleet(), {ROUTE: replace(a_route(), **changes)})
    assert reasons == {reason}
    (pair,) = found.requests["default"].pairs
    assert pair.fixed is not None
    assert pair.fixed.reason == reason


def test_a_demand_that_was_accepted_once_keeps_its_traffic() -> None:
    before = {"inference/assistant": a_demand()}
    for resources in (
        with_policy(allowed_namespaces=None),
        with_policy(limits=DemandLimits(queries_per_hour=1)),
        replace(a_fleet(), demands={}, problems=(Problem(DEMAND, "spec.classes", "is missing; give it"),)),
    ):
        found = admit(resources, ROUTES, before=before)
        (pair,) = found.requests["default"].pairs
        assert pair.fixed is not None
        assert pair.fixed.reason in ("NamespaceNotAllowed", "LimitExceeded", "Invalid")
        assert not found.requests["default"].accepted
        assert len(found.problems) == 1
    assert not admit(with_policy(allowed_namespaces=None), ROUTES).requests["default"].pairs, "never accepted"
    assert not admit(replace(a_fleet(), demands={}), ROUTES, before=before).requests["default"].pairs, "deleted"
    moved = {"inference/assistant": a_demand(policy="other")}
    assert not admit(with_policy(allowed_namespaces=None), ROUTES, before=moved).requests["default"].pairs


def managed(gateway: str = "edge") -> Resources:
    template = ManagedTemplate((f"gateways/{gateway}",), {"rules": [{"name": "chat"}]})
    target = RouteTarget(ROUTE, {"chat": "chat"}, template)
    area = DemandArea("iowa", (DemandEntry("chat", (1.0,) * 24),), (target,))
    policy = a_policy(limits=DemandLimits(managed_gateways=("gateways/edge",)))
    return replace(with_demand(areas=(area,)), policies={"default": policy})


def test_a_managed_route_is_planned_before_it_is_there_and_steered_then() -> None:
    found, reasons = verdict(managed(), {})
    assert not reasons
    (pair,) = found.requests["default"].pairs
    assert not pair.bindings
    (wanted,) = found.requests["default"].managed
    assert wanted.key == ROUTE
    assert wanted.backends == {"chat": (backend("near"), backend("cheap"))}
    found, reasons = verdict(managed(), {ROUTE: replace(a_route(), owner="inference/assistant")})
    assert not reasons
    assert found.requests["default"].pairs[0].bindings


@pytest.mark.parametrize(
    ("resources", "routes", "reason"),
    [
        (managed("private"), {}, "GatewayNotAllowed"),
        (managed(), ROUTES, "RouteNotOurs"),
        (managed(), {ROUTE: replace(a_route(), owner="inference/other")}, "RouteNotOurs"),
    ],
)
def test_a_managed_route_must_be_allowed_and_ours(resources: Resources, routes: Any, reason: str) -> None:
    found, reasons = verdict(resources, routes)
    assert reasons == {reason}
    assert not found.requests["default"].managed
    assert not found.requests["default"].pairs


def test_nothing_is_made_in_shadow_or_while_suspended() -> None:
    resources = managed()
    shadow = replace(resources.demands["inference/assistant"], mode=Mode.SHADOW)
    suspended = replace(resources.demands["inference/assistant"], suspend=True)
    for demand in (shadow, suspended):
        found = admit(replace(resources, demands={"inference/assistant": demand}), {})
        assert not found.requests["default"].managed


@pytest.mark.parametrize(
    ("kind", "changes", "reason", "words"),
    [
        (SignalKind.WUE, {"wue_l_per_kwh": None}, "WueModelMissing", "give wueModel with the site's annual mean"),
        (SignalKind.EWIF, {"ewif_l_per_kwh": None, "water_basis": WaterBasis.WITHDRAWAL}, "WaterBasisMixed", "counts water that is consumed"),
    ],
)  # fmt: skip
def test_live_water_needs_its_level_and_its_basis(
    kind: SignalKind, changes: dict[str, Any], reason: str, words: str
) -> None:
    plain = a_fleet()
    live = Source(name="live", settings=LiveSettings("OpenMeteo", "https://api.open-meteo.com/v1", 1800.0))
    signals = {**plain.sites["cheap"].signals, kind: (SignalRef("live"),)}
    sites = {name: a_site(name, **(changes | {"signals": signals} if name == "cheap" else {})) for name in plain.sites}
    found, reasons = verdict(replace(plain, sources={**plain.sources, "live": live}, sites=sites))
    assert reason in reasons
    assert any(words in problem.message for problem in found.problems)
    assert "cheap" not in {site.name for site in found.requests["default"].sites}
    modelled = replace(sites["cheap"], wue_model=WueModel(0.5, 3.4), water_basis=WaterBasis.CONSUMPTION)
    found, reasons = verdict(
        replace(plain, sources={**plain.sources, "live": live}, sites={**sites, "cheap": modelled})
    )
    assert "cheap" in {site.name for site in found.requests["default"].sites}
