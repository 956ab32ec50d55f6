"""Conversations that teach a model to propose what free words mean, as a session's interpreter asks it.

A loop's paraphrases are a YAML file, `finetune/data/NAME/paraphrases.yaml`: sentences with places to fill, and
the value that each stands for. The prompt is the interpreter's own (rule 10). Knows no loop.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from loopwright.agents.sessions.interpreting import NONE, Interpreter
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.errors import BadInput
from loopwright.finetune.data.files import write_dataset_info, write_examples
from loopwright.finetune.data.rows import FORMATS, Example, FormatName, example_of
from loopwright.graphs.registry import get_loop
from loopwright.tools.files import keep_parameters

FILE = "paraphrases.yaml"
NONE_SHARE = 0.15
VALIDATION_SHARE = 0.1


def build(
    out: Path, loops: Sequence[str], n: int, seed: int = 0, formats: Sequence[FormatName] = tuple(FORMATS)
) -> dict[Path, int]:
    """Write `n` conversations a loop, a tenth of them to validate; how many are in each file.

    Raises:
        BadInput: `out` was built with other settings, or a loop has no paraphrases.
    """
    keep_parameters(out, {"loops": list(loops), "n": n, "seed": seed})
    rows = [row for name in loops for row in examples(name, n, random.Random(f"{seed} {name}"))]
    random.Random(seed).shuffle(rows)
    cut = round(len(rows) * (1 - VALIDATION_SHARE))
    written = {}
    for part, some in (("train", rows[:cut]), ("validation", rows[cut:])):
        for form in formats:
            path = out / f"{part}.{form}.jsonl"
            write_examples(path, some, form)
            written[path] = len(some)
    if "sharegpt" in formats:
        write_dataset_info(out, [path.name for path in written if ".sharegpt." in path.name])
    return written


def examples(loop: str, n: int, rng: random.Random) -> Iterator[Example]:
    """`n` paraphrases of a loop's feedback types, and of what is none of them."""
    language, said = get_loop(loop).language, _read(loop)
    interpreter = Interpreter(language, lambda prompt, form: None)
    for _ in range(n):
        text, words = _drawn(said, language, rng)
        yield example_of(interpreter.prompt(text), json.dumps(words, ensure_ascii=False), {})


def _drawn(said: Mapping[str, Any], language: FeedbackLanguage, rng: random.Random) -> tuple[str, dict[str, Any]]:
    if rng.random() < NONE_SHARE:
        return rng.choice(said["none"]), {"kind": NONE}
    chosen = rng.choice(said["says"])
    filled = {name: _one_of(values, rng) for name, values in said["fills"].items()}
    text = chosen["say"].format(**{name: shown for name, (shown, _) in filled.items()})
    meant = {name: _filled(value, filled) for name, value in chosen["means"].items()}
    return text, language.dump(language.load(meant))


def _one_of(values: Any, rng: random.Random) -> tuple[str, Any]:
    """What is said, and the value that it stands for."""
    if isinstance(values, Mapping):
        return rng.choice(list(values.items()))
    one = rng.choice(values)
    return str(one), one


def _filled(value: Any, filled: Mapping[str, tuple[str, Any]]) -> Any:
    if isinstance(value, list):
        return [_filled(each, filled) for each in value]
    if isinstance(value, str) and value.startswith("{"):
        return filled[value.strip("{}")][1]
    return value


def _read(loop: str) -> Mapping[str, Any]:
    file = files("loopwright.finetune.data") / loop / FILE
    if not file.is_file():
        raise BadInput(f"The loop {loop!r} has no `{FILE}` to learn its feedback from.")
    found: Mapping[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found
