"""Write flows and secrets to their topics, from a developer's machine: a stack of one's own, before it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from ml_connector.cli.reading import flow_book, newest_by_key
from ml_connector.common import topics
from ml_connector.common.codec import Wire
from ml_connector.common.credentials import KINDS
from ml_connector.common.directory import FlowBook
from ml_connector.common.errors import BadInput, DeliveryFailed, InvalidFlow
from ml_connector.common.flow_identity import identity_of, identity_problems
from ml_connector.common.flows import ActiveFlow, Environment, FlowVersion, document_of, parse_flow
from ml_connector.common.kafka.producer import base_config, connect
from ml_connector.common.vault import SecretEntry, Vault, secret_key

DELIVERY_S = 15.0


class TopicWriter:
    """Reads what is there, checks the change against it, writes."""

    def __init__(self, kafka: Mapping[str, str], *, prefix: str, vault: Vault) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._vault = vault
        self._producer = Producer(base_config(kafka))
        connect(self._producer)

    def flow(self, document: Mapping[str, Any], *, by: str) -> int:
        """Validate, give it the next version, activate it; the version. Raises InvalidFlow."""
        flow = parse_flow(document)
        book = flow_book(self._kafka, self._prefix)
        known = [identity_of(live.flow) for name in book.names() if (live := book.live(name)) is not None]
        if problems := identity_problems(flow, known):
            raise InvalidFlow(problems)
        version = book.newest(flow.flow) + 1
        now_ms = int(time.time() * 1000)
        entry = FlowVersion(
            flow=flow.flow, version=version, document=document_of(flow), applied_at_ms=now_ms, applied_by=by
        )
        self._write(topics.FLOWS, f"{flow.flow}/v{version}", entry)
        self._activate(ActiveFlow(flow=flow.flow, version=version, resumed_at_ms=now_ms), book)
        return version

    def pause(self, flow: str, *, paused: bool) -> None:
        """Pause a flow, or let it go on: also after a flood has halted it. Raises BadInput for an unknown flow."""
        book = flow_book(self._kafka, self._prefix)
        live = book.live(flow)
        if live is None:
            raise BadInput(f"there is no flow {flow!r}: `mlc flows list` shows them")
        resumed_at_ms = live.resumed_at_ms if paused else int(time.time() * 1000)
        self._activate(ActiveFlow(flow=flow, version=live.version, paused=paused, resumed_at_ms=resumed_at_ms), book)

    def _activate(self, entry: ActiveFlow, book: FlowBook) -> None:
        revision = book.revision(entry.flow) + 1
        self._write(topics.FLOWS, entry.flow, msgspec.structs.replace(entry, revision=revision))

    def secret(self, owner: str, name: str, environment: Environment, value: dict[str, Any]) -> int:
        """Check, encrypt, write; the version. Raises SecretUnreadable when the value is not of this kind."""
        kind = KINDS.get(name)
        if kind is None:
            raise BadInput(f"{name} is no secret of ours: use one of {', '.join(KINDS)}")
        kind.read(value)
        known = newest_by_key(self._kafka, topics.SECRETS.full_name(self._prefix)).get(secret_key(owner, name))
        version = (SecretEntry.decode(known).version if known is not None else 0) + 1
        entry = self._vault.encrypt(owner, name, environment, version=version, value=value)
        self._write(topics.SECRETS, entry.key, entry)
        return version

    def _write(self, topic: topics.Topic, key: str, value: Wire) -> None:
        problems: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                problems.append(error)

        self._producer.produce(topic.full_name(self._prefix), key=key, value=value.encode(), on_delivery=delivered)
        if self._producer.flush(DELIVERY_S) or problems:
            raise DeliveryFailed(f"the broker did not take {key}: is MLC_KAFKA_BOOTSTRAP_SERVERS right?")
