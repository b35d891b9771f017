"""python -m ml_connector.sandbox.netsuite"""

from ml_connector.sandbox.netsuite.app import main

main()
