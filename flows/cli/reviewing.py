"""`chromaflow review OUT`, and `export` of what was decided."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.terminal import DEFAULT_CONFIG, Config, Json, Output, print_json, say

if TYPE_CHECKING:
    from storage.records.workspace import Workspace
    from tasks.config.model import Workflow

app = typer.Typer()


@app.command()
def review(
    output: Output = None,
    config: Config = DEFAULT_CONFIG,
    csv: Annotated[
        Path | None, typer.Option(help="Write what was decided there, and serve no page.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0 for a free one.")] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Look at the colours, choose, correct and approve, on a page of this machine alone."""
    workspace, workflow = _reviewed(output, config)
    assert workflow.archive is not None
    if csv is not None:
        from tasks.review.exporting import write_decisions

        num_rows = write_decisions(workspace, workflow.archive.output, csv)
        say(f"{num_rows} decisions in {csv}")
        return
    from tasks.review.server import served

    with served(workspace, workflow, port) as page:
        with suppress(KeyboardInterrupt):  # as the server gives it on, or from before it began
            if as_json:
                print_json({"address": page.address, "photos": page.num_photos})
            say(f"{page.num_photos} photos to review at {page.address}")
            say("The address is a key: who has it can decide. Ctrl-C ends the review.")
            if browser:
                typer.launch(page.address)
            page.run()
        num_decisions = page.num_decisions()
    if num_decisions:
        from tasks.report.writer import write_report

        write_report(workspace, output=output)
    again = (
        "; the same `chromaflow colorize` or `chromaflow retry` obeys them" if num_decisions else ""
    )
    say(f"{num_decisions} decisions kept{again}")


@app.command()
def export(
    output: Annotated[str, typer.Argument(metavar="OUT", help="An OUT of `chromaflow colorize`.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An empty one to fill.")],
    only: Annotated[str, typer.Option(help="approved or rejected; else all.")] = "",
    bag: Annotated[bool, typer.Option("--bag", help="Make FOLDER a BagIt bag.")] = False,
    as_json: Json = False,
) -> None:
    """Put colour photos into a folder or bag: all, or what was approved."""
    from tasks.review.exporting import export as put

    workspace, workflow = _reviewed(output, DEFAULT_CONFIG)
    assert workflow.archive is not None
    found = put(workspace, workflow.archive.output, folder, only=only, bag=bag)
    if as_json:
        print_json(found.to_dict())
        return
    say(f"{found.num_photos} photos in {found.folder}, {found.left_out} left out")


def _reviewed(output: str | None, config: Path) -> tuple[Workspace, Workflow]:
    """The workspace and the workflow of an archive that lies on this machine."""
    from storage.errors import UsageError
    from storage.records.workspace import Workspace
    from storage.sources.locations import is_url
    from tasks.archive.ownership import claimed
    from tasks.archive.workflow import archive_workflow, last_request, output_workspace
    from tasks.config.file import load_workflow

    if output is None:
        workflow = load_workflow(config)
        if workflow.archive is None:
            raise UsageError(f"Expected [archive] in {config}, got none. Name an OUT.")
        if workflow.remotes:
            raise UsageError("Expected an output on this machine, got a URL. Review a copy of it.")
        return Workspace(workflow.workspace), claimed(workflow)
    if is_url(output):
        raise UsageError(f"Expected an OUT on this machine, got {output}. Review a copy of it.")
    workspace = output_workspace(output)
    return workspace, claimed(archive_workflow(last_request(output), output))
