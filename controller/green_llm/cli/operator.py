"""``green-llm operator``: the planner on a Kubernetes API server."""

from __future__ import annotations

import logging

from green_llm.cli.errors import Exit


def operator() -> int:
    """Run the operator in the cluster of the pod or of the current kubeconfig, until it is told to end.

    Settings come from the environment (GREEN_LLM_…). /healthz says whether it is logged in and planning.
    """
    import kopf  # noqa: PLC0415 - heavy: the other commands must not wait for it

    import green_llm.operator  # noqa: F401, PLC0415 - registers the handlers
    from green_llm.kube.client import Cluster  # noqa: PLC0415
    from green_llm.observability.decisions import log_to_stderr  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    Cluster.connect()  # where there is none, that is all there is to say
    log_to_stderr(logging.getLogger())
    port = Settings().health_port
    kopf.run(standalone=True, clusterwide=True, liveness_endpoint=f"http://0.0.0.0:{port}/healthz")
    return Exit.OPTIMAL
