"""A report becomes one comment on the pull request that brought a commit, renewed each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.pull_requests import TOKEN, PullRequests, pull_requests

from everloop.errors import SystemError_, UsageError
from everloop.loop.pull_request import comment

REPORT = "<!-- everloop report: bikes -->\n## v2 of bikes passes its gate\n"


@pytest.fixture
def github() -> Iterator[PullRequests]:
    with pull_requests() as state:
        state.pulls = {"a" * 40: 7}
        yield state


def post(github: PullRequests, report: str = REPORT, commit: str = "a" * 40, token: str = TOKEN) -> str | None:
    return comment(report, "team/bikes", commit, token, github.url)


def test_the_first_report_is_a_comment_and_the_next_renews_it(github: PullRequests) -> None:
    github.comments[7] = [{"id": 1000 + n, "body": f"a person wrote {n}", "html_url": ""} for n in range(150)]
    first = post(github)
    assert first == "https://github.test/7#151"
    assert post(github, REPORT.replace("v2", "v3")) == first
    bodies = [one["body"] for one in github.comments[7] if one["body"].startswith("<!--")]
    assert bodies == [REPORT.replace("v2", "v3")]
    assert [asked for asked in github.asked if not asked.startswith("GET")] == [
        "POST /repos/team/bikes/issues/7/comments",
        "PATCH /repos/team/bikes/issues/comments/151",
    ]


def test_a_commit_of_no_pull_request_is_told_nowhere(github: PullRequests) -> None:
    assert post(github, commit="b" * 40) is None
    assert github.comments == {}


def test_what_github_refuses_is_told_without_the_token(github: PullRequests) -> None:
    with pytest.raises(SystemError_, match=r"GitHub answers 401 to GET /repos/team/bikes/commits/a+/pulls") as caught:
        post(github, token="another-token")
    assert "another-token" not in str(caught.value)


def test_wrong_places_are_refused_before_the_token_is_sent(github: PullRequests) -> None:
    with pytest.raises(UsageError, match="OWNER/NAME"):
        comment(REPORT, "../user", "a", TOKEN, github.url)
    with pytest.raises(UsageError, match="https:// only"):
        comment(REPORT, "team/bikes", "a", TOKEN, "http://api.github.test")
    assert github.asked == []
    with pytest.raises(
        SystemError_, match=r"does not answer GET /repos/.* \(Connection refused\): look whether --api is right"
    ):
        comment(REPORT, "team/bikes", "a", TOKEN, "http://127.0.0.1:1")
