"""Kopf: events fill the mirror, one task plans. ``kopf run -m green_llm.operator --standalone --all-namespaces``.

Only ``on.event`` handlers are used: Kopf writes nothing into any object, and no framework patch can fail.
"""

from green_llm.operator import handlers

__all__ = ["handlers"]
