"""``greenllm.dev/v1alpha1``: one module per kind. Fields are only ever added."""

from green_llm.api.v1alpha1.demand import DemandSpec
from green_llm.api.v1alpha1.policy import PolicySpec
from green_llm.api.v1alpha1.site import SiteSpec
from green_llm.api.v1alpha1.source import SourceSpec

__all__ = ["DemandSpec", "PolicySpec", "SiteSpec", "SourceSpec"]
