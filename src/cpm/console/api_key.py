"""Notifications > Configure API Authentication Key: a person's own key for the API."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from cpm.console.visits import for_visitors
from cpm.models.users import User
from cpm.queries.people import Person
from cpm.services import tokens


@require_safe
@for_visitors
def show(request: HttpRequest, person: Person) -> HttpResponse:
    """Tell whether there is a key, and since when."""
    return render(request, "console/api_key.html", _state(person))


@require_POST
@for_visitors
def generate(request: HttpRequest, person: Person) -> HttpResponse:
    """Make a key and show it this once; an older one ends."""
    key = tokens.create_key(_row(person), actor=person)
    return render(request, "console/api_key.html", {**_state(person), "key": key})


@require_POST
@for_visitors
def revoke(_request: HttpRequest, person: Person) -> HttpResponse:
    """End the key and its tokens."""
    tokens.revoke_key(_row(person), actor=person)
    return redirect("api_key")


def _state(person: Person) -> dict[str, object]:
    return tokens.describe_key(_row(person))


def _row(person: Person) -> User:
    return User.objects.get(pk=person.user_id)
