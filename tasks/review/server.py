"""The server of the review page: Starlette on a loopback port, for as long as somebody looks.

Photos are asked for by id, never by path. What may not be asked `tasks.review.guard` refuses.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chromaflow.errors import ChromaflowError
from storage.errors import PhotoError, UsageError
from storage.records.decisions import open_decisions
from storage.records.safe_csv import safe_cell
from storage.records.workspace import Workspace
from tasks.config.model import Workflow
from tasks.engine.kept import Output
from tasks.review.colouring import LONGEST, Colouring
from tasks.review.deciding import Deciding, StaleError, hints_of
from tasks.review.exporting import COLUMNS, decision_rows
from tasks.review.guard import Guard
from tasks.review.photos import Photos
from tasks.review.pictures import Picture, Pictures
from tasks.review.scores import SCORES, Scoring

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_WAIT_SECONDS, _LOOK_SECONDS = 20.0, 0.2
_KEPT = "private, max-age=86400, immutable"
"""Of pictures whose address names their content."""
Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A page that is being served."""

    address: str
    run: Callable[[], None]
    """Serve until Ctrl-C. May raise KeyboardInterrupt."""
    num_photos: int
    num_decisions: Callable[[], int]
    """Written since it began."""


class _Review:
    """What the answers need."""

    def __init__(self, workspace: Workspace, workflow: Workflow, deciding: Deciding) -> None:
        assert workflow.archive is not None
        self._workspace, self.workflow, self.deciding = workspace, workflow, deciding
        self.output = workflow.archive.output
        self.is_ending: Callable[[], bool] = lambda: False
        self._load()

    def _load(self) -> None:
        self.photos = Photos(self._workspace)
        self.pictures = Pictures(self.photos)
        self.colouring = Colouring(self._workspace, self.workflow, self.pictures)
        self.scoring = Scoring(self.photos, self.pictures, self._workspace.root)
        self._is_awake = False

    def renew(self) -> None:
        """Take up what a run has published meanwhile."""
        if not self.photos.is_current:
            self.close()
            self._load()

    def wake(self) -> None:
        """Begin what makes the page slower to open and quicker to use."""
        if not self._is_awake:
            self._is_awake = True
            self.colouring.load()
            self.scoring.start()

    def close(self) -> None:
        """End its threads."""
        self.scoring.stop()
        self.colouring.close()


@contextmanager
def served(workspace: Workspace, workflow: Workflow, port: int = 0) -> Iterator[Served]:
    """The page of an archive at a loopback address.

    port: 0 for a free one. Raises LockedError where another review has the archive, UsageError where
    nothing was coloured or the port is taken.
    """
    assert workflow.archive is not None
    # torch's threads would spin on cores that the browser wants: twice the processor time a hint
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with open_decisions(workflow.archive.output) as log, _listening(port) as listener:
        token, port = secrets.token_urlsafe(32), listener.getsockname()[1]
        first = log.decisions.number
        review = _Review(workspace, workflow, Deciding(log))
        server = uvicorn.Server(
            uvicorn.Config(
                Guard(_application(review), token, port),
                log_level="error",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        review.is_ending = lambda: server.should_exit
        try:
            yield Served(
                address=f"http://127.0.0.1:{port}/{token}/",
                run=lambda: server.run(sockets=[listener]),
                num_photos=len(review.photos.by_id),
                num_decisions=lambda: log.decisions.number - first,
            )
        finally:
            review.close()


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)  # who is told the address is answered, if a moment later
        except OSError as error:
            raise UsageError(
                f"Expected a free port of this machine, got {port}: {error.strerror}. Leave --port out."
            ) from error
        yield listener


def _application(review: _Review) -> Starlette:
    asked: dict[str, Callable[..., Awaitable[Response]]] = {
        "/": _page,
        "/page/{name}": _page,
        "/photos": _photos,
        "/news": _news,
        "/scores": _scores,
        "/decisions.csv": _csv,
        "/small/{id}/{kind}": _small,
        "/original/{id}": _original,
        "/colour/{id}": _colour,
        "/truth/{id}": _truth,
        "/variants/{id}": _variants,
        "/palette/{id}": _palette_of,
    }
    posted: dict[str, Callable[..., Awaitable[Response]]] = {
        "/preview": _preview,
        "/prepare": _prepare,
        "/decide": _decide,
        "/folder": _folder,
        "/undo": _undo,
    }

    def route(path: str, answer: Callable[..., Awaitable[Response]], method: str) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                return await answer(review, request)
            except StaleError as error:
                return JSONResponse({"error": str(error)}, 409)
            except PhotoError as error:
                return JSONResponse({"error": error.detail, "code": error.code}, 422)
            except ChromaflowError as error:
                return JSONResponse({"error": str(error)}, 400)

        return Route(path, endpoint, methods=[method])

    return Starlette(
        routes=[
            *(route(path, answer, "GET") for path, answer in asked.items()),
            *(route(path, answer, "POST") for path, answer in posted.items()),
        ]
    )


async def _page(review: _Review, request: Request) -> Response:
    """index.html and what lies beside it."""
    name = request.path_params.get("name", "index.html")
    known = {one.name: one for one in files("tasks.review").joinpath("page").iterdir()}
    if name not in known:
        return Response(status_code=404)
    media = _TYPES[name.rpartition(".")[2]]
    return Response(
        known[name].read_bytes(), media_type=media, headers={"cache-control": "no-cache"}
    )


async def _photos(review: _Review, request: Request) -> Response:
    """All photos, and what was decided of them."""
    await run_in_threadpool(review.renew)
    listing = await run_in_threadpool(review.photos.listing)
    asyncio.get_running_loop().call_later(1, review.wake)
    archive = review.workflow.archive
    assert archive is not None
    return _json(
        {
            "output": str(review.output),
            "count": len(review.photos.by_id),
            "columns": listing,
            "number": review.deciding.number,
            "decided": review.photos.said(review.deciding.all()),
            "truth": archive.truth is not None,
            "uncertainty": any(value is not None for value in listing["uncertainty"]),
        }
    )


async def _news(review: _Review, request: Request) -> Response:
    """What was decided since a number, as soon as there is something."""
    asked = request.query_params.get("since", "")
    since = int(asked) if asked.isdecimal() else 0
    deadline = time.monotonic() + _WAIT_SECONDS
    while review.deciding.number <= since and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        if review.is_ending() or await request.is_disconnected():
            break
    number, found = review.deciding.since(since)
    return _json({"number": number, "decided": review.photos.said(found)})


async def _scores(review: _Review, request: Request) -> Response:
    """Of each photo, in the order of the listing, as far as they are found."""
    found = await run_in_threadpool(review.scoring.found)
    known = found["photos"]
    columns = {
        name: [known.get(id_, {}).get(name) for id_ in review.photos.by_id] for name in SCORES
    }
    return _json({"complete": found["complete"], "num": len(known), "columns": columns})


async def _csv(review: _Review, request: Request) -> Response:
    rows = decision_rows(review.photos, review.deciding.all())
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    writer.writerows([safe_cell(row.get(name)) for name in COLUMNS] for row in rows)
    name = {"content-disposition": 'attachment; filename="decisions.csv"'}
    content = text.getvalue().encode("utf-8", "backslashreplace")
    return Response(content, media_type="text/csv", headers=name)


async def _small(review: _Review, request: Request) -> Response:
    kind = request.path_params["kind"]
    return await _picture(review, request, lambda output: review.pictures.small(output, kind))


async def _original(review: _Review, request: Request) -> Response:
    return await _picture(review, request, review.pictures.original)


async def _colour(review: _Review, request: Request) -> Response:
    return await _picture(review, request, review.pictures.colour)


async def _truth(review: _Review, request: Request) -> Response:
    archive = review.workflow.archive
    if archive is None or archive.truth is None:
        return Response(status_code=404)
    truth = archive.truth
    return await _picture(review, request, lambda output: review.pictures.truth(truth, output))


async def _picture(
    review: _Review, request: Request, make: Callable[[Output], Picture]
) -> Response:
    output = _asked(review, request.path_params["id"])
    content, media = await run_in_threadpool(make, output)
    return Response(content, media_type=media, headers={"cache-control": _KEPT})


async def _variants(review: _Review, request: Request) -> Response:
    """The colourings to choose from, with their pictures in the answer."""
    output = _asked(review, request.path_params["id"])
    found = await _done(review, request, review.colouring.variants(output))
    shown = [{**one, "jpeg": base64.b64encode(one["jpeg"]).decode()} for one in found or ()]
    return _json({"variants": shown})


async def _palette_of(review: _Review, request: Request) -> Response:
    output = _asked(review, request.path_params["id"])
    return _json({"palette": await _done(review, request, review.colouring.palette_of(output))})


async def _preview(review: _Review, request: Request) -> Response:
    """A photo with other colours: id, palette, hints."""
    asked = await _body(request)
    output = _asked(review, asked.get("id"))
    hints, palette = hints_of(asked.get("hints", []), output), str(asked.get("palette", ""))
    found = await _done(review, request, review.colouring.preview(output, palette, hints, LONGEST))
    content, code = found or (b"", "")
    headers = {"cache-control": "no-store", "x-palette": code}
    return Response(content, media_type="image/jpeg", headers=headers)


async def _prepare(review: _Review, request: Request) -> Response:
    """Look at the photo that probably comes next."""
    review.colouring.prepare(_asked(review, (await _body(request)).get("id")))
    return _json({})


async def _decide(review: _Review, request: Request) -> Response:
    asked = await _body(request)
    found = await run_in_threadpool(review.deciding.decide, review.photos, asked)
    return _decided(review, found)


async def _folder(review: _Review, request: Request) -> Response:
    asked = await _body(request)
    id_, palette = str(asked.get("id")), str(asked.get("palette", ""))
    found = await run_in_threadpool(review.deciding.decide_folder, review.photos, id_, palette)
    return _decided(review, found)


async def _undo(review: _Review, request: Request) -> Response:
    return _decided(review, await run_in_threadpool(review.deciding.undo))


def _decided(review: _Review, found: Any) -> Response:
    said = review.photos.said(found)
    return _json({"number": review.deciding.number, "decided": said})


def _asked(review: _Review, id_: Any) -> Output:
    output = review.photos.by_id.get(id_) if isinstance(id_, str) else None
    if output is None:
        raise UsageError(f"Expected the id of a photo, got {str(id_)[:40]!r}. Load the page again.")
    return output


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        value = await request.json()
    except ValueError as error:
        raise UsageError(f"Expected JSON, got: {error}. Load the page again.") from error
    if not isinstance(value, dict):
        raise UsageError(f"Expected an object, got {value!r}. Load the page again.")
    return value


async def _done(review: _Review, request: Request, future: Future[Any]) -> Any:
    """What a thread found out; what the page no longer waits for is not begun."""
    waiting = asyncio.ensure_future(asyncio.wrap_future(future))
    while not (await asyncio.wait([waiting], timeout=0.1))[0]:
        if review.is_ending() or await request.is_disconnected():
            future.cancel()
            waiting.cancel()
            return None
    return waiting.result()


def _json(value: Any) -> Response:
    return JSONResponse(value, headers={"cache-control": "no-store"})
