"""Before the address is printed every kind of request has been made once."""

from __future__ import annotations

from solquery.app import Service
from solquery.app.warm import warm


def test_every_kind_of_request_is_made_and_counted(model, service):
    fresh = Service(model, service.catalogue.archive)
    seen = []
    warm(fresh, lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    assert seen == [(k, total) for k in range(1, total + 1)] and total == 9
    assert set(fresh.catalogue.session._close) == {"embedding", "hybrid", "physics"}, "what searches need once is there"
    assert fresh._pictures and fresh._drags


def test_without_an_archive_there_is_less_to_do(model):
    seen = []
    warm(Service(model), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)
