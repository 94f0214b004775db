"""Authentication: users with passwords, users named by a proxy in front, programs with API keys.

AuthMiddleware stands in front of everything but UNPROTECTED_PATH: the page, its files and all APIs.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from rag.errors import PageError, SettingError, UsageError
from rag.server.openai_errors import error_body
from rag.server.rate_limit import RateLimiter, RateLimitExceeded
from rag.settings import Settings, variable_name

UNPROTECTED_PATH = "/healthz"
"""The liveness probe, which says only that the server runs."""

STARTUP_PATH = "/gradio_api/startup-events"
"""Requested by Gradio itself during its launch, without credentials."""

HEADER_PREFIX = "header:"
"""Precedes the name of the proxy's header in RAG_SERVER_USERS."""

HASH_PREFIX = "scrypt-"
"""Begins the hash of a password."""

SCRYPT_PARAMETERS = {"n": 2**14, "r": 8, "p": 5, "dklen": 32}
"""One hash takes a fifth of a second and 16 MB."""

MIN_PASSWORD_LENGTH = 8
MIN_KEY_LENGTH = 16

MAX_REQUESTS_PER_MINUTE = 120
"""For each API key: about as many questions as a small machine answers."""

MAX_FAILED_LOGINS_PER_MINUTE = 10
"""For each address. Keys are too long to be guessed."""

_BASIC_CHALLENGE = 'Basic realm="Footnote", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the server; everybody, if all fields are empty."""

    users: Mapping[str, str] = field(default_factory=dict)
    """User name → hash of the password."""
    keys: tuple[bytes, ...] = ()
    """SHA-256 of the API keys."""
    header: str = ""
    """The header in which a proxy names the user."""

    @property
    def required(self) -> bool:
        """Whether requests must be authenticated."""
        return bool(self.users or self.keys or self.header)


def load_access(settings: Settings) -> Access:
    """Return who may use the server by RAG_SERVER_USERS and RAG_SERVER_API_KEYS.

    Raises:
        SettingError: One of them is invalid. The message contains neither passwords nor keys.
    """
    auth = settings.server_users.get_secret_value().strip()
    keys = tuple(_digest(key) for key in _parse_keys(settings.server_api_keys.get_secret_value()))
    if auth.startswith(HEADER_PREFIX):
        return Access(keys=keys, header=_parse_header(auth.removeprefix(HEADER_PREFIX).strip()))
    users = dict(_parse_user(pair.strip()) for pair in auth.split(",")) if auth else {}
    return Access(users, keys)


def check_private(host: str, access: Access, public: bool) -> None:
    """Check that strangers cannot use the server by mistake.

    Args:
        host: The address that the server listens on.
        access: Who may use the server.
        public: Whether the owner has said that everybody may.

    Raises:
        PageError: Other machines can reach the server, and no authentication is required.
    """
    if access.required or public or _is_loopback(host):
        return
    raise PageError(
        f"Anybody who can reach {host} could use the page and read the articles.",
        remedy="Set RAG_SERVER_USERS or RAG_SERVER_API_KEYS, or RAG_ALLOW_ANONYMOUS=1 to allow that.",
    )


def hash_credentials(user: str, password: str) -> str:
    """Return the entry of RAG_SERVER_USERS for a user.

    Raises:
        UsageError: The user name or the password cannot be used.
    """
    if not user or not user.isprintable() or set(user) & set(":, ") or user == "header":
        raise UsageError(
            f"The name {user!r} cannot be used.", remedy="Use letters and digits, without spaces."
        )
    if len(password) < MIN_PASSWORD_LENGTH:
        raise UsageError(
            f"The password is {len(password)} characters long.",
            remedy=f"Use at least {MIN_PASSWORD_LENGTH}.",
        )
    return f"{user}:{_hash(password, secrets.token_bytes(16))}"


class AuthMiddleware:
    """ASGI middleware that answers requests without valid credentials itself.

    Args:
        app: The application behind it.
        access: Who may use the application.
        launched: Set once Gradio's launch has ended, during which it sends a request to itself.
    """

    def __init__(self, app: Any, access: Access, launched: Event) -> None:
        self._app = app
        self._access = access
        self._launched = launched
        self._requests = RateLimiter(MAX_REQUESTS_PER_MINUTE, "requests")
        self._failed_logins = RateLimiter(MAX_FAILED_LOGINS_PER_MINUTE, "wrong passwords")
        self._secret = secrets.token_bytes(32)
        self._verified: set[bytes] = set()
        """MACs of credentials that were right."""
        self._hashing = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or self._is_unprotected(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            await self._check(scope)
        except _AccessDenied as denied:
            await denied.response(scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_unprotected(self, path: str) -> bool:
        return path == UNPROTECTED_PATH or (path == STARTUP_PATH and not self._launched.is_set())

    async def _check(self, scope: Any) -> None:
        """Raise _AccessDenied unless the request has valid credentials."""
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        address = scope["client"][0] if scope.get("client") else ""
        try:
            if scheme.lower() == "bearer" and self._access.keys:
                self._check_key(credentials.strip())
            elif scheme.lower() == "basic" and self._access.users:
                _check_same_site(headers)
                await self._check_password(credentials.strip(), address)
            elif self._access.header and _only_value(headers.getlist(self._access.header)):
                _check_same_site(headers)
            else:
                raise self._unauthenticated(
                    "Authentication required. Send a user name and password, or an API key."
                )
        except RateLimitExceeded as error:
            retry = {"Retry-After": str(error.retry_after_s)}
            raise _AccessDenied(429, str(error), "rate_limit_exceeded", retry) from None

    def _check_key(self, key: str) -> None:
        digest = _digest(key)
        # All keys are compared, so that the time does not tell which one is nearly right.
        matches = [hmac.compare_digest(digest, known) for known in self._access.keys]
        if not any(matches):
            raise self._unauthenticated("Unknown API key.")
        self._requests.check(digest.hex())
        self._requests.count(digest.hex())

    async def _check_password(self, credentials: str, address: str) -> None:
        # A browser sends the password with every request, and hashing it is slow: do so only once.
        mac = hmac.digest(self._secret, credentials.encode(), "sha256")
        if mac in self._verified:
            return
        async with self._hashing:
            self._failed_logins.check(address)
            if not await asyncio.to_thread(_is_valid, credentials, self._access.users):
                self._failed_logins.count(address)
                raise self._unauthenticated("Invalid user name or password.")
            self._verified.add(mac)

    def _unauthenticated(self, message: str) -> "_AccessDenied":
        # A browser asks for no password if it is offered both schemes.
        challenges = {_BASIC_CHALLENGE: self._access.users, "Bearer": self._access.keys}
        challenge = next((scheme for scheme, known in challenges.items() if known), "")
        headers = {"WWW-Authenticate": challenge} if challenge else {}
        return _AccessDenied(401, message, "not_authenticated", headers)


class _AccessDenied(Exception):
    """A request that is not let through."""

    def __init__(self, status: int, message: str, code: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self._status = status
        self._code = code
        self._headers = headers

    def response(self, path: str) -> Any:
        """Return the response: plain text, or JSON for clients of OpenAI's API."""
        from starlette.responses import JSONResponse, PlainTextResponse

        if path == "/v1" or path.startswith("/v1/"):
            body = error_body(self._status, str(self), self._code)
            return JSONResponse(body, self._status, self._headers)
        return PlainTextResponse(f"{self}\n", self._status, self._headers)


def _check_same_site(headers: Any) -> None:
    """Raise _AccessDenied if another site's script sends the request.

    A browser adds these credentials by itself, whichever site the script is from.
    """
    origin = headers.get("origin")
    if origin is None:
        return
    site = headers.get("sec-fetch-site")  # browsers leave it out without TLS
    if site:
        same_site = site in ("same-origin", "none")
    else:
        same_site = urlsplit(origin).netloc == headers.get("host")
    if not same_site:
        message = (
            "Requests from another site's scripts are not allowed. A proxy in front must forward the"
            " Host header."
        )
        raise _AccessDenied(403, message, "other_site", {})


def _only_value(values: list[str]) -> str:
    """Return the only value; nothing if there are more, of which a client has added one itself."""
    return values[0].strip() if len(values) == 1 else ""


# -- passwords and keys


def _hash(password: str, salt: bytes) -> str:
    key = hashlib.scrypt(password.encode(), salt=salt, **SCRYPT_PARAMETERS)
    return f"{HASH_PREFIX}{salt.hex()}-{key.hex()}"


_UNKNOWN_USER_HASH = f"{HASH_PREFIX}{bytes(16).hex()}-{bytes(32).hex()}"
"""Compared with if there is no such user, so that it takes as long."""


def _is_valid(credentials: str, users: Mapping[str, str]) -> bool:
    """Return whether credentials of the Basic scheme are those of a user."""
    try:
        user, _, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return False
    known = users.get(user, _UNKNOWN_USER_HASH)
    salt = bytes.fromhex(known.split("-")[1])
    return hmac.compare_digest(_hash(password, salt), known) and user in users


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


# -- settings


def _parse_header(name: str) -> str:
    if not name or not all(c.isascii() and (c.isalnum() or c == "-") for c in name):
        raise SettingError(
            f"{variable_name('server_users')} names the header {name!r}.",
            remedy="Write header:X-Forwarded-User.",
        )
    return name


def _parse_user(entry: str) -> tuple[str, str]:
    name, _, password_hash = entry.partition(":")
    before, _, parameters = password_hash.partition(HASH_PREFIX)
    try:
        salt, key = (bytes.fromhex(part) for part in parameters.split("-"))
    except ValueError:
        salt = key = b""
    if not name or before or not salt or len(key) != SCRYPT_PARAMETERS["dklen"]:
        shown = name if password_hash else "…"
        raise SettingError(
            f"{variable_name('server_users')} has no password hash for {shown!r}.",
            remedy="Create it with `rag password`.",
        )
    return name, password_hash


def _parse_keys(setting: str) -> list[str]:
    """Return the keys: separated by commas, or the lines of a file.

    A file's path contains a slash, a key does not.
    """
    setting = setting.strip()
    if not setting:
        return []
    lines = _read_lines(setting) if "/" in setting else setting.split(",")
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise SettingError(
            f"{variable_name('server_api_keys')} contains no key.", remedy="Add one, or unset it."
        )
    for number, key in enumerate(keys, start=1):
        if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
            raise SettingError(
                f"Key {number} of {variable_name('server_api_keys')} cannot be used.",
                remedy=f"Use at least {MIN_KEY_LENGTH} ASCII characters without spaces.",
            )
    return keys


def _read_lines(file: str) -> list[str]:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(
            f"The file that {variable_name('server_api_keys')} names cannot be read ({reason}).",
            remedy="Correct the path. A key contains no slash.",
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
