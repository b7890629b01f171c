"""Secrets from files: `CAP_API_KEYS_FILE=/run/secrets/api_keys` sets CAP_API_KEYS to what it holds.

Orchestrators mount secrets as files; an environment variable is seen by whoever lists processes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_MOST_BYTES = 64 * 1024


class SecretFileError(ValueError):
    """A file that a `CAP_*_FILE` variable names is of no use; the message is for the operator."""


class SecretFiles(PydanticBaseSettingsSource):
    """Reads the files that `CAP_*_FILE` variables name, for every setting that is secret."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self._prefix = str(settings.model_config["env_prefix"])

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The file's content without the newline at its end; None where no file is named."""
        variable = f"{self._prefix}{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if not path or not _is_secret(field):
            return None, field_name, False
        if os.environ.get(variable):
            raise SecretFileError(
                f"{variable} and {variable}_FILE are both set; which one is meant?"
            )
        return _content(Path(path), variable), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields.items()
        found = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in found.items() if value is not None}


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr.__name__ in str(field.annotation)


def _content(path: Path, variable: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(_MOST_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SecretFileError(
            f"{variable}_FILE names {path}, which cannot be read: {reason}"
        ) from None
    if not content:
        raise SecretFileError(f"{variable}_FILE names {path}, which is empty")
    return content
