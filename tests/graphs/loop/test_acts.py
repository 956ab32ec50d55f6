"""How an act leaves a loop: guards, consent to the exact command, expiry, withdrawal, and what the ledger says."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from tests.graphs.loop.small import ON, one, room_c, warm
from tests.loops.bench import Bench, kinds
from tests.loops.cases import Answering, Models
from tests.loops.kiln import Kiln, kiln, photograph
from tests.loops.thermostat import Room, set_heater

from loopwright.errors import DeveloperError, ToolRefused
from loopwright.graphs.loop.acts import ActResult
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.session import Session
from loopwright.memory.events import NewEvent
from loopwright.models.answers import ToolCall
from loopwright.schema import Act, Event, Feedback, Verdict
from loopwright.settings import settings


class HeaterOrder(Feedback):
    """Switch the heater, just so."""

    patterns = (r"heater (?P<way>on|off)",)
    examples = ("heater on",)
    way: str

    def order(self) -> tuple[str, dict[str, Any]]:
        """The switch."""
        return "set_heater", {"on": self.way == "on"}


def switch(state: State, ctx: Context) -> None:
    """Switch the heater on, and keep what came of it."""
    state["results"] = [*state["results"], ctx.act(set_heater, on=True, because="it is cold").model_dump()]


def end(state: State, ctx: Context) -> None:
    """After two acts it is over."""
    if len(state["results"]) == state["n"]:
        ctx.end("succeeded", "done")


def switching(n: int = 1, **fields: Any) -> Any:
    return one(switch, end, **{"state": {"results": [], "n": n}, "roles": {}, "feedback": [HeaterOrder], **fields})


def result(session: Session, n: int = -1) -> ActResult:
    return ActResult.model_validate(session.state["results"][n])


class TestGuards:
    def test_the_ledger_names_the_guard_or_the_human(self, bench: Bench) -> None:
        guarded, human = bench.start(switching()), bench.start(switching(), approval="human")
        assert guarded.run() == "succeeded"
        assert human.run() == "waiting"
        human.say("approve")
        assert human.run() == "succeeded"
        assert [e.approved_by for e in bench.memory.ledger.of(guarded.id)] == ["guard"]
        assert [e.approved_by for e in bench.memory.ledger.of(human.id)] == ["human"]
        assert (result(guarded).approved_by, result(human).approved_by) == ("guard", "human")

    @pytest.mark.parametrize("approval", ["guard", "human"])
    def test_what_a_guard_rejects_is_on_record_and_nobody_is_asked(self, bench: Bench, approval: str) -> None:
        def sixes(act: Act, state: State) -> Verdict:
            return Verdict(ok=bool(state["results"]), rule="first", reason="not the first time.")

        session = bench.start(switching(2, guard=sixes), approval=approval)
        while session.run() == "waiting":
            session.say("approve")
        assert (result(session, 0).status, result(session, 0).rule) == ("refused", "first")
        assert result(session, 0).text == "Refused: not the first time."
        assert result(session, 1).ok
        refused, done = bench.memory.ledger.of(session.id)
        assert (refused.status, refused.reason, refused.approved_by) == ("refused", "first: not the first time.", None)
        assert done.status == "settled"
        assert len(kinds(session.events, "asked")) == (approval == "human")
        bench.whole(session)

    def test_a_loop_adds_guards_and_takes_none_away(self, bench: Bench) -> None:
        def no(name: str) -> Any:
            return lambda act, state: Verdict(ok=False, rule=name, reason=name)

        loop = kiln.varied(guard=no("own")).varied(guard=[no("more")])
        assert [said.rule for guard in loop.guards if (said := guard(Act(tool="x"), {}))] == ["own", "more"]

    def test_the_worlds_guard_comes_first_and_cannot_be_left_out(self, bench: Bench) -> None:
        class Closed(Kiln):
            def check(self, act: Act) -> Verdict:
                return Verdict(ok=False, rule="closed", reason="the kiln is closed")

        loop = switching(world=Closed, guard=lambda act, state: Verdict(ok=True))
        session = bench.start(loop)
        session.run()
        assert (result(session).rule, room_c(bench, session)) == ("closed", 15.0)
        assert kinds(session.events, "checked")[0]["act"] == {"tool": "set_heater", "arguments": {"on": True}}

    def test_what_the_device_refuses_is_a_result(self, bench: Bench) -> None:
        class Broken(Room):
            def act(self, state: Any, act: Act) -> Any:
                raise ToolRefused("the fuse is blown")

        session = bench.start(switching(world=Broken))
        session.run()
        assert (result(session).status, result(session).rule, result(session).reason) == (
            "refused", "world", "the fuse is blown",
        )  # fmt: skip

    def test_arguments_that_do_not_validate_are_for_the_model(self, bench: Bench) -> None:
        def wrong(state: State, ctx: Context) -> None:
            call = ToolCall(name="set_heater", arguments={"on": "perhaps"})
            state["results"] = [ctx.act(call).model_dump()]

        session = bench.start(one(wrong, warm, state={"results": []}, roles={}))
        session.run()
        assert (result(session).status, result(session).rule) == ("refused", "arguments")
        assert "`on` = 'perhaps'" in result(session).reason

    def test_a_tool_that_is_not_the_loops_is_the_developers_error(self, bench: Bench) -> None:
        session = bench.start(one(lambda state, ctx: ctx.observe(photograph), roles={}))
        with pytest.raises(DeveloperError, match="without naming it"):
            session.run()

    def test_what_a_world_counts_is_a_budget(self, bench: Bench) -> None:
        models: Models = {"navigator": Answering(answer=lambda _: ON), "marker": Answering(answer=lambda _: "m")}
        bounded = kiln.varied(budget=Budget(world={"photos": 2}), state={**kiln.state, "target_c": 25.0})
        session = bench.start(bounded, models)
        assert session.run() == "failed"
        assert session.state["reason"] == "the budget is used up: 2 photos"
        assert bench.worlds(session.id)[""]["photos"] == 2
        bench.whole(session)


class Moody(Kiln):
    """A kiln that somebody may close."""

    is_closed: ClassVar[bool] = False

    def check(self, act: Act) -> Verdict:
        """As open as it is now."""
        return Verdict(ok=not type(self).is_closed, rule="closed", reason="somebody closed it")


class TestConsent:
    def test_it_is_to_the_exact_act_and_the_guard_looks_again(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = bench.start(switching(world=Moody), approval="human")
        assert session.run() == "waiting"
        assert kinds(session.events, "asked")[0]["question"]["text"] == "May I switch the heater on? (it is cold)"
        monkeypatch.setattr(Moody, "is_closed", True)
        session.say("approve")
        assert session.run() == "succeeded"
        assert (result(session).rule, room_c(bench, session)) == ("closed", 15.0)
        assert [e.status for e in bench.memory.ledger.of(session.id)] == ["refused"]
        bench.whole(session)

    def test_something_else_is_no_consent(self, bench: Bench) -> None:
        session = bench.start(switching(), approval="human")
        session.run()
        session.say("heater off")
        assert session.run() == "succeeded"
        assert (result(session).status, result(session).reason) == ("refused", "the human said instead: heater off")

    def test_a_yes_before_the_question_is_none(self, bench: Bench) -> None:
        session = bench.start(switching(), approval="human")
        session.say("approve")
        assert session.run() == "waiting"
        assert bench.memory.ledger.of(session.id) == []

    def test_an_edited_act_is_another_act(self, bench: Bench) -> None:
        session = bench.start(switching(), approval="human")
        assert session.run() == "waiting"
        session.say('q1: instead {"on": false}')
        assert session.run() == "succeeded"
        assert result(session).arguments == {"on": False}
        refused, done = bench.memory.ledger.of(session.id)
        assert (refused.act.arguments, refused.status) == ({"on": True}, "refused")
        assert (done.act.arguments, done.status, done.approved_by) == ({"on": False}, "settled", "human")
        assert [(p["status"], p["arguments"]["on"]) for p in kinds(session.events, "acted")] == [
            ("refused", True),
            ("done", False),
        ]
        assert room_c(bench, session) == 14.5

    @pytest.mark.parametrize(
        ("said", "rule"),
        [('q1: instead {"on": true, "off": 1}', "arguments"), ('q1: instead {"on": true}', "sixes")],
    )
    def test_an_edited_act_is_guarded_too(self, bench: Bench, said: str, rule: str) -> None:
        def sixes(act: Act, state: State) -> Verdict:
            return Verdict(ok=not act.arguments["on"], rule="sixes", reason="not on")

        def off(state: State, ctx: Context) -> None:
            state["results"] = [*state["results"], ctx.act(set_heater, on=False).model_dump()]

        session = bench.start(switching(guard=sixes).replace(switch=off), approval="human")
        assert session.run() == "waiting"
        session.say(said)
        assert session.run() == "succeeded"
        assert (result(session).status, result(session).rule) == ("refused", rule)
        assert room_c(bench, session) == 15
        assert session.loop.replay(session.id, bench.memory).difference is None  # type: ignore[attr-defined]

    def test_arguments_of_no_act_are_asked_about(self, bench: Bench) -> None:
        session = bench.start(switching(), approval="human")
        session.say('instead {"on": false}')
        assert session.run() == "waiting"
        (asked,) = kinds(session.events, "asked")
        assert asked["question"]["about"] == "unclear"

    def test_it_expires(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        session = bench.start(switching(), approval="human")
        session.run()
        session.say("approve")
        monkeypatch.setenv("LOOPWRIGHT_APPROVAL__EXPIRES_S", "0.000001")
        settings.cache_clear()
        assert session.run() == "succeeded"
        assert (result(session).status, result(session).rule) == ("refused", "approval")
        assert room_c(bench, session) == 15.0
        assert bench.memory.ledger.unsettled(session.id) == []
        bench.whole(session)

    def test_what_was_ordered_to_the_letter_needs_no_more_consent_once(self, bench: Bench) -> None:
        session = bench.start(switching(2), approval="human")
        session.say("heater on")
        assert session.run() == "waiting"
        assert (result(session).approved_by, room_c(bench, session)) == ("human", 16.5)
        assert len(kinds(session.events, "asked")) == 1
        session.say("approve")
        assert session.run() == "succeeded"
        bench.whole(session)

    def test_one_order_is_for_one_act(self, bench: Bench) -> None:
        def twice(state: State, ctx: Context) -> None:
            ctx.act(set_heater, on=True)
            ctx.act(set_heater, on=True)

        session = bench.start(one(twice, warm, feedback=[HeaterOrder], roles={}), approval="human")
        session.say("heater on")
        assert session.run() == "waiting"
        assert room_c(bench, session) == 16.5

    def test_an_order_for_another_act_is_none(self, bench: Bench) -> None:
        session = bench.start(switching(), approval="human")
        session.say("heater off")
        assert session.run() == "waiting"
        assert bench.memory.ledger.of(session.id) == []


class TestWithdrawal:
    def test_an_act_that_was_sent_before_the_stop_is_on_record_as_done(self, bench: Bench) -> None:
        """The process dies between sending and recording, then somebody says STOP."""
        dies = [True]

        def decide(state: State, ctx: Context) -> None:
            state["results"] = [ctx.act(set_heater, on=True).model_dump()]

        session = bench.start(one(decide, warm, state={"results": []}, roles={}))
        append = bench.memory.events.append_all

        def dying(session_id: str, new: Sequence[NewEvent], **how: Any) -> list[Event]:
            if dies and any(each.kind == "acted" for each in new):
                dies.pop()
                raise RuntimeError("it dies here")
            return append(session_id, new, **how)

        bench.memory.events.append_all = dying  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            session.run()
        assert room_c(bench, session) == 16.5
        session.say("STOP")
        assert session.status == "stopped"
        assert session.run() == "succeeded"
        assert result(session).ok
        assert room_c(bench, session) == 16.5

    def test_a_harmless_act_is_asked_for_anew(self, bench: Bench) -> None:
        stops = [True]

        class Stopping(Kiln):
            def check(self, act: Act) -> Verdict:
                if act.tool == "photograph" and stops:
                    stops.pop()
                    session.say("STOP")
                return Verdict(ok=True)

        models: Models = {"navigator": Answering(answer=lambda _: ON), "marker": Answering(answer=lambda _: "m")}
        session = bench.start(kiln.varied(world=Stopping), models)
        assert session.run() == "stopped"
        assert session.run() == "succeeded"
        bench.whole(session)
