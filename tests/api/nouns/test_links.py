"""What has been made can be used as the document says, and answers as it says."""

from tests.api.cast import Caller
from tests.api.nouns.fuzzing import Fuzz, Ids


def test_what_is_made_can_be_used_as_its_links_say(root: Caller, everything: Ids) -> None:
    fuzz = Fuzz(root, everything)
    fuzz.follow_links()
    assert fuzz.cases >= 100, fuzz.cases
