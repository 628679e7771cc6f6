"""Secrets of the operator's own namespace, and of no other."""

from __future__ import annotations

import base64
import binascii

from green_llm.errors import SignalError
from green_llm.kube.client import ApiError, Cluster
from green_llm.kube.kinds import SECRETS


class KubeSecrets:
    """Read anew each time: a rotated key is taken up, and nothing is kept."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace

    async def read(self, name: str, key: str) -> str:
        """The text of a key.

        Raises:
            SignalError: it is not there.
        """
        try:
            body = await self._cluster.get(SECRETS.path(self._namespace, name))
        except ApiError as error:
            raise SignalError(f"Secret {self._namespace}/{name}: cannot be read ({error.status})") from None
        text = ((body or {}).get("data") or {}).get(key)
        if text is None:
            raise SignalError(f'there is no Secret {self._namespace}/{name} with the key "{key}"; create it')
        try:
            return base64.b64decode(text).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise SignalError(f'Secret {self._namespace}/{name}: the key "{key}" is no text') from None
