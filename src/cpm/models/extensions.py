"""What the tables need of PostgreSQL beside its core."""

from typing import Any

from django.contrib.postgres.operations import TrigramExtension
from django.db import DatabaseError


class ExtensionMissing(Exception):
    """PostgreSQL lacks an extension that this user may not make; the text says what to do."""


class Trigrams(TrigramExtension):
    """The extension by which long lists are searched. It comes with PostgreSQL."""

    def database_forwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        """Make it, unless somebody has; raises ExtensionMissing."""
        try:
            super().database_forwards(app_label, schema_editor, *states)
        except DatabaseError as error:
            name = schema_editor.connection.settings_dict["NAME"]
            raise ExtensionMissing(
                f"The database {name} needs the extension pg_trgm, which comes with PostgreSQL, and"
                f" this user may not make it: {str(error).strip()}. Have an administrator of the"
                " database run `CREATE EXTENSION pg_trgm;` in it, and start again."
            ) from error
