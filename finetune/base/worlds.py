"""The worlds that teach the base. A further one is one line here: its settings, which open its corpus."""

from collections.abc import Callable
from pathlib import Path

from loopwright.finetune.data.carm.base_tasks import CArmLessons
from loopwright.finetune.data.corpus import Corpus
from loopwright.finetune.data.surgery.base_tasks import SurgeryLessons
from loopwright.schema import Frozen


class Worlds(Frozen):
    """Settings of each world that takes part; None leaves it out."""

    carm: CArmLessons | None = None
    surgery: SurgeryLessons | None = None

    def open(self, cache_dir: Path, progress: Callable[[str], None]) -> dict[str, Corpus]:
        """World to corpus; what is not in the cache is rendered."""
        taking_part = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: lessons.open(cache_dir, progress) for name, lessons in taking_part.items() if lessons}
