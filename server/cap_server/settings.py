"""The operator's settings: `CAP_*` environment variables, checked at start."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    Field,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cap_server.domain import Key, Right
from cap_server.keys import given_key
from cap_server.prompts import PromptFormatName
from cap_server.secret_files import SecretFiles

_A_URL: TypeAdapter[AnyHttpUrl] = TypeAdapter(AnyHttpUrl)
_HASH = re.compile(r"sha256:[0-9a-fA-F]{64}")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _beside_the_environment(name: str) -> Path:
    """`name` beside the virtual environment that runs: where `make setup` puts things."""
    return Path(sys.prefix).parent / name


def _has_the_exporter() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _keys(value: SecretStr) -> SecretStr:
    for key in value.get_secret_value().split(","):
        if key == "" or key != key.strip():
            raise ValueError("expected keys separated by commas, without spaces and empty ones")
        if key.startswith("sha256:") and not _HASH.fullmatch(key):
            raise ValueError("expected 64 hexadecimal digits after 'sha256:'")
    return value


def _place(value: str) -> str:
    if value.startswith("unix:///"):
        return value
    return str(AnyHttpUrl(value)).rstrip("/")


def _roots(value: str) -> str:
    roots = [str(_A_URL.validate_python(each.strip())) for each in value.split(",")]
    if len(set(roots)) < len(roots):
        raise ValueError("expected different URLs")
    return ",".join(roots)


Roots = Annotated[str, AfterValidator(_roots)]
"""URLs of APIs that offer the same model, separated by commas."""


class Settings(BaseSettings):
    """What `CAP_*` variables set. Every field's variable is its name in capitals.

    Secrets may lie in files: `CAP_API_KEYS_FILE` names the one for `CAP_API_KEYS`.
    """

    model_config = SettingsConfigDict(env_prefix="CAP_", env_ignore_empty=True, frozen=True)

    model_url: Roots = Field(
        "http://127.0.0.1:8001/v1",
        description="Root of the OpenAI-compatible API that serves the CaP model; several, "
        "separated by commas, where several do.",
    )
    model: str = Field(
        "cap-small", min_length=1, description="The CaP model, as its server names it."
    )
    model_api_key: SecretStr | None = Field(None, description="Sent to CAP_MODEL_URL.")
    prompt_format: PromptFormatName = Field(
        "trained",
        description="`trained` for models trained to refine, `few_shot` for instruction models.",
    )
    cot_model_url: Roots | None = Field(
        None,
        description="As CAP_MODEL_URL, for the model that writes CoTs; CAP_MODEL_URL when unset.",
    )
    cot_model: str | None = Field(
        None, min_length=1, description="The model that writes CoTs for questions without one."
    )
    cot_model_api_key: SecretStr | None = Field(None, description="Sent to CAP_COT_MODEL_URL.")
    model_reliability: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="How often the right answer is within the CaP model's reach, before it is "
        "learned from traffic; lower it for a weak model, so that it overrules less.",
    )
    reward_model_url: AnyHttpUrl | None = Field(
        None, description="Root of the vLLM pooling API that serves the critic `reward_model`."
    )
    reward_model: str | None = Field(
        None, min_length=1, description="The reward model, as its server names it."
    )
    reward_model_api_key: SecretStr | None = Field(
        None, description="Sent to CAP_REWARD_MODEL_URL."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Where trust and API keys are kept, as SQLAlchemy takes it: "
        "`sqlite:///FILE` or `postgresql+psycopg://HOST/NAME`; unset: a file in CAP_STATE_DIR.",
    )
    max_tokens: int = Field(
        512, ge=16, le=32_768, description="Completion tokens of a draw whose request names none."
    )
    model_timeout_s: float = Field(
        120, gt=0, le=3600, description="Seconds without a byte before the model counts as down."
    )
    model_connect_timeout_s: float = Field(
        5, gt=0, le=600, description="Seconds for a connection to the model's server."
    )
    model_total_timeout_s: float = Field(
        600, gt=0, le=86_400, description="Seconds for a whole answer of the model."
    )
    model_hedge: bool = Field(
        True,
        description="With several CAP_MODEL_URL: ask a second one for a draw that is slower than "
        "95 % of its server's last ones.",
    )
    model_connections: int = Field(
        256, ge=1, le=4096, description="Model requests under way at once; more wait."
    )
    sandbox_url: Annotated[str, AfterValidator(_place)] | None = Field(
        None,
        description="Where `cap-sandbox serve` listens, `http://HOST:PORT` or `unix:///PATH`; "
        "unset: programs run on this machine.",
    )
    sandbox_connections: int = Field(
        64, ge=1, le=4096, description="Programs under way at CAP_SANDBOX_URL at once; more wait."
    )
    sandbox_workers: int = Field(
        default_factory=_cores, ge=1, le=256, description="Programs that run at once."
    )
    sandbox_memory_bytes: int | None = Field(
        None,
        ge=256 * 1024**2,
        description="Of all programs that run, together; unset: 3/4 of what is free at start.",
    )
    sandbox_allow_weak: bool = Field(
        False, description="Start even where the kernel offers no seccomp filter."
    )
    api_keys: Annotated[SecretStr, NoDecode, AfterValidator(_keys)] | None = Field(
        None,
        description="Keys that clients may send besides those of `cap keys`, separated by commas; "
        "`sha256:HASH` (`cap keys hash`) stands for a key without telling it.",
    )
    api_keys_execute: bool = Field(
        False, description="Whether the keys of CAP_API_KEYS may run programs: /v1/execute."
    )
    key_per_minute: int | None = Field(
        None, ge=1, description="Requests a minute of a key that names no number; unset: any."
    )
    key_at_once: int | None = Field(
        None, ge=1, description="Requests under way of a key that names no number; unset: any."
    )
    open: bool = Field(
        False,
        description="Without keys, serve whoever reaches the server; else only this machine may.",
    )
    host: str = Field("127.0.0.1", description="The address that the server listens on.")
    port: int = Field(8000, ge=1, le=65_535, description="The port that the server listens on.")
    leave_s: int = Field(
        1,
        ge=0,
        le=600,
        description="Seconds for which a server that SIGTERM ends still takes requests while "
        "/ready is 503, so that proxies hear of it first.",
    )
    drain_s: int = Field(
        10, ge=0, le=600, description="Seconds that requests under way have when the server ends."
    )
    max_body_bytes: int = Field(
        524_288, ge=1024, le=64 * 1024**2, description="The largest request body."
    )
    batch_max_body_bytes: int = Field(
        8 * 1024**2, ge=1024, le=256 * 1024**2, description="The same of /v1/refine/batch."
    )
    batch_at_once: int = Field(
        32, ge=1, le=1024, description="Problems of one batch under way at once."
    )
    batch_kept_s: float = Field(
        24 * 3600,
        gt=0,
        description="Seconds for which a batch with an Idempotency-Key can be continued.",
    )
    batch_kept_bytes: int = Field(
        1024**3,
        ge=1024**2,
        description="What is kept of batches, at most; the oldest of the key with most go first.",
    )
    admission: bool = Field(
        True,
        description="Whether the server learns how many draws model and sandbox bear at once, and "
        "holds back and refuses (429) what is beyond that.",
    )
    admission_queue: int = Field(
        256, ge=0, le=65_536, description="Refinements that may wait for a place."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Of the log."
    )
    log_content: bool = Field(
        False,
        description="Log questions, answers and programs too, and what model servers say of them; "
        "users' texts may be private.",
    )
    traces_url: str | None = Field(
        None,
        description="Where traces go, OTLP over HTTP: `http://HOST:4318/v1/traces`; unset: none, "
        "but for what the OTEL_EXPORTER_OTLP_* variables say.",
    )
    engine_python: Path = Field(
        default_factory=lambda: _beside_the_environment(".engine") / "bin" / "python",
        description="The Python that has vLLM, for `cap up`.",
    )
    engine_model: Path = Field(
        default_factory=lambda: _beside_the_environment("models") / "cap-small",
        description="The folder of the model that `cap up` serves.",
    )
    engine_port: int = Field(8001, ge=1, le=65_535, description="The port of `cap up`'s vLLM.")
    engine_timeout_s: float = Field(
        600, gt=0, description="Seconds that `cap up` waits for vLLM to be ready."
    )
    state_dir: Path = Field(
        default_factory=lambda: _beside_the_environment(".state"),
        description="Where the server keeps its database, and `cap up` vLLM's log and cache.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)

    @model_validator(mode="after")
    def _cot_model_is_whole(self) -> Settings:
        if self.cot_model is None and self.cot_model_url is not None:
            raise ValueError("CAP_COT_MODEL_URL is set, but CAP_COT_MODEL does not name the model")
        return self

    @model_validator(mode="after")
    def _reward_model_is_whole(self) -> Settings:
        if (self.reward_model is None) is not (self.reward_model_url is None):
            raise ValueError("CAP_REWARD_MODEL_URL and CAP_REWARD_MODEL go together")
        return self

    @model_validator(mode="after")
    def _traces_can_be_sent(self) -> Settings:
        if self.traces and not _has_the_exporter():
            raise ValueError("traces are asked for: pip install 'cap-refine[traces]'")
        return self

    @property
    def traces(self) -> bool:
        """Whether traces are sent: OTEL_* mean here what they mean everywhere."""
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return False
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        return self.traces_url is not None or any(os.environ.get(each) for each in endpoints)

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                make_url(value.get_secret_value())
            except ArgumentError:
                raise ValueError("expected a URL such as sqlite:////var/lib/cap/trust.db") from None
        return value

    def database(self) -> str:
        """The URL of the database, with its secrets."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.state_dir.absolute() / 'trust.db'}"

    def given_keys(self) -> tuple[Key, ...]:
        """The keys of CAP_API_KEYS."""
        given = self.api_keys.get_secret_value().split(",") if self.api_keys else ()
        rights: frozenset[Right] = frozenset({"execute"} if self.api_keys_execute else ())
        return tuple(given_key(each, rights=rights) for each in given)
