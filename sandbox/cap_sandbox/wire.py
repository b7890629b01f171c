"""Programs and executions as the service's JSON; the server's `/v1/execute` has the same shape."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import cast, get_args

from cap_sandbox.protocol import (
    Execution,
    FrameError,
    Limits,
    Status,
    check_limits,
    decode_amount,
    decode_text,
    decode_value,
    encode_value,
    load,
)

_EXECUTION_FIELDS = {field.name for field in fields(Execution)}
_LIMIT_FIELDS = {field.name for field in fields(Limits)}


class InvalidRequestError(Exception):
    """A request that asks for nothing that can be run.

    Attributes:
        param: the field that is to blame, dotted; None when it is the whole body.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def encode_request(program: str, limits: Limits) -> bytes:
    """Write the request that `decode_request` reads."""
    wanted = {field.name: getattr(limits, field.name) for field in fields(Limits)}
    return json.dumps({"program": program, "limits": wanted}).encode("ascii")


def decode_request(body: bytes) -> tuple[str, Limits]:
    """Read a program and its limits.

    Raises:
        InvalidRequestError: what is wrong with them.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("The body is not JSON.") from error
    if not isinstance(message, dict) or not message.keys() <= {"program", "limits"}:
        raise InvalidRequestError("The body must be an object of 'program' and 'limits'.")
    program = message.get("program")
    if not isinstance(program, str):
        raise InvalidRequestError("program: a text is required", param="program")
    return program, _decode_limits(message.get("limits", {}))


def _decode_limits(limits: object) -> Limits:
    if not isinstance(limits, dict) or not limits.keys() <= _LIMIT_FIELDS:
        allowed = ", ".join(sorted(_LIMIT_FIELDS))
        raise InvalidRequestError(f"limits: allowed are {allowed}", param="limits")
    for name, number in limits.items():
        whole = type(number) is int or (type(number) is float and name == "wall_s")
        if not whole:
            raise InvalidRequestError(f"limits.{name}: not a number of it", param=f"limits.{name}")
    try:
        found = Limits(**limits)
        check_limits(found)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(f"limits: {error}", param="limits") from error
    return found


def encode_execution(execution: Execution) -> dict[str, object]:
    return {
        "status": execution.status,
        "value": None if execution.value is None else encode_value(execution.value),
        "stdout": execution.stdout,
        "stderr": execution.stderr,
        "wall_s": round(execution.wall_s, 6),
        "cpu_s": round(execution.cpu_s, 6),
        "peak_memory_bytes": execution.peak_memory_bytes,
    }


def decode_execution(body: bytes) -> Execution:
    """Read an execution, believing nothing: behind the service ran programs of anyone's.

    Raises:
        FrameError: what is wrong with it.
    """
    message = load(body)
    if not isinstance(message, dict) or not message.keys() >= _EXECUTION_FIELDS:
        raise FrameError("not the fields of an execution")
    status = message["status"]
    if not isinstance(status, str) or status not in get_args(Status):
        raise FrameError("an unknown ending")
    value = decode_value(message["value"])
    if value is not None and status != "ok":
        raise FrameError("an answer of a program that did not end well")
    return Execution(
        status=cast("Status", status),
        value=value,
        stdout=decode_text(message["stdout"]),
        stderr=decode_text(message["stderr"]),
        wall_s=decode_amount(message["wall_s"]),
        cpu_s=decode_amount(message["cpu_s"]),
        peak_memory_bytes=int(decode_amount(message["peak_memory_bytes"])),
    )
