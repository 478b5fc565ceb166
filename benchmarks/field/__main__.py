"""The field cases, tried with the real command: a table of what is right, was before and is now.

    python benchmarks/field [../shared/data/field] [--only 18 11] [--jobs 2] [--keep FOLDER]

Each case runs in a folder of its own on photos that are drawn here, or those of the case's `in`; the
words "right" and "before" are those of its `case.md`, and empty without the folder. Exits with 1 where
a case is wrong. Nothing is downloaded. `--command` tries another checkout:
"env PYTHONPATH=/other .venv/bin/python -c 'from flows.cli.app import main; main()'".
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

import archives  # noqa: E402
import descriptions  # noqa: E402
import leftovers  # noqa: E402
import pictures  # noqa: E402
import samples  # noqa: E402
import surroundings  # noqa: E402
import workspaces  # noqa: E402
from case import Case, Clause, Verdict, judge  # noqa: E402
from place import Place  # noqa: E402
from prefect_server import prefect_server  # noqa: E402

CASES = (
    Case(number=1, name="text-beside", check=leftovers.check_text_beside),
    Case(number=2, name="system-folders", check=leftovers.check_system_folders),
    Case(number=3, name="motion-photo", check=descriptions.check_motion_photos),
    Case(number=4, name="zip-names", check=leftovers.check_zip_names),
    Case(number=5, name="declared-range", check=samples.check_ranges),
    Case(number=6, name="mixed-pages", check=samples.check_pages),
    Case(number=7, name="captions", check=descriptions.check_captions),
    Case(number=8, name="face-regions", check=descriptions.check_regions),
    Case(number=9, name="jpeg-kinds", check=pictures.check_jpegs),
    Case(number=10, name="camera-raw", check=pictures.check_raw),
    Case(number=11, name="links", check=archives.check_links),
    Case(number=12, name="blank-frames", check=pictures.check_blank),
    Case(number=13, name="local-colour", check=pictures.check_local_colour),
    Case(number=14, name="moved-workspace", check=workspaces.check_moved),
    Case(number=15, name="prefect-environment", check=surroundings.check_settings),
    Case(number=16, name="unmounted-share", check=workspaces.check_unmounted),
    Case(number=17, name="closed-pipe", check=surroundings.check_closed_pipe),
    Case(number=18, name="html-for-zip", check=archives.check_web_page),
)
_NO_SERVER = {15, 18}
"""Cases refused before a server is asked."""


def main() -> int:
    """Check the cases, print the table; 1 where one is wrong."""
    options = _parse()
    chosen = [case for case in CASES if not options.only or case.number in options.only]
    with ExitStack() as stack:
        work = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        verdicts = _check_all(chosen, work.resolve(), options)
    _print_table(verdicts, options.field)
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    print(
        f"\n{len(verdicts) - len(wrong)} of {len(verdicts)} cases right; load "
        f"{os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    )
    return int(bool(wrong))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "field", type=Path, nargs="?", help="the folder of the cases, shared/data/field"
    )
    parser.add_argument("--only", type=int, nargs="+", metavar="CASE", help="numbers of cases")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work here and leave all there")
    parser.add_argument(
        "--command",
        type=shlex.split,
        default=[str(Path(sys.executable).with_name("chromaflow"))],
        help="the command to try, this installation's by default",
    )
    return parser.parse_args()


def _check_all(cases: Sequence[Case], work: Path, options: argparse.Namespace) -> list[Verdict]:
    """Verdicts in the order of the cases; one Prefect server for all where one is needed."""
    needed = any(case.number not in _NO_SERVER for case in cases)
    with ExitStack() as stack:
        server = f"{stack.enter_context(prefect_server(work))}/api" if needed else ""
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))

        def check(case: Case) -> Verdict:
            folder = work / case.label
            folder.mkdir()
            given = options.field / case.label / "in" if options.field else None
            place = Place(folder=folder, command=tuple(options.command), server=server, given=given)
            return judge(case, place, partial(_tell, case))

        return list(pool.map(check, cases))


def _tell(case: Case, clause: Clause) -> None:
    """As it goes, to stderr."""
    mark = "right" if clause.right else "WRONG"
    print(f"{case.label} {mark}: {clause.got}", file=sys.stderr, flush=True)


def _print_table(verdicts: Sequence[Verdict], field: Path | None) -> None:
    print("| case | right | before (31f16b9) | now | | s | s of processors |")
    print("|---" * 7 + "|")
    for verdict in verdicts:
        right, before = (verdict.case.told(field, start) for start in ("Right", "On 31f16b9"))
        mark = "wrong" if verdict.wrong else "right"
        cells = [verdict.case.label, right, before, verdict.now, mark]
        cells += [f"{verdict.seconds:.0f}", f"{verdict.cpu_seconds:.0f}"]
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
