"""What every training run of ours shares: its settings as one YAML file, and a folder that belongs to them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import yaml
from pydantic import ValidationError

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Frozen
from loopwright.tools.files import write_whole

CONFIG = "config.yaml"


class RunSettings(Frozen):
    """All that a run depends on, beside the code, the same in YAML: every field written out, none unknown."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read YAML.

        Raises:
            UnknownName: a key that is no setting; the nearest ones are suggested.
            BadInput: naming the key, its value and what was expected.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise BadInput(f"`{path}` is not there as a file; expected YAML with the settings of a run.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInput(f"`{path}` is no YAML: {error}.") from error
        except ValidationError as error:
            raise _explained(error, path, cls) from error

    def save(self, path: Path) -> None:
        """Write every field as YAML; `load` reads it back."""
        write_whole(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False).encode())

    def claim(self, out_dir: Path) -> None:
        """Make `out_dir` the folder of this run, or find that it is.

        Raises:
            BadInput: it holds a run of other settings.
        """
        out_dir.mkdir(parents=True, exist_ok=True)
        self.refuse_other(out_dir)
        if not (out_dir / CONFIG).is_file():
            self.save(out_dir / CONFIG)

    def refuse_other(self, out_dir: Path) -> None:
        """Find that the run in `out_dir`, if any, has these settings.

        Raises:
            BadInput: it has others; they are named.
        """
        if not (out_dir / CONFIG).is_file():
            return
        earlier = self.load(out_dir / CONFIG)
        changed = [f"`{name}`" for name in type(self).model_fields if getattr(earlier, name) != getattr(self, name)]
        if changed:
            raise BadInput(
                f"`{out_dir}` holds a run of another config: it differs in {', '.join(changed)}. Name another folder, "
                "or delete this one."
            )


def _explained(error: ValidationError, path: Path, config: type[Frozen]) -> BadInput:
    """What is wrong with the file, for whoever wrote it."""
    found = error.errors()
    for e in found:
        if e["type"] == "extra_forbidden":
            return UnknownName(f"key in `{path}`", ".".join(map(str, e["loc"])), _keys(config))
    lines = [f"`{'.'.join(map(str, e['loc']))}` = {e.get('input')!r}: {e['msg']}" for e in found]
    return BadInput(f"`{path}` is wrong: {'; '.join(lines)}.")


def _keys(config: type[Frozen], prefix: str = "") -> Iterator[str]:
    """Dotted names of every setting, sections included."""
    for name, field in config.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Frozen):
            yield from _keys(field.annotation, f"{prefix}{name}.")
