"""What batching buys: concurrent sessions on one local model, beside transformers' `generate` called one by one.

    python benchmarks/chat_batching.py [--model FOLDER] [--sessions 16] [--tokens 40] [--repeats 5]

Every session asks about a picture of its own, in one of four lengths of prompt, and takes a greedy reply. Three ways,
interleaved, from messages to text:

- `generate`: one after the other, prompts prepared by the same functions.
- `sessions`: a thread for each session, each calling the chat model.
- `one session`: the chat model called one by one, which shows what the scheduler costs.

Without `--model`, a randomly initialised Qwen2.5-VL of about 5 million parameters: what is drawn does not matter here.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.images import image_block
from loopwright.models.local.chat import LocalChatModel

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.timing import ratio, seconds_in_turn
from tests.models import tiny


def conversations(pictures: tiny.Pictures, n: int) -> list[list[BaseMessage]]:
    """One prompt for each session."""
    return [
        [
            HumanMessage(
                [
                    image_block(pictures.add(tiny.png(i, 128, 128))),
                    {"type": "text", "text": "Which landmark is nearest? " * (1 + i % 4)},
                ]
            )
        ]
        for i in range(n)
    ]


def one_by_one(model: LocalChatModel, prompts: list[list[BaseMessage]], n_tokens: int) -> list[str]:
    """transformers alone."""

    def reply(messages: list[BaseMessage]) -> str:
        inputs = dict(model.prepare(messages))
        run: Callable[[Any], Any] = lambda m: m.generate(  # noqa: E731 - a job of the thread that owns the model
            **inputs, do_sample=False, max_new_tokens=n_tokens, eos_token_id=sorted(model.engine.eos_token_ids)
        )
        ids = model.engine.run(run)[0, inputs["input_ids"].shape[1] :]
        return str(model.engine.processor.tokenizer.decode(ids, skip_special_tokens=True))

    return [reply(messages) for messages in prompts]


def sessions(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> list[str]:
    """A thread for each prompt."""
    with ThreadPoolExecutor(len(prompts)) as pool:
        return [message.text for message in pool.map(model.invoke, prompts)]


def main() -> None:
    """Interleave the three, check that they say the same, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a vision-language model")
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = options.model or tiny.make_qwen25vl(
            Path(home) / "qwen", hidden=256, head=32, layers=6, vision_hidden=128, longest_px=128
        )
        decoding = Decoding(max_tokens=options.tokens)
        pictures = tiny.Pictures()
        card = ModelCard(name="benchmark", kind="local", base=str(folder.absolute()), decoding=decoding)
        model = LocalChatModel(card=card, images=pictures)
        prompts = conversations(pictures, options.sessions)
        ways: dict[str, Callable[[], list[str]]] = {
            "generate": lambda: one_by_one(model, prompts, options.tokens),
            "sessions": lambda: sessions(model, prompts),
            "one session": lambda: [model.invoke(messages).text for messages in prompts],
        }
        said = {name: way() for name, way in ways.items()}  # also warms up
        seconds = seconds_in_turn(ways, options.repeats)
        print(
            json.dumps(
                {
                    "parameters": model.engine.run(lambda m: sum(p.numel() for p in m.parameters())),
                    "sessions": options.sessions,
                    "tokens": options.tokens,
                    "repeats": options.repeats,
                    "same_text": sum(a == b for a, b in zip(said["generate"], said["sessions"], strict=True)),
                    "median_s": {name: round(statistics.median(times), 3) for name, times in seconds.items()},
                    "generate_over_sessions": ratio(seconds["generate"], seconds["sessions"]),
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
