"""The custom resources: Pydantic models, and the way from a manifest to ``domain.request`` and back to a status."""
