"""A thin client: paths, verbs and content types said openly, every call off the event loop and bounded in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import kubernetes
import urllib3

from green_llm.errors import StoreError

Body = dict[str, Any]
MANAGER = "green-llm"
"""The field manager of everything written."""
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML."""
TIMEOUT_SECONDS = (5.0, 15.0)
"""Connect and read."""
PAGE = 500


class ApiError(StoreError):
    """The API server refused or could not be reached; ``status`` is 0 where it could not."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Resource:
    """A kind of object and where the API server keeps it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection, an object or a subresource."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [base]
        parts += ["namespaces", namespace] if self.namespaced and namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


class Cluster:
    """One API server, as one identity."""

    def __init__(self, api: kubernetes.client.ApiClient) -> None:
        self._api = api

    @classmethod
    def connect(cls) -> Cluster:
        """Log in as the pod's service account, or by the current kubeconfig.

        Raises:
            ApiError: there is neither.
        """
        try:
            try:
                kubernetes.config.load_incluster_config()  # type: ignore[no-untyped-call]
            except kubernetes.config.ConfigException:
                kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]
        except (kubernetes.config.ConfigException, OSError) as error:
            raise ApiError(0, f"no cluster to log in to: {error}; run in a pod or set KUBECONFIG") from error
        configuration = kubernetes.client.Configuration.get_default_copy()
        configuration.retries = False
        return cls(kubernetes.client.ApiClient(configuration))

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, Any] | None = None,
    ) -> Body:
        """One request; the decoded answer.

        Raises:
            ApiError: any answer but success, or none.
        """
        return await asyncio.to_thread(self._call, method, path, body, content_type, dict(query or {}))

    async def get(self, path: str) -> Body | None:
        """An object; None where it is not there."""
        try:
            return await self.call("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def pages(self, resource: Resource, field_selector: str | None = None) -> AsyncIterator[list[Body]]:
        """Every object of a kind, in all namespaces, some hundred at a time; nothing where the kind is not installed.

        Raises:
            ApiError: the API server cannot be asked, or will not say.
        """
        query: dict[str, Any] = {"limit": PAGE, "fieldSelector": field_selector}
        while True:
            try:
                page = await self.call("GET", resource.path(), query=query)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            header = {"apiVersion": page["apiVersion"], "kind": resource.kind}
            yield [header | item for item in page["items"]]
            query["continue"] = page["metadata"].get("continue")
            if not query["continue"]:
                return

    async def patch(self, path: str, body: Any, content_type: str) -> Body:
        """Patch an object under our field manager; what we apply is ours, whoever else claims it."""
        force = {"force": "true"} if content_type == APPLY_PATCH else {}
        return await self.call("PATCH", path, body, content_type=content_type, query={"fieldManager": MANAGER} | force)

    def _call(self, method: str, path: str, body: Any, content_type: str, query: dict[str, Any]) -> Body:
        given = [(key, value) for key, value in query.items() if value is not None]
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = self._api.param_serialize(
            method, path, query_params=given, header_params=headers, auth_settings=["BearerToken"]
        )
        method_, url, header_params, _, _ = request
        try:
            answer = self._api.call_api(method_, url, header_params, body, None, _request_timeout=TIMEOUT_SECONDS)
            text = answer.read()  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, kubernetes.client.ApiException, OSError) as error:
            raise ApiError(getattr(error, "status", 0) or 0, f"{method} {path}: {error}") from error
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {_message(text)}")
        decoded: Body = json.loads(text)
        return decoded


def _message(text: bytes) -> str:
    """What the API server says of an error."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace")
