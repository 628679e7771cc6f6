"""Pairs: the traffic of one class of one demand in one area, and the rules and sites that it can have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from green_llm.domain.request import (
    Demand,
    DemandArea,
    DemandEntry,
    Kind,
    ManagedTemplate,
    Mode,
    ObjectKey,
    Policy,
    Problem,
    RouteTarget,
)
from green_llm.domain.routes import BackendKey, Route, RouteKey, Rung
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
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Sites that it may use but whose back-ends cannot be sent to now, and why."""
    fixed: Problem | None = None
    """Why its traffic cannot be steered; it then stays in the model with the weights in force."""

    @property
    def class_key(self) -> str:
        """``namespace/demand/class``: the class's name in the model."""
        return f"{self.demand.key}/{self.query_class.name}"


@dataclass(frozen=True)
class ManagedRoute:
    """A route that a demand has us make and own, and what stands behind its rules."""

    demand: str
    """``namespace/name``."""
    key: RouteKey
    template: ManagedTemplate
    backends: Mapping[str, tuple[BackendKey, ...]]
    """By rule, in the order of the demand."""


@dataclass(frozen=True)
class Ground:
    """What is there: routes, who owns their rules, and which back-ends are known to be unhealthy."""

    routes: Mapping[RouteKey, Route]
    owners: Mapping[RuleKey, str]
    unhealthy: frozenset[BackendKey]


class Pairs:
    """Builds the pairs of one demand in one area, noting what is wrong on the way."""

    def __init__(
        self,
        policy: Policy,
        demand: Demand,
        area: DemandArea,
        index: int,
        sites: tuple[Site, ...],
        ground: Ground,
        because: Problem | None = None,
    ) -> None:
        """``because``: why none of them may be steered."""
        self.problems: list[Problem] = []
        self.managed: list[ManagedRoute] = []
        self._demand, self._area, self._where = demand, area, f"spec.areas[{index}]"
        self._policy, self._policy_area = policy, policy.areas[area.name]
        self._sites = {site.name: site for site in sites}
        self._ground = ground
        self._because = because
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
        fixed = self._because
        awaited = False
        for number, target in enumerate(self._area.routes):
            rule = target.rules.get(query_class.name)
            if rule is None:
                continue
            if target.template is not None:
                if not self._may_manage(f"routes[{number}]", target, target.template):
                    return None
                if target.key not in self._ground.routes:
                    awaited = True  # planned without weights until it is there
                    continue
            binding, problem = self._bind(f"routes[{number}]", target, rule, query_class.name)
            if binding is None:
                return None
            bindings.append(binding)
            fixed = fixed or problem
        if self._area.routes and not bindings and not awaited:
            self._problem(
                "routes",
                f'no route has a rule for class "{query_class.name}"; its queries are left out of the plan until one has',
                "RuleNotFound",
            )
            return None
        if fixed is None and self._demand.suspend:
            fixed = Problem(self._key, "spec.suspend", "suspended: its weights stay as they are", "Suspended")
        able = self._able(query_class, bindings)
        excluded = {name: why for name in sorted(able) if (why := self._excluded(name, bindings))}
        if fixed is None and excluded and len(excluded) == len(able):
            text = f"no site can be sent to ({'; '.join(sorted(set(excluded.values())))}): the weights stay as they are"
            fixed = Problem(self._key, f"{self._where}.routes", text, "NoSiteAvailable")
        return PairRequest(
            demand=self._demand,
            area=self._policy_area,
            query_class=query_class,
            entry=entry,
            bindings=tuple(bindings),
            sites=able - excluded.keys() or able,
            excluded=excluded,
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
        refused = self._refused_rule(where, target, rule, named[0].weights, known_backends)
        return binding, refused or self._refused_route(where, route)

    def _may_manage(self, where: str, target: RouteTarget, template: ManagedTemplate) -> bool:
        """Whether we may own the route; it is then noted as one to be kept, unless nothing may be written."""
        route = self._ground.routes.get(target.key)
        refused = sorted(set(template.gateways) - set(self._policy.limits.managed_gateways))
        if refused:
            self._problem(
                f"{where}.template.parentRefs",
                f"GreenPolicy {self._policy.name} lets no managed route attach to {', '.join(refused)}; "
                "ask its owner to name it in spec.limits.allowManaged",
                "GatewayNotAllowed",
            )
            return False
        if route is not None and route.owner != self._demand.key:
            self._problem(
                f"{where}.targetRef",
                f"{target.key} exists and is not of this demand; adopt it, delete it, or take another name",
                "RouteNotOurs",
            )
            return False
        kept = ManagedRoute(self._demand.key, target.key, template, self._managed_backends(target))
        writes = Mode.SHADOW not in (self._policy.mode, self._demand.mode) and not self._demand.suspend
        if writes and self._because is None and kept not in self.managed:
            self.managed.append(kept)
        return True

    def _managed_backends(self, target: RouteTarget) -> dict[str, tuple[BackendKey, ...]]:
        """What stands behind each rule: the back-ends of the classes it carries, each once."""
        found: dict[str, dict[BackendKey, None]] = {}
        for query_class, rule in target.rules.items():
            for backend in self._demand.backends:
                if backend.query_class in (None, query_class) and backend.site in self._sites:
                    found.setdefault(rule, {})[backend.key] = None
        return {rule: tuple(keys) for rule, keys in found.items()}

    def _refused_rule(
        self, where: str, target: RouteTarget, rule: str, weights: Mapping[BackendKey, int], known: set[BackendKey]
    ) -> Problem | None:
        """Why the rule must not be steered by this demand."""
        # A demand as it was accepted last may name a rule that nobody names now.
        owner = self._ground.owners.get((target.key, rule), self._demand.key)
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

    def _refused_route(self, where: str, route: Route) -> Problem | None:
        """Why no rule of a route must be steered now."""
        if route.contended:
            return self._problem(
                f"{where}.targetRef",
                f"somebody else keeps writing the weights of {route.key}; they are left alone for some minutes: "
                "take the weights out of what writes them",
                "Contended",
            )
        if route.verified.rung is Rung.REFUSED:
            return self._problem(
                f"{where}.targetRef", f"{route.key} is not accepted: {route.verified.message}", "RouteNotAccepted"
            )
        return None

    def _able(self, query_class: QueryClass, bindings: list[RuleBinding]) -> frozenset[str]:
        """The sites in every rule, allowed by the class, with its hardware profile, not draining."""
        return frozenset(
            name
            for name, site in self._sites.items()
            if site.state is SiteState.ACTIVE
            and query_class.profile in site.performance
            and query_class.allowed_sites.matches(site.labels)
            and all(name in binding.backends for binding in bindings)
        )

    def _excluded(self, site: str, bindings: list[RuleBinding]) -> str | None:
        """Why nothing may be sent to a site's back-ends now."""
        for binding in bindings:
            backends = binding.backends[site]
            if self._ground.routes[binding.route].forbidden.issuperset(backends):
                return f"no ReferenceGrant lets {binding.route} refer to {_listed(backends)}"
            if self._ground.unhealthy.issuperset(backends):
                return f"{_listed(backends)} has no ready endpoint"
        return None

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
            else replace(pair, fixed=pair.fixed or refused[pair.query_class.name])
            for pair in pairs
        ]


def _listed(backends: tuple[BackendKey, ...]) -> str:
    return ", ".join(map(str, backends))
