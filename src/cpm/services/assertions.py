"""What the identity provider says of people, and why it is believed.

The library checks schema, signatures, issuer and times. Where the standard leaves things open, or
the library lets pass what is not there, this server wants it there: an answer is to one question
of one browser, to this server, signed, and good for once.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lxml import etree
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from cpm.engine.settings import IdentityProvider
from cpm.kernel import clock
from cpm.models.users import UsedAssertion
from cpm.services import saml
from cpm.services.saml import Addresses, NotVouchedFor, Subject

_NAMES = {
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "xenc": "http://www.w3.org/2001/04/xmlenc#",
}
_BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
# What the standard allows; others can make a signature cover less than it seems to.
_TRANSFORMS = frozenset(
    {
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
    }
)


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the provider says of somebody who has logged in there."""

    subject: Subject
    claims: Mapping[str, list[str]]


def believe(answer: str, request_id: str) -> Vouched:
    """What an answer says, if it is the provider's to the question of this id; "" is no question.

    It says it once. Raises `NotVouchedFor`.
    """
    if not request_id:
        raise NotVouchedFor("no log-in was under way in this browser")
    provider = IdentityProvider.current()
    if not provider.enabled:
        raise NotVouchedFor("no identity provider is enabled")
    here = Addresses(provider.server_host)
    try:
        response = _verified(answer, request_id, provider, here)
        document = response.get_xml_document()
        expires_at = _meant_for_us(document, request_id, here)
        vouched = Vouched(_subject(response), _claims(response))
        assertion_id = response.get_assertion_id()
    except NotVouchedFor:
        raise
    except Exception as error:  # the library knows no narrower one
        raise NotVouchedFor(str(error)) from error
    _use_up(provider.entity_id, assertion_id, expires_at)
    return vouched


def _verified(
    answer: str, request_id: str, provider: IdentityProvider, here: Addresses
) -> OneLogin_Saml2_Response:
    _refuse_strange(OneLogin_Saml2_Utils.b64decode(answer))
    response = OneLogin_Saml2_Response(saml.library(provider, here), answer)
    response.is_valid(saml.request_at(here.log_in), request_id, raise_exceptions=True)
    return response


def _refuse_strange(content: bytes) -> None:
    """Refuse what no provider writes, and what only helps to read a document in two ways."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = etree.fromstring(content, parser)
    if root.getroottree().docinfo.doctype:
        raise NotVouchedFor("the answer declares a document type")
    if root.getprevious() is not None or not all(isinstance(e.tag, str) for e in root.iter()):
        raise NotVouchedFor("the answer has comments or instructions")
    if root.find(".//xenc:*", _NAMES) is not None:
        raise NotVouchedFor("the answer is encrypted, which this server does not ask for")
    ids = root.xpath("//@ID | //@Id | //@id")
    if len(ids) != len(set(ids)):
        raise NotVouchedFor("an id stands for several parts of the answer")
    for signature in root.iterfind(".//ds:Signature", _NAMES):
        _refuse_strange_signature(signature)


def _refuse_strange_signature(signature: Any) -> None:
    if len(signature.findall(".//ds:Reference", _NAMES)) != 1:
        raise NotVouchedFor("a signature is not of one part of the answer")
    if signature.find(".//ds:Object", _NAMES) is not None:
        raise NotVouchedFor("a signature has content of its own")
    transforms = signature.iterfind(".//ds:Transform", _NAMES)
    if not {each.get("Algorithm") for each in transforms} <= _TRANSFORMS:
        raise NotVouchedFor("a signature transforms what it signs")


def _meant_for_us(document: Any, request_id: str, here: Addresses) -> datetime:
    """When nobody can use the answer any longer; raises `NotVouchedFor` unless it is to us."""
    if document.get("InResponseTo") != request_id:
        raise NotVouchedFor("the answer is to another question")
    if document.get("Destination", here.log_in) != here.log_in:
        raise NotVouchedFor("the answer was sent somewhere else")
    assertion = document.find("saml:Assertion", _NAMES)
    audiences = assertion.findall("saml:Conditions/saml:AudienceRestriction", _NAMES)
    if not audiences or not all(here.entity_id in _texts(each) for each in audiences):
        raise NotVouchedFor("the assertion is for another audience")
    confirmations = [
        each
        for each in assertion.iterfind("saml:Subject/saml:SubjectConfirmation", _NAMES)
        if each.get("Method") == _BEARER
    ]
    ends = [_end(each, request_id, here) for each in confirmations]
    usable = [end for end in ends if end is not None and end > clock.now()]
    if not usable:
        raise NotVouchedFor("the assertion is not for this question, this address and this time")
    return max(usable)


def _end(confirmation: Any, request_id: str, here: Addresses) -> datetime | None:
    """Until when somebody may come with the assertion; None where he may not come here."""
    data = confirmation.find("saml:SubjectConfirmationData", _NAMES)
    if data is None or data.get("InResponseTo") != request_id:
        return None
    if data.get("Recipient") != here.log_in or not data.get("NotOnOrAfter"):
        return None
    seconds = OneLogin_Saml2_Utils.parse_SAML_to_time(data.get("NotOnOrAfter"))
    return datetime.fromtimestamp(seconds, UTC)


def _texts(restriction: Any) -> list[str]:
    return [(each.text or "").strip() for each in restriction.iterfind("saml:Audience", _NAMES)]


def _subject(response: OneLogin_Saml2_Response) -> Subject:
    name = response.get_nameid_data()
    return Subject(
        name=str(name["Value"]),
        name_format=str(name.get("Format") or ""),
        name_qualifier=str(name.get("NameQualifier") or ""),
        sp_name_qualifier=str(name.get("SPNameQualifier") or ""),
        session_index=str(response.get_session_index() or ""),
    )


def _claims(response: OneLogin_Saml2_Response) -> dict[str, list[str]]:
    """The values of attributes by their names, texts alone."""
    attributes = response.get_attributes()
    return {
        str(name): [value for value in values if isinstance(value, str)]
        for name, values in attributes.items()
    }


def _use_up(entity_id: str, assertion_id: str, expires_at: datetime) -> None:
    """Remember an assertion, which all processes then know; raises `NotVouchedFor` if one did."""
    digest = hashlib.sha256(f"{entity_id}\n{assertion_id}".encode()).hexdigest()
    found = UsedAssertion.objects.get_or_create(digest=digest, defaults={"expires_at": expires_at})
    _, is_new = found
    if not is_new:
        raise NotVouchedFor("the assertion has been used before")
