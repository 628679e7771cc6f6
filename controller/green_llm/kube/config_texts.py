"""Recordings of signals in ConfigMaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from green_llm.domain.request import CsvSettings, Source
from green_llm.errors import StoreError
from green_llm.kube.client import Cluster
from green_llm.kube.kinds import CONFIG_MAPS

CONFIG_MAP = "configmap:"


class ConfigMapTexts:
    """Recordings in ConfigMaps of the operator's namespace: read before a pass, given out during it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._found: dict[str, Mapping[str, str] | None] = {}

    async def refresh(self, sources: Iterable[Source]) -> None:
        """Read every ConfigMap that a source names.

        Raises:
            StoreError: the API server cannot be asked.
        """
        files = [source.settings.file for source in sources if isinstance(source.settings, CsvSettings)]
        names = {file.removeprefix(CONFIG_MAP).partition("/")[0] for file in files if file.startswith(CONFIG_MAP)}
        found: dict[str, Mapping[str, str] | None] = {}
        for name in sorted(names):
            body = await self._cluster.get(CONFIG_MAPS.path(self._namespace, name))
            found[name] = None if body is None else body.get("data") or {}
        self._found = found

    def read_text(self, name: str) -> tuple[str, str]:
        """(version, text) of ``configmap:NAME/KEY``.

        Raises:
            StoreError: it is not there; files are for directory runs.
        """
        if not name.startswith(CONFIG_MAP):
            raise StoreError(f"{name}: an operator has no files; use csv.configMapRef")
        config_map, _, key = name.removeprefix(CONFIG_MAP).partition("/")
        text = (self._found.get(config_map) or {}).get(key)
        if text is None:
            raise StoreError(
                f'there is no ConfigMap "{config_map}" with the key "{key}" in {self._namespace}; create it'
            )
        return str(hash(text)), text
