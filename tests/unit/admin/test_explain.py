"""What failures have in common, and what helps."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.explain import field_of, letter_id, normal, signature_of, suggested_fix

SAME = [
    ("An unexpected error occurred. Error ID: k3jl2x9", "An unexpected error occurred. Error ID: 99zzq"),
    ("A customer record with ID 12 already exists.", "A customer record with ID 4711 already exists."),
    ('Invalid value "Müller & Söhne" for email', 'Invalid value "x" for email'),
    ("Invalid Field Value a@b.example for email", "Invalid Field Value other.one@c.example for email"),
    ("due 2026-01-02T03:04:05Z is closed", "due 2027-11-30 is closed"),
    ("record 5f0c1e9a-77d2-4a11-9c3e-000000000001 is locked", "record 5f0c1e9a-77d2-4a11-9c3e-ffffffffffff is locked"),
]


def signature(message: str, **more: str) -> str:
    return signature_of(
        **{"stage": "write", "code": "USER_ERROR", "field": "", "flow": "a", "message": message, **more}
    )


@pytest.mark.parametrize(("one", "other"), SAME)
def test_failures_that_differ_in_values_alone_are_one_group(one: str, other: str) -> None:
    assert signature(one) == signature(other)


@pytest.mark.parametrize("different", [{"stage": "map"}, {"code": "X"}, {"field": "email"}, {"flow": "b"}])
def test_another_stage_code_field_or_flow_is_another_group(different: dict[str, str]) -> None:
    assert signature("same") != signature("same", **different)


def test_another_text_is_another_group() -> None:
    assert signature("Please enter value(s) for: Subsidiary.") != signature("This entity already exists.")


@given(st.text(max_size=300))
def test_normalising_twice_changes_nothing(message: str) -> None:
    assert normal(normal(message)) == normal(message)


@pytest.mark.parametrize(
    ("message", "answer", "field"),
    [
        ("field 'email': expression 'data.mail': no such member", {}, "email"),
        ("Error while accessing a resource. Please enter value(s) for: Subsidiary.", {}, "Subsidiary"),
        (
            "bad reference",
            {"o:errorDetails": [{"detail": "x", "o:errorPath": "item.items[0].item"}]},
            "item.items[].item",
        ),
        ("whatever", {"o:errorDetails": "none"}, ""),
        ("whatever", ["no", "object"], ""),
    ],
)
def test_field_is_what_netsuite_or_we_name(message: str, answer: object, field: str) -> None:
    assert field_of(message, json.dumps(answer).encode()) == field


@given(st.binary(max_size=200), st.text(max_size=200))
def test_no_answer_is_too_strange(response: bytes, message: str) -> None:
    assert isinstance(field_of(message, response), str)


def test_missing_value_names_the_field_to_fill() -> None:
    fix = suggested_fix(stage="write", code="USER_ERROR", message="Please enter value(s) for: Subsidiary.")

    assert fix.startswith("Map Subsidiary in the flow")


def test_unknown_failure_gets_no_invented_advice() -> None:
    assert suggested_fix(stage="write", code="SOMETHING_NEW", message="?") == ""


def test_letter_id_is_of_cause_and_record() -> None:
    assert len({letter_id("a", "b"), letter_id("a", "c"), letter_id("ab", "")}) == 3
    assert letter_id("w:1", "k") == letter_id("w:1", "k")
