"""The kinds we read and write."""

from __future__ import annotations

from green_llm.api.crds import DEFINITIONS
from green_llm.api.parse import GROUP, VERSION
from green_llm.kube.client import Resource
from green_llm.routing.documents import ADAPTERS, EXPORT, GATEWAY

OWN = {
    kind: Resource(GROUP, VERSION, entry.plural, kind.value, entry.scope == "Namespaced")
    for kind, entry in DEFINITIONS.items()
}
"""Our four kinds."""
ROUTES = {key: Resource(a.group, a.version, a.plural, a.kind) for key, a in ADAPTERS.items()}
"""By (group, kind)."""
GRANTS = Resource(GATEWAY, "v1beta1", "referencegrants", "ReferenceGrant")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("", "v1", "events", "Event")
WATCHED = (*OWN.values(), *ROUTES.values(), GRANTS, ENDPOINT_SLICES, NAMESPACES)
"""What the operator keeps a mirror of."""
FIELD_SELECTORS = {CONFIG_MAPS: f"metadata.name={EXPORT}"}
"""Where only some objects of a kind are watched, and granted."""
