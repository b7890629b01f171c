"""Starts that go wrong: the server says in plain words what it lost, or why it does not start."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.chaos.faults import fill
from tests.chaos.place import small_disk
from tests.chaos.recorded import MODEL
from tests.ports import free_port
from tests.servers import CAP, Serving, serving

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.environ.get("CAP_TEST_CHAOS") != "1", reason="`make chaos` runs this: many starts"
    ),
]

NOWHERE = "http://127.0.0.1:9/v1"


@contextmanager
def disk(at: Path) -> Iterator[Path]:
    cannot: dict[str, str] = {}
    with small_disk(at, cannot) as mounted:
        if cannot:
            pytest.skip(cannot["disk full"])
        yield mounted


def works(server: Serving) -> None:
    """It answers, and says nothing that a person cannot read; then it ends well."""
    answer = httpx.post(
        f"{server.url}/v1/refine", json={"question": "1 + 1?", "cot": "2"}, timeout=60
    )
    assert answer.json()["error"]["code"] == "model_unavailable"
    assert "Traceback" not in server.said()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.said()


def stored(server: Serving) -> bool:
    return bool(httpx.get(f"{server.url}/v1/sources", timeout=60).json()["stored"])


def refused(database: Path) -> str:
    """What a server says that does not start."""
    told = subprocess.run(
        [CAP, "serve"],
        env=os.environ
        | {
            "CAP_PORT": str(free_port()),
            "CAP_MODEL": MODEL,
            "CAP_DATABASE_URL": f"sqlite:///{database}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert told.stdout == ""
    return told.stderr


def filled(folder: Path) -> None:
    fill(folder / "filler")
    assert os.statvfs(folder).f_bavail == 0


def test_on_a_full_disk_it_serves_from_memory_and_stores_when_there_is_room(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as full:
        filled(full)
        database = f"sqlite:///{full}/trust.db"
        with serving(tmp_path, NOWHERE, CAP_DATABASE_URL=database) as server:
            assert "Nothing can be stored" in server.said()
            assert not stored(server)
            (full / "filler").unlink()
            works(server)
        with serving(tmp_path, NOWHERE, CAP_DATABASE_URL=database) as server:
            assert stored(server)


def test_on_a_read_only_disk_it_serves_from_memory(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as folder:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        database = f"sqlite:///{folder}/trust.db"
        with serving(tmp_path, NOWHERE, CAP_DATABASE_URL=database) as server:
            assert "Nothing can be stored" in server.said()
            assert not stored(server)
            works(server)


def test_a_log_that_cannot_be_written_ends_no_request(tmp_path: Path) -> None:
    (tmp_path / "server.log").symlink_to("/dev/full")
    with serving(tmp_path, NOWHERE) as server:
        answer = httpx.post(f"{server.url}/v1/refine", json={"question": "1 + 1?"}, timeout=60)
        assert answer.json()["error"]["code"] == "model_unavailable"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_a_database_of_before_versions_is_taken_over_with_all_it_has(tmp_path: Path) -> None:
    with serving(tmp_path, NOWHERE) as server:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
    with closing(sqlite3.connect(tmp_path / "trust.db")) as old, old:
        old.execute("DROP TABLE cap_schema")
        row = "('r', 'all', 's', 0, '[0, 0]', 1.0)"
        names = "replica, tenant, source, prior, programs, created"
        old.execute(f"INSERT INTO cap_patterns ({names}) VALUES {row}")  # our own text
    with serving(tmp_path, NOWHERE) as server:
        assert stored(server)
        sources = httpx.get(f"{server.url}/v1/sources", timeout=60).json()["data"]
        assert [each["requests"] for each in sources if each["source"] == "s"] == [1]
        works(server)


def test_a_newer_versions_database_is_refused_in_one_line(tmp_path: Path) -> None:
    database = tmp_path / "trust.db"
    with closing(sqlite3.connect(database)) as newer, newer:
        newer.execute("CREATE TABLE cap_schema (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)")
        newer.execute("INSERT INTO cap_schema VALUES (1, 99)")
    before = database.read_bytes()
    said = refused(database)
    assert said.count("\n") == 1
    assert "schema 99" in said
    assert database.read_bytes() == before


def test_a_damaged_database_is_refused_in_one_line_and_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "trust.db"
    database.write_bytes(b"not a database " * 1000)
    before = database.read_bytes()
    said = refused(database)
    assert said.count("\n") == 1
    assert "damaged" in said
    assert database.read_bytes() == before
