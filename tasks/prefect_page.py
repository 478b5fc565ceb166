"""What a run shows on Prefect's pages, and what becomes of it where the server does not answer.

Prefect is the control plane: photos, records and exit code do not depend on it. A call that times out
or is refused costs its table or bar alone; one event names all that were lost
(docs/decisions/019).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from httpx import HTTPError
from prefect.artifacts import (
    Artifact,
    LinkArtifact,
    MarkdownArtifact,
    ProgressArtifact,
    TableArtifact,
)
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, SettingsContext, TaskRunContext, get_settings_context
from prefect.exceptions import Abort
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings, get_current_settings
from prefect.utilities.context import get_task_and_flow_run_ids

from storage.visible import visible
from tasks.engine.events import EventLog
from tasks.page import how_ended, keep_ending
from tasks.prefect_server.server import ServerMissingError

if TYPE_CHECKING:
    from tasks.results import RunResult

_SECONDS = 20.0
"""That one call may take."""
_RETRIES = 2
"""Of a call whose table would be lost; a server that writes to its SQLite says "busy" at times."""
_SILENCE_SECONDS = 30.0
"""After a call that failed no other is tried for so long: the work would wait for each of them."""


class ServerGoneError(Abort):
    """The run is over, and the server did not answer at its end.

    Prefect reports no state for an `Abort`, which would be tried for minutes. ended: what the run
    came to, its result or its error.
    """

    def __init__(self, ended: Any) -> None:
        super().__init__("Prefect's server did not answer at the end of the run.")
        self.ended = ended


class PrefectPage:
    """Artifacts of one flow run and its tasks, from any thread; calls outside of a run do nothing."""

    def __init__(self) -> None:
        self._lost: dict[str, None] = {}
        self._error = ""
        self._silent_until = 0.0
        self._failed = False
        """Whether the newest call did."""
        self._lock = threading.Lock()
        self._client: SyncPrefectClient | None = None
        self._settings: dict[int, Settings] = {}

    @property
    def has_lost(self) -> bool:
        """Whether a call failed that `report_lost` has not named yet."""
        return bool(self._lost)

    def see_the_end(self, ended: Any, *, ask: bool = False) -> None:
        """Raise ServerGoneError(ended) where the newest call failed and the server does not answer now.

        ask: also where none failed.
        """
        if (self._failed or ask) and not self._answers():
            raise ServerGoneError(ended)

    def show_table(self, key: str, rows: Sequence[Any], description: str) -> None:
        """See `tasks.page.RunPage`."""
        self._show(TableArtifact(table=list(rows), key=key, description=description))

    def show_text(self, key: str, markdown: str, description: str) -> None:
        """See `tasks.page.RunPage`."""
        self._show(MarkdownArtifact(markdown=markdown, key=key, description=description))

    def show_link(self, key: str, link: str, text: str, description: str) -> None:
        """See `tasks.page.RunPage`."""
        self._show(LinkArtifact(link=link, link_text=text, key=key, description=description))

    def tell_quarantined(self, photos: int, said: str) -> None:
        """See `tasks.page.RunPage`."""
        from tasks.prefect_server.notices import QUARANTINED

        words = f"{photos} {'photo' if photos == 1 else 'photos'}"
        _tell(QUARANTINED, {"photos": words, "said": said})

    def _show(self, artifact: Artifact) -> None:
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            self._call(str(artifact.key), lambda client: client.create_artifact(_request(artifact)))

    def show_progress(self, label: str, percent: float, artifact: Any) -> Any:
        """Make or move the bar of a step's task run. Returns its id; None where it was lost.

        artifact: what this returned before. percent: 0..100.
        """
        if TaskRunContext.get() is None:
            return None
        bar = ProgressArtifact(
            key=f"progress-{label.replace('/', '-')}", description=label, progress=percent
        )

        def send(client: SyncPrefectClient) -> Any:
            if artifact is None:
                return client.create_artifact(_request(bar)).id
            client.update_artifact(artifact, ArtifactUpdate(data=_data(bar)))
            return artifact

        return self._call(f"progress of {label}", send, retries=0) or artifact

    def try_again(self) -> None:
        """End the silence: the tables at the end of a run are worth a call."""
        self._silent_until = 0.0

    def report_lost(self, events: EventLog) -> None:
        """Write the one event that names what is not on the page."""
        if self._lost:
            events.write("page_incomplete", lost=list(self._lost), error=self._error)
            self._lost = {}

    def _call(
        self, what: str, call: Callable[[SyncPrefectClient], Any], retries: int = _RETRIES
    ) -> Any:
        if time.monotonic() >= self._silent_until:
            try:
                with self._retrying(retries):
                    answer = call(self._connected())
                self._failed = False
                return answer
            except (HTTPError, OSError) as error:
                self._error = str(error) or type(error).__name__
                self._silent_until = time.monotonic() + _SILENCE_SECONDS
                self._failed = True
        with self._lock:
            self._lost[what] = None
        return None

    def _answers(self) -> bool:
        with self._retrying(0):
            return self._connected().api_healthcheck() is None

    @contextmanager
    def _retrying(self, retries: int) -> Iterator[None]:
        """So often Prefect's client tries again; settings take it 0.1 s to make, so they are kept."""
        outer = get_settings_context()
        if retries not in self._settings:
            changed: dict[Any, int] = {PREFECT_CLIENT_MAX_RETRIES: retries}
            self._settings[retries] = outer.settings.copy_with_update(updates=changed)
        with SettingsContext(profile=outer.profile, settings=self._settings[retries]):
            yield

    def _connected(self) -> SyncPrefectClient:
        with self._lock:
            if self._client is None:  # a client of one's own: the flow's would wait for 60 s
                seconds = min(_SECONDS, get_current_settings().api.request_timeout)
                self._client = get_client({"timeout": seconds}, sync_client=True)
            return self._client


def _tell_failed(error: Exception) -> None:
    """Let those who asked for notices know."""
    from tasks.prefect_server.notices import FAILED

    _tell(FAILED, {"said": visible(str(error))})


def _tell(event: str, payload: dict[str, str]) -> None:
    """An event of this flow run, if a deployment began it."""
    run = getattr(FlowRunContext.get(), "flow_run", None)
    if run is None or run.deployment_id is None:
        return
    from prefect.events import emit_event

    resource = {
        "prefect.resource.id": f"prefect.flow-run.{run.id}",
        "prefect.resource.name": run.name,
    }
    emit_event(event, resource, payload=payload)


@contextmanager
def open_page() -> Iterator[PrefectPage]:
    """The page of a run. Raises ServerGoneError at its end where the server does not answer then.

    What the run ends with is kept for `how_ended`, whatever becomes of Prefect's last call.
    """
    page = PrefectPage()
    keep_ending(None)
    try:
        yield page
    except Exception as error:
        keep_ending(error)
        page.see_the_end(error)
        _tell_failed(error)
        raise
    except KeyboardInterrupt as error:  # Ctrl-C and a hang-up reach a server of this command too
        keep_ending(error)
        page.see_the_end(error, ask=True)
        raise
    page.see_the_end(how_ended())


def served_result(flow: Callable[..., RunResult], parameters: Mapping[str, Any]) -> RunResult:
    """Call a flow: what its run came to, whatever became of Prefect's calls.

    Raises RunFailedError, and ServerMissingError where the server did not answer before the run began.
    """
    try:
        return flow(**parameters)
    except (ServerGoneError, HTTPError) as error:
        ended = how_ended()
        if ended is None:
            raise ServerMissingError(
                f"Expected the Prefect server to answer, got: {error}. Nothing was begun; run the "
                "same command once it answers, or unset PREFECT_API_URL."
            ) from error
        if isinstance(ended, BaseException):
            raise ended from error
        return ended


def _request(artifact: Artifact) -> ArtifactCreate:
    task_run, flow_run = get_task_and_flow_run_ids()
    return ArtifactCreate(
        type=artifact.type,
        key=artifact.key,
        description=artifact.description,
        task_run_id=task_run,
        flow_run_id=flow_run,
        data=_data(artifact),
    )


def _data(artifact: Any) -> Any:
    return artifact.format(_sync=True)  # else a coroutine where an event loop runs
