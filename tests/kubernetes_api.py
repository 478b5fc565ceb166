"""The part of a Kubernetes API that dask-kubernetes asks, for tests: on loopback, from answers kept here.

The answers are written after the API's reference (kubernetes.io/docs/reference) and the custom
resources of Dask's operator, as a cluster with the operator gives them. `Recorded` notes every request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMESPACE = "archive"
_KINDS = ("daskclusters", "daskworkergroups", "daskautoscalers")
_MISSING = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "code": 404,
    "message": "not found",
}
_ANSWERS: dict[str, Any] = {
    "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
}


@dataclass
class Recorded:
    """What was asked, and what there is by now."""

    scheduler_port: int
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path without query, body."""
    objects: dict[str, Any] = field(default_factory=dict)
    """Path → custom resource that was made."""

    def bodies(self, method: str, kind: str) -> list[Any]:
        """Of requests to a kind of custom resources, in order."""
        return [body for m, path, body in self.requests if m == method and f"/{kind}" in path]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        self.requests.append((method, path, body))
        if method == "POST":
            made = body | {"status": {"phase": "Running"}}
            name = body["metadata"]["name"]
            self.objects[f"{path}/{name}"] = made
            if path.endswith("daskclusters"):  # the operator makes its group of workers
                group = {"metadata": {"name": f"{name}-default", "namespace": NAMESPACE}}
                place = f"{path.replace('daskclusters', 'daskworkergroups')}/{name}-default"
                self.objects[place] = group | {"spec": {"worker": made["spec"]["worker"]}}
            return 201, made
        if method == "PATCH":
            found = self.objects.get(path.removesuffix("/scale"))
            if found is None:
                return 404, _MISSING
            found["spec"]["worker"] |= body["spec"]["worker"]
            return 200, found
        if method == "DELETE":
            return (200, found) if (found := self.objects.pop(path, None)) else (404, _MISSING)
        found = _ANSWERS.get(path) or self.objects.get(path) or self._core(path)
        if found is None and path.endswith(_KINDS):  # a list, which is empty for what is not there
            made = [one for name, one in self.objects.items() if name.startswith(f"{path}/")]
            found = {"items": made}
        return (200, found) if found else (404, _MISSING)

    def _core(self, path: str) -> Any:
        """What the operator made of the cluster: a pod and a service of the scheduler's."""
        if not self.objects:
            return None
        kind = path.removeprefix(f"/api/v1/namespaces/{NAMESPACE}/").split("/")[0]
        if kind == "pods":
            ready = [{"type": name, "status": "True"} for name in ("Ready", "ContainersReady")]
            status = {"phase": "Running", "conditions": ready}
            meta = {"name": "chromaflow-scheduler-0", "namespace": NAMESPACE}
            pod = {"metadata": meta, "status": status}
            return pod if path.endswith(meta["name"]) else {"items": [pod]}
        if kind == "services":
            meta = {"name": "chromaflow-scheduler", "namespace": NAMESPACE}
            names = ("tcp-comm", "http-dashboard")
            ports = [{"name": name, "port": self.scheduler_port} for name in names]
            outside = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
            chosen = {"dask.org/cluster-name": "chromaflow", "dask.org/component": "scheduler"}
            spec = {"type": "LoadBalancer", "selector": chosen, "ports": ports}
            service = {"metadata": meta, "spec": spec, "status": outside}
            return service if path.endswith(meta["name"]) else {"items": [service]}
        return None


@contextmanager
def kubernetes_at(folder: Path, scheduler_port: int) -> Iterator[Recorded]:
    """An API on loopback, with a kubeconfig for it in the folder. scheduler_port: of a Dask scheduler
    on loopback that the cluster's service leads to."""
    recorded = Recorded(scheduler_port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(size)) if size else None
            status, found = recorded.answer(
                self.command, self.path.partition("?")[0].rstrip("/"), body
            )
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": "token"}}],
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}
        ],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    try:
        yield recorded
    finally:
        server.shutdown()
        server.server_close()
