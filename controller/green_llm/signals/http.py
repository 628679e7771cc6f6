"""The one way out: GETs that are bounded in time and size, only to hosts that are allowed, and that never show a secret."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

import aiohttp

from green_llm.errors import SignalError
from green_llm.signals.feed import Request

LARGEST_BYTES = 20_000_000
QUOTA = re.compile(r"(x-)?ratelimit-remaining(-\w+)?|x-ratelimit-\w+-remaining", re.IGNORECASE)
SHOWN = 200
"""How much of an error's text is shown."""
REMEMBERED = 512
"""Answers kept for conditional requests."""
USER_AGENT = "green-llm (+https://greenllm.dev)"


class Reason(StrEnum):
    """Why a request brought nothing; label of a metric."""

    CONFIGURATION = "configuration"
    """401, 402, 403, or a host that is not allowed: asking again helps nobody until something is changed."""
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    NETWORK = "network"
    TIMEOUT = "timeout"
    ANSWER = "answer"
    """It came, and cannot be read."""


class FetchError(SignalError):
    """A request that brought nothing."""

    def __init__(self, reason: Reason, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.retry_after_seconds = reason, retry_after_seconds
        self.retry = reason is not Reason.CONFIGURATION


@dataclass
class _Remembered:
    etag: str | None
    modified: str | None
    body: bytes


class HttpClient:
    """One session for all services of a process."""

    def __init__(self, allowed_hosts: Collection[str]) -> None:
        """``allowed_hosts``: names, with a port where it is not the scheme's own."""
        self._allowed = frozenset(allowed_hosts)
        self._session: aiohttp.ClientSession | None = None
        self.quotas: dict[str, str] = {}
        """By host, what is left of what a service allows, as its last answer said."""
        self._remembered: dict[str, _Remembered] = {}

    async def get(self, base_url: str, request: Request, timeout_seconds: float, secret: str = "") -> bytes:
        """The body of an answer; ``b""`` where its status means that there is nothing yet.

        Raises:
            FetchError: anything else than a body.
        """
        url = base_url.rstrip("/") + request.path
        self._check(url, credentials=bool(secret or request.private))
        shown = url + (f"?{urlencode(request.query)}" if request.query else "")
        try:
            return await self._get(url, request, timeout_seconds, shown)
        except FetchError as error:
            raise FetchError(error.reason, _without(str(error), secret), error.retry_after_seconds) from None
        except TimeoutError:
            raise FetchError(Reason.TIMEOUT, f"GET {shown}: no answer within {timeout_seconds:g} s") from None
        except aiohttp.ClientError as error:
            text = _without(str(error) or type(error).__name__, secret)
            raise FetchError(Reason.NETWORK, f"GET {shown}: {text}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _check(self, url: str, *, credentials: bool) -> None:
        """Whether this host may be asked.

        Raises:
            FetchError: it may not.
        """
        parts = urlsplit(url)
        if parts.netloc not in self._allowed:
            raise FetchError(
                Reason.CONFIGURATION,
                f"the host {parts.netloc} is not allowed; add it to GREEN_LLM_SIGNAL_HOSTS of the operator",
            )
        if credentials and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise FetchError(Reason.CONFIGURATION, f"a secret is not sent to {parts.netloc} without TLS; use https")

    async def _get(self, url: str, request: Request, timeout_seconds: float, shown: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": USER_AGENT}, trust_env=True)
        query = {**request.query, **request.private}
        known = self._remembered.get(shown)
        headers = {**request.headers, **_conditions(known)}
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        async with self._session.get(
            url, params=query, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            if answer.status == HTTPStatus.NOT_MODIFIED and known is not None:
                return known.body
            body = await _read(answer, shown)
            left = {name: text for name, text in answer.headers.items() if QUOTA.fullmatch(name)}
            if left:
                self.quotas[answer.url.authority] = ", ".join(left.values())
            if answer.status in request.no_data:
                return b""
            if answer.status in request.read:
                return body
            if answer.status == HTTPStatus.OK:
                self._remember(shown, answer.headers, body)
                return body
            raise _refused(answer.status, answer.headers, body, shown)

    def _remember(self, shown: str, headers: Mapping[str, str], body: bytes) -> None:
        etag, modified = headers.get("ETag"), headers.get("Last-Modified")
        if etag or modified:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[shown] = _Remembered(etag, modified, body)


async def _read(answer: aiohttp.ClientResponse, shown: str) -> bytes:
    """The body, as long as it is not larger than any service's should be."""
    parts, size = [], 0
    async for part in answer.content.iter_chunked(65536):
        size += len(part)
        if size > LARGEST_BYTES:
            raise FetchError(Reason.ANSWER, f"GET {shown}: the answer is larger than {LARGEST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _refused(status: int, headers: Mapping[str, str], body: bytes, shown: str) -> FetchError:
    text = " ".join(body[:SHOWN].decode("utf-8", "replace").split())
    message = f"GET {shown}: {status} {text}".rstrip()
    if status in (401, 402, 403):
        return FetchError(Reason.CONFIGURATION, f"{message}; check the key and what its plan includes")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return FetchError(Reason.RATE_LIMITED, message, _retry_after(headers))
    if 300 <= status < 400:
        place = headers.get("Location", "?").partition("?")[0]
        return FetchError(Reason.CONFIGURATION, f"{message}: redirects to {place} are not followed; set baseUrl")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return FetchError(Reason.SERVER, message, _retry_after(headers))
    return FetchError(Reason.ANSWER, f"{message}; check the parameters")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a number or a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After")
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        date = parsedate_to_datetime(headers["Date"]) if "Date" in headers else None
    except (TypeError, ValueError):
        return None
    return None if date is None else max(0.0, (moment - date).total_seconds())


def _conditions(known: _Remembered | None) -> dict[str, str]:
    if known is None:
        return {}
    found = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
    return {name: value for name, value in found.items() if value}


def _is_loopback(host: str) -> bool:
    """Whether what is sent there never leaves the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _without(text: str, secret: str) -> str:
    """A text without the secret, nor any part of it."""
    for part in {secret, *secret.split(":")} - {""}:
        text = text.replace(part, "***")
    return text
