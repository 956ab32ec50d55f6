"""What scoring a closed set saves: 14 landmarks scored at once, beside drawing the navigator's answer with one model.

    python benchmarks/choices.py [--model FOLDER] [--repeats 20]

Three ways, interleaved, each over the same prompt with one picture of 128 x 128, from the processor's tensors on:

- `score`: `score_choices` over the landmarks' names.
- `answer`: transformers' `generate` under the grammar of the navigation form, until the answer is whole.
- `first 32`: the same, stopped after 32 tokens.

The answer is the form's own example: the model and the grammar run before each token, and then the example's token is
taken, so that any model says the same. Without `--model`, a randomly initialised Qwen2.5-VL of about 5 million
parameters.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, GenerationConfig, LogitsProcessor, LogitsProcessorList

from loopwright.agents.carm.formats import NAVIGATION
from loopwright.models.grammar import Matcher
from loopwright.models.local.processor import load_processor
from loopwright.models.scoring import score_choices
from loopwright.tools.carm.landmarks import LANDMARKS

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.timing import ratio, seconds_in_turn
from tests.models import tiny

QUESTION = "Which landmark is nearest to the centre of the view?"


class Dictated(LogitsProcessor):
    """Under the grammar, but always the next of `answer`, for a batch of one."""

    def __init__(self, matcher: Matcher, answer: list[int]) -> None:
        self._matcher, self._answer = matcher, iter(answer)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """As transformers calls it before each token."""
        token = next(self._answer)
        scores[:, ~torch.from_numpy(self._matcher.allowed(scores.shape[-1]))] = -torch.inf
        self._matcher.advance(token)  # raises where the grammar forbids it
        dictated = torch.full_like(scores, -torch.inf)
        dictated[:, token] = scores[:, token]
        return cast(torch.FloatTensor, dictated)


def prompt(processor: Any) -> dict[str, Any]:
    """The tensors of one question about one picture."""
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    picture = Image.open(BytesIO(tiny.png(0, 128, 128)))
    return dict(processor(text=[text], images=[picture], return_tensors="pt"))


def generate(model: Any, inputs: dict[str, Any], matcher: Matcher, answer: list[int]) -> None:
    """Draw `answer`."""
    rules = LogitsProcessorList([Dictated(matcher, answer)])
    drawn = model.generate(
        **inputs,
        logits_processor=rules,
        generation_config=GenerationConfig(do_sample=False, max_new_tokens=len(answer)),
    )
    assert drawn[0, inputs["input_ids"].shape[1] :].tolist() == answer


def main() -> None:
    """Interleave the two, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a vision-language model")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = options.model or tiny.make_qwen25vl(
            Path(home) / "qwen", hidden=256, head=32, layers=6, vision_hidden=128, longest_px=128
        )
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        processor: Any = load_processor(folder, model.config)
    tokenizer, grammar = processor.tokenizer, NAVIGATION.grammar()
    answer = [*tokenizer(NAVIGATION.example, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    inputs = prompt(processor)
    ways: dict[str, Callable[[], Any]] = {
        "score": lambda: score_choices(model, processor, inputs, LANDMARKS),
        "answer": lambda: generate(model, inputs, Matcher(grammar, tokenizer), answer),
        "first 32": lambda: generate(model, inputs, Matcher(grammar, tokenizer), answer[:32]),
    }
    for way in ways.values():
        way()  # warms up
    seconds = seconds_in_turn(ways, options.repeats)
    row = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "prompt_tokens": inputs["input_ids"].shape[1],
        "choices": len(LANDMARKS),
        "answer_tokens": len(answer),
        "repeats": options.repeats,
        "median_ms": {name: round(1000 * statistics.median(times), 1) for name, times in seconds.items()},
        "ratio_to_score": {name: ratio(seconds[name], seconds["score"]) for name in ways if name != "score"},
    }
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
