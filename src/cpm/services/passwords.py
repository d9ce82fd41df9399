"""The rules that passwords obey, wherever one is set."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from cpm.models.users import User
from cpm.services.given import Given


def put(given: Given, field: str, user: User) -> None:
    """Make `field` the user's password, or note every rule that it breaks for him.

    The row is not written. Who is logged in to the console with the old one is logged out.
    """
    if field not in given:
        return
    try:
        validate_password(given[field], user)
    except ValidationError as error:
        for fault in error.error_list:
            given.refuse(field, fault.code or "invalid", " ".join(fault.messages))
    else:
        user.set_password(given[field])
