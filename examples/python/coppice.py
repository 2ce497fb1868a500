"""A client for a Coppice node's HTTP server, with nothing but the standard library (Python 3.9 or newer)."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import urllib.parse
from pathlib import Path
from typing import Any, Iterator, Optional


class CoppiceError(Exception):
    """A refused request. `code` is the library's, such as `UNKNOWN_GROUP`."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem['detail']} ({problem['code']})")
        self.code: str = problem["code"]
        self.status: int = problem["status"]
        # Whether the change took effect nevertheless: only its acknowledgement failed.
        self.applied: bool = problem.get("applied", False)


class Client:
    """Talks to one node. Each call opens a connection of its own, so a client may be used by several threads."""

    def __init__(
        self, url: str, token: str, timeout: float = 30.0, tls: Optional[ssl.SSLContext] = None
    ) -> None:
        """`tls` is for a certificate that the system does not trust: `ssl.create_default_context(cafile="ca.pem")`."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"not the URL of a node: {url}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._token = token
        self._timeout = timeout

    @classmethod
    def of_directory(
        cls, data: str | os.PathLike[str], token_file: str = "token", tls: Optional[ssl.SSLContext] = None
    ) -> "Client":
        """The node that runs on a data directory. `token_file="token.read"` is for reading only."""
        try:
            endpoint = json.loads((Path(data) / "endpoint.json").read_text())
        except FileNotFoundError as error:
            raise ConnectionError(f"no node runs on {data}; start it: coppice start --data {data}") from error
        return cls(endpoint["url"], (Path(data) / token_file).read_text().strip(), tls=tls)

    def value(self, group: str, *keys: str) -> Any:
        """The value of a group, or of what stands in it under the keys."""
        query = urllib.parse.urlencode([("key", key) for key in keys])
        return self._request("GET", f"{_path(group)}/value?{query}")["value"]

    def perform(self, group: str, *operations: dict[str, Any], **options: Any) -> list[Any]:
        """Performs operations as one atomic event. Options: `type` (creates the group), `ack`, `timeoutMs`."""
        body = {"operations": list(operations), **options}
        return self._request("POST", f"{_path(group)}/operations", body)["results"]

    def increment(self, group: str, amount: int = 1) -> None:
        """Adds to a counter, which is created when there is none."""
        self.perform(group, {"op": "increment", "args": [amount]}, type="gcounter")

    def groups(self, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Every group, page by page."""
        query = {"limit": "1000", "prefix": prefix}
        while True:
            page = self._request("GET", f"/v1/groups?{urllib.parse.urlencode(query)}")
            yield from page["groups"]
            if page["next"] is None:
                return
            query["after"] = page["next"]

    def view(self, name: str, params: Any = None, session: Optional[str] = None) -> Any:
        """Calls a view."""
        body = {"params": params, **({} if session is None else {"session": session})}
        return self._request("POST", f"/v1/views/{urllib.parse.quote(name, safe='')}", body)["result"]

    def watch(self, group: str, after: str = "") -> Iterator[tuple[str, Any]]:
        """Digests and values: now, unless the digest is `after`, and after each change. Ends with the group."""
        connection = self._connect()
        try:
            # The server says something at least every 15 seconds; a longer silence is a lost connection.
            connection.request("GET", f"{_path(group)}/watch", headers={**self._headers(), "Last-Event-ID": after})
            response = connection.getresponse()
            if response.status != 200:
                raise CoppiceError(json.loads(response.read()))
            event = ""
            for line in response:
                field, _, text = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    event = text
                elif field == "data":
                    if event == "deleted":
                        return
                    body = json.loads(text)
                    yield body["digest"], body["value"]
        finally:
            connection.close()

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        connection = self._connect()
        try:
            headers = self._headers()
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            if response.status >= 400:
                raise CoppiceError(json.loads(text))
            return json.loads(text) if text else None
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def _path(group: str) -> str:
    return f"/v1/groups/{urllib.parse.quote(group, safe='')}"
