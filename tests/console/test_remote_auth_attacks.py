"""What is not the identity provider's word to this browser, now and for once, lets nobody in."""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from lxml import etree
from saml2.xmldsig import DIGEST_SHA1

from cpm.engine import cleanup
from cpm.kernel import clock
from cpm.models.audit import AuditEntry
from cpm.models.users import UsedAssertion, User
from tests.console.browser import Browser, text_of
from tests.console.organisation import (
    COMPLETE,
    COOKIE,
    Organisation,
    begin,
    come_back,
    is_in,
)
from tests.saml.provider import encoded

NAMES = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
EXTENSIONS, OBJECT = f"{{{NAMES['samlp']}}}Extensions", f"{{{NAMES['ds']}}}Object"
NOT_ACCEPTED = "The answer of your organisation was not accepted. Log in again"
TOO_LATE = "Your log-in has taken too long, or began somewhere else."

Change = Callable[[Any], None]


def refused(browser: Browser, answer: Any, reason: str = "", message: str = NOT_ACCEPTED) -> bool:
    """Whether nobody got in, was told nothing that helps, and the trail knows why."""
    assert answer.status_code == 403
    shown = text_of(answer)
    assert message in shown
    for detail in ("ignature", "audience", "xml", "assertion"):
        assert detail not in shown
    assert not is_in(browser)
    assert not User.objects.filter(is_idp_user=True).exists()
    entry = AuditEntry.objects.get(event_type="log-in refused")
    assert entry.source_address
    assert reason in entry.description, entry.description
    return True


def part(root: Any, path: str) -> Any:
    found = root.find(path, NAMES)
    assert found is not None
    return found


def assertion_of(root: Any) -> Any:
    return part(root, "saml:Assertion")


def forged(root: Any) -> Any:
    """The assertion of somebody else, without a signature."""
    copy = deepcopy(assertion_of(root))
    copy.remove(part(copy, "ds:Signature"))
    part(copy, "saml:Subject/saml:NameID").text = "mallory"
    return copy


def without_signature(root: Any) -> None:
    assertion = assertion_of(root)
    assertion.remove(part(assertion, "ds:Signature"))


def another_name(root: Any) -> None:
    part(root, ".//saml:NameID").text = "mallory"


def another_destination(root: Any) -> None:
    root.set("Destination", "https://testserver/remote_auth/complete_login/x")


def another_question(root: Any) -> None:
    root.set("InResponseTo", "id-1")


def comment_in_name(root: Any) -> None:
    part(root, ".//saml:NameID").append(etree.Comment("x"))


def instruction_in_front(root: Any) -> None:
    root.addprevious(etree.ProcessingInstruction("x", "y"))


def unsigned_beside_signed(root: Any) -> None:
    copy = forged(root)
    copy.set("ID", "forged")
    root.insert(root.index(assertion_of(root)), copy)


def signed_in_extensions(root: Any) -> None:
    signed, copy = assertion_of(root), forged(root)
    copy.set("ID", "forged")
    root.replace(signed, copy)
    extensions = etree.Element(EXTENSIONS)
    extensions.append(signed)
    root.insert(1, extensions)


def signed_in_object(root: Any) -> None:
    signed, copy = assertion_of(root), forged(root)
    root.replace(signed, copy)
    signature = deepcopy(part(signed, "ds:Signature"))
    copy.insert(1, signature)
    etree.SubElement(signature, OBJECT).append(signed)


def signed_in_forged(root: Any) -> None:
    signed, copy = assertion_of(root), forged(root)
    root.replace(signed, copy)
    copy.set("ID", "forged")
    copy.append(signed)


def signed_response_in_forged(root: Any) -> None:
    inner = deepcopy(root)
    root.replace(assertion_of(root), forged(root))
    root.set("ID", "forged")
    extensions = etree.Element(EXTENSIONS)
    extensions.append(inner)
    root.insert(1, extensions)


def same_id_twice(root: Any) -> None:
    extensions = etree.Element(EXTENSIONS)
    etree.SubElement(extensions, "{urn:x}x").set("ID", assertion_of(root).get("ID"))
    root.insert(1, extensions)


def more_transforms(root: Any) -> None:
    transform = part(root, ".//ds:Transform")
    transform.set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_signature, "not signed"),
        (another_name, "Signature validation failed"),
        (another_destination, "sent somewhere else"),
        (another_question, "does not match the ID"),
        (comment_in_name, "comments"),
        (instruction_in_front, "comments"),
        (unsigned_beside_signed, "must contain 1 assertion"),
        (signed_in_extensions, "must contain 1 assertion"),
        (signed_in_object, "an id stands for several parts"),
        (signed_in_forged, "must contain 1 assertion"),
        (signed_response_in_forged, "an id stands for several parts"),
        (same_id_twice, "an id stands for several parts"),
        (more_transforms, "transforms"),
    ],
)
def test_an_answer_that_was_tampered_with_lets_nobody_in(
    organisation: Organisation, change: Change, reason: str
) -> None:
    browser = Browser()
    root = etree.fromstring(organisation.provider.answer(begin(browser)))
    change(root)
    tampered = etree.tostring(root.getroottree(), encoding="unicode")
    assert refused(browser, come_back(browser, tampered), reason)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"sign_assertion": False}, "not signed"),
        ({"sign_assertion": False, "sign_response": True}, "not signed"),
        ({"digest_alg": DIGEST_SHA1}, "Deprecated digest algorithm"),
        ({"sp_entity_id": "https://other.example/metadata"}, "audience"),
        ({"destination": "https://other.example/acs"}, "other.example"),
        ({"in_response_to": "id-2"}, "does not match the ID"),
    ],
)
def test_an_answer_for_somebody_else_lets_nobody_in(
    organisation: Organisation, said: dict[str, Any], reason: str
) -> None:
    browser = Browser()
    xml = organisation.provider.answer(begin(browser), **said)
    assert refused(browser, come_back(browser, xml), reason)


def test_a_signed_answer_around_a_signed_assertion_is_as_good(organisation: Organisation) -> None:
    browser = Browser()
    xml = organisation.provider.answer(begin(browser), sign_response=True)
    assert come_back(browser, xml).status_code == 302
    assert is_in(browser)


@pytest.mark.parametrize(
    ("key", "entity_id", "reason"),
    [
        ("mallory", "https://idp.example/metadata?tenant=1&region=eu", "Signature validation"),
        ("idp", "https://other.example/", "Invalid issuer"),
    ],
)
def test_another_provider_lets_nobody_in(
    organisation: Organisation, key: str, entity_id: str, reason: str
) -> None:
    browser = Browser()
    xml = organisation.other(key, entity_id).answer(begin(browser))
    assert refused(browser, come_back(browser, xml), reason)


@pytest.mark.parametrize(("minutes", "reason"), [(11, "expired"), (-6, "not yet valid")])
def test_an_answer_is_good_for_its_time_by_the_servers_clock(
    organisation: Organisation, minutes: int, reason: str
) -> None:
    browser = Browser()
    xml = organisation.provider.answer(begin(browser))
    clock.set_offset(timedelta(minutes=minutes))
    assert refused(browser, come_back(browser, xml), reason)


def test_an_assertion_lets_somebody_in_once_and_is_then_remembered_until_it_is_too_old(
    organisation: Organisation,
) -> None:
    browser, thief = Browser(), Browser("198.51.100.1")
    xml = organisation.provider.answer(begin(browser))
    stolen = browser.cookie(COOKIE)
    assert come_back(browser, xml).status_code == 302
    assert not browser.cookie(COOKIE)
    thief.take_cookie(COOKIE, stolen)
    assert come_back(thief, xml).status_code == 403
    assert not is_in(thief)
    entry = AuditEntry.objects.get(event_type="log-in refused")
    assert (entry.description, entry.source_address) == (
        "identity provider: the assertion has been used before",
        "198.51.100.1",
    )
    cleanup.run()
    assert UsedAssertion.objects.count() == 1
    clock.set_offset(timedelta(minutes=11))
    cleanup.run()
    assert not UsedAssertion.objects.exists()


def test_an_answer_counts_in_the_browser_that_asked_alone(organisation: Organisation) -> None:
    victim = Browser()
    xml = organisation.provider.answer(begin(Browser()), "mallory")
    assert refused(victim, come_back(victim, xml), "no log-in was under way", TOO_LATE)


def test_a_cookie_that_was_made_up_asks_nothing(organisation: Organisation) -> None:
    browser = Browser()
    browser.take_cookie(COOKIE, "WyJpZC0xIiwgIi8iXQ:1vPxyz:AAAA")
    xml = organisation.provider.answer(begin(Browser()))
    assert refused(browser, come_back(browser, xml), "no log-in was under way", TOO_LATE)


def test_who_calls_the_server_by_a_name_of_his_own_does_not_make_an_answer_to_him_ours(
    organisation: Organisation,
) -> None:
    browser = Browser()
    evil = "https://evil.example/remote_auth"
    xml = organisation.provider.answer(
        begin(browser), sp_entity_id=f"{evil}/metadata", destination=f"{evil}/complete_login/"
    )
    answer = browser.post_without_token(COMPLETE, host="evil.example", SAMLResponse=encoded(xml))
    assert refused(browser, answer, "instead of https://evil.example")


@pytest.mark.parametrize(
    ("doctype", "reason"),
    [
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>', "document type"),
        ('<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY e "&a;&a;&a;&a;&a;">]>', "document type"),
        ('<!DOCTYPE x SYSTEM "http://198.51.100.1/x.dtd">', "document type"),
    ],
)
def test_entities_are_neither_fetched_nor_grown(
    organisation: Organisation, doctype: str, reason: str
) -> None:
    browser = Browser()
    xml = organisation.provider.answer(begin(browser))
    if "ENTITY e" in doctype:
        xml = xml.replace(">ann<", ">&e;<")
    assert refused(browser, come_back(browser, f"{doctype}{xml}"), reason)


@pytest.mark.parametrize("sent", ["", "%%%", "bm8geG1s", encoded("<a/>"), encoded("<a>" * 300)])
def test_what_is_no_answer_at_all_lets_nobody_in(organisation: Organisation, sent: str) -> None:
    browser = Browser()
    begin(browser)
    assert refused(browser, browser.post_without_token(COMPLETE, SAMLResponse=sent))


def test_whom_the_provider_does_not_let_in_is_told_to_ask_and_the_trail_what_it_said(
    organisation: Organisation,
) -> None:
    browser = Browser()
    answer = come_back(browser, organisation.provider.failure(begin(browser)))
    assert refused(browser, answer, "not Success")


def test_after_a_hundred_bad_answers_from_an_address_the_trail_is_spared(
    organisation: Organisation,
) -> None:
    browser = Browser()
    for _ in range(100):
        assert browser.post_without_token(COMPLETE).status_code == 403
    assert browser.post_without_token(COMPLETE).status_code == 429
    assert AuditEntry.objects.filter(event_type="log-in refused").count() == 100
    assert organisation.log_in(browser).status_code == 302
