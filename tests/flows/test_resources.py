"""How much of the machine a run takes: options, niceness of every process, a laptop on battery."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from command import chromaflow, start

from tasks.compute.battery import is_on_battery, spared
from tasks.compute.slots import Slots, plan_photos
from tasks.config.compute import resource_options
from tasks.config.model import ComputeConfig
from tasks.jobs.machine import available_cores

WORKER, DECODER = "multiprocessing", "storage.photos.decoder_process"


def write_supplies(folder: Path, **supplies: str) -> Path:
    """A folder as /sys/class/power_supply. supplies: name → "file=content …"."""
    for name, facts in supplies.items():
        (folder / name).mkdir(parents=True)
        for file, _, content in (fact.partition("=") for fact in facts.split()):
            (folder / name / file).write_text(f"{content}\n")
    return folder


BATTERY = "type=Battery status=Discharging scope=System"


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, False),
        ({"BAT0": BATTERY}, True),
        ({"BAT0": BATTERY, "AC": "type=Mains online=0"}, True),
        ({"BAT0": "type=Battery status=Charging", "AC": "type=Mains online=1"}, False),
        ({"BAT0": BATTERY, "AC": "type=Mains online=1"}, False),
        ({"BAT0": BATTERY, "ucsi": "type=USB online=1"}, False),
        ({"BAT0": "type=Battery status=Full", "AC": "type=Mains online=0"}, False),
        ({"hidpp_0": "type=Battery status=Discharging scope=Device"}, False),
        ({"BAT0": BATTERY, "BAT1": "type=Battery status=Unknown", "wacom": "scope=Device"}, True),
    ],
)
def test_what_counts_as_on_battery(
    tmp_path: Path, supplies: Mapping[str, str], expected: bool
) -> None:
    assert is_on_battery(write_supplies(tmp_path / "power", **supplies)) is expected
    assert not is_on_battery(tmp_path / "none")


def test_on_battery_a_core_is_left_alone_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    battery = write_supplies(tmp_path / "battery", BAT0=BATTERY)
    plugged = write_supplies(tmp_path / "plugged", AC="type=Mains online=1")
    cores = max(1, available_cores() - 1)
    compute, line = spared(ComputeConfig(), battery)
    assert (compute.cores, compute.nice) == (cores, 10)
    assert line.startswith("On battery: ") and "nice 10" in line and "\n" not in line
    assert spared(ComputeConfig(), plugged) == (ComputeConfig(), "")
    for asked in (
        ComputeConfig(workers=2, nice=0),
        ComputeConfig(cores=2, nice=3),
        ComputeConfig(scheduler="tcp://10.0.0.1:8786"),
    ):
        assert spared(asked, battery) == (asked, "")
    assert spared(ComputeConfig(workers=3), battery)[0] == ComputeConfig(workers=3, nice=10)
    assert spared(ComputeConfig(nice=0), battery)[0] == ComputeConfig(cores=cores, nice=0)


def test_threads_share_the_cores_among_fewer_processes() -> None:
    assert plan_photos(ComputeConfig(threads=4), cores=16) == Slots(4, 4, "cpu")
    assert plan_photos(ComputeConfig(threads=4, workers=3), cores=16) == Slots(3, 4, "cpu")
    assert plan_photos(ComputeConfig(threads=4), cores=2) == Slots(1, 4, "cpu")
    elsewhere = ComputeConfig(scheduler="tcp://10.0.0.1:8786", workers=1)
    assert plan_photos(elsewhere, cores=16) == Slots(1, 1, "cpu"), "its cores are not these"


@pytest.mark.parametrize(
    ("text", "gigabytes"),
    [("4", 4.0), ("4GB", 4.0), ("2.5g", 2.5), ("500MB", 0.5), ("2 GiB", 2.147483648), ("0", 0.0)],
)
def test_memory_is_said_as_people_say_it(text: str, gigabytes: float) -> None:
    found = resource_options({"memory": text, "nice": None})
    assert found == {"memory_per_worker": pytest.approx(gigabytes)}


WORDS = (
    ["run"],
    ["ingest"],
    ["train"],
    ["colorize", "in", "out"],
    ["retry", "out"],
    ["evaluate", "in"],
)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_wrong_options_are_refused_before_anything_is_looked_at(
    tmp_path: Path, words: list[str]
) -> None:
    wrong = ["--workers", "-1", "--threads", "-2", "--memory", "much", "--nice", "20"]
    before = os.times()
    code, out, err = chromaflow(*words, *wrong, cwd=tmp_path)
    after = os.times()
    assert (code, out) == (2, "")
    assert "--workers: expected a whole number of 0 or more, got -1." in err
    assert "--threads: expected a whole number of 0 or more, got -2." in err
    assert "--memory: expected GB of a worker, as 4, 4GB or 500MB, got the text" in err
    assert "--nice: expected a whole number of 0..19, got 20. Write --nice 10, for example." in err
    taken = after.children_user + after.children_system
    assert taken - before.children_user - before.children_system < 1, "seconds of processor time"
    assert not list(tmp_path.iterdir())


def nices_while_it_runs(process: subprocess.Popen[str]) -> dict[str, set[int]]:
    """Niceness of every thread of each kind of child that was seen, until the process ends."""
    seen: dict[str, set[int]] = defaultdict(set)
    while process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error, ProcessLookupError, StopIteration):
                words = " ".join(child.cmdline())
                kind = next(kind for kind in (WORKER, DECODER) if kind in words)
                threads = [thread.id for thread in child.threads()]
                if kind == DECODER or len(threads) > 2:  # of a worker that has begun to work
                    seen[kind] |= {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
        time.sleep(0.05)
    return seen


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_workers_and_their_decoders_have_the_niceness_that_was_asked_for(
    tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    for number in range(6):
        make_photo(tmp_path / "in" / f"{number}.png", number, gray=True)
    supplies = write_supplies(tmp_path / "power", BAT0=BATTERY)
    variables = {"CHROMAFLOW_POWER_SUPPLY": str(supplies)}
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for name, options, asked in (("asked", ["--nice", "14"], 14), ("battery", [], 10)):
        nice = max(asked, own)
        words = ["colorize", tmp_path / "in", tmp_path / name, "--json", *options]
        process = start(*words, variables=variables)
        nices = nices_while_it_runs(process)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out)["steps"][-1]["counts"]["done"] == 6
        assert nices[DECODER] == {nice}, nices
        assert nice in nices[WORKER] and nices[WORKER] <= {own, nice}, nices
        assert err.count("On battery: ") == 1 and f"nice {asked}" in err
