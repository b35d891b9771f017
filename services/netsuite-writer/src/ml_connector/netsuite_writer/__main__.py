"""python -m ml_connector.netsuite_writer"""

from ml_connector.netsuite_writer.app import main

main()
