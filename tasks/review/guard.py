"""Who is answered: a browser of this machine that was given the address, and the page itself.

Every path begins with a token of 256 bits. Beside it a request must name this server as its host (another
name that was made to lead here is refused) and, where it says what page it comes from, that must be ours.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 1 << 20
"""Of what the page sends."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
_OWN_SITES = (b"same-origin", b"none")


class Guard:
    """An application, answered only to those who may ask."""

    def __init__(self, app: App, token: str, port: int) -> None:
        self._app, self._token = app, token
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or not self._may_ask(scope):
            await _refuse(scope, send)
        else:
            start = f"/{self._token}"
            inner = scope["path"].removeprefix(start)
            scope = {**scope, "path": inner, "raw_path": inner.encode(), "root_path": ""}
            await self._app(scope, receive, _with_headers(send))

    def _may_ask(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        token, _, _ = scope["path"].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return False
        if headers.get(b"host") not in self._hosts:
            return False
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is not None and origin not in self._origins:
            return False
        if site is not None and site not in _OWN_SITES:
            return False
        if scope["method"] == "POST":
            is_json = headers.get(b"content-type", b"").split(b";")[0] == b"application/json"
            length = headers.get(b"content-length", b"")
            return origin is not None and is_json and length.isdigit() and int(length) <= MOST_BYTES
        return bool(scope["method"] == "GET")


async def _refuse(scope: Scope, send: Send) -> None:
    """The same to all, whatever was wrong."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send(
        {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return send_with_headers
