"""What every training run of ours shares: its settings as one YAML file, and a folder that belongs to them."""

from pathlib import Path
from typing import Self

import yaml
from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.schema import Frozen

CONFIG = "config.yaml"


class RunSettings(Frozen):
    """All that a run depends on, beside the code, the same in YAML: every field written out, none unknown."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read YAML.

        Raises:
            BadInput: naming the key, its value and what was expected.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise BadInput(f"`{path}` is not there; expected a YAML file with the training settings.") from error
        except yaml.YAMLError as error:
            raise BadInput(f"`{path}` is no YAML: {error}.") from error
        except ValidationError as error:
            lines = [f"`{'.'.join(map(str, e['loc']))}` = {e.get('input')!r}: {e['msg']}" for e in error.errors()]
            raise BadInput(f"`{path}` is wrong: {'; '.join(lines)}.") from error

    def save(self, path: Path) -> None:
        """Write every field as YAML."""
        path.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")

    def claim(self, out_dir: Path) -> None:
        """Make `out_dir` the folder of this run, or find that it is.

        Raises:
            BadInput: it holds a run of other settings.
        """
        out_dir.mkdir(parents=True, exist_ok=True)
        path = out_dir / CONFIG
        if not path.is_file():
            self.save(path)
        elif self.load(path) != self:
            raise BadInput(f"`{out_dir}` holds a run of another config. Name another folder, or delete this one.")
