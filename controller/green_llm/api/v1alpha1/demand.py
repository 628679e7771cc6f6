"""InferenceDemand: what traffic there is, what it needs, which routes to steer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from green_llm.api.v1alpha1.common import (
    PRESERVE,
    LabelSelector,
    Model,
    Name,
    NameRef,
    Params,
    PositiveText,
    RuleName,
    Text,
)
from green_llm.domain.request import (
    Backend,
    Demand,
    DemandArea,
    DemandEntry,
    ManagedTemplate,
    Mode,
    RouteTarget,
    SourceRef,
)
from green_llm.domain.routes import BackendKey, RouteKey
from green_llm.domain.topology import QueryClass, Selector
from green_llm.domain.units import seconds


class ClassSpec(Model):
    """One class of queries."""

    name: Name = Field(description="Name of the class, unique in the demand.")
    profile: Name = Field(description="Hardware profile that sites describe.")
    input_tokens: Annotated[int, Field(ge=0, le=100_000_000)] = Field(description="Average input tokens per query.")
    output_tokens: Annotated[int, Field(ge=0, le=100_000_000)] = Field(description="Average output tokens per query.")
    bytes_per_token: Annotated[int, Field(ge=0, le=1_000_000)] = Field(4, description="Bytes of a token on the wire.")
    delay_limit_milliseconds: Annotated[int, Field(ge=0, le=86_400_000)] | None = Field(
        None, description="Limit on the average delay, ms; none where left out."
    )
    delay_penalty_per_second: PositiveText = Field("0", description="Price of delay, policy currency per second.")
    allowed_sites: LabelSelector | None = Field(
        None, description="Sites that may serve it; left out, all of the policy."
    )


class Profile(Model):
    """Demand by wall clock of the area."""

    queries_per_hour: Annotated[
        tuple[Annotated[int, Field(ge=0, le=1_000_000_000)], ...], Field(min_length=24, max_length=168)
    ] = Field(description="24 values (hours of a day) or 168 (hours of a week from Monday).")

    @model_validator(mode="after")
    def _day_or_week(self) -> Self:
        if len(self.queries_per_hour) not in (24, 168):
            raise ValueError(f"queriesPerHour: must have 24 or 168 values, not {len(self.queries_per_hour)}")
        return self


class SourceDemand(Model):
    """Demand from a source."""

    name: Name = Field(description="Name of the SignalSource.")
    params: Params = Field(default_factory=dict, description="Parameters of the source.")


class DemandSpecEntry(Model):
    """How many queries of a class arrive."""

    class_: Name = Field(alias="class", description="Name of the class.")
    profile: Profile | None = Field(None, description="Queries by wall clock of the area.")
    source: SourceDemand | None = Field(None, description="A source that says how many queries arrive.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.profile is None) == (self.source is None):
            raise ValueError("give profile or source, exactly one of the two")
        return self


GROUP_OF = {
    "HTTPRoute": "gateway.networking.k8s.io",
    "GRPCRoute": "gateway.networking.k8s.io",
    "VirtualService": "networking.istio.io",
    "ConfigMap": "",
}
EXPORT = "green-llm-weights"
OpenObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", PRESERVE: True})]
"""Whatever the route's own CRD allows there; the API server checks it when the route is made."""


class TargetRef(Model):
    """A route in the demand's own namespace."""

    group: Literal["gateway.networking.k8s.io", "networking.istio.io", ""] = Field(
        "gateway.networking.k8s.io", description="API group; empty for ConfigMap."
    )
    kind: Literal["HTTPRoute", "GRPCRoute", "VirtualService", "ConfigMap"] = Field(
        "HTTPRoute", description="Kind of the route. A ConfigMap is an export for load balancers of your own."
    )
    name: Name = Field(description='Name of the route; of a ConfigMap, "green-llm-weights".')

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.group != GROUP_OF[self.kind]:
            raise ValueError(f'group: {self.kind} is of the group "{GROUP_OF[self.kind]}"; write that')
        if self.kind == "ConfigMap" and self.name != EXPORT:
            raise ValueError(f'name: a ConfigMap must be called "{EXPORT}", the only one that the operator may touch')
        return self


class RuleMap(Model):
    """Which rule carries a class."""

    class_: Name = Field(alias="class", description="Name of the class.")
    rule: RuleName = Field(description="Name of the rule in the route.")


class ParentRef(Model):
    """A Gateway."""

    name: Name = Field(description="Name of the Gateway.")
    namespace: Name | None = Field(None, description="Its namespace; left out, the demand's.")
    section_name: Text | None = Field(None, description="Listener of the Gateway; left out, all.")


class RouteTemplate(Model):
    """The spec of a route that the operator owns: all but its back-ends and their weights."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=4)] = Field(
        description="Gateways to attach to; the policy's limits.allowManaged must name each."
    )
    hostnames: Annotated[tuple[Text, ...], Field(max_length=16)] = Field((), description="Host names it answers for.")
    rules: Annotated[tuple[OpenObject, ...], Field(min_length=1, max_length=16)] = Field(
        description="Rules with name, matches, filters and so on; the operator adds the backendRefs."
    )


class RouteSpec(Model):
    """A route to steer."""

    target_ref: TargetRef = Field(description="Which route.")
    management: Literal["Adopt", "Managed"] = Field(
        "Adopt",
        description="Adopt patches only the weights of an existing route; Managed makes and owns one from template.",
    )
    template: RouteTemplate | None = Field(None, description="The route to make, for Managed.")
    rules: Annotated[tuple[RuleMap, ...], Field(min_length=1, max_length=16)] = Field(description="Rule by class.")

    @model_validator(mode="after")
    def _template(self) -> Self:
        managed = self.management == "Managed"
        if managed != (self.template is not None):
            raise ValueError("template: give it with management Managed, and only then")
        if managed and self.target_ref.group != GROUP_OF["HTTPRoute"]:
            raise ValueError("management: only HTTPRoute and GRPCRoute can be Managed; use Adopt")
        named = [] if self.template is None else [rule.get("name") for rule in self.template.rules]
        for entry in self.rules if managed else ():
            if named.count(entry.rule) != 1:
                raise ValueError(f'template.rules: exactly one must have the name "{entry.rule}"')
        return self


class AreaDemand(Model):
    """What arrives in one area."""

    name: Name = Field(description="Name of an area of the policy.")
    demand: Annotated[tuple[DemandSpecEntry, ...], Field(min_length=1, max_length=16)] = Field(
        description="Queries by class."
    )
    routes: Annotated[tuple[RouteSpec, ...], Field(max_length=4)] = Field((), description="Routes that carry them.")


class BackendRef(Model):
    """A back-end of a route rule."""

    group: Annotated[str, Field(max_length=253)] = Field("", description="API group; empty for core.")
    kind: Annotated[str, Field(min_length=1, max_length=63)] = Field("Service", description="Kind of the back-end.")
    name: Text = Field(description="Name of the back-end.")
    namespace: Name | None = Field(None, description="Its namespace; left out, the demand's.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="Its port.")


class BackendSpec(Model):
    """Which back-end stands for which site."""

    site: Name = Field(description="Name of the InferenceSite.")
    class_: Name | None = Field(None, alias="class", description="Class it is for; left out, all.")
    backend_ref: BackendRef = Field(description="The back-end, as the route names it.")


class DemandSpec(Model):
    """The traffic of one application."""

    policy_ref: NameRef = Field(description="The GreenPolicy it joins.")
    mode: Literal["Shadow", "Active"] = Field("Active", description="The stricter of this and the policy's counts.")
    suspend: bool = Field(default=False, description="Leave the weights as they are.")
    deletion_policy: Literal["Restore", "Retain"] = Field(
        "Restore", description="Restore the original weights on deletion, or keep the last ones."
    )
    classes: Annotated[tuple[ClassSpec, ...], Field(min_length=1, max_length=16)] = Field(description="Query classes.")
    areas: Annotated[tuple[AreaDemand, ...], Field(min_length=1, max_length=64)] = Field(
        description="What arrives where."
    )
    backends: Annotated[tuple[BackendSpec, ...], Field(max_length=256)] = Field(
        (), description="Which back-end stands for which site."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterator[str]:
        classes = [entry.name for entry in self.classes]
        known = ", ".join(classes)
        yield from _repeated("classes", classes)
        yield from _repeated("areas", [area.name for area in self.areas])
        yield from _repeated("backends", [f"{b.site}/{b.class_ or '*'}/{b.backend_ref.name}" for b in self.backends])
        for a, area in enumerate(self.areas):
            named = [(f"demand[{n}].class", entry.class_) for n, entry in enumerate(area.demand)]
            for r, route in enumerate(area.routes):
                named += [(f"routes[{r}].rules[{n}].class", entry.class_) for n, entry in enumerate(route.rules)]
                yield from _repeated(f"areas[{a}].routes[{r}].rules", [entry.class_ for entry in route.rules])
            for where, name in named:
                if name not in classes:
                    yield f'areas[{a}].{where}: "{name}" is no class of spec.classes (known: {known})'
            yield from _repeated(f"areas[{a}].demand", [entry.class_ for entry in area.demand])
        for n, backend in enumerate(self.backends):
            if backend.class_ is not None and backend.class_ not in classes:
                yield f'backends[{n}].class: "{backend.class_}" is no class of spec.classes (known: {known})'

    def to_domain(self, namespace: str, name: str, created: datetime, generation: int) -> Demand:
        """As the domain's demand."""
        return Demand(
            namespace=namespace,
            name=name,
            created=created,
            generation=generation,
            policy=self.policy_ref.name,
            mode=Mode(self.mode),
            suspend=self.suspend,
            restore_on_delete=self.deletion_policy == "Restore",
            classes={entry.name: _class(entry) for entry in self.classes},
            areas=tuple(_area(area, namespace) for area in self.areas),
            backends=tuple(_backend(backend, namespace) for backend in self.backends),
        )


def _repeated(field: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f'{field}: "{name}" is there more than once; name it once'


def _class(entry: ClassSpec) -> QueryClass:
    limit = entry.delay_limit_milliseconds
    return QueryClass(
        name=entry.name,
        profile=entry.profile,
        input_tokens=float(entry.input_tokens),
        output_tokens=float(entry.output_tokens),
        bytes_per_token=float(entry.bytes_per_token),
        delay_limit_s=None if limit is None else seconds(limit),
        delay_penalty_per_s=float(entry.delay_penalty_per_second),
        allowed_sites=Selector() if entry.allowed_sites is None else entry.allowed_sites.to_domain(),
    )


def _area(area: AreaDemand, namespace: str) -> DemandArea:
    entries = tuple(
        DemandEntry(
            query_class=entry.class_,
            queries_per_hour=() if entry.profile is None else tuple(map(float, entry.profile.queries_per_hour)),
            source=None if entry.source is None else SourceRef(entry.source.name, dict(entry.source.params)),
        )
        for entry in area.demand
    )
    routes = tuple(
        RouteTarget(
            RouteKey(route.target_ref.group, route.target_ref.kind, namespace, route.target_ref.name),
            {entry.class_: entry.rule for entry in route.rules},
            None if route.template is None else _route_template(route.template, namespace),
        )
        for route in area.routes
    )
    return DemandArea(area.name, entries, routes)


def _route_template(template: RouteTemplate, namespace: str) -> ManagedTemplate:
    gateways = tuple(f"{parent.namespace or namespace}/{parent.name}" for parent in template.parent_refs)
    return ManagedTemplate(gateways, template.model_dump(mode="json", by_alias=True, exclude_none=True))


def _backend(backend: BackendSpec, namespace: str) -> Backend:
    ref = backend.backend_ref
    key = BackendKey(ref.group, ref.kind, ref.namespace or namespace, ref.name, ref.port or 0)
    return Backend(backend.site, key, backend.class_)
