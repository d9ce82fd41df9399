"""`python -m cpm.api.openapi_file`: the OpenAPI document as YAML, for `docs/openapi.yaml`."""

import json
import sys

import django
import yaml

from cpm.api.shapes import encode
from cpm.api.versions import LATEST


def text() -> str:
    """The document of the latest version, in the order in which it was made."""
    # Operations know models, which can be imported once Django is ready.
    from cpm.api.openapi import document  # noqa: PLC0415
    from cpm.api.routes import OPERATIONS  # noqa: PLC0415

    plain = json.loads(encode(document(OPERATIONS, LATEST)))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(text())
