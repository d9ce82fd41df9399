"""The WSGI application that the web server runs."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cpm.config.settings")

application = get_wsgi_application()

from cpm.engine import metrics  # noqa: E402 - Django is ready only now
from cpm.kernel import memory  # noqa: E402

metrics.keep_flushing()
memory.settle()
