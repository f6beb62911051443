"""Print the API's OpenAPI description; `dashboard/openapi.json` is this, and the dashboard's types are made from it.

python -m scripts.openapi > dashboard/openapi.json && (cd dashboard && npm run types)
"""

from __future__ import annotations

import json
import sys
import tempfile

from utils.bootstrap import Services
from utils.settings import load
from Watchers.api import openapi
from Watchers.dashboard import create_app


def text() -> str:
    """The description as it is committed: indented JSON with a newline at its end."""
    with tempfile.TemporaryDirectory() as home:
        services = Services(load({"ENV_FILE": "", "VAULT_PATH": f"{home}/vault", "STATE_DIR": f"{home}/state"}))
        try:
            app = create_app(services.settings)
            return json.dumps(openapi.describe(app), indent=1, ensure_ascii=False) + "\n"
        finally:
            services.close()


def main() -> int:
    """Entry point."""
    sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
