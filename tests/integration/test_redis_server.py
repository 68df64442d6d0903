"""The same path on a Redis from PATH, the oldest that is supported being 7.0, where this machine has one."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from redpacket.stack.local import LocalServers
from tests.deployment import Deployment, installed
from tests.integration.test_close import test_what_is_left_of_a_closed_packet_goes_back_once_and_nobody_claims_any_more
from tests.integration.test_evict import (
    test_above_the_watermark_everything_cold_leaves_memory_and_all_of_it_still_works,
    test_what_an_older_epoch_left_is_deleted,
)
from tests.integration.test_path import (
    test_a_claim_whose_worker_died_before_publishing_is_published_by_its_repeat,
    test_after_redis_lost_everything_claims_stand_and_only_unconfirmed_shares_are_free_again,
    test_every_fen_of_a_packet_goes_to_exactly_one_person_and_repeats_get_the_same,
    test_money_just_received_from_another_shard_can_be_spent_at_once,
)

__all__ = [
    "test_a_claim_whose_worker_died_before_publishing_is_published_by_its_repeat",
    "test_above_the_watermark_everything_cold_leaves_memory_and_all_of_it_still_works",
    "test_after_redis_lost_everything_claims_stand_and_only_unconfirmed_shares_are_free_again",
    "test_every_fen_of_a_packet_goes_to_exactly_one_person_and_repeats_get_the_same",
    "test_money_just_received_from_another_shard_can_be_spent_at_once",
    "test_what_an_older_epoch_left_is_deleted",
    "test_what_is_left_of_a_closed_packet_goes_back_once_and_nobody_claims_any_more",
]

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="there is no redis-server on PATH; .ci/run installs Debian's"
)


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalServers]:
    async with LocalServers(tmp_path_factory.mktemp("redis-server"), redis_binary="redis-server") as servers:
        yield servers


@pytest.fixture
async def deployment(servers: LocalServers, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with installed(servers, tmp_path / "keys") as deployment:
        yield deployment
