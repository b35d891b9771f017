"""What can go wrong, named for what the one who catches it does next.

ConnectorError
├── BadInput                  somebody must change what was given; trying again changes nothing
│   ├── Malformed             a message that is not what it claims to be  -> dead letter `decode`
│   ├── UnknownSchema         written by a newer release                  -> upgrade first, stop here
│   ├── MappingFailed         the flow's mapping does not fit the object  -> dead letter `map`
│   ├── AddressRefused        an address that nothing may connect to
│   ├── InvalidFlow           a flow that cannot be applied; every problem at once
│   └── InvalidSettings       the process was started wrongly             -> exit code 2
├── TryLater                  nothing is wrong with the input; the same again may work, after `after_s`
│   ├── VendorUnavailable     Pipedrive or NetSuite did not answer, or asked to wait
│   ├── DeliveryFailed        the broker did not take the message in time
│   └── QueueFull             our own queue to the broker is full
├── SecretUnreadable          a secret is missing, damaged or belongs elsewhere -> its flow waits
│   └── KeyMissing            another process may have the key that opens it    -> not ready
└── MustStop                  this process may not go on; another one owns the work
    ├── Fenced                a newer owner of the partition exists
    ├── ProducerFatal         the Kafka client gave up for good
    └── TopicsDiffer          the topics are not as declared (missing, other partition count)
"""

from __future__ import annotations


class ConnectorError(Exception):
    """The root of everything this product raises on purpose."""


class BadInput(ConnectorError):
    """Somebody must change what was given."""


class Malformed(BadInput):
    """The bytes are not what they should be. The text never holds a value from them."""


class UnknownSchema(BadInput):
    """A message of a schema version this release does not know."""

    def __init__(self, *, kind: str, version: int, known: int) -> None:
        super().__init__(
            f"{kind} has schema version {version}; this release knows up to {known}: upgrade this service first"
        )
        self.kind = kind
        self.version = version


class MappingFailed(BadInput):
    """One field of the mapping does not fit the object. Names the value's type, never the value."""

    def __init__(self, *, field: str, expression: str, problem: str) -> None:
        super().__init__(f"field {field!r}: expression {expression!r}: {problem}")
        self.field = field
        self.expression = expression
        self.problem = problem


class AddressRefused(BadInput):
    """No connection is made there. The text names the host and the address, never the rest of a URL."""


class InvalidFlow(BadInput):
    """A flow document with problems; each says where and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidSettings(BadInput):
    """The environment variables of a process do not fit."""


class TryLater(ConnectorError):
    """The same again may work, not before `after_s` seconds (None: the caller's own backoff)."""

    def __init__(self, problem: str, *, after_s: float | None = None) -> None:
        super().__init__(problem)
        self.after_s = after_s


class VendorUnavailable(TryLater):
    """Pipedrive or NetSuite did not answer, or asked us to wait."""


class DeliveryFailed(TryLater):
    """The broker did not acknowledge in time; the message may or may not be in the topic."""


class QueueFull(TryLater):
    """Too much is waiting for the broker already."""


class SecretUnreadable(ConnectorError):
    """A secret is missing, or no key of ours opens it for this owner, name and environment."""


class KeyMissing(SecretUnreadable):
    """This process was not given the key that encrypted the secret."""


class MustStop(ConnectorError):
    """This process may not go on."""


class Fenced(MustStop):
    """A newer owner of this partition has taken over."""


class ProducerFatal(MustStop):
    """The Kafka client reported an error it does not recover from."""


class TopicsDiffer(MustStop):
    """The topics in the broker are not as this release declares them."""
