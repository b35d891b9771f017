"""A test that silently does not run proves nothing."""

from support.unlisted import unlisted


def test_skip_without_a_reason_is_named() -> None:
    found = unlisted({"skipped": ["tests/a.py::x", "tests/a.py::y"]}, {"tests/a.py::y": "needs PostgreSQL"})

    assert found == ["skipped: tests/a.py::x"]


def test_empty_reason_is_no_reason() -> None:
    assert unlisted({"rerun": ["tests/a.py::x"]}, {"tests/a.py::x": ""}) == ["rerun: tests/a.py::x"]
