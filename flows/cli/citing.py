"""`cite`: how to cite what was used, and what its weights may be used for."""

from __future__ import annotations

import typer

app = typer.Typer()


@app.command()
def cite() -> None:
    """Print how to cite Chromaflow, and the licence and data of its starter weights."""
    from importlib.metadata import version

    from chromaflow.library.starter import ADVICE, DATA, citation, starter_path
    from colorization.categories import CATEGORY_NAMES
    from storage.records.fingerprint import hash_file

    names = (*CATEGORY_NAMES, "segmenter")
    hashes = [(name, hash_file(starter_path(name))) for name in names]
    typer.echo(f"{citation(version('chromaflow'), hashes)}\n\n{DATA}\n\n{ADVICE}")
