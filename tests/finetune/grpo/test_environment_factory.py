"""TRL's own tool loop over a loop's environment: its calls go through the loop, its reward is the loop's."""

from pathlib import Path
from typing import Any, cast

import pytest
import trl
from datasets import Dataset
from tests.loops.thermostat import thermostat
from tests.models import tiny
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

CALL = '<tool_call>\n{"name": "set_heater", "arguments": {"on": %s}}\n</tool_call><|im_end|>'
TEMPLATE = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"


class Said(GRPOTrainer):
    """TRL's trainer, whose model says what a test says: half of the candidates heat, the others do not."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        encode: Any = self._tokenizer.encode
        said = [encode(CALL % ("true" if k % 2 else "false")) for k in range(len(prompt_ids))]
        return said, [[0.0] * len(ids) for ids in said]


@pytest.mark.filterwarnings("ignore:You are using 'environment_factory'")
def test_its_tool_calls_are_acts_of_a_session(tmp_path: Path) -> None:
    folder = tiny.folder_of("qwen2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")  # one whose tool calls TRL can read
    trainer = Said(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=GRPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none",
            per_device_train_batch_size=2, num_generations=2, max_steps=1, max_completion_length=1500,
            max_tool_calling_iterations=4, disable_tqdm=True, save_strategy="no",
        ),
        train_dataset=Dataset.from_dict({"prompt": [[{"role": "user", "content": "Heat the room. "}]] * 2}),
        processing_class=tokenizer,
        environment_factory=cast(Any, thermostat.environment("navigator", tools=thermostat.tools[1:])),
    )  # fmt: skip
    trainer.train()
    (log,) = (entry for entry in trainer.state.log_history if "reward" in entry)
    assert log["rewards/ThermostatEnvironment/mean"] == 0.5  # the one that heats has it warm after three calls
    environments: Any = trainer.environments
    events = environments[1]._episodes.finished.events
    assert [e.payload["arguments"] for e in events if e.kind == "acted"] == [{"on": True}] * 3
    assert sum(event.kind == "guarded" for event in events) == 3
