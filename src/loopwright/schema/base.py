"""Values: frozen pydantic models."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every value that crosses a layer: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
