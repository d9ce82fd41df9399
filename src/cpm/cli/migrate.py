"""`cpm migrate`: brings the database up to this version of the product."""

from django.core.management import call_command
from django.db import connection

from cpm.cli.connection import connect
from cpm.cli.terminal import DataOption, fail, say
from cpm.server.data import DataDirectory

# Servers that start together must not migrate together: any number that nothing else here uses.
_LOCK = 0x63706D00


def migrate(data: DataOption = None) -> None:
    """Create or update the tables, and make what every server has: root, built-in groups."""
    settings = connect(data)
    from cpm.models.extensions import ExtensionMissing
    from cpm.services import groups, users

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            call_command("migrate", interactive=False, verbosity=0)
            users.ensure_root(settings.root_password, DataDirectory(settings.data).root_password)
            groups.ensure_built_ins()
        except ExtensionMissing as error:
            fail(str(error))
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    say("The database is up to date.")
