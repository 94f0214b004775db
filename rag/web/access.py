"""Who may use what is served: names with passwords, or whom a proxy in front lets in; programs by keys.

The gate stands before everything but OPEN: the page, its files, Gradio's API, `/v1`.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import math
import secrets
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from rag.errors import PageError, SettingError, UsageError
from rag.settings import Settings
from rag.web.openai import refused

OPEN = "/healthz"
"""Answers whoever asks: it tells nothing but that something is served."""

STARTED = "/gradio_api/startup-events"
"""What Gradio asks of itself while it is launched, without a password."""

HEADER = "header:"
"""What RAG_AUTH begins with where a proxy's header names the user."""

SCHEME = "scrypt-"
"""What a password's hash begins with."""

COST = {"n": 2**14, "r": 8, "p": 5, "dklen": 32}
"""Of a hash: a fifth of a second, 16 MB."""

LEAST_PASSWORD = 8
LEAST_KEY = 16
"""Characters."""

REQUESTS = 120
"""That each key may make in a minute: about as many questions as a small machine answers."""

TRIES = 10
"""Wrong passwords that an address may try in a minute. Keys are too long to be tried."""

MOST_PACED = 10_000
"""Keys or addresses whose pace is remembered."""


@dataclass(frozen=True, slots=True)
class Access:
    """Names with passwords' hashes, hashes of keys, a proxy's header; all empty: nobody is asked."""

    users: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[bytes, ...] = ()
    header: str = ""

    @property
    def asked_for(self) -> bool:
        return bool(self.users or self.keys or self.header)


def access_of(settings: Settings) -> Access:
    """What RAG_AUTH and RAG_API_KEYS say. Raises SettingError, which shows neither."""
    auth = settings.auth.get_secret_value().strip()
    keys = tuple(_digest(key) for key in _keys(settings.api_keys.get_secret_value()))
    if auth.startswith(HEADER):
        return Access(keys=keys, header=_header(auth.removeprefix(HEADER).strip()))
    users = dict(_user(pair.strip()) for pair in auth.split(",")) if auth else {}
    return Access(users, keys)


def check_private(host: str, access: Access, public: bool) -> None:
    """Raises PageError where strangers could use what is served, and nobody has said that they may."""
    if access.asked_for or public or _is_loopback(host):
        return
    raise PageError(
        f"Whoever reaches {host} could use the page and read the articles.",
        remedy="Set RAG_AUTH or RAG_API_KEYS, or RAG_PUBLIC=1 if that is meant.",
    )


def line_for(user: str, password: str) -> str:
    """What RAG_AUTH takes for this user. Raises UsageError."""
    if not user or not user.isprintable() or set(user) & set(":, ") or user == "header":
        raise UsageError(
            f"The name {user!r} cannot be used.", remedy="Use letters and figures, without spaces."
        )
    if len(password) < LEAST_PASSWORD:
        raise UsageError(
            f"The password is {len(password)} characters long.",
            remedy=f"Use at least {LEAST_PASSWORD}.",
        )
    return f"{user}:{_hashed(password, secrets.token_bytes(16))}"


_BASIC = 'Basic realm="Footnote", charset="UTF-8"'


class Gate:
    """Lets in who may come, and tells others why not (ASGI)."""

    def __init__(self, app: Any, access: Access, launched: Event) -> None:
        self._app = app
        self._access = access
        self._launched = launched
        self._requests = Pace(REQUESTS, "requests")
        self._wrong = Pace(TRIES, "wrong passwords")
        self._secret = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            await self._check(scope)
        except _Out as out:
            await out.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path == OPEN or (path == STARTED and not self._launched.is_set())

    async def _check(self, scope: Any) -> None:
        """Raises _Out."""
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        address = scope["client"][0] if scope.get("client") else ""
        if scheme.lower() == "bearer" and self._access.keys:
            self._check_key(given.strip())
        elif scheme.lower() == "basic" and self._access.users:
            _check_same_site(headers)
            await self._check_password(given.strip(), address)
        elif self._access.header and _only(headers.getlist(self._access.header)):
            _check_same_site(headers)
        else:
            raise self._unknown("Who asks is not known. Give a name and password, or a key.")

    def _check_key(self, given: str) -> None:
        digest = _digest(given)
        right = [hmac.compare_digest(digest, key) for key in self._access.keys]
        if not any(right):
            raise self._unknown("The key is not one of those known here.")
        self._requests.check(digest.hex())
        self._requests.count(digest.hex())

    async def _check_password(self, given: str, address: str) -> None:
        # A browser sends the password with everything that it asks for: once hashed, it is known.
        mark = hmac.digest(self._secret, given.encode(), "sha256")
        if mark in self._right:
            return
        async with self._one_at_a_time:
            self._wrong.check(address)
            if not await asyncio.to_thread(_is_right, given, self._access.users):
                self._wrong.count(address)
                raise self._unknown("Name and password do not belong together.")
            self._right.add(mark)

    def _unknown(self, problem: str) -> "_Out":
        # A browser that is offered both asks for no password.
        offered = {_BASIC: self._access.users, "Bearer": self._access.keys}
        way = next((way for way, known in offered.items() if known), "")
        headers = {"WWW-Authenticate": way} if way else {}
        return _Out(401, problem, "not_authenticated", headers)


class Pace:
    """So many in a minute for each name; those of MOST_PACED names are remembered."""

    def __init__(self, a_minute: int, what: str) -> None:
        self._most = a_minute
        self._what = what
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, name: str) -> None:
        """Raises _Out when there have been too many."""
        left = self._left_now(name)
        if left < 1:
            wait = math.ceil((1 - left) * 60 / self._most)
            told = f"There were {self._most} {self._what} in a minute. Ask again in {wait} s."
            raise _Out(429, told, "rate_limit_exceeded", {"Retry-After": str(wait)})

    def count(self, name: str) -> None:
        self._left[name] = (self._left_now(name) - 1, time.monotonic())
        self._left.move_to_end(name)
        while len(self._left) > MOST_PACED:
            self._left.popitem(last=False)

    def _left_now(self, name: str) -> float:
        left, then = self._left.get(name, (float(self._most), 0.0))
        return min(self._most, left + (time.monotonic() - then) * self._most / 60)


class _Out(Exception):
    """Somebody who is not let in."""

    def __init__(self, status: int, problem: str, code: str, headers: Mapping[str, str]) -> None:
        super().__init__(problem)
        self._status = status
        self._told = refused(status, problem, code)
        self._headers = headers

    def response(self) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse(self._told, self._status, self._headers)


def _check_same_site(headers: Any) -> None:
    """What a browser sends along by itself does not count for the scripts of other sites. Raises _Out."""
    origin = headers.get("origin")
    if origin is None:
        return
    site = headers.get("sec-fetch-site")  # browsers leave it out where there is no TLS
    own = (
        site in ("same-origin", "none") if site else urlsplit(origin).netloc == headers.get("host")
    )
    if not own:
        told = "Another site's script asks. A proxy in front must hand on the Host header."
        raise _Out(403, told, "other_site", {})


def _only(values: list[str]) -> str:
    """The one value; nothing where a client has added its own to the proxy's."""
    return values[0].strip() if len(values) == 1 else ""


# -- passwords and keys


def _hashed(password: str, salt: bytes) -> str:
    return f"{SCHEME}{salt.hex()}-{hashlib.scrypt(password.encode(), salt=salt, **COST).hex()}"


_NOBODYS = f"{SCHEME}{bytes(16).hex()}-{bytes(32).hex()}"
"""Compared with where there is no such user, so that it takes as long."""


def _is_right(given: str, users: Mapping[str, str]) -> bool:
    """Whether the credentials of HTTP's Basic scheme are a user's."""
    try:
        name, _, password = b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return False
    hashed = users.get(name, _NOBODYS)
    salt = bytes.fromhex(hashed.split("-")[1])
    return hmac.compare_digest(_hashed(password, salt), hashed) and name in users


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


# -- the settings


def _header(name: str) -> str:
    if not name or not all(c.isascii() and (c.isalnum() or c == "-") for c in name):
        raise SettingError(
            f"RAG_AUTH names the header {name!r}.", remedy="Write header:X-Forwarded-User."
        )
    return name


def _user(pair: str) -> tuple[str, str]:
    name, _, hashed = pair.partition(":")
    scheme, _, rest = hashed.partition(SCHEME)
    try:
        salt, key = (bytes.fromhex(part) for part in rest.split("-"))
    except ValueError:
        salt = key = b""
    if not name or scheme or not salt or len(key) != COST["dklen"]:
        shown = name if hashed else "…"
        raise SettingError(
            f"RAG_AUTH holds no hash of a password for {shown!r}.",
            remedy="Make it with `rag password`.",
        )
    return name, hashed


def _keys(given: str) -> list[str]:
    """Separated by commas, or a line each in a file: its path has a slash, a key has none."""
    written = given.strip()
    if not written:
        return []
    lines = _lines(written) if "/" in written else written.split(",")
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise SettingError("RAG_API_KEYS holds no key.", remedy="Give one, or leave it out.")
    for number, key in enumerate(keys, start=1):
        if len(key) < LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise SettingError(
                f"Key {number} of RAG_API_KEYS cannot be used.",
                remedy=f"Use at least {LEAST_KEY} ASCII characters without spaces.",
            )
    return keys


def _lines(file: str) -> list[str]:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingError(
            f"The file that RAG_API_KEYS names cannot be read ({why}).",
            remedy="Correct the path; a key holds no slash.",
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
