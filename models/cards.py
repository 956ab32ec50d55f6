"""Model cards: one YAML file says what a model is and how it is run.

A card's name is its file's name. Bundled cards come with the package, a user's own lie in `settings().models_dir`, and
a path names any other. Paths in a card are relative to the card.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import Field, PositiveFloat, ValidationError, model_validator

from loopwright.errors import BadInput, UnknownName
from loopwright.models.smol import refuse_unfetched
from loopwright.schema import Frozen
from loopwright.settings import settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

BUNDLED = Path(__file__).parent / "card_files"


class Decoding(Frozen):
    """How tokens are drawn. Temperature 0 takes the likeliest token each time."""

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1, description="None: no limit")
    max_tokens: int = Field(default=512, ge=1, description="longest reply, tokens")
    seed: int = 0


class Budget(Frozen):
    """What an opened model may spend. None: no limit. Costs in US dollars, prices per million tokens."""

    max_tokens: int | None = Field(default=None, ge=1, description="prompt and reply tokens together")
    max_cost_usd: float | None = Field(default=None, gt=0)
    prompt_usd_per_million: float = Field(default=0.0, ge=0)
    reply_usd_per_million: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _cost_needs_a_price(self) -> Self:
        if self.max_cost_usd is not None and not self.prompt_usd_per_million + self.reply_usd_per_million:
            raise ValueError("`max_cost_usd` needs `prompt_usd_per_million` and `reply_usd_per_million`")
        return self


Parameter = Literal["temperature", "top_p", "top_k", "seed", "stream_options"]
"""What a request may do without."""
_COMMON = frozenset({"name", "kind", "description", "decoding"})
_KEYS = {
    "local": frozenset({"base", "adapters", "device", "dtype", "quantisation", "image_size_px"})
    | {"choice_temperature", "pool_weight", "place_sd_mm", "tool_choice"},
    "served": frozenset(
        {"base", "base_url", "api_key_env", "timeout_s", "max_retries", "schema_mode", "format_retries"}
        | {"token_limit_parameter", "omit_parameters", "extra_parameters", "budget"}
    ),
    "scripted": frozenset({"replies"}),
}
"""Which keys belong to which kind; a key of another kind would have no effect, so it is refused."""


class ModelCard(Frozen):
    """One model: its weights or its endpoint, and how it decodes.

    `base` is a folder (`./...`, `../...`, `~/...` or absolute) or a hub id for a local model, and what the endpoint
    calls the model for a served one.
    """

    name: str = Field(min_length=1)
    kind: Literal["local", "served", "scripted"]
    description: str = ""
    decoding: Decoding = Decoding()

    base: str = ""
    adapters: dict[str, Path] = Field(default={}, description="role -> folder of its LoRA weights")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(default="auto", description="auto: float32 on a CPU")
    quantisation: Literal["nf4"] | None = None
    image_size_px: int | None = Field(default=None, ge=1, description="edge that pictures are resized to; None: as is")
    choice_temperature: dict[str, float] = Field(
        default={}, description="role -> temperature that calibrates the probabilities of scored choices"
    )
    pool_weight: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="role -> how much its posterior counts beside a network's: the exponent of their pool"
    )
    place_sd_mm: dict[str, tuple[PositiveFloat, PositiveFloat]] = Field(
        default={},
        description="role -> error along an axis of the places that it states in the view, and beyond it, mm",
    )

    tool_choice: Literal["auto", "first"] = Field(
        default="auto",
        description="where a call names none; first: a tool is called before a human is answered, by grammar, for "
        "models that never call one by themselves",
    )

    base_url: str = Field(default="", description="of an OpenAI-compatible endpoint, up to and with `/v1`")
    api_key_env: str | None = Field(default=None, description="variable that holds the key; None: no key is needed")
    timeout_s: float = Field(default=60.0, gt=0, description="longest silence of the endpoint, s")
    max_retries: int = Field(default=3, ge=0, description="after a lost connection, 408, 409, 429 or 5xx")
    schema_mode: Literal["json_schema", "prompt"] = Field(
        default="json_schema",
        description="prompt: for an endpoint without schema mode, ask in words",
    )
    format_retries: int = Field(default=2, ge=0, description="after a reply that does not fit the schema")
    token_limit_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    omit_parameters: tuple[Parameter, ...] = Field(default=(), description="what the endpoint rejects: it is not sent")
    extra_parameters: dict[str, Any] = Field(default={}, description="further keys of each request's body")
    budget: Budget = Budget()

    replies: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> Self:
        foreign = sorted(self.model_fields_set - _COMMON - _KEYS[self.kind])
        if foreign:
            allowed = ", ".join(sorted(_COMMON | _KEYS[self.kind]))
            raise ValueError(f"a {self.kind} model has no `{foreign[0]}`; its keys are {allowed}")
        for key in {"local": ("base",), "served": ("base", "base_url"), "scripted": ("replies",)}[self.kind]:
            if not getattr(self, key):
                raise ValueError(f"a {self.kind} model needs `{key}`")
        if own := sorted(self.extra_parameters.keys() & {"model", "messages", "stream", "stream_options"}):
            raise ValueError(f"`extra_parameters` cannot hold `{own[0]}`, which every request has anyway")
        return self

    @property
    def base_folder(self) -> Path | None:
        """The folder that `base` names, None where it is a hub id."""
        return Path(self.base).expanduser() if self.base.startswith((".", "/", "~")) else None

    def in_force(self) -> dict[str, Any]:
        """The card as JSON, defaults included, keys of other kinds of model left out."""
        return self.model_dump(mode="json", include=set(_COMMON | _KEYS[self.kind]))


def list_cards() -> list[ModelCard]:
    """Every bundled card and every card of the user's, by name.

    Raises:
        BadInput: naming the file that is no card.
    """
    return [_read(path) for _, path in sorted(_files().items())]


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card of that name, or in that file.

    Raises:
        UnknownName: there is none of that name; the nearest names are suggested.
        BadInput: the file is missing or no card; the message names the key.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        return _read(Path(text).expanduser())
    files = _files()
    if text not in files:
        refuse_unfetched(text)
        raise UnknownName("model card", text, sorted(files))
    return _read(files[text])


def _files() -> dict[str, Path]:
    """Name to file. A user's card cannot take a bundled one's name: nobody could tell which of the two ran."""
    bundled = {path.stem: path for path in BUNDLED.glob("*.yaml")}
    own = {path.stem: path for path in settings().models_dir.glob("*.yaml")}
    if taken := sorted(bundled.keys() & own.keys()):
        raise BadInput(f"`{own[taken[0]]}` has the name of a bundled card, {taken[0]!r}. Rename the file.")
    return bundled | own


def _read(path: Path) -> ModelCard:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"There is no model card `{path}`. `loopwright models list` names those that exist.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"`{path}` is not valid YAML: {error}.") from error
    if not isinstance(data, dict):
        raise BadInput(f"`{path}` is no model card: expected keys such as `kind` and `base`, not {data!r:.80}.")
    for key in data:
        if key not in ModelCard.model_fields or key == "name":  # the name is the file's
            raise UnknownName(f"key in `{path}`", str(key), sorted(ModelCard.model_fields.keys() - {"name"}))
    try:
        return ModelCard.model_validate({"name": path.stem} | _beside(path.parent.absolute(), data))
    except ValidationError as error:
        raise BadInput(f"`{path}` is no model card. {'; '.join(map(_problem, error.errors()))}.") from error


def _problem(error: "ErrorDetails") -> str:
    where, said = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    return f"`{where}` = {error['input']!r}: {said}" if where else said


def _beside(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """`data` with its relative paths taken from `folder`."""
    placed = dict(data)
    base, adapters = data.get("base"), data.get("adapters")
    if isinstance(base, str) and base.startswith("."):
        placed["base"] = str((folder / base).resolve())
    if isinstance(adapters, dict):
        at = {role: folder / Path(str(path)).expanduser() for role, path in adapters.items()}
        placed["adapters"] = {role: path.resolve() for role, path in at.items()}
    return placed
