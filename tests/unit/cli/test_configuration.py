"""The configuration page is made from the settings, and checked in as made."""

from __future__ import annotations

from pathlib import Path

from ml_connector.cli.configuration import document

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text() == document(), "run: python -m ml_connector.cli.configuration > docs/configuration.md"
