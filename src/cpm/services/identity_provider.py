"""Settings of the identity provider, and what its certificates mean."""

import base64
import binascii
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction

from cpm.engine.settings import IdentityProvider
from cpm.kernel import names
from cpm.kernel.invalid import Invalid, Problem
from cpm.queries.people import Person
from cpm.services import access, settings
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.kinds import boolean, choice, text

# By the word that settings use.
NAME_ID_FORMATS = {
    "unspecified": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
    "emailAddress": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
    "persistent": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    "transient": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
}
_MAX_CERTIFICATE_LENGTH = 65536


def certificates(given: str) -> list[str]:
    """The certificates of a PEM text, or the one of bare base64, each in PEM; none of nothing.

    Several are what a provider has while it changes its key. Raises `Invalid`.
    """
    if not given.strip():
        return []
    try:
        if "-----BEGIN" in given:
            found = x509.load_pem_x509_certificates(given.encode())
        else:
            bare = base64.b64decode("".join(given.split()), validate=True)
            found = [x509.load_der_x509_certificate(bare)]
        return [each.public_bytes(Encoding.PEM).decode() for each in found]
    except (ValueError, binascii.Error):
        message = "Not an X.509 certificate, neither in PEM nor in base64."
        raise Invalid(Problem("invalid", message)) from None


def _certificate(given: str) -> str:
    certificates(given)
    return given.strip()


FIELDS = Fields(
    (
        Field("enabled", boolean()),
        Field("entity_id", text(names.description, blank=True)),
        Field("login_url", text(names.url, blank=True, max_length=names.MAX_URL_LENGTH)),
        Field("logout_url", text(names.url, blank=True, max_length=names.MAX_URL_LENGTH)),
        Field("name_id_format", choice(*NAME_ID_FORMATS, *NAME_ID_FORMATS.values())),
        Field("x509_cert", text(_certificate, blank=True, max_length=_MAX_CERTIFICATE_LENGTH)),
    )
)
_NEEDED = ("entity_id", "login_url", "x509_cert")


@transaction.atomic
def update(data: Mapping[str, object], *, server_host: str, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden` and `Invalid`.

    `server_host` is where root has called the server. What enables the provider keeps it: who
    could choose it later could present what the provider has vouched for to somebody else.
    """
    access.require(actor, Action.CHANGE_SERVER)
    given = FIELDS.read(data, partial=True)
    kept = IdentityProvider.locked()
    if given.get("enabled", kept.enabled):
        faulty = {problem.field for problem in given.problems}
        for name in _NEEDED:
            if name not in faulty and not given.get(name, getattr(kept, name)):
                given.refuse(name, "required", "An identity provider that is enabled needs this.")
    given.check()
    settings.change(IdentityProvider, given, actor=actor)
    if given.get("enabled"):
        IdentityProvider.change(server_host=server_host)
