"""python -m ml_connector.sandbox.pipedrive"""

from ml_connector.sandbox.pipedrive.app import main

main()
