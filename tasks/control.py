"""The control plane of a process: Prefect, or nobody where the command was asked for no server.

Flows and tasks are the same functions either way; without Prefect they are called as they are, and its
two seconds of import are saved (docs/decisions/042). A process is with Prefect unless it says
otherwise before it imports the first flow.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
_plane = {"prefect": True}


class Called(Protocol[P, R]):
    """A flow or a task, Prefect's or plain."""

    fn: Callable[P, R]
    """The function itself."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here."""
        ...

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run a task beside others; what it returns has `result(raise_on_failure=False)`."""
        ...


def go_without_prefect() -> None:
    """Have the flows and tasks that this process imports from now on be plain functions."""
    _plane["prefect"] = False


def is_with_prefect() -> bool:
    """Whether flows and tasks of this process are Prefect's."""
    return _plane["prefect"]


def flow(name: str) -> Callable[[Callable[P, R]], Called[P, R]]:
    """Make a function a flow, whose parameters it checks itself."""

    def decorate(function: Callable[P, R]) -> Called[P, R]:
        if not is_with_prefect():
            return _Plain(function)
        from prefect import flow as prefect_flow

        made = prefect_flow(name=name, validate_parameters=False)(function)
        return cast("Called[P, R]", made)

    return decorate


def task(name: str) -> Callable[[Callable[P, R]], Called[P, R]]:
    """Make the function of a stage a task, whose runs are named by their step's key.

    Nothing is cached: files and fingerprints say what is done.
    """

    def decorate(function: Callable[P, R]) -> Called[P, R]:
        if not is_with_prefect():
            return _Plain(function)
        from prefect import task as prefect_task
        from prefect.cache_policies import NO_CACHE

        run_name = f"{name}-{{step.key}}"
        made = prefect_task(name=name, task_run_name=run_name, cache_policy=NO_CACHE)(function)
        return cast("Called[P, R]", made)

    return decorate


class _Outcome(Generic[R]):
    """What a plain task comes to."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def result(self, raise_on_failure: bool = True) -> R | BaseException:
        """What it returned; what it raised is raised, or returned as Prefect's futures do."""
        error = self._future.exception()
        if error is not None and raise_on_failure:
            raise error
        return cast("R", self._future.result()) if error is None else error


class _Plain(Generic[P, R]):
    """A function that is called as it is."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.fn = function
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> _Outcome[R]:
        """Run it in a thread of its own; those of a stage are few."""
        thread = ThreadPoolExecutor(1)
        context = copy_context()
        future = thread.submit(lambda: context.run(self.fn, *args, **kwargs))
        thread.shutdown(wait=False)
        return _Outcome(future)
