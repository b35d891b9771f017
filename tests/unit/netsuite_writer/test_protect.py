"""When an account or a flow is left alone, and how it comes back by itself."""

from __future__ import annotations

import random
import time

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml_connector.netsuite_writer.protect import SIGNATURE_CHARACTERS, Breaker, Flood, Streak, signature

FIRST_S, LONGEST_S = 30.0, 300.0


def breaker(seed: int = 1) -> Breaker:
    return Breaker(first_s=FIRST_S, longest_s=LONGEST_S, chance=random.Random(seed))


def tripped(at_s: float = 10.0) -> tuple[Breaker, float]:
    """An open breaker and the moment of its first probe."""
    suspension = breaker()
    suspension.trip(at_s, "invalid_login", started_s=at_s - 1.0)
    probe_s = suspension.opens_at_s(at_s)
    assert probe_s is not None
    return suspension, probe_s


def test_a_closed_breaker_admits_everything() -> None:
    suspension = breaker()
    suspension.begin(0.0)

    assert suspension.admits(0.0)
    assert (suspension.is_open, suspension.reason, suspension.opens_at_s(0.0)) == (False, "", None)


def test_an_open_breaker_admits_nothing_until_the_pause_is_over() -> None:
    suspension, probe_s = tripped(at_s=10.0)

    assert 10.0 + 0.75 * FIRST_S <= probe_s <= 10.0 + FIRST_S
    assert not suspension.admits(probe_s - 0.01)
    assert suspension.admits(probe_s)
    assert (suspension.is_open, suspension.reason) == (True, "invalid_login")


def test_the_first_trip_is_news_and_the_others_are_not() -> None:
    suspension = breaker()

    assert suspension.trip(10.0, "invalid_login", started_s=9.0) is True
    assert suspension.trip(10.1, "invalid_login", started_s=9.0) is False


def test_requests_that_began_before_it_opened_do_not_lengthen_the_pause() -> None:
    """Fifty requests under way meet the same fault."""
    suspension, probe_s = tripped(at_s=10.0)

    for number in range(50):
        suspension.trip(11.0 + number, "invalid_login", started_s=9.5)

    assert suspension.opens_at_s(11.0) == probe_s


def test_only_one_request_probes() -> None:
    suspension, probe_s = tripped()

    suspension.begin(probe_s)

    assert not suspension.admits(probe_s + 1.0)
    assert suspension.opens_at_s(probe_s + 1.0) is None


def test_a_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    suspension, now_s = tripped()
    pauses = []
    for _ in range(6):
        suspension.begin(now_s)
        assert suspension.trip(now_s + 1.0, "invalid_login", started_s=now_s) is False
        opens_at_s = suspension.opens_at_s(now_s + 1.0)
        assert opens_at_s is not None
        pauses.append(opens_at_s - now_s - 1.0)
        now_s = opens_at_s

    longest = [60.0, 120.0, 240.0, 300.0, 300.0, 300.0]
    assert all(0.75 * most <= pause <= most for pause, most in zip(pauses, longest, strict=True))


def test_a_failed_probe_gives_its_own_reason() -> None:
    suspension, probe_s = tripped()
    suspension.begin(probe_s)

    suspension.trip(probe_s + 1.0, "maintenance", started_s=probe_s)

    assert suspension.reason == "maintenance"
    assert not suspension.admits(probe_s + 1.0)


def test_a_probe_that_says_nothing_lets_the_next_one_probe() -> None:
    suspension, probe_s = tripped()
    suspension.begin(probe_s)

    suspension.abandoned(started_s=probe_s)

    assert suspension.admits(probe_s + 1.0)
    assert suspension.is_open


def test_an_older_request_that_says_nothing_does_not_end_the_probe() -> None:
    suspension, probe_s = tripped(at_s=10.0)
    suspension.begin(probe_s)

    suspension.abandoned(started_s=9.5)

    assert not suspension.admits(probe_s + 1.0)


def test_a_request_let_through_during_the_pause_is_no_probe() -> None:
    suspension, probe_s = tripped()

    suspension.begin(probe_s - 5.0)

    assert suspension.admits(probe_s)


def test_a_success_closes_it() -> None:
    suspension, probe_s = tripped()
    suspension.begin(probe_s)

    assert suspension.succeeded() is True
    assert suspension.succeeded() is False
    assert suspension.admits(probe_s)
    assert (suspension.is_open, suspension.reason, suspension.opens_at_s(0.0)) == (False, "", None)


def test_after_a_success_the_pause_starts_small_again() -> None:
    suspension, probe_s = tripped()
    suspension.trip(probe_s + 1.0, "invalid_login", started_s=probe_s)
    suspension.succeeded()

    assert suspension.trip(500.0, "invalid_login", started_s=499.0) is True

    opens_at_s = suspension.opens_at_s(500.0)
    assert opens_at_s is not None
    assert opens_at_s <= 500.0 + FIRST_S


def test_a_late_failure_does_not_open_again_what_a_success_closed() -> None:
    suspension, probe_s = tripped(at_s=10.0)
    suspension.succeeded()

    assert suspension.trip(probe_s, "invalid_login", started_s=9.5) is False

    assert not suspension.is_open


class SuspendedAccount(RuleBasedStateMachine):
    """Requests of one account begin when admitted and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.suspension = breaker()
        self.now_s = 0.0
        self.under_way: list[tuple[float, bool]] = []  # when it began; whether it was the probe

    @rule(seconds=st.floats(0.01, 400.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.suspension.admits(self.now_s))
    @rule()
    def a_request_begins(self) -> None:
        self.under_way.append((self.now_s, self.suspension.is_open))
        self.suspension.begin(self.now_s)
        self.now_s += 0.01

    @precondition(lambda self: self.under_way)
    @rule(ending=st.sampled_from(["fault", "fault", "overload", "success"]), data=st.data())
    def a_request_ends(self, ending: str, data: st.DataObject) -> None:
        started_s, was_probe = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        match ending:
            case "fault":
                self.suspension.trip(self.now_s, "invalid_login", started_s=started_s)
                assert self.suspension.is_open or not was_probe
            case "overload":
                self.suspension.abandoned(started_s=started_s)
            case _:
                self.suspension.succeeded()
                self.under_way = [(at_s, False) for at_s, _ in self.under_way]
                assert self.suspension.admits(self.now_s)
        self.now_s += 0.01

    @invariant()
    def at_most_one_probes(self) -> None:
        assert sum(was_probe for _, was_probe in self.under_way) <= 1

    @invariant()
    def never_shut_for_good(self) -> None:
        """Whenever nothing goes now, a moment or an answer will change that."""
        opens_at_s = self.suspension.opens_at_s(self.now_s)
        if not self.suspension.admits(self.now_s):
            assert opens_at_s is not None or any(was_probe for _, was_probe in self.under_way)
        if opens_at_s is not None:
            assert self.now_s < opens_at_s <= self.now_s + LONGEST_S


TestSuspendedAccount = SuspendedAccount.TestCase


def test_a_streak_is_long_enough_at_its_length_and_from_there_on() -> None:
    streak = Streak(3)

    assert [streak.failed() for _ in range(4)] == [False, False, True, True]


def test_a_success_ends_a_streak() -> None:
    streak = Streak(2)
    streak.failed()

    streak.succeeded()

    assert [streak.failed() for _ in range(2)] == [False, True]


def flood() -> Flood:
    return Flood(run=5, ratio=0.5, window=20)


def test_a_run_of_like_rejections_halts_the_flow_at_its_length() -> None:
    halts = flood()

    assert [halts.rejected("user_error: no subsidiary") for _ in range(6)] == [False] * 4 + [True] * 2


def test_different_rejections_are_no_flood() -> None:
    """Many bad records, each in its own way: that is theirs, not the flow's."""
    halts = flood()

    assert not any(halts.rejected(f"reason {number % 2}") for number in range(100))


def test_a_written_record_ends_the_run() -> None:
    halts = flood()
    for _ in range(4):
        halts.rejected("no subsidiary")

    halts.written()

    assert not any(halts.rejected("no subsidiary") for _ in range(4))
    assert halts.rejected("no subsidiary")


def test_a_short_run_after_many_written_records_is_no_flood() -> None:
    halts = flood()
    for _ in range(20):
        halts.written()

    answers = [halts.rejected("no subsidiary") for _ in range(12)]

    assert answers.index(True) == 9  # the tenth of the last twenty


def test_only_the_last_endings_count() -> None:
    halts = flood()
    for _ in range(10_000):
        halts.written()

    assert sum(not halts.rejected("no subsidiary") for _ in range(100)) == 9


def test_a_resumed_flow_starts_afresh() -> None:
    halts = flood()
    for _ in range(20):
        halts.written()
    for _ in range(4):
        halts.rejected("no subsidiary")

    halts.reset()

    assert [halts.rejected("no subsidiary") for _ in range(5)] == [False] * 4 + [True]


@given(st.lists(st.sampled_from(["written", "a", "b"]), max_size=80), st.integers(1, 8), st.floats(0.0, 1.0))
def test_flood_says_what_its_definition_says(endings: list[str], run: int, ratio: float) -> None:
    halts, window = Flood(run=run, ratio=ratio, window=10), 10
    for count, ending in enumerate(endings, start=1):
        if ending == "written":
            halts.written()
            continue
        past, recent = endings[:count], endings[:count][-window:]
        is_run = len(past) >= run and set(past[-run:]) == {ending}
        is_share = sum(other != "written" for other in recent) >= ratio * len(recent)

        assert halts.rejected(ending) == (is_run and is_share)


@pytest.mark.parametrize(
    ("message", "other"),
    [
        ("Invalid field value 12 for entity", "Invalid field value 7,345.50 for entity"),
        ("Record 'O'Brien & Sons' is locked.", "Record 'Acme' is locked."),
        ('Invalid value "Acme GmbH".', 'Invalid value "".'),
        ("Unknown “Acme”", "Unknown “Other, Ltd.”"),
        ("No such id pd-org-17.", "No such id pd-deal-42."),
        ("Invalid e-mail jane@acme.example here", "Invalid e-mail j.doe+x@other.example here"),
        ("Error ID: 8f14e45f-ceea-467f-a0e6-b0c9f4f3a1d2", "Error ID: jb6x9k8v"),
        ("THIS ENTITY  already\nexists.", "This entity already exists."),
        ("Cut off 'in the midst of a na", "Cut off 'somewhere el"),
    ],
)
def test_messages_that_differ_by_record_have_one_signature(message: str, other: str) -> None:
    assert signature("USER_ERROR", message) == signature("USER_ERROR", other)


@pytest.mark.parametrize(
    ("message", "other"),
    [
        ("Please enter value(s) for: Subsidiary.", "Please enter value(s) for: First Name, Last Name."),
        ("This entity already exists.", "Your current role does not have permission to perform this action."),
        ("It doesn't take that subsidiary", "It doesn't take that currency"),
    ],
)
def test_messages_that_differ_by_fault_have_two(message: str, other: str) -> None:
    assert signature("USER_ERROR", message) != signature("USER_ERROR", other)


def test_the_code_is_part_of_the_signature() -> None:
    assert signature("INVALID_CONTENT", "no") != signature("USER_ERROR", "no")
    assert signature("USER_ERROR", "This entity already exists.") == "user_error this entity already exists."


@given(
    st.integers(0), st.from_regex(r"[a-z.+]{1,9}@[a-z]{1,9}\.example", fullmatch=True), st.text(alphabet="ab XY,.12")
)
def test_no_value_of_a_record_is_left_in_a_signature(number: int, email: str, text: str) -> None:
    made = signature("CODE", f'Value "{text}" of {email} is not {number} in this list')

    assert made == "code value of is not in this list"


def test_a_signature_is_short() -> None:
    assert len(signature("USER_ERROR", "word " * 100)) in range(SIGNATURE_CHARACTERS - 5, SIGNATURE_CHARACTERS + 1)


@given(st.text(), st.text())
def test_a_signature_has_no_digit_and_is_short(code: str, message: str) -> None:
    made = signature(code, message)

    assert not any(character.isnumeric() for character in made)
    assert len(made) <= SIGNATURE_CHARACTERS


@pytest.mark.parametrize("piece", ["a", "'a ", "a@", '"', "\u2018a ", "1", " "])
def test_a_long_message_costs_no_more_than_its_length(piece: str) -> None:
    """An answer may be a page of 64 KiB, and its text may be chosen to be slow to match."""
    started_s = time.process_time()

    signature("USER_ERROR", piece * 100_000)

    assert time.process_time() - started_s < 2.0
