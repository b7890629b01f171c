"""What a model's folder says of itself to this server, in `cap.json` beside its weights."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cap_server.engine.launch import EngineError


class About(BaseModel):
    """Attributes: reliability: how often the right answer is within its reach, as measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reliability: float | None = Field(None, gt=0, lt=1)

    def settings(self, *, given: Collection[str]) -> dict[str, float]:
        """What of it goes into the server's settings; those that were `given` stay as they are."""
        if self.reliability is None or "model_reliability" in given:
            return {}
        return {"model_reliability": self.reliability}


def about(model: Path) -> About:
    """What the folder `model` says; nothing where it has no `cap.json`.

    Raises:
        EngineError: the file is there and wrong.
    """
    file = model / "cap.json"
    try:
        return About.model_validate_json(file.read_bytes()) if file.is_file() else About()
    except (OSError, ValidationError) as error:
        raise EngineError(f'{file}: expected {{"reliability": a number from 0 to 1}}.') from error
