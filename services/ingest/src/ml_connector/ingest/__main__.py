"""python -m ml_connector.ingest"""

from ml_connector.ingest.app import main

main()
