"""Settings of the process, from the environment (``GREEN_LLM_…``)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What is the same for all policies."""

    model_config = SettingsConfigDict(env_prefix="GREEN_LLM_", extra="ignore")

    solver_time_limit_seconds: float = Field(60.0, gt=0, description="Wall time of one solve, s.")
    solver_threads: int = Field(
        0,
        ge=0,
        description="Slots solved at the same time; 0: as many as the machine has cores. No influence on plans.",
    )
    metrics_address: str = Field("127.0.0.1", description="Address that /metrics and the live page are served on.")
    token_file: str = Field(
        "",
        description="File with a token that every request for /metrics and the live page must bring; empty: none is asked for.",
    )
    page: bool = Field(default=True, description="Serve the live page beside /metrics.")
    history_file: str = Field(
        "",
        description="File that the live page's history is kept in; empty: beside the resources of a directory, and in memory "
        "by the operator.",
    )
    history_days: float = Field(7.0, gt=0, description="How long the history is kept, days.")
    history_largest_bytes: int = Field(
        67_108_864, gt=0, description="Size of the history beyond which the oldest goes."
    )
    what_if_seconds: float = Field(
        30.0, gt=0, description="Time that one answer of the live page's What if may take, s."
    )
    what_if_memory_bytes: int = Field(
        536_870_912, gt=0, description="Memory that the process of an answer may allocate."
    )
    route_matrix: bool = Field(default=True, description="Export weights by rule and site.")
    decision_log: bool = Field(default=False, description="Log every decision as a line of JSON on stderr.")
    namespace: str = Field("green-llm-system", description="The operator's own namespace: Leases, ledgers, recordings.")
    health_port: int = Field(8080, ge=0, le=65535, description="Port of /healthz.")
    metrics_port: int = Field(9464, ge=0, le=65535, description="Port of /metrics and the live page of the operator.")
    # Kopf may look at the API server's discovery before a definition just installed is in it, and then never watches that kind.
    relist_seconds: float = Field(30.0, gt=0, description="How often the mirror is compared with fresh lists, s.")
    signal_hosts: str = Field(
        "",
        description="Hosts that live signals may come from besides the services' own, with commas between them; with a "
        "port where it is not the scheme's own.",
    )
    record_directory: str = Field(
        "", description="Directory that live signals are recorded in, as Parquet; empty: they are not."
    )
    record_largest_bytes: int = Field(
        536_870_912, gt=0, description="Size of the recordings beyond which the oldest days are removed."
    )
    audit_directory: str = Field(
        "",
        description="Directory that the audit of every policy is kept in, as Parquet; empty: an operator keeps none, a "
        "directory run keeps it in audit/ beside the resources.",
    )
    audit_largest_bytes: int = Field(
        536_870_912, gt=0, description="Size of a policy's audit beyond which the oldest days are removed."
    )
    poll_seconds: float = Field(0.2, gt=0, description="How often a directory is looked at for edits, s.")
