"""A dead letter: the original bytes, key and allowed headers, and why a person has to look (facts/kafka.md section 4).

Key: cause. Headers: those of the original (`headers.ORIGINAL`) and `dlq.*` in UTF-8, meanings as in Kafka Connect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from ml_connector.common import headers as h
from ml_connector.common.headers import Headers
from ml_connector.common.wire import Stage

# A message may have 1 MiB by default; request and response together stay well under it.
MAX_TRACE_BYTES: Final = 64 * 1024
MAX_MESSAGE_CHARS: Final = 2000

ErrorClass = Literal["permanent", "transient"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What failed, where, why, how often, and the bytes it all began with."""

    cause: str
    record_key: str
    account: str
    stage: Stage
    code: str
    message: str  # ours or the vendor's text; never a value of the event
    topic: str
    partition: int
    offset: int
    failed_at_ms: int
    body: bytes
    original: Headers = field(default_factory=dict)
    generation: str = ""
    mapping_version: int = 0  # 0: nothing was mapped
    attempts: int = 0
    first_failed_at_ms: int = 0
    error_class: ErrorClass = "permanent"
    request: bytes = b""
    response: bytes = b""
    traceparent: str = ""

    def to_headers(self) -> Headers:
        """Everything but the body, as message headers."""
        dlq = {
            "dlq.stage": self.stage,
            "dlq.error-code": self.code,
            "dlq.error-message": self.message[:MAX_MESSAGE_CHARS],
            "dlq.error-class": self.error_class,
            "dlq.attempts": str(self.attempts),
            "dlq.first-failure-ts": str(self.first_failed_at_ms or self.failed_at_ms),
            "dlq.failed-at-ms": str(self.failed_at_ms),
            "dlq.topic": self.topic,
            "dlq.partition": str(self.partition),
            "dlq.offset": str(self.offset),
            "dlq.record-key": self.record_key,
            "dlq.account": self.account,
            "dlq.cause": self.cause,
            "dlq.generation": self.generation,
            "dlq.mapping-version": str(self.mapping_version),
        }
        kept = {name: value for name, value in self.original.items() if name in h.ORIGINAL}
        found = {name: value.encode() for name, value in dlq.items()}
        traces = {"dlq.request": self.request[:MAX_TRACE_BYTES], "dlq.response": self.response[:MAX_TRACE_BYTES]}
        return {**kept, **found, **traces, **({h.TRACEPARENT: self.traceparent.encode()} if self.traceparent else {})}

    @classmethod
    def read(cls, value: bytes | None, headers: Headers) -> DeadLetter:
        """From a message of the dead-letter topic; what is missing is empty."""

        def text(name: str) -> str:
            return h.text(headers, f"dlq.{name}")

        def number(name: str) -> int:
            return h.number(headers, f"dlq.{name}", 0)

        return cls(
            cause=text("cause"),
            record_key=text("record-key"),
            account=text("account"),
            stage=text("stage"),  # type: ignore[arg-type]  # only this module writes it
            code=text("error-code"),
            message=text("error-message"),
            topic=text("topic"),
            partition=number("partition"),
            offset=number("offset"),
            failed_at_ms=number("failed-at-ms"),
            body=value or b"",
            original={name: value for name, value in headers.items() if name in h.ORIGINAL},
            generation=text("generation"),
            mapping_version=number("mapping-version"),
            attempts=number("attempts"),
            first_failed_at_ms=number("first-failure-ts"),
            error_class="transient" if text("error-class") == "transient" else "permanent",
            request=headers.get("dlq.request", b""),
            response=headers.get("dlq.response", b""),
            traceparent=h.text(headers, h.TRACEPARENT),
        )
