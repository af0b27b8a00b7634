"""Tables of votes and labels: rows by hand, and what is wrong with a table in one line."""

import gzip

import pytest

from ellm_agent.errors import UserError
from envs.housekeep.placements import Place
from envs.housekeep.vote_table import read_table
from experiments import placement_agreement, reward_validity

HEAD = "object,room,receptacle,right,misplaced\n"
TABLE = HEAD + "apple,kitchen,fridge,9,0\nbanana,kitchen,sink,1,9\n"
CUT_OFF = gzip.compress(TABLE.encode() * 99, mtime=0)[:60]  # in the names of tests: the same in each process


def test_votes_by_hand(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(TABLE)
    expected = [("apple", Place("kitchen", "fridge"), 9, 0), ("banana", Place("kitchen", "sink"), 1, 9)]
    assert read_table(path) == expected
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    assert read_table(path.with_suffix(".csv.gz")) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"object,room\nx,y\n", "no column 'receptacle'; it has object, room"),
        ("a.csv", b"", "no column 'object'; it has no rows"),
        ("a.csv", HEAD.encode() + b"apple,kitchen\n", "row 1 is shorter than the others"),
        ("a.csv", HEAD.encode() + b"apple,kitchen,fridge,many,0\n", "'many'"),
        ("a.csv", b"\xff\xfe", "damaged, or no table"),
        ("a.csv.gz", CUT_OFF, "damaged, or no table"),
        ("a.csv.gz", b"plain", "damaged, or no table"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    for main, options in (
        (placement_agreement.main, placement_agreement.Options(path)),
        (reward_validity.main, reward_validity.Options(votes=path)),
    ):
        with pytest.raises(UserError) as refused:
            main(options)
        assert message in str(refused.value)
        assert str(path) in str(refused.value)


def test_labels_of_what_the_placements_do_not_name(tmp_path):
    votes, labels = tmp_path / "votes.csv", tmp_path / "labels.csv"
    votes.write_text(TABLE)
    labels.write_text("object,room,receptacle,belongs\nunicorn,kitchen,fridge,yes\n")
    with pytest.raises(UserError, match="labels 'unicorn' and 'kitchen fridge'"):
        placement_agreement.main(placement_agreement.Options(votes, labels))


@pytest.mark.parametrize(
    ("rating", "options", "message"),
    [
        ("nan", {}, "must hold numbers, but one is nan"),
        ("inf", {}, "must hold numbers, but one is inf"),
        ("many", {}, "must hold numbers: .*'many'"),
        ("1", {"least": float("nan")}, "least is nan"),
        ("1", {"threshold": float("inf")}, "threshold is inf"),
    ],
)
def test_ratings_that_are_no_numbers(tmp_path, rating, options, message):
    path = tmp_path / "ratings.csv"
    path.write_text(f"goal,seen,rating\na,b,{rating}\nc,d,1\n")
    with pytest.raises(UserError, match=message):
        reward_validity.main(reward_validity.Options(csv=path, **options))
