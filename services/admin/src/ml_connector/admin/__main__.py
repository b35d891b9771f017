"""python -m ml_connector.admin"""

from ml_connector.admin.app import main

main()
