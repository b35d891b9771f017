"""Nobody is surprised by the end of a certificate, and nobody is told about it each second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from ml_connector.cli.certificates import Key, make
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import SecretUnreadable
from ml_connector.netsuite_writer.expiry import LOOK_S, Expiry
from support.desired import ACCOUNT
from support.office import DOCUMENT, Flows

DAY_S = 86_400.0
VALID_DAYS = 60


def credential(clock: ManualClock, *, days: int = VALID_DAYS, with_certificate: bool = True) -> NetsuiteM2M:
    pair = make(Key.ec_p256, name="n", days=days, now=datetime.fromtimestamp(clock.now_ms() / 1000, UTC))
    value = {
        "client_id": "c",
        "certificate_id": "k",
        "private_key_pem": pair.private_key.decode(),
        "algorithm": Key.ec_p256.algorithm,
    }
    return NetsuiteM2M.read({**value, **({"certificate_pem": pair.certificate.decode()} if with_certificate else {})})


class OneSecret(Flows):
    """One credential, whatever account is asked for."""

    held: NetsuiteM2M | None = None
    asked = 0

    def flows_of(self, account: str) -> list[LiveFlow]:
        return [live for live in self.known.values() if live.flow.netsuite.account.lower() == account]

    def secret(self, *_: Any, **__: Any) -> NetsuiteM2M:
        self.asked += 1
        if self.held is None:
            raise SecretUnreadable("none")
        return self.held


class Watch:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.directory = OneSecret(DOCUMENT, {**DOCUMENT, "flow": "another"})
        self.directory.held = credential(self.clock)
        self.expiry = Expiry(cast(Directory, self.directory), self.clock)
        self.accounts = frozenset({ACCOUNT.lower()})

    def looks(self, days: float) -> list[dict[str, Any]]:
        """What is logged while so many days pass, ticking as seldom as a certificate is read."""
        with capture_logs() as logs:
            for _ in range(round(days * DAY_S / LOOK_S)):
                self.clock.advance(LOOK_S)
                self.expiry.look(self.accounts)
        return [dict(one) for one in logs]


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_warning_comes_once_a_day_from_30_days_before_the_end_and_goes_on_after_it(watch: Watch) -> None:
    assert watch.looks(30) == []

    logs = watch.looks(32)

    assert {(one["event"], one["log_level"], one["account"]) for one in logs} == {
        ("certificate_ends", "warning", ACCOUNT)
    }
    assert [one["days_left"] for one in logs] == list(range(29, -3, -1))


def test_new_certificate_ends_the_warnings(watch: Watch) -> None:
    assert watch.looks(31)

    watch.directory.held = credential(watch.clock)

    assert watch.looks(29) == []


def test_seconds_left_are_measured_between_the_looks_too(watch: Watch) -> None:
    watch.expiry.look(watch.accounts)
    watch.clock.advance(LOOK_S / 2)

    assert watch.expiry.readings() == [(int(VALID_DAYS * DAY_S - LOOK_S / 2), {"account": ACCOUNT})]

    watch.clock.advance(VALID_DAYS * DAY_S)
    assert watch.expiry.readings() == [(int(-LOOK_S / 2), {"account": ACCOUNT})]


def test_nothing_is_said_of_what_is_not_known(watch: Watch) -> None:
    for held in (None, credential(watch.clock, with_certificate=False)):
        watch.directory.held = held
        assert watch.looks(0.1) == []
        assert watch.expiry.readings() == []


def test_a_certificate_that_no_flow_logs_in_with_may_end(watch: Watch) -> None:
    signing = {**DOCUMENT, "netsuite": {**DOCUMENT["netsuite"], "auth": "tba"}}
    watch.directory = OneSecret(DOCUMENT, {**signing, "flow": "another"})
    watch.directory.held = credential(watch.clock)
    watch.expiry = Expiry(cast(Directory, watch.directory), watch.clock)
    assert watch.looks(31), "the first flow does"

    watch.directory = OneSecret(signing)
    watch.directory.held = credential(watch.clock)
    watch.expiry = Expiry(cast(Directory, watch.directory), watch.clock)

    assert watch.looks(1) == []


def test_other_accounts_are_none_of_our_business(watch: Watch) -> None:
    watch.accounts = frozenset()

    assert watch.looks(40) == []
    assert watch.expiry.readings() == []


def test_when_an_account_is_opened_nobody_looks_at_the_others_again(watch: Watch) -> None:
    """A certificate takes a while to read, and a thousand accounts may be opened one by one."""
    other = {**DOCUMENT, "flow": "other", "netsuite": {**DOCUMENT["netsuite"], "account": "7654321_SB1"}}
    watch.directory = OneSecret(DOCUMENT, other)
    watch.directory.held = credential(watch.clock)
    watch.expiry = Expiry(cast(Directory, watch.directory), watch.clock)
    watch.expiry.look(watch.accounts)
    before = watch.directory.asked

    for _ in range(3):
        watch.expiry.look(watch.accounts | {"7654321_sb1"})

    assert watch.directory.asked == before + 1
    assert {reading[1]["account"] for reading in watch.expiry.readings()} == {ACCOUNT, "7654321_SB1"}
