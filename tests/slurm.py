"""Slurm from Debian's packages, for tests: daemons of their own on loopback, no systemd, no cgroups.

`slurm_at` starts munged, slurmctld and a slurmd a node from a config in a folder of the test and ends
them with the block. It installs nothing: `needs_slurm` skips where the programs are missing.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from prefect_server import free_port

_PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue")
_MISSING = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
needs_slurm = pytest.mark.skipif(
    bool(_MISSING) or os.geteuid() != 0,
    reason=f"Slurm's {', '.join(_MISSING) or 'slurmd'} needs root and "
    "`apt-get install -y slurmctld slurmd munge slurm-client`",
)
QUEUE = "long"
_NODES = ("n1", "n2", "n3")
_CONFIG = """
ClusterName=chromaflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=5
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName={queue} Nodes={names} Default=NO MaxTime=INFINITE State=UP
"""


class Slurm:
    """What a test asks of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _PATH}
        """Of the environment in which `sbatch` finds it."""

    def ask(self, *words: str) -> str:
        """What one of its commands prints."""
        environment = os.environ | self.variables
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Id of each job that runs → its node."""
        lines = self.ask("squeue", "--noheader", "--states=R", "--format=%A %N").splitlines()
        return {job: node for job, node in (line.split() for line in lines)}

    def processes(self) -> list[psutil.Process]:
        """What runs in jobs and beside them with this Slurm in its environment, daemons left out."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("SLURM_CONF") == self.variables["SLURM_CONF"]:
                    found.append(process)
        return [p for p in found if not p.name().startswith(("slurm", "munge"))]

    def kill_node(self, node: str) -> None:
        """As when its power is cut: its daemon, its jobs and who watches them, all at once."""
        jobs = [job for job, at in self.jobs().items() if at == node]
        dying = [p for p in self.processes() if p.environ().get("SLURMD_NODENAME") == node]
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or ())
            steps = (f"slurmstepd: [{job}." in words for job in jobs)
            if words.startswith(f"slurmd -D -N {node}") or any(steps):
                dying.insert(0, process)
        for process in dying:
            with suppress(psutil.Error):
                process.kill()

    def log(self) -> list[str]:
        """Lines of the controller about jobs, as it wrote them."""
        lines = (self.folder / "slurmctld.log").read_text().splitlines()
        return [line for line in lines if "JobId=" in line]


@contextmanager
def slurm_at(folder: Path) -> Iterator[Slurm]:
    """A controller and three nodes of a core each, whatever the machine has."""
    folder.mkdir(mode=0o755)
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 "
        f"Port={free_port()} CPUs=1 RealMemory=32000 State=UNKNOWN"
        for name in _NODES
    )
    values = {"host": socket.gethostname(), "user": getpass.getuser(), "queue": QUEUE}
    values |= {"folder": str(folder), "nodes": nodes, "names": ",".join(_NODES)}
    (folder / "slurm.conf").write_text(_CONFIG.format(**values, controller=free_port()))
    slurm = Slurm(folder)
    with ExitStack() as stack:
        munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        socket_path = folder / "munge.socket"
        daemon = ["munged", "--foreground", "--force", f"--socket={socket_path}", *munge]
        stack.enter_context(_running(slurm, daemon))
        _wait(socket_path.exists, folder)
        stack.enter_context(_running(slurm, ["slurmctld", "-D"]))
        for name in _NODES:
            stack.enter_context(_running(slurm, ["slurmd", "-D", "-N", name]))
        _wait(lambda: _num_idle(slurm) == len(_NODES), folder)
        yield slurm


def _num_idle(slurm: Slurm) -> int:
    words = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
    environment = os.environ | slurm.variables
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return len(set(done.stdout.split()))


@contextmanager
def _running(slurm: Slurm, command: Sequence[str]) -> Iterator[None]:
    """A daemon in the foreground for the time of the block."""
    with (slurm.folder / f"{command[0]}-{command[-1].rpartition('/')[2]}.out").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | slurm.variables, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(holds: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        said = "\n".join(path.read_text(errors="replace") for path in folder.glob("*.[lo][ou][gt]"))
        assert time.monotonic() < deadline, said
        time.sleep(0.2)
