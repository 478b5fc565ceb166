"""Photos a second of whole archives, beside another checkout and peers, and how busy the cores are.

    python benchmarks/archive_speed.py --against CHECKOUT [--photos 2000 1000 200] [FOLDER]
    python benchmarks/archive_speed.py --photos 2 1 1     # the smallest

Runs the real command `colorize` on gray JPEGs of 112 × 112 pixels, of 1.4 and of 12 megapixels, made of
the photos in FOLDER or of those that scikit-image carries; --photos: how many of each. --against: another
checkout, whose command colours the same photos right after or before (in turn), with this Python's
packages. Rates are of the photos between the first and the last one on disk; a run's whole time,
start and sheet included, stands beside. Busy: processor seconds of all processes of the command
between these two, as a share of the time (two cores: at most 200%).

Peers, on the same photos of 1.4 megapixels with all cores as threads, without a file written: siggraph17 as
released (fp32, 256², ab enlarged to the photo) and the shape of DDColor-T at 512², its default. The
lines of issue 23 are printed last.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from ddcolor import DDColorShape
from PIL import Image
from skimage import data
from start import COMMAND, ROOT

from colorization.colour.full_size import colour_strips
from colorization.colour.lab import L_MAX, gray_to_L, normalize_L
from colorization.compute import place
from colorization.networks import build_network

KINDS = {"112 px": (112, 112), "1.4 megapixels": (1024, 1365), "12 megapixels": (3000, 4000)}
_ASKED = {"112 px": 2.5, "1.4 megapixels": 1.4, "12 megapixels": 1.1}
_BUSY = 185.0
_SAMPLE_SECONDS = 0.1
_PEER_PHOTOS = 4


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command."""

    rate: float
    """Photos a second between the first and the last."""
    seconds: float
    """Of all of it."""
    busy: float
    """%, of one core."""


def main() -> None:
    """Make the photos, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--photos", type=int, nargs=3, default=[2000, 1000, 200])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    checkouts = {"now": ROOT} | ({"before": arguments.against} if arguments.against else {})
    found: dict[str, dict[str, list[Run]]] = {}
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="chromaflow-archives-") as work:
        for (kind, size), count in zip(KINDS.items(), arguments.photos, strict=True):
            photos = Path(work, kind)
            draw(photos, arguments.folder, size, count)
            found[kind] = {name: [] for name in checkouts}
            for number in range(arguments.rounds):
                order = list(checkouts.items())[:: -1 if number % 2 else 1]
                for name, checkout in order:
                    run = colorize(checkout, photos, Path(work, "out"), count)
                    found[kind][name].append(run)
                    print(
                        f"{kind}, {name}: {run.rate:.2f}/s, {run.seconds:.1f} s in all, "
                        f"busy {run.busy:.0f}%",
                        flush=True,
                    )
            if kind == "1.4 megapixels":
                rates = peers(sorted(photos.glob("*.jpg"))[:_PEER_PHOTOS])
            shutil.rmtree(photos)
    report(found, rates)


def draw(folder: Path, source: Path | None, size: tuple[int, int], count: int) -> None:
    """Gray JPEGs of (height, width); no two are the same file."""
    folder.mkdir()
    if source is None:
        pictures = [Image.fromarray(p()) for p in (data.astronaut, data.cat, data.coffee)]
    else:
        paths = sorted(
            p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")
        )
        pictures = [Image.open(path) for path in paths[:: max(1, len(paths) // 20)][:20]]
    grays = [p.convert("L").resize(size[::-1], Image.Resampling.BICUBIC) for p in pictures]
    for number in range(count):
        buffer = io.BytesIO()
        gray = grays[number % len(grays)]
        gray.save(buffer, "JPEG", quality=90, comment=f"{number}".encode())
        (folder / f"{number:06d}.jpg").write_bytes(buffer.getvalue())


def colorize(checkout: Path, photos: Path, output: Path, count: int) -> Run:
    """The command into an empty folder."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "PREFECT_HOME": str(output) + "-home"}
    environment.pop("PREFECT_API_URL", None)
    started = time.time()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*COMMAND, "colorize", str(photos), str(output)],
            cwd=photos.parent,
            env=environment,
            stdout=said,
            stderr=said,
        )
        samples = watch(process)
        seconds = time.time() - started
        said.seek(0)
        if process.returncode != 0:
            raise SystemExit(said.read().decode(errors="replace")[-3000:])
    times = sorted(p.stat().st_mtime for p in output.glob("*.jpg"))
    if len(times) != count:
        raise SystemExit(f"Expected {count} colour photos, got {len(times)}.")
    first, last = times[0], times[-1]
    busy = (at(samples, last) - at(samples, first)) / max(last - first, 1e-6) * 100
    shutil.rmtree(output)
    shutil.rmtree(str(output) + "-home", ignore_errors=True)
    return Run((count - 1) / max(last - first, 1e-6), seconds, busy)


def watch(process: subprocess.Popen[bytes]) -> list[tuple[float, float]]:
    """Until it ends: time of day, and processor seconds of it and all that it started, dead ones too."""
    samples: list[tuple[float, float]] = []
    spent: dict[tuple[int, float], float] = {}
    own = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = [own, *own.children(recursive=True)]
        except psutil.Error:
            break
        for one in family:
            try:
                times = one.cpu_times()
                spent[one.pid, one.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        samples.append((time.time(), sum(spent.values())))
        time.sleep(_SAMPLE_SECONDS)
    process.wait()
    return samples


def at(samples: list[tuple[float, float]], when: float) -> float:
    """Processor seconds spent until a time of day."""
    return float(np.interp(when, *np.array(samples).T))


@torch.inference_mode()
def peers(paths: list[Path]) -> dict[str, float]:
    """Photos a second of siggraph17 and of DDColor-T's shape, from the file's bytes to colour pixels."""
    torch.set_num_threads(psutil.cpu_count() or 1)
    torch.manual_seed(0)
    siggraph = place(build_network("siggraph17").eval(), "cpu")
    ddcolor = place(DDColorShape().eval(), "cpu")
    contents = [path.read_bytes() for path in paths]

    def siggraph17(L: torch.Tensor) -> torch.Tensor:
        square = F.interpolate(L, (256, 256), mode="bilinear", antialias=True)
        seen: torch.Tensor = siggraph(
            normalize_L(square).contiguous(memory_format=torch.channels_last)
        )
        return seen

    def shape(L: torch.Tensor) -> torch.Tensor:
        square = F.interpolate(L / L_MAX, (512, 512), mode="bilinear").expand(1, 3, -1, -1)
        seen: torch.Tensor = ddcolor(square.contiguous(memory_format=torch.channels_last))
        return seen

    rates = {}
    for name, colours in (("siggraph17", siggraph17), ("DDColor-T", shape)):
        colours(torch.zeros(1, 1, 256, 256))
        started = time.perf_counter()
        for content in contents:
            gray = np.asarray(Image.open(io.BytesIO(content)))
            ab = colours(torch.from_numpy(gray_to_L(gray))[None, None])
            np.concatenate(list(colour_strips(gray, ab.float(), np.uint8)))
        rates[name] = len(contents) / (time.perf_counter() - started)
        print(f"{name}: {rates[name]:.2f}/s", flush=True)
    return rates


def report(found: dict[str, dict[str, list[Run]]], rates: dict[str, float]) -> None:
    """Medians, and what issue 23 asks."""
    for kind, of_kind in found.items():
        now = of_kind["now"]
        rate = float(np.median([run.rate for run in now]))
        busy = float(np.median([run.busy for run in now]))
        line = f"{kind}: {rate:.2f}/s; busy {busy:.0f}%, {_BUSY:.0f}% asked"
        if "before" in of_kind:
            pairs = zip(now, of_kind["before"], strict=True)
            ratio = float(np.median([a.rate / b.rate for a, b in pairs]))
            line += f"; {ratio:.2f} times before, {_ASKED[kind]} asked"
        if kind == "1.4 megapixels":
            line += "".join(f"; {rate / peer:.1f} times {name}" for name, peer in rates.items())
        print(line)


if __name__ == "__main__":
    main()
