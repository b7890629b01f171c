"""Where a job's files lie: a folder of this machine, or an object store's."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Self, cast

import pyarrow as pa
from pyarrow import fs

from cap_server.bulk.rows import BulkError

_COMPRESSED = re.compile(r"\.(jsonl|ndjson)\.\w+$")
_READ_AT_ONCE = 1024**2
TABLES, LINES = (".parquet",), (".jsonl", ".ndjson")


class Place:
    """A file or folder, and what lies in it.

    Args:
        files: pyarrow's file system.
        path: in that.
        scheme: of the URL that names it; empty: this machine's.
    """

    def __init__(self, files: Any, path: str, scheme: str) -> None:  # noqa: ANN401  pyarrow's
        self._files = files
        self._path = path.rstrip("/") or "/"
        self._scheme = scheme

    @classmethod
    def at(cls, named: str) -> Self:
        """The place that a path names, or a URL: what pyarrow does not know, fsspec may.

        Raises:
            BulkError: nobody knows it.
        """
        scheme, separator, _ = named.partition("://")
        with _told(_without_secrets(named)):
            if not separator:
                return cls(fs.LocalFileSystem(), os.path.abspath(named), "")
            try:
                files, path = fs.FileSystem.from_uri(named)
            except pa.ArrowInvalid:
                files, path = _from_fsspec(named)
        return cls(files, path, "" if scheme == "file" else scheme)

    @property
    def name(self) -> str:
        return self.name_of(self._path)

    def name_of(self, path: str) -> str:
        """How a path of this file system is told to people, without secrets."""
        return f"{self._scheme}://{path}" if self._scheme else path

    def sources(self) -> list[str]:
        """The paths of a file, or of all tables and JSON lines below a folder, by name.

        Names that begin with `.` or `_` are left out, as Spark's and others' own files are.

        Raises:
            BulkError: there is none, or one that cannot be read in parts.
        """
        with _told(self.name):
            found = self._files.get_file_info(self._path)
            if found.type == fs.FileType.NotFound:
                raise BulkError(f"{self.name}: there is no such file or folder.")
            inside = (
                self._below(self._path) if found.type == fs.FileType.Directory else [found.path]
            )
        for path in inside:
            if _COMPRESSED.search(path):
                raise BulkError(
                    f"{self.name_of(path)} is compressed, and cannot be read in parts: decompress "
                    "it, or make it Parquet."
                )
        known = [path for path in inside if path.endswith(TABLES + LINES)]
        if not known:
            raise BulkError(f"{self.name}: expected .parquet, .jsonl or .ndjson.")
        return sorted(known)

    def names(self, folder: str = "") -> set[str]:
        """The names of what lies in a folder here; none where there is no such folder."""
        path = f"{self._path}/{folder}".rstrip("/")
        with _told(self.name):
            within = fs.FileSelector(path, allow_not_found=True)
            return {info.base_name for info in self._files.get_file_info(within)}

    @contextmanager
    def opened(self, path: str, *, start: int = 0) -> Iterator[BinaryIO]:
        """A file of this file system, from byte `start` on."""
        with _told(self.name_of(path)), self._files.open_input_file(path) as file:
            file.seek(start)
            yield cast("BinaryIO", io.BufferedReader(file, _READ_AT_ONCE))

    def file(self, path: str) -> Any:  # noqa: ANN401  pyarrow's
        """The same for pyarrow. Raises BulkError."""
        with _told(self.name_of(path)):
            return self._files.open_input_file(path)

    def read(self, name: str) -> bytes | None:
        """What lies here by that name; None: nothing."""
        try:
            with self.opened(f"{self._path}/{name}") as file:
                return file.read()
        except BulkError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there, all of it or nothing. Raises BulkError."""
        path = f"{self._path}/{name}"
        with _told(self.name_of(path)):
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
            if self._files.type_name not in ("local", "hdfs"):
                # An object is there once its stream is closed.
                self._put(path, content)
                return
            folder, _, last = path.rpartition("/")
            beside = f"{folder}/.{last}.{uuid.uuid4().hex}"
            self._put(beside, content)
            self._files.move(beside, path)

    def delete(self, name: str) -> None:
        """Take away what lies here by that name, if anything does. Raises BulkError."""
        path = f"{self._path}/{name}"
        with _told(self.name_of(path)):
            if self._files.get_file_info(path).type != fs.FileType.NotFound:
                self._files.delete_file(path)

    def _put(self, path: str, content: bytes) -> None:
        with self._files.open_output_stream(path) as stream:
            stream.write(content)

    def _below(self, folder: str) -> list[str]:
        selected = self._files.get_file_info(fs.FileSelector(folder, recursive=True))
        return [
            info.path
            for info in selected
            if info.type == fs.FileType.File and not _is_hidden(info.path, folder)
        ]


def _from_fsspec(named: str) -> tuple[Any, str]:
    import fsspec  # comes with Ray Data

    try:
        files, path = fsspec.core.url_to_fs(named)
    except ValueError as error:
        raise BulkError(f"{_without_secrets(named)}: {error}.") from error
    return fs.PyFileSystem(fs.FSSpecHandler(files)), path


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raises BulkError where the file system fails."""
    try:
        yield
    except (OSError, pa.ArrowException, ImportError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise BulkError(f"{name}: {reason}") from error


def _is_hidden(path: str, folder: str) -> bool:
    inside = path.removeprefix(folder).strip("/").split("/")
    return any(each.startswith((".", "_")) for each in inside)


def _without_secrets(named: str) -> str:
    """A URL without user, password and query."""
    return re.sub(r"(?<=://)[^/@]*@", "", named).partition("?")[0]
