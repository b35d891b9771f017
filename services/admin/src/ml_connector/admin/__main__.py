"""python -m ml_connector.admin [migrate]"""

import sys

from ml_connector.admin import app, migrate

if len(sys.argv) == 1:
    app.main()
elif sys.argv[1:] == ["migrate"]:
    migrate.main()
else:
    raise SystemExit("the admin service knows one command, `migrate`; without one it serves")
