"""python -m ml_connector.resolver"""

from ml_connector.resolver.app import main

main()
