"""Write docs/metrics.md: `python -m ml_connector.cli.metric_docs > docs/metrics.md`; a test compares."""

from __future__ import annotations

import sys

from ml_connector.common.metrics import document

if __name__ == "__main__":
    sys.stdout.write(document())
