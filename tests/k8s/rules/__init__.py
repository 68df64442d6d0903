"""What must hold of the objects of every overlay. A rule yields a sentence for each violation."""

from collections.abc import Callable, Iterator

from tests.k8s.objects import Objects
from tests.k8s.rules import alarms, keys, lifecycle, network, pods, redis, scale, schemas, settings, stores

Rule = Callable[[Objects], Iterator[str]]

RULES: tuple[Rule, ...] = (
    schemas.objects_are_as_kubernetes_has_them,
    pods.pods_are_restricted,
    pods.namespace_lets_in_only_restricted_pods,
    pods.pods_speak_with_no_kubernetes_api,
    pods.images_have_a_version,
    pods.migration_is_a_new_job_for_each_version,
    pods.resources_are_requested,
    pods.probes_look_at_the_process_alone,
    settings.settings_are_known_and_whole,
    settings.settings_are_the_same_for_all,
    settings.metrics_are_told_at_their_own_port_alone,
    settings.secrets_are_only_referred_to,
    settings.servers_are_those_of_the_manifests,
    settings.commands_are_those_of_the_command_line,
    keys.keys_are_there_and_can_be_read,
    lifecycle.grace_is_longer_than_pre_stop_and_drain,
    lifecycle.api_waits_until_nobody_is_sent_to_it,
    lifecycle.a_new_worker_is_ready_before_an_old_one_goes,
    lifecycle.a_new_version_reaches_all_workers,
    lifecycle.workers_leave_a_node_one_by_one,
    lifecycle.workers_are_spread,
    lifecycle.names_lead_somewhere,
    scale.ledger_workers_are_no_more_than_shards,
    scale.somebody_is_always_there,
    scale.no_calendar_asks_for_more_than_may_be,
    scale.one_hand_scales_each_workload,
    scale.postgres_has_connections_for_all,
    scale.the_ledger_is_scaled_by_what_its_shards_wait,
    scale.postgres_has_room_for_the_locks_of_years,
    stores.copies_are_no_more_than_brokers,
    stores.kafka_keeps_every_record,
    stores.kafka_nodes_are_on_nodes_of_their_own,
    stores.one_broker_asks_for_no_zone,
    stores.postgres_keeps_what_it_commits,
    redis.redis_is_one_process,
    redis.redis_keeps_nothing,
    redis.redis_is_full_in_the_right_order,
    network.policies_are_understood,
    network.network_lets_through_what_is_needed_and_nothing_else,
    network.clients_come_to_what_they_need_and_nothing_else,
    alarms.metrics_asked_for_are_told,
    alarms.alarms_are_those_of_the_guide,
    alarms.alarms_wait_no_longer_than_the_guide_says,
    alarms.every_shard_is_counted,
    alarms.what_is_not_settled_is_an_alarm,
)
