"""Admission: which resources take part in which policy's plan, and what is wrong with those that do not.

Pure. Verdicts across resources live here; what can be said of one resource alone is said when it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from green_llm.domain.plan import Objective
from green_llm.domain.request import (
    Demand,
    Kind,
    LiveSettings,
    ObjectKey,
    Policy,
    Problem,
    Resources,
    Source,
)
from green_llm.domain.routes import BackendKey, Route, RouteKey
from green_llm.domain.series import RECENT_POLL_SECONDS, SignalKind
from green_llm.domain.topology import Site, WaterBasis
from green_llm.services.pairing import Ground, ManagedRoute, PairRequest, Pairs, RuleKey
from green_llm.services.pricing import price_faults


@dataclass(frozen=True, kw_only=True)
class PolicyRequest:
    """Everything one policy plans jointly."""

    policy: Policy
    sites: tuple[Site, ...]
    pairs: tuple[PairRequest, ...]
    sources: Mapping[str, Source]
    skipped: tuple[Problem, ...] = ()
    """Resources of this policy that are left out, or whose traffic is fixed."""
    accepted: frozenset[str] = frozenset()
    """Demands that were not refused."""
    managed: tuple[ManagedRoute, ...] = ()
    """Routes that we make and own."""

    @property
    def routes(self) -> frozenset[RouteKey]:
        """Every route that carries a pair."""
        return frozenset(binding.route for pair in self.pairs for binding in pair.bindings)


@dataclass(frozen=True)
class Admission:
    """The verdict on all resources."""

    requests: Mapping[str, PolicyRequest] = field(default_factory=dict)
    """By policy."""
    problems: tuple[Problem, ...] = ()
    """All that is wrong across resources, and what did not parse."""


def wanted_routes(resources: Resources) -> frozenset[RouteKey]:
    """Every route that a demand names."""
    return frozenset(
        target.key for demand in resources.demands.values() for area in demand.areas for target in area.routes
    )


def admit(
    resources: Resources,
    routes: Mapping[RouteKey, Route],
    unhealthy: frozenset[BackendKey] = frozenset(),
    before: Mapping[str, Demand] | None = None,
) -> Admission:
    """Sort resources into one request per policy.

    Args:
        resources: all there are.
        routes: those that exist.
        unhealthy: back-ends without a ready endpoint. A site whose back-ends are all unhealthy is not available to a
            pair; where that leaves none, its weights stay.
        before: demands as last accepted, by ``namespace/name``. One that is refused now still has its traffic: it stays
            in the model as it was accepted, with the weights in force.
    """
    claims = _claim_sites(resources)
    ground = Ground(routes, _rule_owners(resources), unhealthy)
    requests: dict[str, PolicyRequest] = {}
    problems = [*resources.problems, *_orphans(resources)]
    for policy in _by_age(resources.policies):
        sites, site_problems = _usable_sites(policy, claims[policy.name], resources.sources)
        admitted = _Demands(policy, sites, ground)
        for demand in _demands_by_age(resources):
            if demand.policy == policy.name:
                labels = resources.namespace_labels.get(demand.namespace, {})
                refused = list(_refusals(policy, demand, labels, resources.sources))
                admitted.admit(demand, refused, (before or {}).get(demand.key))
        for last in _unparsed(policy, resources, before or {}):
            admitted.admit(*last)
        skipped = (*_slo_problems(policy, resources.sources), *site_problems, *admitted.problems)
        problems += (problem for problem in skipped if problem not in resources.problems)
        requests[policy.name] = PolicyRequest(
            policy=policy,
            sites=sites,
            pairs=tuple(admitted.pairs),
            sources=resources.sources,
            skipped=skipped,
            accepted=frozenset(admitted.accepted),
            managed=tuple(admitted.managed),
        )
    return Admission(requests, tuple(problems))


def _by_age(objects: Mapping[str, Policy]) -> list[Policy]:
    return sorted(objects.values(), key=lambda policy: (policy.created, policy.name))


def _demands_by_age(resources: Resources) -> list[Demand]:
    return sorted(resources.demands.values(), key=lambda demand: (demand.created, demand.key))


def _claim_sites(resources: Resources) -> dict[str, tuple[Site, ...]]:
    """Each site goes to the oldest policy that selects it."""
    free = dict(sorted(resources.sites.items()))
    claims: dict[str, tuple[Site, ...]] = {}
    for policy in _by_age(resources.policies):
        selector = policy.sites
        mine = [site for site in free.values() if selector is not None and selector.matches(site.labels)]
        claims[policy.name] = tuple(mine)
        for site in mine:
            del free[site.name]
    return claims


def _usable_sites(
    policy: Policy, claimed: tuple[Site, ...], sources: Mapping[str, Source]
) -> tuple[tuple[Site, ...], list[Problem]]:
    """The claimed sites whose description can be planned with, and what is wrong with the others."""
    usable, problems = [], []
    bases = sorted({site.water_basis.value for site in claimed})
    for site in claimed:
        found = list(_site_problems(policy, site, sources, bases))
        problems += [*found, *_price_problems(site, sources)]
        if not found:
            usable.append(site)
    return tuple(usable), problems


def _price_problems(site: Site, sources: Mapping[str, Source]) -> Iterator[Problem]:
    """Entries that are left out of the chain of prices; the site goes on with the others."""
    kind = SignalKind.ELECTRICITY_PRICE
    for fault in price_faults(site.signals.get(kind, ()), sources):
        where = f"spec.signals.{kind.value}[{fault.index}].basis"
        yield Problem(ObjectKey(Kind.SITE, "", site.name), where, fault.message, fault.reason)


def _site_problems(
    policy: Policy, site: Site, sources: Mapping[str, Source], water_bases: list[str]
) -> Iterator[Problem]:
    key = ObjectKey(Kind.SITE, "", site.name)
    if Objective.CARBON in policy.order.objectives and site.carbon_price_per_kg <= 0:
        yield Problem(
            key,
            "spec.power.carbonPricePerTonne",
            f"GreenPolicy {policy.name} minimises CarbonCost, which needs a carbon price at every site; "
            "set it, or use the objective Emissions",
            "CarbonPriceMissing",
        )
    if len(water_bases) > 1:
        yield Problem(
            key,
            "spec.water.basis",
            f"sites of GreenPolicy {policy.name} count water as {' and '.join(water_bases)}; give all of them one basis",
            "WaterBasisMixed",
        )
    for kind, chain in site.signals.items():
        for index, reference in enumerate(chain):
            source = sources.get(reference.source)
            if source is not None and isinstance(source.settings, LiveSettings):
                yield from _water_problems(site, kind, index, source.name)
            if source is None:
                yield Problem(
                    key,
                    f"spec.signals.{kind.value}[{index}].source",
                    f'there is no SignalSource "{reference.source}" (known: {", ".join(sorted(sources)) or "none"}); '
                    "create it or correct the name",
                    "SourceNotFound",
                )


def _slo_problems(policy: Policy, sources: Mapping[str, Source]) -> Iterator[Problem]:
    """Profiles whose SLO nobody can measure: they are not guarded, and the rest goes on."""
    slo = policy.guardrails.slo
    for profile, reference in () if slo is None else sorted(slo.sources.items()):
        key, where = ObjectKey(Kind.POLICY, "", policy.name), f"spec.guardrails.slo.profiles[{profile}].source"
        source = sources.get(reference.source)
        if source is None:
            known = ", ".join(sorted(sources)) or "none"
            message = f'there is no SignalSource "{reference.source}" (known: {known}); create it or correct the name'
            yield Problem(key, where, message, "SourceNotFound")
        elif not isinstance(source.settings, LiveSettings) or not any(m.recent for m in source.settings.queries):
            message = f"SignalSource {source.name} measures neither p95Delay nor errorRatio; give it such PromQL"
            yield Problem(key, where, message, "NothingMeasured")
        elif slo is not None and slo.window_seconds < 4 * min(source.settings.poll_seconds, RECENT_POLL_SECONDS):
            asked = min(source.settings.poll_seconds, RECENT_POLL_SECONDS)
            message = (
                f"is less than four times the {asked:g} s at which SignalSource {source.name} is asked; make it longer"
            )
            yield Problem(key, "spec.guardrails.slo.windowSeconds", message, "WindowTooShort")


def _water_problems(site: Site, kind: SignalKind, index: int, source: str) -> Iterator[Problem]:
    """What live sources of water need of a site."""
    key, where = ObjectKey(Kind.SITE, "", site.name), f"spec.signals.{kind.value}[{index}].source"
    if kind is SignalKind.WUE and site.wue_model is None:
        yield Problem(
            key,
            "spec.water.wueModel",
            f"SignalSource {source} gives the shape of the water's year, not its level; give wueModel with the site's annual "
            "mean and where it is from",
            "WueModelMissing",
        )
    if kind in (SignalKind.WUE, SignalKind.EWIF) and site.water_basis is WaterBasis.WITHDRAWAL:
        yield Problem(
            key,
            where,
            f"SignalSource {source} counts water that is consumed, the site water that is withdrawn; give it a source of its "
            "own or set spec.water.basis to Consumption",
            "WaterBasisMixed",
        )


def _orphans(resources: Resources) -> Iterator[Problem]:
    """Demands whose policy does not exist."""
    for demand in _demands_by_age(resources):
        if demand.policy not in resources.policies:
            known = ", ".join(sorted(resources.policies)) or "none"
            yield Problem(
                ObjectKey(Kind.DEMAND, demand.namespace, demand.name),
                "spec.policyRef.name",
                f'there is no GreenPolicy "{demand.policy}" (known: {known}); create it or correct the name',
                "PolicyNotFound",
            )


def _rule_owners(resources: Resources) -> dict[RuleKey, str]:
    """The demand that steers each rule: the oldest that names it."""
    owners: dict[RuleKey, str] = {}
    for demand in _demands_by_age(resources):
        for area in demand.areas:
            for target in area.routes:
                for rule in target.rules.values():
                    owners.setdefault((target.key, rule), demand.key)
    return owners


class _Demands:
    """Gathers the pairs of the demands of one policy, and what is wrong with the rest."""

    def __init__(self, policy: Policy, sites: tuple[Site, ...], ground: Ground) -> None:
        self.pairs: list[PairRequest] = []
        self.problems: list[Problem] = []
        self.accepted: list[str] = []
        self.managed: list[ManagedRoute] = []
        self._policy, self._sites, self._ground = policy, sites, ground

    def admit(self, demand: Demand, refused: list[Problem], before: Demand | None) -> None:
        """Take a demand in; where it is refused, what it was when it was last accepted by this policy."""
        self.problems += refused
        if not refused:
            self.accepted.append(demand.key)
        elif before is None or before.policy != self._policy.name:
            return
        else:
            demand = before
        because = next(iter(refused), None)
        for index, area in enumerate(demand.areas):
            if area.name in self._policy.areas:
                found = Pairs(self._policy, demand, area, index, self._sites, self._ground, because)
                self.pairs += found.build()
                self.problems += [] if refused else found.problems
                self.managed += found.managed


def _unparsed(
    policy: Policy, resources: Resources, before: Mapping[str, Demand]
) -> Iterator[tuple[Demand, list[Problem], Demand]]:
    """Demands of a policy that no longer parse, as they were."""
    for key, demand in sorted(before.items()):
        if demand.policy == policy.name and key not in resources.demands:
            object_key = ObjectKey(Kind.DEMAND, demand.namespace, demand.name)
            faults = [problem for problem in resources.problems if problem.key == object_key]
            if faults:
                yield demand, faults, demand


def _refusals(
    policy: Policy, demand: Demand, namespace_labels: Mapping[str, str], sources: Mapping[str, Source]
) -> Iterator[Problem]:
    """Reasons to refuse a whole demand."""
    key = ObjectKey(Kind.DEMAND, demand.namespace, demand.name)
    if policy.allowed_namespaces is None or not policy.allowed_namespaces.matches(namespace_labels):
        yield Problem(
            key,
            "spec.policyRef.name",
            f'GreenPolicy {policy.name} does not admit the namespace "{demand.namespace}"; '
            "ask its owner to select it in spec.allowedNamespaces",
            "NamespaceNotAllowed",
        )
    for index, area in enumerate(demand.areas):
        if area.name not in policy.areas:
            known = ", ".join(sorted(policy.areas)) or "none"
            yield Problem(
                key,
                f"spec.areas[{index}].name",
                f'GreenPolicy {policy.name} has no area "{area.name}" (known: {known}); correct the name or add it there',
                "AreaNotFound",
            )
    yield from _foreign_sources(demand, key, namespace_labels, sources)
    yield from _claims_too_much(policy, demand, key)


def _foreign_sources(
    demand: Demand, key: ObjectKey, namespace_labels: Mapping[str, str], sources: Mapping[str, Source]
) -> Iterator[Problem]:
    """Sources that a demand names and may not use."""
    for index, area in enumerate(demand.areas):
        for number, entry in enumerate(area.entries):
            if entry.source is None:
                continue
            where, source = f"spec.areas[{index}].demand[{number}].source", sources.get(entry.source.source)
            if source is None:
                known = ", ".join(sorted(sources)) or "none"
                message = f'there is no SignalSource "{entry.source.source}" (known: {known}); correct the name'
                yield Problem(key, f"{where}.name", message, "SourceNotFound")
            elif source.allowed_namespaces is None or not source.allowed_namespaces.matches(namespace_labels):
                message = (
                    f'SignalSource {source.name} does not admit the namespace "{demand.namespace}"; '
                    "ask its owner to select it in spec.allowedNamespaces"
                )
                yield Problem(key, f"{where}.name", message, "SourceNotAllowed")


def _claims_too_much(policy: Policy, demand: Demand, key: ObjectKey) -> Iterator[Problem]:
    """Claims beyond the policy's limits."""
    most = policy.limits.queries_per_hour
    peak = sum(max(entry.queries_per_hour, default=0.0) for area in demand.areas for entry in area.entries)
    if most is not None and peak > most:
        yield Problem(
            key,
            "spec.areas",
            f"the peaks sum to {peak:g} queries per hour; GreenPolicy {policy.name} allows {most:g} per demand "
            "(spec.limits.queriesPerHourPerDemand)",
            "LimitExceeded",
        )
    dearest = policy.limits.delay_penalty_per_s
    for query_class in demand.classes.values():
        if dearest is not None and query_class.delay_penalty_per_s > dearest:
            yield Problem(
                key,
                f"spec.classes[{query_class.name}].delayPenaltyPerSecond",
                f"{query_class.delay_penalty_per_s:g} is above the {dearest:g} that GreenPolicy {policy.name} allows",
                "LimitExceeded",
            )
