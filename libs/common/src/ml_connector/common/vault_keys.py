"""The vault with the keys that MLC_VAULT_KEYS_FILE holds now: a new key needs no restart.

A file that is half written, empty or gone changes nothing: the keys from before stay, and the log says so once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ml_connector.common.clock import Clock
from ml_connector.common.errors import InvalidSettings
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.vault import Vault

log = get_logger()

LOOK_S: Final = 5.0  # how old the keys may be


class VaultKeys:
    """Raises InvalidSettings when there are none at the start."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._text = _read(settings)
        self._problem = ""
        self.vault = Vault.from_text(self._text)

    def fresh(self) -> Vault:
        """Blocks while the file is read."""
        self.look()
        return self.vault

    def look(self) -> bool:
        """Read the file again. Whether there are other keys now."""
        if self._settings.vault_keys_file is None:
            return False
        try:
            text = _read(self._settings)
            vault = self.vault if text == self._text else Vault.from_text(text)
        except InvalidSettings as error:
            self._complain(str(error))
            return False
        self._problem = ""
        changed = vault is not self.vault
        self._text, self.vault = text, vault
        if changed:
            log.info("vault_keys_read", kek=vault.active, count=len(vault.ids))
        return changed

    async def follow(self, changed: Callable[[], None]) -> None:
        """Until cancelled. `changed` is called on the event loop."""
        known = self.vault
        while True:
            await self._clock.sleep(LOOK_S)
            await asyncio.to_thread(self.look)
            if self.vault is not known:  # `look` may have been called by somebody else
                known = self.vault
                changed()

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            log.error("vault_keys_kept", problem=problem)
        self._problem = problem


def _read(settings: Settings) -> str:
    try:
        return settings.vault_key_text()
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:  # its text quotes bytes
        problem = "not text in UTF-8"
    raise InvalidSettings(f"MLC_VAULT_KEYS_FILE: {settings.vault_keys_file} cannot be read: {problem}")
