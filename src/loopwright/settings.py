"""Settings: one tree, from defaults, an optional TOML file and `LOOPWRIGHT_*` variables, in that order of rank.

The file is `$LOOPWRIGHT_CONFIG`, else `./loopwright.toml`, else `loopwright.toml` in the user's configuration folder.
Nested values are named with two underscores: `LOOPWRIGHT_MEMORY__URL`, `LOOPWRIGHT_CARM__IMAGE_SIZE_PX`.
"""

import os
from functools import cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from loopwright.errors import BadInput

PREFIX = "LOOPWRIGHT_"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemorySettings(_Section):
    """Where sessions live."""

    url: str = Field(default="", description="SQLAlchemy URL; empty means `memory.sqlite` in the data folder")
    busy_timeout_s: float = Field(default=10.0, gt=0, description="how long to wait for a locked SQLite file, s")


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

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=lambda: user_data_path("loopwright"), description="sessions and devices")
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("loopwright"), description="fetched volumes")
    memory: MemorySettings = MemorySettings()
    log: LogSettings = LogSettings()
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
        return self.memory.url or f"sqlite:///{self.data_dir / 'memory.sqlite'}"


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
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"`{'.'.join(map(str, e['loc']))}` = {e.get('input')!r}: {e['msg']}" for e in error.errors()]
        source = config_file() or f"the {PREFIX}* environment variables"
        raise BadInput(f"Settings are wrong ({source} or {PREFIX}* variables): " + "; ".join(lines)) from error
