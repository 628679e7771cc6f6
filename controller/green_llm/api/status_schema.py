"""What each kind's status holds: the part of a CRD that the operator writes."""

from __future__ import annotations

from typing import Any

from green_llm.domain.request import Kind

Schema = dict[str, Any]
MOST_WEIGHTS = 512
MOST_SIGNALS = 32
MOST_ROUTES = 256
MOST_GUARDED = 1024


def text(description: str) -> Schema:
    """A short string; numbers are decimal strings."""
    return {"type": "string", "maxLength": 1024, "description": description}


def integer(description: str) -> Schema:
    """A whole number."""
    return {"type": "integer", "format": "int64", "description": description}


def moment(description: str) -> Schema:
    """A time."""
    return {"type": "string", "format": "date-time", "description": description}


def fields(description: str, **properties: Schema) -> Schema:
    """An object."""
    return {"type": "object", "description": description, "properties": properties}


def many(description: str, most: int, **properties: Schema) -> Schema:
    """A list of objects, replaced whole."""
    entry = {"type": "object", "properties": properties}
    listed = {"type": "array", "maxItems": most, "items": entry, "x-kubernetes-list-type": "atomic"}
    return listed | {"description": description}


CONDITIONS: Schema = {
    "type": "array",
    "maxItems": 8,
    "description": "metav1.Conditions; Ready is the summary.",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
            "message": {"type": "string", "maxLength": 32768},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        },
    },
}
_PER_HOUR = fields(
    "Rates of what is in force.",
    cost=text("Net cost of grid energy per hour, policy currency."),
    emissionsKilograms=text("kgCO2e per hour."),
    waterLiters=text("Litres per hour, on and off site."),
    meanDelayMilliseconds=integer("Mean delay of a query, ms."),
)


def _status(**properties: Schema) -> Schema:
    observed = integer("Generation of the spec that this status is about.")
    return fields(
        "What is in force, planned, and why.", observedGeneration=observed, conditions=CONDITIONS, **properties
    )


STATUS: dict[Kind, Schema] = {
    Kind.DEMAND: _status(
        mode=text("Shadow or Active: the stricter of the demand's and the policy's."),
        policy=text("Name of the GreenPolicy."),
        perHour=_PER_HOUR,
        routes=many(
            "How far each route's weights are known to be in use.",
            MOST_ROUTES,
            kind=text("Kind of the route."),
            name=text("Name of the route."),
            rung=text("Written, Accepted by every gateway, Impaired (accepted in part) or Refused by one."),
            message=text("What keeps it from Accepted."),
        ),
        weights=many(
            "Planned and written shares; the first of them.",
            MOST_WEIGHTS,
            area=text("Area."),
            **{"class": text("Class.")},
            route=text("Route."),
            rule=text("Rule."),
            site=text("Site."),
            plannedBasisPoints=integer("Share by the plan, 1/10000."),
            weight=integer("Weight in force; only once the route was read."),
            heldBy=text(
                "What keeps it from the plan's: Ramp, Deadband, MinWriteInterval, Rollback, Shadow, and so on."
            ),
        ),
        omittedWeights=integer(
            "How many more there are; all are in the ConfigMap green-llm-weights-POLICY of the operator's namespace."
        ),
    ),
    Kind.SITE: _status(
        claimedBy=text("GreenPolicy that plans this site."),
        signals=many(
            "Values in use now.",
            MOST_SIGNALS,
            kind=text("Kind of signal."),
            source=text("SignalSource it is from."),
            value=text("Value."),
            unit=text("Unit."),
            quality=text("measured, forecast, estimated, profile, persistence or static."),
            intervalStartTime=moment("Start of the slot."),
            issuedTime=moment("When it was published."),
        ),
    ),
    Kind.POLICY: _status(
        mode=text("Shadow or Active."),
        plan=fields(
            "The last plan.",
            solvedTime=moment("When it was made."),
            validUntilTime=moment("From then on the weights in force are stale."),
            termination=text("optimal, infeasible or time_limit."),
            slots=integer("Slots planned ahead."),
        ),
        objectives=many(
            "Values over the horizon.",
            5,
            name=text("Objective."),
            value=text("Value of the plan."),
            budget=text("What it may be at most."),
            unit=text("Unit."),
        ),
        binding=many(
            "Limits of the whole horizon that bind.",
            16,
            limit=text("Limit."),
            shadowPrice=text("What one more unit of it would change."),
            unit=text("Unit."),
        ),
        water=fields(
            "The water budget.",
            periodStartTime=moment("Start of the period."),
            usedLiters=text("Used in the period."),
            remainingLiters=text("Left of the budget; may be negative."),
        ),
        slo=many(
            "How sites keep the SLO, by hardware profile.",
            MOST_GUARDED,
            site=text("Site."),
            profile=text("Hardware profile."),
            verdict=text("Kept, Broken, Settling (its load has just moved), Idle (without load) or Unknown."),
            message=text("What is broken, not known, or not guarded."),
            capTokensPerSecond=integer("Most that it may carry, tokens/s; absent: as much as the plan likes."),
            broke=text("What broke at which load, and so led to the cap."),
            untilTime=moment("The cap is not raised before."),
        ),
        perHour=_PER_HOUR,
        savings=fields(
            "Per hour, against the nearest site.",
            versus=text("What it is compared with."),
            cost=text("Policy currency per hour."),
            emissionsKilograms=text("kgCO2e per hour."),
            waterLiters=text("Litres per hour."),
        ),
    ),
    Kind.SOURCE: _status(
        lastSuccessTime=moment("When it last gave a value."),
        lastError=text("What went wrong last."),
    ),
}
