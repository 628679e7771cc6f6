"""Fixtures of tests on real traffic: sites, Envoy Gateway and Envoy are shared by all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from support.cluster_objects import NS
from support.control_plane import ControlPlane
from support.traffic.gateway import EnvoyGateway, envoy_program
from support.traffic.sites import TrafficSite, lacking, traffic_sites
from support.traffic.world import SITES, World


def _lacking(plane: ControlPlane) -> str | None:
    for program in (plane.programs / "envoy-gateway", envoy_program(plane.programs)):
        if not program.exists():
            return f"no {program.name} here: run `just e2e-tools`"
    if shutil.which("prometheus") is None:
        return "no prometheus here (Debian: prometheus)"
    return lacking()


@pytest.fixture(scope="package")
def sites(plane: ControlPlane) -> Iterator[dict[str, TrafficSite]]:
    reason = _lacking(plane)
    if reason is not None and os.environ.get("GREEN_LLM_E2E_REQUIRED"):
        pytest.fail(f"no real traffic, and it is required: {reason}")
    if reason is not None:
        pytest.skip(f"no real traffic: {reason}")
    with traffic_sites(*SITES) as found:
        yield found


@pytest.fixture(scope="package")
def gateway(plane: ControlPlane, sites: dict[str, TrafficSite]) -> Iterator[EnvoyGateway]:  # noqa: ARG001 - they say what lacks
    plane.kubectl("create", "namespace", NS, check=False)
    found = EnvoyGateway(plane)
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
def world(cluster: ControlPlane, gateway: EnvoyGateway, sites: dict[str, TrafficSite]) -> Iterator[World]:
    """Routes, back-ends and policies as a user has them; sites that serve, and nothing running that steers."""
    found = World(cluster, gateway, sites)
    try:
        found.lay()
        yield found
    finally:
        found.close()
