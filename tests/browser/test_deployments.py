"""All deployments on a real server with a real Prefect worker; one run is killed; its page.

Everything is offline: a proxy that is not there would be asked for anything beyond loopback.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser_window import chromium, needs_chromium
from prefect_server import prefect_server, server_errors, server_process
from strangers import lay_modules

from tasks.prefect_server.deployments import PACKAGED

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1500)]
CHROMAFLOW = [str(Path(sys.executable).with_name("chromaflow"))]
PREFECT = [str(Path(sys.executable).with_name("prefect")), "--no-prompt"]
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
NAMES = ("nightly-preprocess", "weekly-train", "colorize-archive", "watch-inbox")


class Site:
    """A project's folder, a server, and the commands that a user gives there."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        nowhere = "http://127.0.0.1:9"
        self.environment = os.environ | {
            "PREFECT_API_URL": f"{address}/api",
            "PREFECT_HOME": str(folder / "home"),
            "http_proxy": nowhere,
            "https_proxy": nowhere,
            "no_proxy": "127.0.0.1,localhost",
        }
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            self.environment.pop(name, None)
        lay_modules(folder)

    def call(self, *command: str) -> str:
        """Run a command to its end; what it said."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, **parameters: Any) -> str:
        """`prefect deployment run`; the id of the flow run."""
        words = [f"--param={key}={json.dumps(value)}" for key, value in parameters.items()]
        self.call(*PREFECT, "deployment", "run", name, *words)
        newest = {"sort": "EXPECTED_START_TIME_DESC", "limit": 1}
        flow, deployment = name.split("/")
        chosen = {
            "deployments": {"name": {"any_": [deployment]}},
            "flows": {"name": {"any_": [flow]}},
        }
        return str(self.post("flow_runs/filter", newest | chosen)[0]["id"])

    def run(self, name: str, **parameters: Any) -> str:
        """Start a deployment and wait for its end, which must be a good one."""
        run = self.start(name, **parameters)
        state = self.wait(run, ENDS, 400)
        log = (self.folder / "worker.log").read_text()[-8000:]
        assert state["type"] == "COMPLETED", (state, log)
        return run

    def has_ended(self, run: str) -> bool:
        return self.get(f"flow_runs/{run}")["state"]["type"] in ENDS

    def wait(self, run: str, types: set[str], seconds: float) -> dict[str, Any]:
        """The state of a flow run as soon as it is of one of these types."""
        state: dict[str, Any] = {}

        def arrived() -> bool:
            state.update(self.get(f"flow_runs/{run}")["state"])
            return state["type"] in types

        wait_for(arrived, seconds)
        return state

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.address}/api/{path}", timeout=30) as response:
            return json.load(response)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.address}/api/{path}", data=json.dumps(body).encode(), headers=headers
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    @contextmanager
    def worker(self) -> Iterator[psutil.Process]:
        """`prefect worker start`; killed at the end if it still runs, with what it started."""
        words = ["worker", "start", "--pool", "chromaflow", "--type", "process"]
        with (self.folder / "worker.log").open("a") as log:
            process = subprocess.Popen(
                [*PREFECT, *words], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        try:
            yield psutil.Process(process.pid)
        finally:
            if process.poll() is None:
                kill(psutil.Process(process.pid))
            process.wait(timeout=30)


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.5)


def kill(process: psutil.Process) -> None:
    """SIGKILL a process and all below it."""
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGKILL)
    psutil.wait_procs(family[1:], timeout=30)


def kill_flow(worker: psutil.Process) -> int:
    """SIGKILL the Prefect worker, which would report the end of its run, and the flow's process.

    Returns how many processes of the run were left; each must end by itself.
    """
    family = worker.children(recursive=True)
    commands = {member: " ".join(member.cmdline()) for member in family}
    flow = [member for member, c in commands.items() if "flows.cli.deployed" in c]
    assert len(flow) == 1, commands
    worker.send_signal(signal.SIGKILL)
    flow[0].send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive, [member.cmdline() for member in alive]
    return len(family) - 1


def check_sockets(processes: list[psutil.Process]) -> int:
    """Every TCP and UDP socket of these is on loopback, at both ends. Returns how many listen."""
    num_listening = 0
    for process in processes:
        try:
            connections = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        for connection in connections:
            for end in (connection.laddr, connection.raddr):
                assert not end or ip_address(end.ip).is_loopback, (process.cmdline(), connection)
            num_listening += connection.status == psutil.CONN_LISTEN
    return num_listening


def is_training(workspace: Path) -> bool:
    return any(workspace.glob("stages/train/*/*/checkpoints/*"))


@needs_chromium
def test_every_deployment_runs_and_a_killed_run_is_crashed_and_finished_by_retry(
    project: Path, make_photo: Callable[..., Path]
) -> None:
    folder, workspace = project.parent, project.parent / "workspace"
    config = project.read_text().replace('init = "starter"', 'init = "scratch"')
    project.write_text(config.replace("epochs = 2", "epochs = 30"))
    (folder / "home").mkdir(mode=0o755)
    (folder / "server").mkdir()
    with prefect_server(folder / "server") as address:
        site = Site(folder, address)
        said = site.call(*CHROMAFLOW, "deploy")
        print(said)
        assert said.count("created  ") == 4 + len(NAMES) and "0755 → 0700" in said
        assert (folder / "inbox").is_dir()
        site.call(*PREFECT, "deployment", "schedule", "pause", "--all")
        said = site.call(*CHROMAFLOW, "deploy")
        assert said.count("left     ") == 3 + len(NAMES)
        schedules = [s for d in site.post("deployments/filter", {}) for s in d["schedules"]]
        assert len(schedules) == 3 and not any(schedule["active"] for schedule in schedules)

        with site.worker() as worker:
            site.run("pipeline/nightly-preprocess")
            assert len(list(workspace.glob("current/preprocess/*/_SUCCESS.json"))) == 2
            site.run("colorize/colorize-archive", archive="gray", output="archive-colour")
            assert len(list(folder.glob("archive-colour/*.png"))) == 3
            look_at_sheet(site)
            check_inbox(site, make_photo)

            run = site.start("pipeline/weekly-train")
            wait_for(lambda: is_training(workspace) or site.has_ended(run), 240)
            assert not site.has_ended(run), (folder / "worker.log").read_text()[-8000:]
            server = server_process(address)
            family = [server, *worker.children(recursive=True), worker]
            print(f"{check_sockets(family)} sockets listen, all on loopback")
            check_folders(folder, workspace)
            killed = time.monotonic()
            left = kill_flow(worker)
            print(f"SIGKILL to the flow; {left} processes of it ended by themselves")
        state = site.wait(run, {"CRASHED"}, 240)
        print(f"Crashed after {time.monotonic() - killed:.0f} s: {state['message']}")
        assert "No heartbeat" in state["message"]

        assert not list(workspace.glob("current/train/*/weights.safetensors"))
        said = site.call(*CHROMAFLOW, "retry", "--until", "evaluate")
        print(said)
        newest = max(workspace.glob("runs/*/run.json"))
        steps = {s["step"]: s["computed"] for s in json.loads(newest.read_text())["steps"]}
        assert steps["preprocess/people"] == steps["preprocess/places"] == 0
        assert len(list(workspace.glob("current/train/*/weights.safetensors"))) == 2
        finished = site.post("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]
        assert finished["state"]["type"] == "COMPLETED" and finished["id"] != run
        look_at_pages(site, run)
    assert not list(folder.glob("imported-*"))


def test_a_schedule_of_a_minute_fires_by_itself_and_the_server_logs_no_error(
    tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    """Two runs that nobody started, on a server with all its services, watched for minutes."""
    (tmp_path / "server").mkdir()
    every_minute = PACKAGED.read_text().replace("*/10 * * * *", "* * * * *")
    (tmp_path / "prefect.yaml").write_text(every_minute)
    with prefect_server(tmp_path / "server") as address:
        site = Site(tmp_path, address)
        print(site.call(*CHROMAFLOW, "deploy", "watch-inbox"))
        make_photo(tmp_path / "inbox" / "new.png", seed=1, gray=True)
        with site.worker() as worker:
            ended: list[dict[str, Any]] = []

            def two_have_ended() -> bool:
                runs = site.post("flow_runs/filter", {"sort": "START_TIME_ASC"})
                ended[:] = [run for run in runs if run["state"]["type"] in ENDS]
                return len(ended) >= 2

            wait_for(two_have_ended, 900)
            check_sockets([server_process(address), *worker.children(recursive=True), worker])
            time.sleep(200)  # late runs, automations and the services that look once a minute
        assert all(run["auto_scheduled"] for run in ended)
        good = [run for run in ended if run["state"]["type"] == "COMPLETED"]
        assert good, [run["state"] for run in ended]
    assert (tmp_path / "inbox-colour" / "new.png.color.png").is_file()
    assert not list(tmp_path.glob("imported-*"))
    log = (tmp_path / "server" / "server.log").read_text()
    print(f"{log.count('ERROR')} times ERROR in {len(log.splitlines())} lines of the server's log")
    assert server_errors(tmp_path / "server") == []


def check_inbox(site: Site, make_photo: Callable[..., Path]) -> None:
    """A photo that is being copied is left alone, and coloured by the next run."""
    inbox, output = site.folder / "inbox", site.folder / "inbox-colour"
    make_photo(inbox / "whole.png", seed=5, gray=True)
    content = make_photo(site.folder / "late.png", seed=6, gray=True).read_bytes()
    slow = (inbox / "late.png").open("wb")
    run = site.start("watch-inbox/watch-inbox")
    deadline = time.monotonic() + 400
    while not site.has_ended(run):
        assert time.monotonic() < deadline
        slow.write(content[:1])
        slow.flush()
        time.sleep(0.5)
    slow.close()
    assert site.get(f"flow_runs/{run}")["state"]["type"] == "COMPLETED"
    assert [path.name for path in output.glob("*.png")] == ["whole.png.color.png"]
    (inbox / "late.png").write_bytes(content)
    site.run("watch-inbox/watch-inbox")
    assert len(list(output.glob("*.png"))) == 2
    body = {"artifacts": {"key": {"any_": ["inbox"]}}, "sort": "CREATED_DESC"}
    tables = [json.loads(artifact["data"]) for artifact in site.post("artifacts/filter", body)]
    assert tables == [
        [{"photo": "late.png", "outcome": "coloured"}],
        [
            {"photo": "late.png", "outcome": "still being written"},
            {"photo": "whole.png", "outcome": "coloured"},
        ],
    ]


def check_folders(folder: Path, workspace: Path) -> None:
    """State folders are their owner's only."""
    for home in (
        folder / "home",
        workspace / ".prefect",
        folder / "inbox-colour/.chromaflow/.prefect",
    ):
        assert not home.exists() or stat.S_IMODE(home.stat().st_mode) == 0o700, home


def look_at_sheet(site: Site) -> None:
    """The contact sheet is drawn on its artifact's page, which fetches it from nowhere."""
    body = {"artifacts": {"key": {"any_": ["contact-sheet"]}}}
    (artifact,) = site.post("artifacts/filter", body)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{site.address}/artifacts/artifact/{artifact['id']}")
        picture = page.locator("img[src^='data:image/jpeg']").first
        picture.wait_for(timeout=60_000)
        assert picture.evaluate("image => image.naturalWidth") == 900
        page.screenshot(path=site.folder / "sheet.png")


def look_at_pages(site: Site, run: str) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{site.address}/runs/flow-run/{run}")
        page.get_by_text("Crashed", exact=True).first.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)  # the page fades in
        page.screenshot(path=site.folder / "crashed.png")
        page.goto(f"{site.address}/deployments")
        for name in NAMES:
            page.get_by_text(name).first.wait_for(timeout=60_000)
        page.screenshot(path=site.folder / "deployments.png")
    for name in ("crashed", "deployments"):
        assert (site.folder / f"{name}.png").stat().st_size > 10_000
