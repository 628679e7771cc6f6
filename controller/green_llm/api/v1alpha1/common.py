"""Types that several kinds share. Every string, list and map is bounded; fractions are decimal strings, never floats."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from green_llm.domain.topology import Location, Selector

PRESERVE = "x-kubernetes-preserve-unknown-fields"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=NAME_PATTERN)]
RuleName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Labels = Annotated[
    dict[Annotated[str, StringConstraints(max_length=317)], Annotated[str, StringConstraints(max_length=63)]],
    Field(max_length=16),
]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


def _decimal(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f'must be a decimal string: write "{value}" in quotes')  # noqa: TRY004 - pydantic wants ValueError
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f'"{value}" is no IANA time zone; write one such as America/Chicago') from None
    return value


DecimalText = Annotated[
    str, StringConstraints(max_length=24, pattern=r"^-?[0-9]+(\.[0-9]+)?$"), BeforeValidator(_decimal)
]
"""A number as a decimal string."""
PositiveText = Annotated[
    str, StringConstraints(max_length=24, pattern=r"^[0-9]+(\.[0-9]+)?$"), BeforeValidator(_decimal)
]
"""A number of at least 0 as a decimal string."""
Percent = Annotated[int, Field(ge=0, le=100)]
TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_zone)]


Params = Annotated[dict[Name, Text], Field(max_length=8)]


class Model(BaseModel):
    """Base of everything in a spec: camelCase names, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=False)


class NameRef(Model):
    """A reference by name."""

    name: Name = Field(description="Name of the object.")


class LabelSelector(Model):
    """Selects objects by labels; an empty selector selects everything."""

    match_labels: Labels = Field(default_factory=dict, description="Labels that must all be there.")

    def to_domain(self) -> Selector:
        """As the domain's selector."""
        return Selector(dict(self.match_labels))


class GeoLocation(Model):
    """A place on earth."""

    latitude: DecimalText = Field(description="Degrees north, -90 … 90, as a decimal string.")
    longitude: DecimalText = Field(description="Degrees east, -180 … 180, as a decimal string.")

    def to_domain(self) -> Location:
        """As the domain's location."""
        return Location(float(self.latitude), float(self.longitude))


class CarbonBasis(Model):
    """What a carbon intensity counts."""

    signal: Annotated[str, Field(pattern="^(Average|Marginal)$")] = Field("Average", description="Average or Marginal.")
    factors: Annotated[str, Field(pattern="^(Lifecycle|Direct)$")] = Field(
        "Lifecycle", description="Lifecycle (with construction and fuel supply) or Direct (combustion only)."
    )
    boundary: Annotated[str, Field(pattern="^(Consumption|Production)$")] = Field(
        "Consumption", description="Consumption (imports and exports counted) or Production."
    )


class SourceParams(Model):
    """A configured source, and what to ask it for."""

    source: Name = Field(description="Name of the SignalSource.")
    params: Params = Field(
        default_factory=dict, description="Parameters of the source; checked against the patterns it declares."
    )
