"""python -m ml_connector.ingest"""

from ml_connector.ingest.allocator import give_back_at_once

give_back_at_once()

from ml_connector.ingest.app import main  # noqa: E402

main()
