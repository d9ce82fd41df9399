"""An identity provider, by pysaml2: a whole one, which has never heard of this server's code.

It reads the server's metadata, checks the signature of what it is asked, and answers. pysaml2 has
the program `xmlsec1` write its signatures; here libxmlsec1 does that through its Python binding, so
that no program has to be installed.
"""

import base64
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import xmlsec
from lxml import etree
from saml2 import BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.saml import NAME_FORMAT_UNSPECIFIED, NAMEID_FORMAT_UNSPECIFIED, NameID
from saml2.server import Server
from saml2.sigver import CryptoBackend
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

from tests.saml.keys import KeyPair

ENTITY_ID = "https://idp.example/metadata?tenant=1&region=eu"
LOG_IN = "https://idp.example/sso?tenant=1&region=eu"
LOG_OUT = "https://idp.example/slo?tenant=1"
_AUTHN = {"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"}
_DS = {"ds": "http://www.w3.org/2000/09/xmldsig#"}


class _Signer(CryptoBackend):  # type: ignore[misc]
    """Fills in the signature that pysaml2 has prepared."""

    def sign_statement(self, statement: Any, node_name: str, key_file: str, node_id: str) -> str:
        root = etree.fromstring(
            statement if isinstance(statement, bytes) else str(statement).encode()
        )
        xmlsec.tree.add_ids(root, ["ID"])
        (node,) = root.xpath("//*[@ID=$id]", id=node_id)
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_file(key_file, xmlsec.constants.KeyDataFormatPem)
        context.sign(node.find("ds:Signature", _DS))
        return str(etree.tostring(root, encoding="unicode"))


class Provider:
    """Answers for people of any name, in any groups."""

    def __init__(
        self, folder: Path, pair: KeyPair, metadata: str, entity_id: str = ENTITY_ID
    ) -> None:
        folder.mkdir(exist_ok=True)
        key_file, cert_file = pair.write(folder)
        service = {
            "endpoints": {
                "single_sign_on_service": [(LOG_IN, BINDING_HTTP_REDIRECT)],
                "single_logout_service": [(LOG_OUT, BINDING_HTTP_REDIRECT)],
            },
            "want_authn_requests_signed": True,
            "policy": {
                "default": {"lifetime": {"minutes": 5}, "name_form": NAME_FORMAT_UNSPECIFIED}
            },
        }
        config = IdPConfig().load(
            {
                "entityid": entity_id,
                # It is looked for, and not used.
                "xmlsec_binary": sys.executable,
                "key_file": key_file,
                "cert_file": cert_file,
                "metadata": {"inline": [metadata]},
                "service": {"idp": service},
            }
        )
        self._server = Server(config=config)
        self._server.sec.crypto = _Signer()

    def question(self, url: str) -> Any:
        """What the server has sent a browser to ask; its signature is checked."""
        query = _query(url)
        request = self._server.parse_authn_request(
            query["SAMLRequest"],
            BINDING_HTTP_REDIRECT,
            sigalg=query["SigAlg"],
            signature=query["Signature"],
        )
        return request.message

    def answer(
        self,
        url: str,
        name: str = "ann",
        *,
        claims: dict[str, list[str]] | None = None,
        name_format: str = NAMEID_FORMAT_UNSPECIFIED,
        sign_assertion: bool = True,
        sign_response: bool = False,
        digest_alg: str = DIGEST_SHA256,
        **changed: Any,
    ) -> str:
        """The XML with which a browser is sent back; `changed` is what a liar says instead."""
        arguments = {**self._server.response_args(self.question(url)), **changed}
        arguments.pop("binding", None)
        arguments.pop("binding_out", None)
        return str(
            self._server.create_authn_response(
                {"cpm_user_groups": ["staff", "default_managed_users"], **(claims or {})},
                userid=name,
                name_id=NameID(format=name_format, text=name),
                authn=_AUTHN,
                sign_assertion=sign_assertion,
                sign_response=sign_response,
                sign_alg=SIG_RSA_SHA256,
                digest_alg=digest_alg,
                **arguments,
            )
        )

    def failure(self, url: str) -> str:
        """The XML with which a browser is sent back that the provider does not let in."""
        request = self.question(url)
        (destination,) = {request.assertion_consumer_service_url}
        return str(
            self._server.create_error_response(
                request.id, destination, ValueError("locked <b>out</b>"), sign=False
            )
        )

    def log_out_request(self, url: str) -> Any:
        """What the server wants at a log-out; its signature is checked."""
        query = _query(url)
        request = self._server.parse_logout_request(
            query["SAMLRequest"],
            BINDING_HTTP_REDIRECT,
            sigalg=query["SigAlg"],
            signature=query["Signature"],
        )
        return request.message

    def ask_log_out(self, destination: str, name: str, *, sign: bool = True) -> str:
        """The address to which a browser is sent that is to be logged out."""
        _, request = self._server.create_logout_request(
            destination,
            issuer_entity_id=ENTITY_ID,
            name_id=NameID(format=NAMEID_FORMAT_UNSPECIFIED, text=name),
        )
        sent = self._server.apply_binding(
            BINDING_HTTP_REDIRECT,
            str(request),
            destination,
            relay_state="state",
            sign=sign,
            sigalg=SIG_RSA_SHA256,
        )
        return str(dict(sent["headers"])["Location"])

    def log_out_answer(self, url: str) -> Any:
        """What the server has said to a wish to log somebody out."""
        query = _query(url)
        response = self._server.parse_logout_request_response(
            query["SAMLResponse"], BINDING_HTTP_REDIRECT
        )
        return response.response


def encoded(xml: str) -> str:
    """XML as a form carries it."""
    return base64.b64encode(xml.encode()).decode()


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
