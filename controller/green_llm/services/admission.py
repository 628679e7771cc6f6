"""Admission: which resources take part in which policy's plan, and what is wrong with those that do not.

Pure. Verdicts across resources live here; what can be said of one resource alone is said when it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from green_llm.domain.plan import Objective
from green_llm.domain.request import (
    Demand,
    DemandArea,
    DemandEntry,
    Kind,
    ObjectKey,
    Policy,
    Problem,
    Resources,
    RouteTarget,
    Source,
)
from green_llm.domain.routes import BackendKey, Route, RouteKey
from green_llm.domain.topology import Area, QueryClass, Site, SiteState

RuleKey = tuple[RouteKey, str]
"""(route, rule name)."""


@dataclass(frozen=True)
class RuleBinding:
    """A rule that carries a pair's traffic, and the back-ends in it that stand for each site."""

    route: RouteKey
    rule: str
    backends: Mapping[str, tuple[BackendKey, ...]]
    """By site; only back-ends that are in the rule."""

    @property
    def key(self) -> RuleKey:
        """(route, rule name)."""
        return self.route, self.rule


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """The traffic of one class of one demand in one area."""

    demand: Demand
    area: Area
    query_class: QueryClass
    entry: DemandEntry
    bindings: tuple[RuleBinding, ...] = ()
    sites: frozenset[str] = frozenset()
    """Sites that may serve it: in every rule, allowed by the class, with its hardware profile, not draining."""
    fixed: Problem | None = None
    """Why its traffic cannot be steered; it then stays in the model with the weights in force."""

    @property
    def class_key(self) -> str:
        """``namespace/demand/class``: the class's name in the model."""
        return f"{self.demand.key}/{self.query_class.name}"


@dataclass(frozen=True, kw_only=True)
class PolicyRequest:
    """Everything one policy plans jointly."""

    policy: Policy
    sites: tuple[Site, ...]
    pairs: tuple[PairRequest, ...]
    sources: Mapping[str, Source]
    skipped: tuple[Problem, ...] = ()
    """Resources of this policy that are left out, or whose traffic is fixed."""

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


@dataclass(frozen=True)
class _Ground:
    """What is there: routes, who owns their rules, and which back-ends are known to be unhealthy."""

    routes: Mapping[RouteKey, Route]
    owners: Mapping[RuleKey, str]
    unhealthy: frozenset[BackendKey]


def admit(
    resources: Resources, routes: Mapping[RouteKey, Route], unhealthy: frozenset[BackendKey] = frozenset()
) -> Admission:
    """Sort resources into one request per policy; ``routes`` are those that exist.

    A site whose back-ends are all unhealthy is not available to a pair, unless that leaves it none.
    """
    claims = _claim_sites(resources)
    ground = _Ground(routes, _rule_owners(resources), unhealthy)
    requests: dict[str, PolicyRequest] = {}
    problems = [*resources.problems, *_orphans(resources)]
    for policy in _by_age(resources.policies):
        sites, site_problems = _usable_sites(policy, claims[policy.name], resources.sources)
        pairs, pair_problems = _admit_demands(policy, sites, resources, ground)
        skipped = (*site_problems, *pair_problems)
        problems += skipped
        requests[policy.name] = PolicyRequest(
            policy=policy, sites=sites, pairs=pairs, sources=resources.sources, skipped=skipped
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
        problems += found
        if not found:
            usable.append(site)
    return tuple(usable), problems


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
    if any(renewable.certificates_sold for renewable in site.renewables):
        yield Problem(
            key,
            "spec.power.renewables",
            "certificates: Sold needs a residual carbon factor, which this version does not have; "
            "leave the installation out, so that its energy counts as the grid's",
            "CertificatesUnsupported",
        )
    for kind, chain in site.signals.items():
        for index, reference in enumerate(chain):
            if reference.source not in sources:
                yield Problem(
                    key,
                    f"spec.signals.{kind.value}[{index}].source",
                    f'there is no SignalSource "{reference.source}" (known: {", ".join(sorted(sources)) or "none"}); '
                    "create it or correct the name",
                    "SourceNotFound",
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


def _admit_demands(
    policy: Policy,
    sites: tuple[Site, ...],
    resources: Resources,
    ground: _Ground,
) -> tuple[tuple[PairRequest, ...], list[Problem]]:
    """The pairs of all demands that join the policy, and what is wrong with the rest."""
    pairs: list[PairRequest] = []
    problems: list[Problem] = []
    for demand in _demands_by_age(resources):
        if demand.policy != policy.name:
            continue
        refused = list(_refusals(policy, demand, resources.namespace_labels.get(demand.namespace, {})))
        problems += refused
        if refused:
            continue
        for index, area in enumerate(demand.areas):
            found = _Pairs(policy, demand, area, index, sites, ground)
            pairs += found.build()
            problems += found.problems
    return tuple(pairs), problems


def _refusals(policy: Policy, demand: Demand, namespace_labels: Mapping[str, str]) -> Iterator[Problem]:
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
    yield from _claims_too_much(policy, demand, key)


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


class _Pairs:
    """Builds the pairs of one demand in one area, noting what is wrong on the way."""

    def __init__(
        self,
        policy: Policy,
        demand: Demand,
        area: DemandArea,
        index: int,
        sites: tuple[Site, ...],
        ground: _Ground,
    ) -> None:
        self.problems: list[Problem] = []
        self._demand, self._area, self._where = demand, area, f"spec.areas[{index}]"
        self._policy_area = policy.areas[area.name]
        self._sites = {site.name: site for site in sites}
        self._ground = ground
        self._key = ObjectKey(Kind.DEMAND, demand.namespace, demand.name)

    def build(self) -> list[PairRequest]:
        """The pairs; those whose traffic cannot arrive (no route, no rule) are left out."""
        pairs = [pair for entry in self._area.entries if (pair := self._pair(entry)) is not None]
        return self._agree(pairs)

    def _problem(self, field_: str, message: str, reason: str) -> Problem:
        problem = Problem(self._key, f"{self._where}.{field_}", message, reason)
        if problem not in self.problems:
            self.problems.append(problem)
        return problem

    def _pair(self, entry: DemandEntry) -> PairRequest | None:
        query_class = self._demand.classes[entry.query_class]
        bindings: list[RuleBinding] = []
        fixed: Problem | None = None
        for number, target in enumerate(self._area.routes):
            rule = target.rules.get(query_class.name)
            if rule is None:
                continue
            binding, problem = self._bind(f"routes[{number}]", target, rule, query_class.name)
            if binding is None:
                return None
            bindings.append(binding)
            fixed = fixed or problem
        if self._area.routes and not bindings:
            self._problem(
                "routes",
                f'no route has a rule for class "{query_class.name}"; its queries are left out of the plan until one has',
                "RuleNotFound",
            )
            return None
        if fixed is None and self._demand.suspend:
            fixed = Problem(self._key, "spec.suspend", "suspended: its weights stay as they are", "Suspended")
        return PairRequest(
            demand=self._demand,
            area=self._policy_area,
            query_class=query_class,
            entry=entry,
            bindings=tuple(bindings),
            sites=self._eligible(query_class, bindings),
            fixed=fixed,
        )

    def _bind(
        self, where: str, target: RouteTarget, rule: str, query_class: str
    ) -> tuple[RuleBinding | None, Problem | None]:
        """The binding of a rule, and why it cannot be steered; no binding where no traffic can come through it."""
        route = self._ground.routes.get(target.key)
        if route is None:
            self._problem(
                f"{where}.targetRef",
                f"{target.key} does not exist; create it or correct the reference",
                "RouteNotFound",
            )
            return None, None
        named = [candidate for candidate in route.rules if candidate.name == rule]
        if len(named) != 1:
            fault = "has no rule" if not named else f"has {len(named)} rules"
            known = ", ".join(candidate.name for candidate in route.rules if candidate.name) or "none"
            self._problem(
                f"{where}.rules",
                f'{target.key} {fault} called "{rule}" (named rules: {known}); give exactly one rule that name',
                "RuleNotFound" if not named else "RuleAmbiguous",
            )
            return None, None
        mapped: dict[str, tuple[BackendKey, ...]] = {}
        known_backends = set()
        for backend in self._demand.backends:
            if backend.query_class not in (None, query_class) or backend.site not in self._sites:
                continue
            if backend.key in named[0].weights:
                mapped[backend.site] = (*mapped.get(backend.site, ()), backend.key)
                known_backends.add(backend.key)
        binding = RuleBinding(target.key, rule, mapped)
        return binding, self._refused_rule(where, target, rule, named[0].weights, known_backends)

    def _refused_rule(
        self, where: str, target: RouteTarget, rule: str, weights: Mapping[BackendKey, int], known: set[BackendKey]
    ) -> Problem | None:
        """Why the rule must not be steered by this demand."""
        owner = self._ground.owners[target.key, rule]
        if owner != self._demand.key:
            return self._problem(
                f"{where}.rules",
                f'rule "{rule}" of {target.key} is steered by InferenceDemand {owner}, which is older; name another rule',
                "RuleTaken",
            )
        strangers = sorted(str(key) for key, weight in weights.items() if weight > 0 and key not in known)
        if strangers:
            return self._problem(
                f"{where}.rules",
                f'rule "{rule}" of {target.key} sends traffic to {", ".join(strangers)}, which stands for no site of '
                "the policy; map it in spec.backends or give it weight 0",
                "UnmappedBackend",
            )
        return None

    def _eligible(self, query_class: QueryClass, bindings: list[RuleBinding]) -> frozenset[str]:
        able = frozenset(
            name
            for name, site in self._sites.items()
            if site.state is SiteState.ACTIVE
            and query_class.profile in site.performance
            and query_class.allowed_sites.matches(site.labels)
            and all(name in binding.backends for binding in bindings)
        )
        healthy = frozenset(
            name
            for name in able
            if not any(self._ground.unhealthy.issuperset(binding.backends[name]) for binding in bindings)
        )
        return healthy or able

    def _agree(self, pairs: list[PairRequest]) -> list[PairRequest]:
        """Pairs that share a rule must allow the same sites; where they do not, none of them is steered."""
        by_rule: dict[RuleKey, list[PairRequest]] = {}
        for pair in pairs:
            for binding in pair.bindings:
                by_rule.setdefault(binding.key, []).append(pair)
        refused: dict[str, Problem] = {}
        for (route, rule), sharing in by_rule.items():
            if any(pair.query_class.allowed_sites != sharing[0].query_class.allowed_sites for pair in sharing):
                names = ", ".join(pair.query_class.name for pair in sharing)
                problem = self._problem(
                    "routes",
                    f'classes {names} share rule "{rule}" of {route} but allow different sites; '
                    "give them equal allowedSites or rules of their own",
                    "SharedRuleConflict",
                )
                refused |= {pair.query_class.name: problem for pair in sharing}
        return [
            pair
            if pair.query_class.name not in refused
            else PairRequest(**{**vars(pair), "fixed": pair.fixed or refused[pair.query_class.name]})
            for pair in pairs
        ]
