"""Performance: what the product costs, beside something to compare it with, in one run.

Importing it makes Django ready. The database is known later (`bench.database`), unless this is a
child process, which is told by `DATABASE_URL`.
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cpm.config.settings")
os.environ.setdefault("CPM_SECRET_KEY", "the key of the benchmarks")
django.setup()
