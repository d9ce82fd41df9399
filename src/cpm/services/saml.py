"""What this server says to the identity provider in SAML 2.0: who it is, log-ins, log-outs.

What the provider says of people, and why it is believed, is in `assertions`.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.authn_request import OneLogin_Saml2_Authn_Request
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.logout_request import OneLogin_Saml2_Logout_Request
from onelogin.saml2.logout_response import OneLogin_Saml2_Logout_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from cpm.engine.settings import IdentityProvider
from cpm.kernel import clock
from cpm.services import own_certificate
from cpm.services.identity_provider import NAME_ID_FORMATS, certificates

# The library asks the system's clock, and in this one place; the server's may differ (rehearsals).
OneLogin_Saml2_Utils.now = staticmethod(lambda: int(clock.now().timestamp()))

_ALGORITHM = OneLogin_Saml2_Constants.RSA_SHA256


class NotVouchedFor(Exception):
    """What came is not the provider's word to this server; why not is for the audit trail alone."""


@dataclass(frozen=True)
class Subject:
    """By what the provider knows somebody who has logged in, to be told when he logs out."""

    name: str
    name_format: str = ""
    name_qualifier: str = ""
    sp_name_qualifier: str = ""
    session_index: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A log-in that is begun: what the provider's answer has to name, and where to ask."""

    request_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this server is, as the provider and browsers know it."""

    host: str

    @property
    def entity_id(self) -> str:
        """The server's name, which is the address of its metadata."""
        return f"https://{self.host}/remote_auth/metadata"

    @property
    def log_in(self) -> str:
        """Where the provider's answers come to."""
        return f"https://{self.host}/remote_auth/complete_login/"

    @property
    def log_out(self) -> str:
        """Where people come back to after a log-out."""
        return f"https://{self.host}/remote_auth/complete_logout/"


def metadata(host: str) -> str:
    """What the provider has to know about this server; `host` is where it is being called.

    Once a provider is enabled the server is where it was then, however it is called.
    """
    provider = IdentityProvider.current()
    shown = library(provider, Addresses(provider.server_host or host)).get_sp_metadata()
    return shown.decode() if isinstance(shown, bytes) else str(shown)


def ask(provider: IdentityProvider) -> Question:
    """Begin a log-in."""
    auth = _auth(provider)
    request = OneLogin_Saml2_Authn_Request(auth.get_settings())
    parameters = {"SAMLRequest": request.get_request()}
    auth.add_request_signature(parameters, _ALGORITHM)
    return Question(request.get_id(), OneLogin_Saml2_Utils.redirect(provider.login_url, parameters))


def log_out_url(subject: Subject) -> str | None:
    """Where to log out of the provider as well, if that can be done."""
    provider = IdentityProvider.current()
    if not provider.enabled or not provider.logout_url:
        return None
    auth = _auth(provider)
    request = OneLogin_Saml2_Logout_Request(
        auth.get_settings(),
        name_id=subject.name,
        name_id_format=subject.name_format or None,
        nq=subject.name_qualifier or None,
        spnq=subject.sp_name_qualifier or None,
        session_index=html.escape(subject.session_index),
    )
    parameters = {"SAMLRequest": request.get_request()}
    auth.add_request_signature(parameters, _ALGORITHM)
    return str(OneLogin_Saml2_Utils.redirect(provider.logout_url, parameters))


@dataclass(frozen=True, slots=True)
class LogOutWish:
    """The provider wants somebody logged out; `answer_url` tells it that he is."""

    name: str
    answer_url: str


def read_log_out(query: str) -> LogOutWish:
    """What the provider asks for in the query of an address; raises `NotVouchedFor`."""
    provider = IdentityProvider.current()
    if not provider.enabled or not provider.logout_url:
        raise NotVouchedFor("log-outs are not set up")
    given = _parameters(query)
    here = Addresses(provider.server_host)
    received: dict[str, Any] = {**request_at(here.log_out), "get_data": given}
    received |= {"query_string": query, "validate_signature_from_qs": True}
    auth = OneLogin_Saml2_Auth(received, library(provider, here))
    try:
        request = _signed_log_out(auth, received)
        name = OneLogin_Saml2_Logout_Request.get_nameid(request.get_xml())
    except NotVouchedFor:
        raise
    except Exception as error:  # the library knows no narrower one
        raise NotVouchedFor(str(error)) from error
    return LogOutWish(str(name), _answer(auth, provider, request.id, given.get("RelayState")))


def library(provider: IdentityProvider, here: Addresses) -> OneLogin_Saml2_Settings:
    """The settings as the library wants them, which writes them into XML as they are."""
    own = own_certificate.key_pair()
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {
                "entityId": here.entity_id,
                "assertionConsumerService": {"url": here.log_in},
                "singleLogoutService": {"url": here.log_out},
                "NameIDFormat": NAME_ID_FORMATS.get(
                    provider.name_id_format, provider.name_id_format
                ),
                "x509cert": own.certificate,
                "privateKey": own.key,
            },
            "idp": {
                "entityId": provider.entity_id,
                "singleSignOnService": {"url": html.escape(provider.login_url)},
                "singleLogoutService": {"url": html.escape(provider.logout_url)},
                "x509certMulti": {"signing": certificates(provider.x509_cert)},
            },
            "security": _SECURITY,
        },
        # Addresses are checked when they are set.
        sp_validation_only=True,
    )


_SECURITY: Mapping[str, object] = {
    "authnRequestsSigned": True,
    "wantAssertionsSigned": True,
    "rejectDeprecatedAlgorithm": True,
    # How somebody proves who he is, is the provider's business.
    "requestedAuthnContext": False,
    # Whether the claims are enough is said in words of our own.
    "wantAttributeStatement": False,
    "allowRepeatAttributeName": True,
    "allowSingleLabelDomains": True,
    "metadataValidUntil": "",
    "metadataCacheDuration": "",
}


def _auth(provider: IdentityProvider) -> OneLogin_Saml2_Auth:
    return OneLogin_Saml2_Auth({}, library(provider, Addresses(provider.server_host)))


def request_at(url: str) -> dict[str, str]:
    """A request for an address, as the library wants it."""
    host, _, path = url.removeprefix("https://").partition("/")
    return {"https": "on", "http_host": host, "script_name": f"/{path}"}


def _signed_log_out(
    auth: OneLogin_Saml2_Auth, received: Mapping[str, Any]
) -> OneLogin_Saml2_Logout_Request:
    given = received["get_data"]
    request = OneLogin_Saml2_Logout_Request(auth.get_settings(), given.get("SAMLRequest", ""))
    # The library is content without a signature.
    if "Signature" not in given or not auth.validate_request_signature(given):
        raise NotVouchedFor("the request to log out is not signed by the provider")
    request.is_valid(received, raise_exceptions=True)
    return request


def _answer(
    auth: OneLogin_Saml2_Auth, provider: IdentityProvider, request_id: str, state: str | None
) -> str:
    response = OneLogin_Saml2_Logout_Response(auth.get_settings())
    response.build(request_id)
    parameters = {"SAMLResponse": response.get_response()}
    if state is not None:
        parameters["RelayState"] = state
    auth.add_response_signature(parameters, _ALGORITHM)
    return str(OneLogin_Saml2_Utils.redirect(provider.logout_url, parameters))


def _parameters(query: str) -> dict[str, str]:
    """The parameters of a signed query, each in the one form of its name that is signed."""
    pairs = [pair.partition("=") for pair in query.split("&")]
    given = {name: unquote_plus(value) for name, _, value in pairs}
    if len(given) < len(pairs):
        raise NotVouchedFor("a parameter is given twice")
    return given
