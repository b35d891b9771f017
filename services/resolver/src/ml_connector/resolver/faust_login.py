"""Faust's credentials from librdkafka's settings: MLC_KAFKA_CONFIG is written once, for both clients."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

import faust

from ml_connector.common.errors import InvalidSettings

MECHANISMS: Final = frozenset({"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})
_LOGIN: Final = frozenset({"security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"})
_TLS: Final = frozenset({"ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"})


def credentials(kafka: Mapping[str, str]) -> Any:
    """None for plain text. Raises InvalidSettings for what only librdkafka could do."""
    protocol = kafka.get("security.protocol", "plaintext").lower()
    unknown = [name for name in kafka if name.startswith(("ssl.", "sasl.")) and name not in _LOGIN | _TLS]
    if unknown:
        raise InvalidSettings(f"MLC_KAFKA_CONFIG: the resolver cannot use {unknown[0]}; write certificates as files")
    match protocol:
        case "plaintext":
            return None
        case "ssl":
            return faust.SSLCredentials(_context(kafka))
        case "sasl_plaintext" | "sasl_ssl":
            mechanism = kafka.get("sasl.mechanism") or kafka.get("sasl.mechanisms") or ""
            if mechanism not in MECHANISMS:
                raise InvalidSettings(
                    f"MLC_KAFKA_CONFIG: sasl.mechanism is one of {', '.join(sorted(MECHANISMS))} here"
                )
            return faust.SASLCredentials(
                username=kafka.get("sasl.username"),
                password=kafka.get("sasl.password"),
                ssl_context=_context(kafka) if protocol == "sasl_ssl" else None,
                mechanism=mechanism,
            )
    raise InvalidSettings("MLC_KAFKA_CONFIG: security.protocol is plaintext, ssl, sasl_plaintext or sasl_ssl")


def _context(kafka: Mapping[str, str]) -> ssl.SSLContext:
    """The broker's name is always verified. Raises InvalidSettings."""
    try:
        context = ssl.create_default_context(cafile=kafka.get("ssl.ca.location"))
        if "ssl.certificate.location" in kafka:
            context.load_cert_chain(
                kafka["ssl.certificate.location"], kafka.get("ssl.key.location"), kafka.get("ssl.key.password")
            )
    except OSError as error:  # also ssl.SSLError
        raise InvalidSettings(f"MLC_KAFKA_CONFIG: a certificate cannot be read ({type(error).__name__})") from error
    return context
