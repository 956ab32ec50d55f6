"""Settings: rank of the sources, where a value came from, and that no mistake passes in silence."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.errors import BadInput, UnknownName
from loopwright.settings import config_file, origins, settings

WriteToml = Callable[[str], Path]


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteToml:
    """Writes the TOML file that is in force."""

    def write(text: str) -> Path:
        path = tmp_path / "loopwright.toml"
        path.write_text(text)
        monkeypatch.setenv("LOOPWRIGHT_CONFIG", str(path))
        settings.cache_clear()
        return path

    return write


def origin_of(name: str) -> str:
    return next(row.origin for row in origins() if row.name == name)


def test_variables_overrule_the_file_and_the_file_the_defaults(
    toml: WriteToml, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml("[carm]\nimage_size_px = 128\nmax_exposures = 7\n")
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")
    assert (settings().carm.image_size_px, settings().carm.max_exposures) == (64, 7)
    assert settings().carm.success_radius_mm == 15.0
    assert origin_of("carm.image_size_px") == "LOOPWRIGHT_CARM__IMAGE_SIZE_PX"
    assert origin_of("carm.max_exposures") == str(path)
    assert origin_of("carm.success_radius_mm") == "default"


def test_a_section_can_come_as_json_and_the_variable_is_named_as_it_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("loopwright_carm", '{"max_exposures": 9, "alpha_range_deg": [-10, 10]}')
    assert settings().carm.max_exposures == 9
    assert settings().carm.alpha_range_deg == (-10.0, 10.0)
    assert origin_of("carm.max_exposures") == "loopwright_carm"
    assert origin_of("carm.max_steps_mm".replace("steps", "step")) == "default"


def test_every_setting_has_one_origin() -> None:
    names = [row.name for row in origins()]
    assert len(names) == len(set(names))
    assert {"data_dir", "memory.url", "log.level", "carm.renderer"} <= set(names)
    assert all(row.value is not None or row.name == "carm.deepdrr_python" for row in origins())


def test_the_memory_lives_in_the_data_folder_unless_a_url_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().memory_url == f"sqlite:///{settings().data_dir / 'memory.sqlite'}"
    settings.cache_clear()
    monkeypatch.setenv("LOOPWRIGHT_MEMORY__URL", "postgresql+psycopg://host/loops")
    assert settings().memory_url == "postgresql+psycopg://host/loops"


def test_model_cards_lie_in_the_data_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().models_dir == settings().data_dir / "models"
    settings.cache_clear()
    monkeypatch.setenv("LOOPWRIGHT_MODELS_DIR", "~/cards")
    assert settings().models_dir == Path.home() / "cards"
    assert origin_of("models_dir") == "LOOPWRIGHT_MODELS_DIR"


def test_a_wrong_folder_is_told_once(toml: WriteToml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPWRIGHT_DATA_DIR")
    toml("data_dir = 3\n")
    with pytest.raises(BadInput, match=r"`data_dir` = 3") as raised:
        settings()
    assert "models_dir" not in str(raised.value)


def test_folders_do_not_depend_on_where_a_command_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", "~/records")
    monkeypatch.setenv("LOOPWRIGHT_CACHE_DIR", "volumes")
    assert settings().data_dir == Path.home() / "records"
    assert settings().cache_dir == Path.cwd() / "volumes"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOOPWRIGHT_CARM__IMAGE_SIZE", "64", "LOOPWRIGHT_CARM__IMAGE_SIZE_PX"),
        ("LOOPWRIGHT_MEMROY__URL", "sqlite://", "LOOPWRIGHT_MEMORY__URL"),
        ("LOOPWRIGHT_CARM__MAX_STEP_MM__X", "1", "LOOPWRIGHT_CARM__MAX_STEP_MM"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UnknownName, match=f"{name}.*Did you mean.*`{said}`"):
        settings()


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("[carm]\nmax_exposure = 3\n", "carm.max_exposure", "carm.max_exposures"),
        ("[crm]\nmax_exposures = 3\n", "crm.max_exposures", "carm.max_exposures"),
        ("[crm]\n", "crm", "carm"),
        ('datadir = "x"\n', "datadir", "data_dir"),
    ],
)
def test_a_key_that_is_no_setting_is_refused(toml: WriteToml, text: str, name: str, said: str) -> None:
    path = toml(text)
    with pytest.raises(UnknownName) as raised:
        settings()
    assert f"{name!r}" in str(raised.value) and f"`{said}`" in str(raised.value) and str(path) in str(raised.value)


def test_a_wrong_value_names_the_setting_the_value_and_its_origin(
    toml: WriteToml, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml("[carm]\nmax_exposures = 0\n")
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "wide")
    with pytest.raises(BadInput) as raised:
        settings()
    said = str(raised.value)
    assert f"`carm.max_exposures` = 0 (from {path})" in said
    assert "`carm.image_size_px` = 'wide' (from LOOPWRIGHT_CARM__IMAGE_SIZE_PX)" in said


@pytest.mark.parametrize("value", ["[1, 2", "3", "[1]"])
def test_a_list_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__ALPHA_RANGE_DEG", value)
    with pytest.raises(BadInput, match=r"carm"):
        settings()


def test_a_file_that_is_not_toml_is_named(toml: WriteToml) -> None:
    path = toml("[carm\n")
    with pytest.raises(BadInput, match="is not valid TOML") as raised:
        settings()
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(BadInput, match=r"none\.toml.* is not a file"):
        settings()


def test_the_file_is_found_beside_the_work_then_in_the_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LOOPWRIGHT_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("loopwright.settings.user_config_path", lambda name: tmp_path / "home" / name)
    monkeypatch.chdir(tmp_path)
    assert config_file() is None
    users = tmp_path / "home" / "loopwright" / "loopwright.toml"
    users.parent.mkdir(parents=True)
    users.touch()
    assert config_file() == users
    (tmp_path / "loopwright.toml").touch()
    assert config_file() == Path("loopwright.toml")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().carm.max_exposures = 100  # type: ignore[misc]  # that mypy refuses it is the point


def test_numbers_have_their_unit_in_the_name() -> None:
    """Every length, angle, time and size says its unit; counts and names need none."""
    floats = [row.name for row in origins() if isinstance(row.value, float | tuple)]
    assert floats and all(name.endswith(("_mm", "_deg", "_s", "_mb")) for name in floats)


def test_defaults_survive_a_round_trip_through_toml(toml: WriteToml) -> None:
    rows = [row for row in origins() if row.value is not None]
    quoted = [f"{row.name} = {_toml(row.value)}" for row in rows]
    before = settings()
    path = toml("\n".join(quoted))
    assert tomllib.loads(path.read_text())
    assert settings() == before


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return str(list(value))
    return str(value) if isinstance(value, float | int | dict) else f'"{value}"'
