"""What somebody may not see is, to him, not there: no answer differs from that about nothing."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import pytest

from cpm.models.users import UserKind
from cpm.services.fields import Field
from tests.api.cast import Caller, caller, make_user
from tests.api.matrix import SWITCHES
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.endpoints import ENDPOINTS, Endpoint, bodies
from tests.api.nouns.estate import Estate, drain
from tests.api.nouns.everything import address_of, taken_back
from tests.api.nouns.organisation import NOWHERE, Organisation

pytestmark = pytest.mark.django_db  # of which the organisation alone would not have one made

Ids = dict[str, int]

ALL = "+".join(sorted(SWITCHES))
WITH_IDS = [each for each in ENDPOINTS if "{" in each.path]
LISTS = [each for each in ENDPOINTS if each.operation.listing is not None]

# Who asks, whose objects he sees, and whose he does not.
ASKERS = [
    *(("mia", "mia", "ines"), ("ines", "ines", "mia"), ("root", "mia", "ines")),
    (f"mia+{ALL}", "mia", "ines"),
]

# What the fields and filters that hold ids refer to.
REFERENCES = {
    "user": "^users",
    "original_user": "^users",
    "account": "accounts/backup",
    "assume_from_account": "accounts/backup",
    "cross_account_dr_account": "accounts/dr",
    "repository": "s3_repositories",
    "schedules": "^schedules",
    "policy": "policies",
    "backup": "backups",
}

# Of these root sees everybody's.
USERS = ("/users/", "/reports/usage/")

# The filters that take words; a region is nobody's.
TEXTS = {"name", "username", "resource"}

# What makes references in bodies count.
ENABLED = {
    "authentication": "A",
    "account_number": "123456789012",
    "role_name": "r",
    "enabled": True,
    "channel_type": "sns",
    "cross_account_enabled": True,
}

CHANGED_AT = re.compile(rb'"last_modified":"[^"]*"')

# What is in the answers of one's own that can be nobody else's.
TELLTALE = re.compile(r"\b(?:(?:vol|snap|ami|i)-[0-9a-f]{8,}|AKIA[A-Z0-9]+|[0-9]{12})\b")


def told(
    who: Caller, one: Endpoint, path: str, body: object = None
) -> tuple[int, bytes, dict[str, str]]:
    """All that an answer says, but for the second in which it was asked for."""
    with taken_back():
        answer = who.send(one.method, path, body or {}, headers={"accept": one.accept})
    said = {name: answer.headers[name] for name in answer.headers if name != "X-Request-ID"}
    return answer.status, CHANGED_AT.sub(b'"last_modified":null', answer.body), said


def strangely_addressed(one: Endpoint, own: Ids, foreign: Ids) -> Iterator[tuple[str, str]]:
    """Every address in which own ids are mixed with foreign ones, and the like with none."""
    parts = re.split(r"\{[^}]*\}", one.path)
    mine, others = (ids_in(address_of(one.path, ids)) for ids in (own, foreign))
    for choice in product((False, True), repeat=len(mine)):
        trial = [
            theirs if is_foreign else id_
            for id_, theirs, is_foreign in zip(mine, others, choice, strict=True)
        ]
        if trial != mine:
            nothing = [
                NOWHERE if is_foreign else id_ for id_, is_foreign in zip(mine, choice, strict=True)
            ]
            yield filled(parts, trial), filled(parts, nothing)


def ids_in(path: str) -> list[str]:
    return re.findall(r"(?<=/)[0-9]+(?=/)", path)


def filled(parts: list[str], ids: Sequence[object]) -> str:
    return "".join(f"{part}{id_}" for part, id_ in zip(parts, [*ids, ""], strict=True))


def is_reference(field: Field) -> bool:
    schema = field.kind.schema
    return bool(schema.get("items", schema).get("format") == "int64")


def as_sent(field: Field, id_: int) -> object:
    return [id_] if field.kind.schema["type"] == "array" else id_


def test_an_id_of_somebody_elses_in_a_path_is_that_of_nothing(organisation: Organisation) -> None:
    for name, owner, stranger in ASKERS:
        who = organisation.members[name]
        own, foreign = organisation.ids[owner], organisation.ids[stranger]
        for one in WITH_IDS:
            if name == "root" and one.path.startswith(USERS):
                continue
            for there, nowhere in strangely_addressed(one, own, foreign):
                answer = told(who.caller, one, there)
                assert answer == told(who.caller, one, nowhere), (name, one, there)
                assert answer[0] == (404 if who.may(one) else 403), (name, one, there)


def test_an_id_of_somebody_elses_in_a_body_is_that_of_nothing(organisation: Organisation) -> None:
    refused = set()
    for name, owner, stranger in ASKERS:
        who, estate = organisation.members[name], organisation.estates[owner]
        own, foreign = organisation.ids[owner], organisation.ids[stranger]
        sent = bodies(estate, who.caller.id)
        for one in ENDPOINTS:
            for field in filter(is_reference, one.operation.body or ()):
                path, body = address_of(one.path, own), sent.get(one.place, {}) | ENABLED
                id_ = foreign[REFERENCES[field.name]]
                answer, nothing = (
                    told(who.caller, one, path, body | {field.name: as_sent(field, value)})
                    for value in (id_, NOWHERE)
                )
                said = answer[1].replace(b'\\"%d\\"' % id_, b'\\"%d\\"' % NOWHERE)
                assert (answer[0], said) == nothing[:2], (name, one, field.name)
                refused |= {field.name} if answer[0] == 400 else set()
    assert refused == set(REFERENCES) - {"policy", "backup"}


def differently_found(
    who: Caller, one: Endpoint, path: str, queries: Iterable[tuple[str, object, object]]
) -> list[str]:
    """The queries, each with a gap, that find something else by a value than by nothing's."""
    return [
        query
        for query, value, nothing in queries
        if told(who, one, f"{path}?{query}={value}") != told(who, one, f"{path}?{query}={nothing}")
    ]


def test_nothing_is_found_by_ids_and_words_of_somebody_elses(organisation: Organisation) -> None:
    for name, owner, stranger in ASKERS[:3]:
        who, foreign = organisation.caller(name), organisation.ids[stranger]
        for one in LISTS:
            if name == "root" and one.path.startswith(USERS):
                continue
            path = address_of(one.path, organisation.ids[owner])
            filters = one.operation.listing.filters if one.operation.listing else {}
            by_id: list[tuple[str, object, object]] = [
                (each, foreign[REFERENCES[each]], NOWHERE) for each in filters if each in REFERENCES
            ]
            words = telltales(organisation.caller(stranger), one, foreign)
            assert words.isdisjoint(telltales(who, one, organisation.ids[owner]))
            by_word: list[tuple[str, object, object]] = [
                (each, word, "nothing-is-called-so")
                for each in ("search", *(TEXTS & set(filters)))
                for word in sorted(words)[:3]
            ]
            assert differently_found(who, one, path, by_id + by_word) == [], (name, one)


def telltales(who: Caller, one: Endpoint, ids: Ids) -> set[str]:
    """What a list of somebody's says that could be nobody else's."""
    return set(TELLTALE.findall(told(who, one, address_of(one.path, ids))[1].decode()))


def test_however_a_list_is_ordered_it_is_counted_and_shown_without_somebody_elses(
    organisation: Organisation,
) -> None:
    for name, owner, _stranger in ASKERS[:3]:
        who = organisation.caller(name)
        for one in (each for each in LISTS if each.permission == "read"):
            path, listing = address_of(one.path, organisation.ids[owner]), one.operation.listing
            listed = json.loads(told(who, one, path)[1])
            for order in listing.ordering if listing else ():
                page = json.loads(told(who, one, f"{path}?page_size=999&ordering=-{order}")[1])
                assert page["count"] == len(listed), (name, one, order)
                assert sorted(map(str, page["results"])) == sorted(map(str, listed))


def test_no_answer_names_anything_of_somebody_elses(organisation: Organisation) -> None:
    said = {name: said_to(organisation, name, owner) for name, owner, _stranger in ASKERS}
    for name, _owner, stranger in ASKERS:
        names = set(TELLTALE.findall(said[stranger]))
        assert len(names) > 20
        assert names.isdisjoint(TELLTALE.findall(said[name])), name
        if name != "root":
            assert f'"{stranger}"' not in said[name]


def said_to(organisation: Organisation, name: str, owner: str) -> str:
    """All that somebody is told when he reads everything that he may."""
    who, ids = organisation.members[name], organisation.ids[owner]
    reads = [each for each in ENDPOINTS if each.method == "GET" and each.permission == "read"]
    answers = [told(who.caller, one, address_of(one.path, ids)) for one in reads]
    return "\n".join(answer[1].decode() for answer in answers)


def test_two_users_of_one_account_of_aws_do_not_see_each_others(cloud: Cloud) -> None:
    ann, bob = (caller(make_user(name, UserKind.MANAGED)) for name in ("ann", "bob"))
    estate = Estate.of(ann, cloud)
    volume = cloud.volume()
    estate.target("volumes", volume)
    mine = estate.run()["id"]
    timeless = (one for one in LISTS if not one.path.startswith("/reports/usage/"))
    lists = [one for one in timeless if "{" not in one.path and one.permission == "read"]
    before = [told(estate.caller, one, one.path) for one in lists]
    other = Estate.of(bob, cloud)
    other.target("volumes", volume)
    theirs = other.run()["id"]
    assert [told(estate.caller, one, one.path) for one in lists] == before
    (kept,) = other.caller.get(f"/backups/{theirs}/snapshots/").json
    (gone,) = estate.caller.get(f"/backups/{mine}/snapshots/").json
    paths = (f"{estate.path}snapshots/", f"/accounts/backup/{estate.account}/snapshots/")
    for path in paths:
        (chosen,) = estate.caller.delete(f"{path}?dry_run=true").json
        assert chosen["snapshot_id"] == gone["snapshot_id"]
    for path in paths:
        assert estate.caller.delete(path).status == 204
        drain()
    assert set(cloud.snapshots()) == {kept["snapshot_id"]}
