"""What goes on the things that the server makes."""

import pytest

from cpm.aws import tags

MARKS = {
    tags.SERVER_ID: "s",
    tags.POLICY_NAME: "daily",
    tags.BACKUP_ID: "7",
    tags.TOKEN: "t",
}


def test_our_tags_come_first_and_amazons_own_are_left_out() -> None:
    merged = tags.merged(MARKS, {"aws:autoscaling:groupName": "x", "team": "red", "Name": "db"})
    assert merged == {**MARKS, "Name": "db", "team": "red"}


def test_what_does_not_fit_is_left_out_but_never_ours_nor_the_name() -> None:
    many = {f"key-{n:02}": "v" for n in range(50)} | {"Name": "db"}
    merged = tags.merged(MARKS, many)
    assert len(merged) == tags.MOST_TAGS
    assert merged["Name"] == "db"
    assert MARKS.items() <= merged.items()


def test_marks_of_an_earlier_recovery_do_not_survive_into_a_new_snapshot() -> None:
    assert tags.merged(MARKS, {tags.TOKEN: "old", "a": "b"})[tags.TOKEN] == "t"
    assert tags.merged({}, {tags.TOKEN: "old", "a": "b"}) == {"a": "b"}


def test_aws_may_copy_tags_only_where_none_is_doubled_and_all_fit() -> None:
    assert tags.can_be_copied_by_aws({"a": "b", "aws:x": "y"})
    assert not tags.can_be_copied_by_aws({tags.TOKEN: "old"})
    assert tags.can_be_copied_by_aws({f"k{n}": "" for n in range(45)})
    assert not tags.can_be_copied_by_aws({f"k{n}": "" for n in range(46)})


def test_lists_and_mappings_are_the_same() -> None:
    listed = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    assert tags.to_aws(tags.from_aws(listed)) == listed
    assert tags.from_aws(None) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "v"),
        ("k" * 129, "v"),
        ("k", "v" * 257),
        ("aws:x", "v"),
        ("cpm_token", "v"),
        ("k", "\n"),
    ],
)
def test_a_tag_that_aws_would_refuse_is_refused_before(key: str, value: str) -> None:
    assert tags.problem(key, value)


def test_an_ordinary_tag_has_no_problem() -> None:
    assert tags.problem("cost centre/Ä", "") is None
