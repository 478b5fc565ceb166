"""Working copies and their URL: what is carried, who holds it, and what a death leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from s3_server import CREDENTIALS, s3_server

from storage.errors import CodecMissingError, DamagedError, LockedError, UsageError
from storage.records.names import INDEX_NAME, LOCK_FOLDER
from storage.remote.folder import Remote, fetch_file, fetch_folder, is_inside
from storage.remote.mirror import Mirror

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from storage.remote.mirror import Mirror
folder, url, lease, seconds = sys.argv[1:]
mirror = Mirror(Path(folder), url, lease=float(lease))
with mirror.held():
    print("held", flush=True)
    time.sleep(float(seconds))
    mirror.publish(["a.txt"], {})
"""
PUT_MANY = """
import sys
from pathlib import Path
from storage.remote.mirror import Mirror
mirror = Mirror(Path(sys.argv[1]), sys.argv[2])
with mirror.held():
    mirror.publish([path.name for path in Path(sys.argv[1]).glob("*.bin")], {})
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3"), "mirrors") as address:
        yield address


@pytest.fixture
def url(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    return f"s3://mirrors/{tmp_path.name}"


def python(code: str, *words: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def end_of(process: subprocess.Popen[str]) -> int:
    """Its exit code, once it has ended by itself."""
    process.communicate(timeout=30)
    return process.returncode


def holding(folder: Path, url: str, *, lease: float, seconds: float) -> subprocess.Popen[str]:
    """A process that holds the URL, once it does, and publishes a.txt at the end."""
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    process = python(HOLD, folder, url, lease, seconds)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def publish(mirror: Mirror, *paths: str, gone: tuple[str, ...] = ()) -> int:
    with mirror.held():
        return mirror.publish(paths, {}, gone)


def write(folder: Path, **contents: str) -> None:
    for name, text in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_copy_carries_files_links_and_removals_to_another(tmp_path: Path, url: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, stages__old__x="1", stages__new__x="2", photo="3", other="4")
    first, second = Mirror(one, url, "stages/"), Mirror(two, url, "stages/")
    with first.held():
        first.publish(["stages/old/x"], {"current/s": "stages/old"})
        first.publish(["stages/new/x", "photo", "other"], {"current/s": "stages/new"})
        assert first.publish(["photo", "other"], {}) == 0
    assert second.fetch() == 3, "the folder that no link names stays where it is"
    assert (two / "current" / "s").resolve() == two / "stages" / "new"
    assert (two / "current" / "s" / "x").read_text() == "2"
    write(two, photo="5")
    assert publish(second, "photo", gone=("other",)) == 1
    assert sorted(Remote(url).files()) == [INDEX_NAME, "photo", "stages/new/x", "stages/old/x"]
    assert first.fetch() == 1 and (one / "photo").read_text() == "5"
    assert not (one / "other").exists()


def test_what_was_changed_or_lost_at_the_url_is_put_again_or_not_taken(
    tmp_path: Path, url: str
) -> None:
    write(tmp_path / "one", a="a", b="b", c="c")
    mirror = Mirror(tmp_path / "one", url)
    publish(mirror, "a", "b", "c")
    remote = Remote(url)
    remote.remove("a")
    remote.write("b", b"x")
    other = tmp_path / "two"
    assert Mirror(other, url).fetch() == 1 and [p.name for p in other.glob("[a-c]")] == ["c"]
    assert publish(mirror, "a", "b", "c") == 2
    assert Mirror(other, url).fetch() == 2 and (other / "b").read_text() == "b"


def test_a_publication_that_was_killed_leaves_nothing_behind(tmp_path: Path, url: str) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.bin").write_bytes(os.urandom(2000))
    process, remote = python(PUT_MANY, folder, url), Remote(url)
    while not (num_put := sum(path.endswith(".bin") for path in remote.files())):
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=30)
    assert num_put < 300 and len(remote.names(LOCK_FOLDER)) == 1
    assert Mirror(tmp_path / "reader", url).fetch() == 0, "no index names them yet"
    for number in range(10, 300):
        (folder / f"{number}.bin").unlink()
    assert publish(Mirror(folder, url), *(f"{number}.bin" for number in range(10))) == 10
    assert sorted(remote.files()) == [INDEX_NAME, *(f"{number}.bin" for number in range(10))]


def test_a_holder_keeps_others_out_until_it_ends(tmp_path: Path, url: str) -> None:
    holder = holding(tmp_path / "one", url, lease=1, seconds=4)
    other = Mirror(tmp_path / "two", url, lease=1)
    time.sleep(2.5)  # longer than the lease, which is renewed
    started = time.monotonic()
    with pytest.raises(LockedError, match=f"process {holder.pid}"):
        publish(other, "b")
    assert time.monotonic() - started < 2
    assert end_of(holder) == 0
    assert other.fetch() == 1 and Remote(url).names(LOCK_FOLDER) == []


def test_the_lock_of_a_dead_holder_is_taken_over(tmp_path: Path, url: str) -> None:
    holder = holding(tmp_path / "one", url, lease=60, seconds=60)
    holder.kill()
    holder.communicate(timeout=30)
    write(tmp_path / "two", b="b")
    with pytest.raises(LockedError, match="if it is dead, for 60 s"):
        publish(Mirror(tmp_path / "two", url), "b")
    time.sleep(2.1)  # the service counts whole seconds
    assert publish(Mirror(tmp_path / "two", url, lease=1), "b") == 1
    holder = holding(tmp_path / "three", url, lease=60, seconds=60)
    holder.kill()
    holder.communicate(timeout=30)
    assert publish(Mirror(tmp_path / "three", url), "a.txt") == 1, "its own copy: no wait"


def test_a_holder_that_slept_too_long_publishes_nothing(tmp_path: Path, url: str) -> None:
    sleeper = holding(tmp_path / "one", url, lease=1, seconds=1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    time.sleep(3.1)
    write(tmp_path / "two", b="b")
    other = Mirror(tmp_path / "two", url, lease=1)
    with other.held():
        os.kill(sleeper.pid, signal.SIGCONT)
        assert end_of(sleeper) == 1
        other.publish(["b"], {})
    assert sorted(Remote(url).files()) == [INDEX_NAME, "b"]


def test_of_many_at_once_one_holds(tmp_path: Path, url: str) -> None:
    runs = []
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        runs.append(python(HOLD, tmp_path / str(number), url, 60, 60))
    deadline = time.monotonic() + 60
    while sum(run.poll() == 1 for run in runs) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (holder,) = (run for run in runs if run.poll() is None)
    holder.kill()
    assert sorted(run.communicate(timeout=30)[0] for run in runs) == ["", "", "", "", "held\n"]


def test_what_is_no_index_or_no_url_is_named(tmp_path: Path, url: str) -> None:
    Remote(url).write(INDEX_NAME, b'{"version": 99}')
    with pytest.raises(DamagedError, match="version 1"):
        Mirror(tmp_path, url).fetch()
    for name in ("../../escaped", "/tmp/escaped", "a/../../escaped"):
        index = {"version": 1, "files": {name: [1, "0", ""]}, "links": {}, "pending": []}
        Remote(url).write(INDEX_NAME, json.dumps(index).encode())
        with pytest.raises(DamagedError, match="escaped"):
            Mirror(tmp_path / "copy", url).fetch()
    with pytest.raises(UsageError, match="found none"):
        fetch_file(f"{url}/no-weights.safetensors", tmp_path)
    with pytest.raises(UsageError, match="nowhere"):
        Remote("nowhere://a")
    with pytest.raises(CodecMissingError, match="pip install"):
        Remote("gdrive://a")


def test_a_file_is_fetched_again_when_it_was_written_again(tmp_path: Path, url: str) -> None:
    remote = Remote(url)
    for content in (b"one", b"two", b"two"):
        remote.write("weights.pth", content)
        path = fetch_file(f"{url}/weights.pth", tmp_path)
        assert path.read_bytes() == content and path.name == "weights.pth"
    first = path.stat().st_mtime_ns
    assert fetch_file(f"{url}/weights.pth", tmp_path).stat().st_mtime_ns == first


def test_names_of_a_service_stay_inside_the_folder_they_are_written_to(
    tmp_path: Path, url: str
) -> None:
    assert is_inside("a/..b/c.png") and is_inside(".mirror.json")
    assert not any(map(is_inside, ("", "..", "../a", "a/../../b", "/a")))
    bucket, _, folder = url.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key=f"{folder}/truth/a.png", Body=b"a")
    client.put_object(Bucket=bucket, Key=f"{folder}/truth/../../escaped.png", Body=b"x")
    with pytest.raises(UsageError, match="escaped"):
        fetch_folder(f"{url}/truth", tmp_path / "deep" / "scratch")
    assert not list(tmp_path.rglob("*.png"))
