"""What writes of users and of delegates share."""

from collections.abc import Mapping

from cpm.kernel.invalid import Invalid, Problem
from cpm.models.users import User
from cpm.services import passwords
from cpm.services.fields import Field, Fields
from cpm.services.kinds import password

RESET_FIELDS = Fields((Field("new_password", password(), required=True),))


def reset_password(person: User, data: Mapping[str, object]) -> None:
    """Give somebody a new password; the row is locked. Raises `Invalid`."""
    refuse_provided(person)
    given = RESET_FIELDS.read(data)
    passwords.put(given, "new_password", person)
    given.check()
    person.save(update_fields=["password"])


def refuse_provided(person: User) -> None:
    """Raise `Invalid` for somebody whom the identity provider keeps."""
    if person.is_idp_user:
        raise Invalid(Problem("invalid", "A user of the identity provider can only be deleted."))
