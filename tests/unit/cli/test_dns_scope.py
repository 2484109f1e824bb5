"""What a run of check-dns looks at, and for how long."""

from __future__ import annotations

import pytest

from ucrmmail.cli.dns_scope import time_for


@pytest.mark.requirement("S12", "R32")
@pytest.mark.parametrize(("domains", "time_s"), [(0, 20.0), (1, 20.0), (2, 22.0), (50, 118.0)])
def test_one_domain_has_twenty_seconds_and_each_further_one_two_more(domains: int, time_s: float) -> None:
    """It was 62 s: a server that took 4 s for each answer held a run for so long."""
    assert time_for(domains) == time_s
