import json

import pytest

from prior.data.files import atomic_path, digest, digest_each, write_json


@pytest.mark.parametrize(
    "values",
    [[], ["a"], ["a", "ä", None, 1.5], [["p/1.jpg", 12, 34], ["p/2.jpg", -1, 0]], [{"b": 1, "a": [2]}]],
)
def test_values_that_come_one_by_one_have_the_digest_of_their_list(values):
    assert digest_each(iter(values)) == digest(values)


def test_order_and_borders_of_values_count():
    lists = [["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab, c"], [["ab", "c"]]]
    assert len({digest_each(values) for values in lists}) == len(lists)


def test_a_digest_ignores_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


def test_a_file_is_the_old_one_or_the_whole_new_one(tmp_path):
    path = tmp_path / "deep" / "table.json"
    write_json(path, {"old": 1})

    def interrupted():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            assert json.loads(path.read_text()) == {"old": 1}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text()) == {"old": 1}
    assert [found.name for found in path.parent.iterdir()] == ["table.json"]
