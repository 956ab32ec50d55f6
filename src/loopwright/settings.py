"""Settings: one tree, from defaults, an optional TOML file and `LOOPWRIGHT_*` variables, in that order of rank.

The file is `$LOOPWRIGHT_CONFIG`, else `./loopwright.toml`, else `loopwright.toml` in the user's configuration folder.
Nested values are named with two underscores: `LOOPWRIGHT_MEMORY__URL`, `LOOPWRIGHT_CARM__IMAGE_SIZE_PX`. A name that is
no setting is an error, in the file and among the variables: a typo must not quietly leave a limit at its default.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from loopwright.errors import BadInput, UnknownName

PREFIX = "LOOPWRIGHT_"
_NOT_SETTINGS = (f"{PREFIX}CONFIG", f"{PREFIX}TEST_DATA")
"""Variables with the prefix that are read before or beside the settings."""

Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemorySettings(_Section):
    """Where sessions live."""

    url: str = Field(default="", description="SQLAlchemy URL; empty means `memory.sqlite` in the data folder")
    busy_timeout_s: float = Field(default=10.0, gt=0, description="how long to wait for a locked SQLite file, s")


class ApprovalSettings(_Section):
    """Approvals of acts, by a human or a guard."""

    expires_s: float = Field(default=600.0, gt=0, description="an act approved longer ago is asked for again, s")


class ConsoleSettings(_Section):
    """The web console."""

    max_file_mb: float = Field(default=500.0, gt=0, description="largest file that may be sent to it, MB")


class McpServer(_Section):
    """Another MCP server, whose tools join: by a command, or at a URL."""

    command: tuple[str, ...] = Field(
        default=(), description="program and arguments; spoken to over its input and output"
    )
    url: str = Field(default="", description="of a server over HTTP")
    timeout_s: float = Field(default=30.0, gt=0, description="longest wait for an answer, s")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either `command` or `url`")
        return self


class McpSettings(_Section):
    """The Model Context Protocol."""

    servers: dict[str, McpServer] = Field(default_factory=dict, description="by name, those whose tools join")


class LogSettings(_Section):
    """Console for people, JSON for machines."""

    level: Literal["debug", "info", "warning", "error"] = "warning"
    format: Literal["auto", "console", "json"] = Field(default="auto", description="auto: console on a terminal")


class CArmSettings(_Section):
    """The C-arm: optics, envelope and limits. Lengths in mm, angles in degrees."""

    renderer: Literal["numba", "nanodrr", "deepdrr"] = "numba"
    image_size_px: int = Field(default=256, ge=32, le=2048)
    source_detector_mm: float = Field(default=1020.0, gt=0)
    source_isocentre_mm: float = Field(default=530.0, gt=0)
    detector_mm: float = Field(default=1536 * 0.194, gt=0)
    envelope_margin_mm: float = Field(default=50.0, ge=0, description="how far beyond the volume the isocentre may go")
    alpha_range_deg: tuple[float, float] = (-40.0, 110.0)
    beta_range_deg: tuple[float, float] = (-45.0, 45.0)
    max_step_mm: float = Field(default=150.0, gt=0, description="largest motion along one axis")
    max_step_deg: float = Field(default=45.0, gt=0)
    max_travel_mm: float = Field(default=2000.0, gt=0, description="largest cumulative motion of a session")
    max_exposures: int = Field(default=40, ge=1, description="exposure budget of a session, start image included")
    success_radius_mm: float = Field(default=15.0, gt=0)
    deepdrr_python: Path | None = Field(default=None, description="Python of the environment that holds DeepDRR")


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    data_dir: Folder = Field(default_factory=lambda: user_data_path("loopwright"), description="sessions and devices")
    cache_dir: Folder = Field(default_factory=lambda: user_cache_path("loopwright"), description="fetched volumes")
    models_dir: Folder = Field(
        default_factory=lambda given: given["data_dir"] / "models", description="your own model cards"
    )
    memory: MemorySettings = MemorySettings()
    approval: ApprovalSettings = ApprovalSettings()
    console: ConsoleSettings = ConsoleSettings()
    log: LogSettings = LogSettings()
    mcp: McpSettings = McpSettings()
    carm: CArmSettings = CArmSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

    @property
    def memory_url(self) -> str:
        """The URL to open: the configured one, or the file in the data folder."""
        return self.memory.url or sqlite_url(self.data_dir / "memory.sqlite")


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters are in its name."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def config_file() -> Path | None:
    """The TOML file in force, None where there is none."""
    named = os.environ.get(f"{PREFIX}CONFIG")
    if named:
        if not Path(named).is_file():
            raise BadInput(f"`{PREFIX}CONFIG` names {named!r}, which is not a file. Correct the variable or unset it.")
        return Path(named)
    for candidate in (Path("loopwright.toml"), user_config_path("loopwright") / "loopwright.toml"):
        if candidate.is_file():
            return candidate
    return None


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        BadInput: naming the variable or key, its value and what was expected.
    """
    _refuse_unknown_names()
    try:
        return Settings()
    except ValidationError as error:
        where = {tuple(origin.name.split(".")): origin.origin for origin in _given()}
        lines = []
        for e in error.errors():
            if e["type"] == "default_factory_not_called":  # it only follows from another one
                continue
            path = tuple(str(part) for part in e["loc"])
            source = next((where[path[:n]] for n in range(len(path), 0, -1) if path[:n] in where), "default")
            lines.append(f"`{'.'.join(path)}` = {e.get('input')!r} (from {source}): {e['msg']}")
        raise BadInput("Settings are wrong. " + "; ".join(lines) + ".") from error
    except SettingsError as error:
        raise BadInput(f"Settings are wrong: {error}. Lists and sections in variables are written as JSON.") from error


class Origin(NamedTuple):
    """One setting as it is in force. `origin` is `default`, the TOML file's path or the variable's name."""

    name: str
    value: Any
    origin: str


def origins() -> list[Origin]:
    """Every setting, its value and where the value came from.

    Raises:
        BadInput: as `settings`.
    """
    given = {row.name: row.origin for row in _given()}
    values = dict(_leaves(settings().model_dump()))
    return [Origin(name, value, given.get(name, "default")) for name, value in values.items()]


def _given() -> Iterator[Origin]:
    """What the file, then the variables, say: each source is asked in turn, a later one overrules."""
    for name, value in _leaves(_file_values()):
        yield Origin(name, value, str(config_file()))
    variables = {key.upper(): key for key in os.environ}
    for name, value in _leaves(EnvSettingsSource(Settings)()):
        parts = name.upper().split(".")
        candidates = [PREFIX + "__".join(parts[:n]) for n in range(len(parts), 0, -1)]
        yield Origin(name, value, next(variables[key] for key in candidates if key in variables))


def _file_values() -> dict[str, Any]:
    """The TOML file's content, empty where there is no file."""
    path = config_file()
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"`{path}` is not valid TOML: {error}.") from error


def _refuse_unknown_names() -> None:
    names = [name for name, _ in _leaves(_defaults())]
    sections = [name for name, value in _defaults().items() if isinstance(value, Mapping)]
    for name, _ in _leaves(_file_values()):
        if name not in (*names, *sections):
            raise UnknownName(f"setting in `{config_file()}`", name, [*names, *sections])
    variables = [PREFIX + name.upper().replace(".", "__") for name in (*names, *sections)]
    for variable in os.environ:
        if variable.upper().startswith(PREFIX) and variable.upper() not in (*variables, *_NOT_SETTINGS):
            raise UnknownName("environment variable", variable, [*variables, *_NOT_SETTINGS])


def _defaults() -> dict[str, Any]:
    return Settings.model_construct().model_dump()


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a nested mapping; an empty mapping is a leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
