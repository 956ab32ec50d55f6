"""A teacher's plans, over the real HTTP client: kept where they agree, asked for once, and never without a budget."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright import cli
from loopwright.agents.surgery.formats import PLAN
from loopwright.errors import BadInput, IntegrityError, OperatorError
from loopwright.finetune.data.surgery.distill import Counts, distil, read_plans, teacher_messages
from loopwright.models.cards import Budget, ModelCard
from loopwright.models.open import open_model
from loopwright.tools.surgery.procedure import bundled_procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.vocabulary import ACTIONS

Said = Callable[[dict[str, Any]], Turn]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    clips = [moment.clip for moment in simulate(bundled_procedure(), 0)]
    return list(samples_of(clips, HistoryRules()))[:8]


def plan(first: str) -> str:
    ranking = [first, *(action for action in ACTIONS if action != first)][:3]
    items = [{"action": action, "rationale": "It is seen."} for action in ranking]
    return json.dumps({"progress": "Under way.", "safety": "Watch it.", "actions": items})


def told(body: dict[str, Any]) -> str:
    """What the teacher was told came next."""
    text: str = body["messages"][-1]["content"]
    return text.rpartition("What came next was ")[2].partition(". Name")[0]


def agreeing(body: dict[str, Any]) -> Turn:
    """Means well, and fences its JSON."""
    return Turn(pieces=("```json\n", plan(told(body)), "\n```"))


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[ChatServer, ModelCard]]]:
    servers: list[ChatServer] = []

    def start(answer: Said, **budget: Any) -> tuple[ChatServer, ModelCard]:
        server = ChatServer(answer=answer).__enter__()
        servers.append(server)
        given = Budget.model_validate(budget or {"max_tokens": 100_000})
        return server, ModelCard(name="teacher", kind="served", base=MODEL, base_url=server.url, budget=given)

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def run(card: ModelCard, samples: list[Sample], out: Path, **more: Any) -> Counts:
    return distil(samples, open_model(card), card.name, out, **more)


def test_plans_that_agree_with_the_label_are_kept_and_others_counted(
    serve: Any, samples: list[Sample], tmp_path: Path
) -> None:
    def mixed(body: dict[str, Any]) -> Turn:
        label = told(body)
        if body["messages"][-1]["content"] == teacher_messages(samples[0])[-1].text:
            return Turn(pieces=("I would rather not say.",))
        if body["messages"][-1]["content"] == teacher_messages(samples[1])[-1].text:
            return Turn(pieces=(plan(next(action for action in ACTIONS if action != label)),))
        return agreeing(body)

    server, card = serve(mixed)
    counts = run(card, samples, tmp_path / "plans.jsonl")
    assert counts == Counts(moments=8, asked=8, kept=6, disagrees=1, malformed=1)
    assert sorted(map(told, server.requests)) == sorted(sample.next for sample in samples)
    kept = read_plans(tmp_path / "plans.jsonl")
    assert {index: plan.ranking[0] for (_, index), plan in kept.items()} == {s.index: s.next for s in samples[2:]}
    assert all(PLAN.parse(PLAN.render(plan)) == plan for plan in kept.values())


def test_what_is_there_is_not_asked_again_whatever_broke_the_run_off(
    serve: Any, samples: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "plans.jsonl"
    server, card = serve(agreeing, max_tokens=40)  # a call takes 15
    with pytest.raises(OperatorError, match="budget of model `teacher` is spent"):
        run(card, samples, out, in_flight=1)
    assert len(server.requests) == 3 and len(read_plans(out)) == 3
    with out.open("a") as file:
        file.write('{"key": "torn by a kill')
    server, card = serve(agreeing)
    assert run(card, samples, out) == Counts(moments=8, asked=5, kept=8, disagrees=0, malformed=0)
    assert len(server.requests) == 5
    assert run(card, samples, out).asked == 0 and len(server.requests) == 5
    other = card.model_copy(update={"name": "another"})
    assert run(other, samples[:2], out).asked == 2  # another teacher's answers are its own


def test_damage_in_the_middle_is_named(serve: Any, samples: list[Sample], tmp_path: Path) -> None:
    _, card = serve(agreeing)
    out = tmp_path / "plans.jsonl"
    run(card, samples[:2], out)
    out.write_text("garbage\n" + out.read_text())
    with pytest.raises(IntegrityError, match=r"plans.jsonl`, line 1, is no teacher's answer"):
        run(card, samples, out)


def test_the_command_needs_a_budget_and_tells_what_it_spent(
    serve: Any, samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = serve(agreeing)
    said = {"kind": "served", "base": MODEL, "base_url": server.url}
    (tmp_path / "free.yaml").write_text(yaml.safe_dump(said))
    (tmp_path / "bound.yaml").write_text(yaml.safe_dump(said | {"budget": {"max_tokens": 1000}}))
    (tmp_path / "train.jsonl").write_text("".join(sample.model_dump_json() + "\n" for sample in samples))
    command = ["data", "distill", "surgery", "--data", str(tmp_path), "--out", str(tmp_path / "plans.jsonl")]
    assert cli.main([*command, "--teacher", str(tmp_path / "free.yaml")]) == 2
    assert "`free` has no budget" in capsys.readouterr().err and not server.requests
    assert cli.main([*command, "--teacher", str(tmp_path / "bound.yaml"), "--limit", "4", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["kept"] == 4 and "'prompt_tokens': 44" in captured.err
    asked = [json.loads(line)["index"] for line in (tmp_path / "plans.jsonl").read_text().splitlines()]
    assert sorted(asked) == [samples[i].index for i in (0, 2, 4, 6)]


def test_a_missing_file_of_plans_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="loopwright data distill surgery"):
        read_plans(tmp_path / "nowhere.jsonl")
