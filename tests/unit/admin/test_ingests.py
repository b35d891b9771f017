"""Which ingest processes live, and what doctor makes of the deliveries that they refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.webhooks.ingests import LISTEN_S, LIVE_S, Ingests
from ml_connector.admin.webhooks.pushes import pushes_of
from ml_connector.admin.webhooks.refusals import RECENT_MS, Refusals, refusals_of
from ml_connector.common.asking import TOLD_EVERY_S, AtIngest, AtTheDoor, CheckResult, Refused, Why
from ml_connector.common.clock import ManualClock
from ml_connector.common.directory import LiveFlow
from unit.admin.test_checks import FLOW

NOW_MS = 1_700_000_000_000
LIVE = LiveFlow(FLOW, 3, paused=False)


class Heard:
    """What was said, on a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.ingests = Ingests(self.clock)
        self.ingests.begin()

    def say(self, instance: str, *, left: bool = False, **flows: AtTheDoor) -> None:
        named = {name.replace("_", "-"): door for name, door in flows.items()}
        said = AtIngest(instance=instance, at_ms=self.clock.now_ms(), flows=named, left=left)
        self.ingests.hear(f"ingest/{instance}", said.encode())

    def live(self) -> set[str]:
        return {one.instance for one in self.ingests.live()}


def test_who_says_goodbye_is_gone_and_who_was_killed_counts_until_its_messages_fail_to_come() -> None:
    heard = Heard()
    for name in ("stopped", "killed", "well"):
        heard.say(name)
    heard.say("stopped", left=True)
    at_first = heard.live()
    heard.clock.advance(LIVE_S - 1)
    heard.say("well")
    before = heard.live()
    heard.clock.advance(1)

    assert (at_first, before, heard.live()) == ({"killed", "well"}, {"killed", "well"}, {"well"})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("says"), st.sampled_from("abc")),
        st.tuples(st.just("leaves"), st.sampled_from("abc")),
        st.tuples(st.just("passes"), st.floats(0, 2 * LIVE_S)),
    ),
    max_size=30,
)


@given(STEPS)
def test_those_live_who_spoke_lately_and_did_not_leave_since(steps: list[tuple[str, str | float]]) -> None:
    heard = Heard()
    last: dict[str, float | None] = {}

    for what, of in steps:
        if isinstance(of, float):
            heard.clock.advance(of)
        else:
            heard.say(of, left=what == "leaves")
            last[of] = heard.clock.monotonic_s() if what == "says" else None

    now_s = heard.clock.monotonic_s()
    assert heard.live() == {name for name, at_s in last.items() if at_s is not None and now_s - at_s < LIVE_S}


def test_what_is_none_of_its_messages_is_left_out() -> None:
    heard = Heard()
    said = AtIngest(instance="a", at_ms=1, flows={})

    heard.ingests.hear("ingest/b", said.encode())
    heard.ingests.hear("ingest/a", b"{}")

    assert heard.live() == set()


def test_all_are_known_once_each_must_have_spoken() -> None:
    heard = Heard()
    at_first = heard.ingests.unheard_s
    heard.clock.advance(LISTEN_S)

    assert at_first == LISTEN_S > TOLD_EVERY_S
    assert heard.ingests.unheard_s == 0


def test_no_ingest_is_a_failure_once_it_would_have_been_heard() -> None:
    heard = Heard()
    look = Refusals(heard.ingests, heard.clock).look
    early = look(LIVE)[0]
    heard.clock.advance(LISTEN_S)
    late = look(LIVE)

    assert (early.result, late[0].result, late[1].result) == ("skipped", "failed", "skipped")
    assert "ask again in 15 s" in early.fix and "/readyz" in late[0].fix


def test_basic_on_a_signed_flow_is_told_plainly_and_other_flows_are_not() -> None:
    heard = Heard()
    door = AtTheDoor(refused=(Refused("basic_instead", 12, NOW_MS - 1000),))
    heard.say("a", acme_eu=door, other=AtTheDoor(refused=(Refused("signature", 5, NOW_MS),)))
    heard.say("b", acme_eu=door)

    live, found = Refusals(heard.ingests, heard.clock).look(LIVE)

    assert (live.result, live.says) == ("ok", "2 processes of ingest can be heard")
    assert (found.check, found.result) == ("ingest.deliveries", "failed")
    assert "24 with HTTP Basic and without a signature" in found.says and "none was accepted" in found.says
    assert "signature, with" not in found.says and "wrong" not in found.says
    assert "Pipedrive itself does not sign" in found.fix
    assert "relay" in found.fix and "pipedrive.webhook.verify be basic" in found.fix


def test_rotation_that_nobody_finished_is_a_warning_with_the_command() -> None:
    heard = Heard()
    heard.say("a", acme_eu=AtTheDoor(keys=("basic:new", "basic:old")))

    found = Refusals(heard.ingests, heard.clock).look(LIVE)[-1]

    assert (found.check, found.result) == ("ingest.keys", "warning")
    assert "basic:new, basic:old" in found.says and "mlc webhooks rotate acme-eu" in found.fix


@pytest.mark.parametrize(
    ("accepted_ms", "last_ms", "result"),
    [
        (NOW_MS, NOW_MS - 1, "warning"),
        (NOW_MS - 2, NOW_MS - 1, "failed"),
        (0, NOW_MS - RECENT_MS + 1, "failed"),
        (0, NOW_MS - RECENT_MS, "ok"),
    ],
)
@pytest.mark.parametrize("why", ["unsigned", "signature", "no_basic", "basic", "address"])
def test_refused_since_the_last_good_one_is_a_failure(
    why: Why, accepted_ms: int, last_ms: int, result: CheckResult
) -> None:
    found = refusals_of([AtTheDoor(accepted_ms=accepted_ms, refused=(Refused(why, 1, last_ms),))], NOW_MS)

    assert found.result == result
    assert bool(found.fix) == (result != "ok")


@pytest.mark.parametrize(
    ("pushed_ms", "refused_ms", "why", "result", "says"),
    [
        (0, 0, "secret", "ok", "none came since"),
        (5, 0, "secret", "ok", "pushed a change at 1970"),
        (9, 5, "secret", "ok", "pushed a change"),
        (5, 9, "secret", "warning", "with another secret"),
        (0, 9, "address", "warning", "not allowed"),
        (0, 9, "no_secret", "warning", "without the secret"),
    ],
)
def test_the_last_push_says_how_it_stands(pushed_ms: int, refused_ms: int, why: Why, result: str, says: str) -> None:
    refused = (Refused(why, 1, refused_ms),) if refused_ms else ()

    found = pushes_of([AtTheDoor(pushed_ms=pushed_ms, pushes_refused=refused), AtTheDoor()], now_ms=1_000)

    assert (found.check, found.result) == ("ingest.pushes", result)
    assert says in found.says
