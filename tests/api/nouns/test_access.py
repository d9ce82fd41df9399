"""Who may do what: every operation, asked by everybody, of what is there and of what is not."""

from typing import Any

from cpm.models.users import UserKind
from tests.api.cast import Answer, Caller, caller, make_user
from tests.api.matrix import SWITCHES
from tests.api.nouns.endpoints import ENDPOINTS, Endpoint
from tests.api.nouns.everything import address_of, taken_back
from tests.api.nouns.organisation import NOWHERE, Member, Organisation

SERVED = "served"
ALL = "+".join(sorted(SWITCHES))
ASKED = [each for each in ENDPOINTS if each.permission != "none"]


def send(who: Caller, one: Endpoint, ids: dict[str, int]) -> Answer:
    """Have an operation done to the objects of these ids; what it does is taken back."""
    with taken_back():
        return who.send(one.method, address_of(one.path, ids), {}, headers={"accept": one.accept})


def outcome(answer: Answer) -> str | tuple[int, dict[str, list[str]]]:
    """Whether somebody was let through, and if not, what he was told."""
    if answer.status in {200, 201, 204, 400, 409}:
        return SERVED
    return answer.status, answer.codes


def expected(who: Member, one: Endpoint, owner: str) -> object:
    """What the contract has him told about an object of this owner."""
    if not who.may(one):
        return 403, {"non_field_errors": ["permission_denied"]}
    if "{" in one.path and not sees(who, one, owner):
        return 404, {"non_field_errors": ["not_found"]}
    return SERVED


def sees(who: Member, one: Endpoint, owner: str) -> bool:
    """Root also reads and writes independent users, though not what they have."""
    is_everybodys = one.path.startswith(("/users/", "/settings/"))
    return owner in who.sees or (is_everybodys and who.kind == "R")


def test_everybody_is_told_what_the_matrix_says(organisation: Organisation) -> None:
    for who in organisation.members.values():
        assert mistold(organisation, who, "mia") == {}


def test_the_objects_of_independent_users_are_for_them_alone(organisation: Organisation) -> None:
    for name in ("root", "mia", "ines", f"root+{ALL}", f"ines+{ALL}", "ines+nothing"):
        assert mistold(organisation, organisation.members[name], "ines") == {}


def mistold(organisation: Organisation, who: Member, owner: str) -> dict[object, object]:
    """What somebody is told of an owner's objects that is not what the matrix says."""
    ids = organisation.ids[owner]
    told = [(each, outcome(send(who.caller, each, ids))) for each in ASKED]
    return {
        (who.name, *each.place): (got, expected(who, each, owner))
        for each, got in told
        if got != expected(who, each, owner)
    }


def test_what_one_may_never_do_is_refused_whether_or_not_the_object_is_there(
    organisation: Organisation,
) -> None:
    nowhere = dict.fromkeys(organisation.ids["mia"], NOWHERE)
    for name in ("root", "mia", "root+nothing", "mia+nothing"):
        who = organisation.members[name]
        for each in ASKED:
            if "{" in each.path:
                told = outcome(send(who.caller, each, nowhere))
                codes = ["not_found" if who.may(each) else "permission_denied"]
                wanted = (404 if who.may(each) else 403, {"non_field_errors": codes})
                assert told == wanted, (who.name, each)


def test_whoever_may_read_is_shown_it(organisation: Organisation) -> None:
    for owner, ids in organisation.ids.items():
        for each in ASKED:
            if each.method == "GET" and not each.path.startswith(("/settings/", "/system/")):
                assert send(organisation.caller(owner), each, ids).status == 200, (owner, each)


def test_accounts_are_changed_by_those_whose_owner_may(db: None) -> None:
    owner = make_user("owner", UserKind.MANAGED, allow_account_changes=False)
    all_switches: dict[str, Any] = dict.fromkeys(SWITCHES, True)
    delegate = make_user("delegate", UserKind.DELEGATE, original_user=owner, **all_switches)
    for person in (owner, delegate):
        assert caller(person).post("/accounts/backup/", {}).status == 403
        assert caller(person).put("/accounts/backup/999999999/", {}).status == 403
        assert caller(person).delete("/accounts/backup/999999999/").status == 404
        assert caller(person).get("/accounts/").status == 200
