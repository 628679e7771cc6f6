"""Network delay where nobody measured it."""

from __future__ import annotations

import math
from functools import lru_cache

from green_llm.domain.topology import Area, Location, NetworkLink, Site

EARTH_RADIUS_KM = 6371.0
"""Mean radius (IUGG)."""
LIGHT_IN_FIBRE_KM_PER_S = 204_190.0
"""c / 1.468, the group index of standard single-mode fibre at 1550 nm (ITU-T G.652 fibres)."""
STRETCH = 1.5
"""How much longer a cable route is than the great circle. An assumption: give latencyMilliseconds where it is measured."""


def link(area: Area, site: Site) -> NetworkLink:
    """The given way from an area to a site, else the great-circle round trip through fibre without a transfer term."""
    given = area.network.get(site.name)
    if given is not None:
        return given
    return _through_fibre(area.location, site.location)


@lru_cache(maxsize=4096)
def _through_fibre(one: Location, two: Location) -> NetworkLink:
    """The same of every interval."""
    kilometres = _great_circle_km(one, two) * STRETCH
    return NetworkLink(latency_s=2.0 * kilometres / LIGHT_IN_FIBRE_KM_PER_S)


def _great_circle_km(one: Location, two: Location) -> float:
    """Haversine formula."""
    lat1, lat2 = math.radians(one.latitude), math.radians(two.latitude)
    half = math.radians(two.longitude - one.longitude) / 2.0
    chord = math.sin((lat2 - lat1) / 2.0) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half) ** 2
    return 2.0 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))
