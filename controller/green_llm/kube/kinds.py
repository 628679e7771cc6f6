"""The kinds we read and write."""

from __future__ import annotations

from green_llm.api.crds import DEFINITIONS
from green_llm.api.parse import GROUP, VERSION
from green_llm.kube.client import Resource
from green_llm.routing.documents import GATEWAY

OWN = {
    kind: Resource(GROUP, VERSION, entry.plural, kind.value, entry.scope == "Namespaced")
    for kind, entry in DEFINITIONS.items()
}
"""Our four kinds."""
HTTP_ROUTES = Resource(GATEWAY, "v1", "httproutes", "HTTPRoute")
GRPC_ROUTES = Resource(GATEWAY, "v1", "grpcroutes", "GRPCRoute")
ROUTES = {(GATEWAY, "HTTPRoute"): HTTP_ROUTES, (GATEWAY, "GRPCRoute"): GRPC_ROUTES}
"""By (group, kind)."""
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("", "v1", "events", "Event")
WATCHED = (*OWN.values(), HTTP_ROUTES, GRPC_ROUTES, ENDPOINT_SLICES, NAMESPACES)
"""What the operator keeps a mirror of."""
