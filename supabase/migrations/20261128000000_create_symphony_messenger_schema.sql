-- Symphony Messenger 0.2.0. Generated from supabase/schemas by `deno task build`; do not edit.
-- Creates missing objects and replaces functions and views; running it again changes nothing.
-- With psql: psql --single-transaction --set ON_ERROR_STOP=1 --file <this file>
set check_function_bodies = off;
set client_min_messages = warning;
set quote_all_identifiers = off;
set standard_conforming_strings = on;

-- ---- Preflight: nothing is changed if one of our names belongs to another object, or if another release is installed.
do $$
declare
  v_relations constant text[] := array[
    'messenger.locks',
    'public.messenger_transports',
    'public.messenger_messages',
    'messenger.ordering_keys',
    'public.messenger_failed_messages',
    'public.messenger_schedules',
    'messenger.occurrences',
    'messenger.schedule_backoffs',
    'messenger.message_types',
    'messenger.attempts',
    'messenger.idempotency_keys',
    'messenger.workers',
    'messenger.settings',
    'messenger.clock',
    'messenger.rescue_cursors',
    'messenger.pruned',
    'messenger.wakeups',
    'messenger.wakeup_locks',
    'messenger.measurements',
    'messenger.metrics',
    'messenger.metric_errors',
    'messenger.queues',
    'messenger.sql_runners',
    'messenger.subscriptions',
    'messenger.delivery_settings',
    'messenger.ticks',
    'messenger.step_errors',
    'messenger.set_aside',
    'messenger.scan_positions',
    'messenger.senders',
    'messenger.replays',
    'messenger.replayed',
    'messenger.flags',
    'public.messenger_queue_depth',
    'public.messenger_failed_summary',
    'public.messenger_schedules_summary',
    'messenger.order_key',
    'messenger.dispatched',
    'messenger.draft',
    'messenger.claimed',
    'messenger.settled',
    'messenger.outcome',
    'messenger.exchanged',
    'messenger.run_plan',
    'messenger.run_disposition',
    'messenger.cron_run',
    'messenger.cron_fields',
    'messenger.check_result',
    'messenger.reason',
    'messenger.figures',
    'messenger.ordering_keys_check_at_idx',
    'public.messenger_messages_claim_idx',
    'public.messenger_messages_ordering_idx',
    'public.messenger_messages_waiting_idx',
    'public.messenger_messages_unrouted_idx',
    'public.messenger_messages_sender_idx',
    'public.messenger_messages_sender_unfinished_idx',
    'public.messenger_failed_messages_open_idx',
    'public.messenger_failed_messages_message_idx',
    'public.messenger_failed_messages_sender_idx',
    'public.messenger_failed_messages_failed_at_idx',
    'public.messenger_failed_messages_resolved_at_idx',
    'public.messenger_schedules_due_idx',
    'public.messenger_schedules_fired_idx',
    'messenger.occurrences_due_at_idx',
    'messenger.message_types_sql_handler_idx',
    'messenger.idempotency_keys_expires_at_idx',
    'messenger.metrics_unpacked_idx',
    'messenger.set_aside_retry_at_idx',
    'messenger.senders_check_at_idx',
    'messenger.replays_running_idx',
    'messenger.replayed_undecided_idx'
  ];
  v_functions constant text[] := array[
    'messenger.release',
    'messenger.is_api_call',
    'messenger.bound_waits',
    'messenger.unbound_waits',
    'messenger.reject_waits',
    'messenger.id_prefix',
    'messenger.id_random',
    'messenger.new_id',
    'messenger.now',
    'messenger.error_codes',
    'messenger.raise_error',
    'messenger.require_writable',
    'messenger.require_primary',
    'messenger.exceeds',
    'messenger.has_out_of_range_number',
    'messenger.is_too_deep',
    'messenger.clip',
    'messenger.cap_size',
    'messenger.cap_results',
    'messenger.read_moment',
    'messenger.read_interval',
    'messenger.read_milliseconds',
    'messenger.try_lock',
    'messenger.caller_id',
    'messenger.is_valid_message',
    'messenger.raise_invalid_message',
    'public.update_messenger_transports_updated_at',
    'messenger.ensure_transports',
    'messenger.give_way_to_restored_transport',
    'public.update_messenger_messages_updated_at',
    'messenger.guard_own_types',
    'public.update_messenger_schedules_updated_at',
    'messenger.ensure_singletons',
    'messenger.measure_failures',
    'messenger.derive_delivery_settings',
    'messenger.refresh_delivery_settings',
    'messenger.move_scan',
    'public.messenger_dispatch',
    'public.messenger_dispatch_batch',
    'messenger.lock_sender',
    'messenger.prune_senders',
    'messenger.user_dispatch',
    'public.messenger_user_dispatch',
    'messenger.is_plain_payload',
    'messenger.store_plain',
    'messenger.store_plain_batch',
    'messenger.reject_message',
    'messenger.store_in_turn',
    'messenger.store_messages',
    'messenger.draft_fields',
    'messenger.read_drafts',
    'messenger.take_turns',
    'messenger.store_draft',
    'messenger.revise',
    'messenger.take_key',
    'messenger.drop_keys',
    'messenger.fingerprint',
    'messenger.ensure_own_types',
    'messenger.give_way_to_restored_type',
    'public.messenger_register',
    'messenger.open_fields',
    'messenger.route_messages',
    'messenger.route_due',
    'messenger.is_setting',
    'messenger.reject_setting',
    'messenger.check_types',
    'messenger.check_start',
    'messenger.settle_completed',
    'messenger.exchange_rows',
    'public.messenger_exchange',
    'messenger.is_backend_alive',
    'messenger.is_handlers_job_running',
    'messenger.note_runner',
    'messenger.note_run',
    'messenger.sql_worker',
    'messenger.claim_for_runner',
    'messenger.work_off',
    'messenger.cancel_overdue_handlers',
    'messenger.handler_timeout',
    'messenger.defer_constraints',
    'messenger.handle_message',
    'messenger.sql_types',
    'messenger.sql_queues',
    'messenger.run_sql_handlers',
    'messenger.check_claim',
    'messenger.note_poll',
    'messenger.add_worker',
    'messenger.begin_poll',
    'messenger.claim_messages',
    'messenger.claim_carefully',
    'public.messenger_claim',
    'messenger.claim_one',
    'public.messenger_claim_one',
    'messenger.active_queues',
    'messenger.scan_due_queues',
    'messenger.due_queues',
    'messenger.known_queues',
    'messenger.take_due',
    'messenger.stop_scan',
    'messenger.find_due',
    'messenger.watermark_setting',
    'messenger.read_watermark',
    'messenger.store_watermark',
    'messenger.take',
    'messenger.in_order',
    'messenger.take_singly',
    'public.messenger_heartbeat',
    'public.messenger_complete_with',
    'messenger.lock_message',
    'public.messenger_complete',
    'public.messenger_fail',
    'public.messenger_snooze',
    'public.messenger_release',
    'messenger.settle_rest',
    'messenger.hold_outcomes',
    'messenger.settle_arrays',
    'messenger.settle_outcomes',
    'public.messenger_settle',
    'messenger.complete',
    'messenger.settle_locked',
    'messenger.outcome_of_error',
    'messenger.settle_in_parts',
    'messenger.error_class_of',
    'messenger.read_outcomes',
    'messenger.retry_delay',
    'messenger.is_row_error',
    'messenger.check_deferred',
    'messenger.set_message_aside',
    'messenger.messages_set_aside',
    'messenger.finish_undeliverable_singly',
    'messenger.note_lost_leases',
    'messenger.move_to_dead_letters',
    'messenger.fail_without_dead_letter',
    'messenger.finish_undeliverable',
    'messenger.order_keys',
    'messenger.lock_order_keys',
    'messenger.unblock_next',
    'messenger.requeue_in_order',
    'messenger.is_held_by_dead_letter',
    'messenger.unblock_stuck',
    'messenger.prune_ordering_keys',
    'messenger.announce',
    'messenger.store_events',
    'messenger.emit',
    'messenger.hmac_sha256',
    'messenger.webhook_keys',
    'messenger.on_webhook',
    'messenger.sign_webhook',
    'public.messenger_sign_webhook',
    'messenger.disable_webhook',
    'public.messenger_disable_webhook',
    'messenger.check_subscription',
    'messenger.on',
    'messenger.off',
    'messenger.deliver_event',
    'messenger.owned_function',
    'messenger.find_owned_function',
    'messenger.sql_handlers',
    'messenger.set_sql_handler',
    'messenger.business_function',
    'public.messenger_cancel',
    'messenger.lock_dead_letters',
    'public.messenger_retry_failed',
    'public.messenger_discard_failed',
    'messenger.take_keys_back',
    'messenger.requeue',
    'messenger.return_replayed',
    'messenger.watch_replay',
    'messenger.watch_replays',
    'messenger.prune_replays',
    'messenger.replay_report',
    'messenger.check_queue',
    'public.messenger_pause',
    'public.messenger_resume',
    'messenger.runs_since',
    'public.messenger_list_transports',
    'public.messenger_put_transport',
    'messenger.read_schedule_message',
    'public.messenger_schedule',
    'public.messenger_unschedule',
    'public.messenger_pause_schedule',
    'public.messenger_resume_schedule',
    'public.messenger_schedule_preview',
    'messenger.wall_time_in_gap',
    'messenger.schedule_of_cron',
    'messenger.dollar_tag',
    'messenger.import_cron',
    'public.messenger_import_cron',
    'messenger.leading_words',
    'messenger.read_token',
    'messenger.needs_no_transaction',
    'messenger.check_timezone',
    'messenger.read_whole',
    'messenger.read_options',
    'messenger.read_schedule',
    'messenger.scheduled_message',
    'messenger.expand_locked_schedules',
    'messenger.expand_schedules',
    'messenger.plan_runs',
    'messenger.runs_to_fire',
    'messenger.last_message',
    'messenger.is_unfinished',
    'messenger.store_occurrences',
    'messenger.replace_message',
    'messenger.due_schedules',
    'messenger.store_alone',
    'messenger.store_runs',
    'messenger.due_since',
    'messenger.schedule_headers',
    'messenger.next_run',
    'messenger.last_run',
    'messenger.first_run',
    'messenger.run_near_change',
    'messenger.find_change',
    'messenger.next_cron_run',
    'messenger.cron_next',
    'messenger.read_cron_field',
    'messenger.parse_cron',
    'messenger.next_cron_day',
    'messenger.next_wall_time',
    'messenger.milliseconds',
    'messenger.ticker_setting_fault',
    'messenger.start',
    'messenger.stop',
    'public.messenger_start',
    'public.messenger_stop',
    'messenger.note_step_error',
    'messenger.note_tick',
    'messenger.run_steps',
    'messenger.tick',
    'public.messenger_tick',
    'messenger.is_ticker_enabled',
    'messenger.tick_or_note_error',
    'messenger.steps',
    'messenger.run_step',
    'messenger.job_schedule',
    'messenger.job_ends_at',
    'messenger.may_end',
    'messenger.prepare_job',
    'messenger.outlive_statement_timeout',
    'messenger.ticker_command',
    'messenger.handlers_command',
    'messenger.needs_handlers_job',
    'messenger.sync_handlers_job',
    'messenger.rescue_messages',
    'messenger.move_rescue_cursor',
    'messenger.rescue',
    'messenger.unblock_keys',
    'messenger.unblock_each',
    'messenger.roll_up_range',
    'messenger.measurements_set_aside',
    'messenger.roll_up_rows',
    'messenger.roll_up_ranges',
    'messenger.count_deleted',
    'messenger.roll_up',
    'messenger.bucket_limit',
    'messenger.add_counts',
    'messenger.summarize',
    'messenger.steps_of',
    'messenger.add_metrics',
    'messenger.add_metric_errors',
    'messenger.rolled_up_until',
    'messenger.roll_up_step',
    'messenger.pack_old_metrics',
    'messenger.roll_up_steps',
    'messenger.prune_metrics',
    'messenger.pack_histogram',
    'messenger.unpack_histogram',
    'messenger.prune',
    'messenger.find_finished_messages',
    'messenger.delete_messages',
    'messenger.find_resolved_dead_letters',
    'messenger.find_spent_keys',
    'messenger.find_fired_schedules',
    'messenger.find_old_occurrences',
    'messenger.prune_workers',
    'messenger.prune_counts',
    'messenger.prune_wakeups',
    'messenger.prune_ticker_history',
    'messenger.wake',
    'messenger.send_wakeup',
    'messenger.try_send_wakeup',
    'messenger.wakeup_fault',
    'messenger.wake_worker',
    'messenger.active_workers',
    'messenger.make_wakeup_locks',
    'messenger.prune_wakeup_locks',
    'messenger.read_secret',
    'messenger.worker_secret_digests',
    'public.messenger_worker_secret_digests',
    'public.messenger_check_worker_secret',
    'messenger.ensure_worker_secret',
    'messenger.row_ids',
    'messenger.uuids_of',
    'messenger.add_figures',
    'messenger.is_set_aside',
    'messenger.without_set_aside',
    'messenger.key_join',
    'messenger.delete_rows',
    'messenger.write_rows',
    'messenger.set_row_aside',
    'messenger.write_each',
    'messenger.is_lock_error',
    'messenger.forget_set_aside',
    'messenger.health_checks',
    'messenger.health',
    'public.messenger_health',
    'messenger.ticks_per_minute',
    'messenger.health_clock',
    'messenger.health_clock_errors',
    'messenger.health_set_aside',
    'messenger.health_sql_handlers',
    'messenger.health_test_clock',
    'messenger.health_oldest_due',
    'messenger.due_types',
    'messenger.health_no_handler',
    'messenger.health_workers',
    'messenger.health_transports',
    'messenger.health_dead_letters',
    'messenger.health_own_rows',
    'messenger.health_rights',
    'messenger.health_registration',
    'messenger.health_schedules',
    'messenger.growth_limits',
    'messenger.check_growth',
    'messenger.health_growth',
    'messenger.wakeup_figures',
    'messenger.check_pg_net',
    'messenger.health_pg_net',
    'messenger.health_worker_secret',
    'messenger.health_webhook_secrets',
    'messenger.error_rate',
    'messenger.health_error_rate',
    'messenger.queue_figures',
    'messenger.status',
    'public.messenger_status',
    'messenger.unknown_message',
    'messenger.explain',
    'public.messenger_explain',
    'messenger.dispatch_again',
    'messenger.reason_completed',
    'messenger.reason_failed',
    'messenger.reason_invalid_payload',
    'messenger.reason_expired',
    'messenger.reason_cancelled',
    'messenger.reason_discarded',
    'messenger.reason_running',
    'messenger.reason_lease_lost',
    'messenger.reason_cancel_requested',
    'messenger.reason_alone',
    'messenger.reason_locked',
    'messenger.reason_ordering_key',
    'messenger.reason_ordering_dead_letter',
    'messenger.reason_no_handler',
    'messenger.reason_sql_handler_gone',
    'messenger.reason_clock_stopped',
    'messenger.needs_wakeup',
    'messenger.reason_no_wakeups',
    'messenger.reason_worker_unreachable',
    'messenger.reason_no_worker',
    'messenger.reason_ready',
    'messenger.reason_paused',
    'messenger.reason_transport_disabled',
    'messenger.reason_transport_missing',
    'messenger.reason_transport_type',
    'messenger.due_before',
    'messenger.reason_waiting_turn',
    'messenger.make_due',
    'messenger.reason_delayed',
    'messenger.reason_backing_off',
    'messenger.reason_snoozed',
    'messenger.reason_expires',
    'messenger.moment',
    'messenger.is_waiting',
    'messenger.is_handed_out',
    'public.messenger_counters',
    'messenger.percentiles',
    'messenger.describe_figures',
    'public.messenger_metrics',
    'messenger.range_parts',
    'messenger.not_rolled_up_rows',
    'messenger.not_rolled_up',
    'messenger.measured_errors',
    'messenger.dead_letter_conditions',
    'public.messenger_list_failed',
    'public.messenger_get_failed',
    'messenger.first_id',
    'messenger.message_conditions',
    'messenger.scan_limit',
    'messenger.find_messages',
    'public.messenger_list_messages',
    'public.messenger_get_message',
    'messenger.all_due_queues',
    'messenger.running_messages',
    'messenger.queue_figures_of',
    'messenger.has_many_queues',
    'messenger.figures_by_queue',
    'public.messenger_list_queues',
    'public.messenger_list_workers',
    'public.messenger_list_schedules',
    'public.messenger_audit',
    'messenger.check_filter',
    'messenger.check_page',
    'messenger.write_cursor',
    'messenger.read_cursor',
    'messenger.count_rows',
    'messenger.estimate_rows',
    'messenger.wakeup_responses',
    'messenger.has_worker_secret',
    'messenger.call_worker',
    'messenger.ticker_fault',
    'messenger.last_tick_at',
    'messenger.is_ticker_scheduled',
    'messenger.is_ticker_stopped',
    'messenger.own_functions',
    'messenger.enabled',
    'public.messenger_set_flag',
    'messenger.expected_manifest',
    'messenger.verify',
    'public.messenger_verify',
    'messenger.manifest'
  ];
  v_path constant text := current_setting('search_path');
  v_schema constant oid := to_regnamespace('messenger');
  v_marker constant text := obj_description(v_schema, 'pg_namespace');
  v_installed text;
  v_manifest jsonb := '[]';
  v_foreign text;
begin
  -- Names in a manifest are written with this search_path.
  perform set_config('search_path', 'pg_catalog, pg_temp', true);

  if v_schema is not null then
    -- A dump without comments has lost the marker, but not the function that contains the catalog.
    if coalesce(v_marker not like 'Symphony Messenger%', to_regprocedure('messenger.expected_manifest()') is null) then
      raise exception using errcode = 'duplicate_schema',
        message = 'this database has a schema "messenger" that was not created by Symphony Messenger; nothing was '
          'changed',
        hint = 'rename that schema (alter schema messenger rename to ...), or install into another database';
    end if;
    -- After a restore by another role, this session can neither replace
    -- the objects of that role nor read their catalog.
    if not pg_has_role((select n.nspowner from pg_catalog.pg_namespace n where n.oid = v_schema), 'usage') then
      raise exception using errcode = 'insufficient_privilege',
        message = format(
          'Symphony Messenger in this database belongs to role %s, and this session is role %s; nothing was changed',
          (select n.nspowner::regrole from pg_catalog.pg_namespace n where n.oid = v_schema), current_user),
        hint = 'run this file as that role';
    end if;
    v_installed := coalesce(substring(v_marker from '^Symphony Messenger (\d+\.\d+\.\d+)'), '0.1.0');
    if to_regprocedure('messenger.release()') is not null then
      execute 'select messenger.release()' into v_installed;
    end if;
    if to_regprocedure('messenger.expected_manifest()') is not null then
      execute 'select messenger.expected_manifest()' into v_manifest;
    end if;
  end if;
  if coalesce(v_installed, '0.2.0') <> '0.2.0' then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = concat(
        coalesce('Symphony Messenger ' || v_installed || ' is installed in this database',
          'Symphony Messenger is not installed in this database'),
        '; this file installs 0.2.0; nothing was changed'),
      hint = 'apply supabase/upgrades/20261128000100_upgrade_symphony_messenger_0_1_0_to_0_2_0.sql';
  end if;

  -- The manifest of 0.1.0 contains sequences only in its grants.
  with installed as materialized (
    select e ->> 0 as kind, e ->> 1 as object from jsonb_array_elements(v_manifest) e
    union
    select 'relation', split_part(e ->> 1, ' ', 2) from jsonb_array_elements(v_manifest) e
    where e ->> 0 = 'grant' and e ->> 1 like 'relation %'
  ),
  foreign_object as (
    select format('%s %s', case c.relkind
        when 'r' then 'table' when 'p' then 'table' when 'v' then 'view' when 'm' then 'materialized view'
        when 'i' then 'index' when 'S' then 'sequence' when 'f' then 'foreign table' else 'type'
      end, r.name) as description
    from unnest(v_relations) as r(name) join pg_catalog.pg_class c on c.oid = to_regclass(r.name)
    where not exists (select from installed i where i.kind <> 'function' and i.object = r.name)
    union
    select format('type %s', r.name)
    from unnest(v_relations) as r(name) join pg_catalog.pg_type t on t.oid = to_regtype(r.name) and t.typrelid = 0
    union
    select format('function %s', p.oid::regprocedure)
    from unnest(v_functions) as f(name)
    join pg_catalog.pg_proc p on p.pronamespace::regnamespace::text || '.' || p.proname = f.name
    where not exists (
      select from installed i
      where i.kind = 'function' and i.object = f.name || '(' || pg_get_function_identity_arguments(p.oid) || ')')
  )
  select string_agg(o.description, ', ' order by o.description) into v_foreign from foreign_object o;
  -- Without a manifest in our schema, an earlier run of this file was interrupted: the existing objects are its own.
  if v_foreign is not null and (v_schema is null or v_manifest <> '[]') then
    raise exception using errcode = 'duplicate_object',
      message = format('this database has other objects under names that Symphony Messenger uses: %s; '
        'nothing was changed', v_foreign),
      hint = 'rename them, or install into another database';
  end if;
  perform set_config('search_path', v_path, true);
end $$;

drop function if exists messenger.bury(ids uuid[], at timestamp with time zone);
drop function if exists messenger.end_unhandled(ids uuid[], fates text[], at timestamp with time zone);
drop function if exists messenger.give_up(ids uuid[], error_class text, at timestamp with time zone);
drop function if exists messenger.has_wild_number(value jsonb);
drop function if exists messenger.keep_small(value jsonb);
drop function if exists messenger.line_up(ids uuid[], at timestamp with time zone);
drop function if exists messenger.lock_letters(ids uuid[], filter jsonb, max integer);
drop function if exists messenger.mark_setting(transport text, queue text, types text[]);
drop function if exists messenger.place_mark(setting text, ends_at timestamp with time zone, from_times timestamp with time zone[], from_ids uuid[], batch integer, places tid[], took interval, at timestamp with time zone);
drop function if exists messenger.read_verdicts(outcomes jsonb);
drop function if exists messenger.refusals();
drop function if exists messenger.refuse(code text, what text);
drop function if exists messenger.release_heads(keys messenger.order_key[], at timestamp with time zone);
drop function if exists messenger.revive(letters uuid[], payload jsonb, per_second integer, at timestamp with time zone);
drop function if exists messenger.ring(transport text, queue text, type text);

-- ---- 10_foundation/10_schema.sql
-- Schema messenger, which the API does not expose, and the extensions that the ticker and the wake-ups use.
create schema if not exists messenger;
-- Marks the schema as ours: migrations and the rollback leave a schema of this name alone unless its comment begins
-- like this.
comment on schema messenger is 'Symphony Messenger 0.2.0: internal objects. The contract is public.messenger_*.';

create or replace function messenger.release()
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return '0.2.0';
end $$;
comment on function messenger.release() is 'The installed release, for example 0.2.0.';
revoke all on function messenger.release() from public, anon, authenticated;

-- The bus works without these extensions: without pg_cron an external scheduler calls the edge function scheduler,
-- without pg_net that call also wakes the workers.
do $$
declare
  v_extension text;
begin
  foreach v_extension in array array['pg_cron', 'pg_net', 'supabase_vault'] loop
    if exists (select from pg_catalog.pg_available_extensions where name = v_extension)
       and not exists (select from pg_catalog.pg_extension where extname = v_extension) then
      begin
        execute pg_catalog.format('create extension if not exists %I', v_extension);
      exception when others then
        raise notice 'extension % was not created: %', v_extension, sqlerrm;
      end;
    end if;
  end loop;
end $$;

revoke all on schema messenger from public, anon, authenticated;
-- For authenticated, because messenger.user_dispatch is granted to it; it is granted no other function here.
grant usage on schema messenger to authenticated, service_role;
grant execute on function messenger.release() to service_role;

-- ---- 10_foundation/20_bounded_waits.sql
-- Calls through the API wait only briefly for a key that an open transaction holds. Their connections are few: ten
-- calls that waited for one key delayed every other call of a project by eight seconds. Direct SQL waits as long as its
-- own lock_timeout allows.

-- PostgREST sets both settings for each call. Other callers set the claims too, to act with a user's token.
create or replace function messenger.is_api_call()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(current_setting('request.jwt.claims', true), '') <> ''
    or coalesce(current_setting('request.method', true), '') <> '';
end $$;

-- Half of 250 ms, because a row can be waited for twice: in the queue of waiting transactions, then for the row lock.
create or replace function messenger.bound_waits()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before text := current_setting('lock_timeout');
begin
  if v_before = '120ms' or not messenger.is_api_call() then
    return null;
  end if;
  perform set_config('lock_timeout', '120ms', true);
  return v_before;
end $$;

create or replace function messenger.unbound_waits(lock_timeout text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if lock_timeout is not null then
    perform set_config('lock_timeout', unbound_waits.lock_timeout, true);
  end if;
end $$;

-- For the exception handler of lock_not_available. A timeout that bound_waits has not caused is raised unchanged.
create or replace function messenger.reject_waits(lock_timeout text, error text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if lock_timeout is null and current_setting('lock_timeout') <> '120ms' then
    raise exception using errcode = 'lock_not_available', message = error;
  end if;
  perform messenger.raise_error('SM_UNAVAILABLE', 'an open transaction holds a key of this call');
end $$;

comment on function messenger.is_api_call() is
  'True if the call comes through the API or carries the claims of a token.';
comment on function messenger.bound_waits() is
  'Sets lock_timeout to 120 ms for a call through the API and returns the former value; null if nothing was changed.';
comment on function messenger.unbound_waits(text) is
  'Restores the lock_timeout that messenger.bound_waits returned; null changes nothing.';
comment on function messenger.reject_waits(text, text) is
  'Raises SM_UNAVAILABLE for a lock wait that messenger.bound_waits has bounded, and the given error for any other.';
revoke all on function
  messenger.is_api_call(),
  messenger.bound_waits(),
  messenger.unbound_waits(text),
  messenger.reject_waits(text, text)
from public, anon, authenticated;
grant execute on function
  messenger.is_api_call(),
  messenger.bound_waits(),
  messenger.unbound_waits(text),
  messenger.reject_waits(text, text)
to service_role;

-- ---- 10_foundation/30_new_id.sql
-- Time-ordered ids (UUID version 7). Random ones cost 1.26x on claim and 1.55x on settle. The twelve bits after the
-- version hold the fraction of the millisecond, so ids of one millisecond are in order too.
create or replace function messenger.id_prefix(at timestamptz)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
    from (select (extract(epoch from at) * 1000000)::bigint as us) t
  );
end $$;

-- A batch draws one value and adds the ordinal of each element, which keeps their order.
create or replace function messenger.id_random()
returns bigint
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return -9223372036854775808 + (random() * 4e18)::bigint;
end $$;

create or replace function messenger.new_id()
returns uuid
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (messenger.id_prefix(messenger.now()) || lpad(to_hex(messenger.id_random()), 16, '0'))::uuid;
end $$;

comment on function messenger.id_prefix(timestamptz) is
  'The first 64 bits of a version 7 UUID for a timestamp, as 16 hexadecimal digits.';
comment on function messenger.id_random() is
  'The last 64 bits of a version 7 UUID as a bigint: variant bits and 62 random bits. Adding up to 10^17 keeps the '
  'variant.';
comment on function messenger.new_id() is 'A version 7 UUID for messenger.now().';
revoke all on function
  messenger.id_prefix(timestamptz),
  messenger.id_random(),
  messenger.new_id()
from public, anon, authenticated;
grant execute on function messenger.id_prefix(timestamptz), messenger.id_random(), messenger.new_id() to service_role;

-- ---- 10_foundation/35_now.sql
-- The time source of the bus. A statement reads it once and passes the value on.
-- clock_timestamp() instead of now(): in a long transaction a lease that counts from the transaction's start would
-- already have expired.
create or replace function messenger.now()
returns timestamptz
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_catalog.clock_timestamp();
end $$;

comment on function messenger.now() is 'The current time, by which all functions of the bus decide.';
revoke all on function messenger.now() from public, anon, authenticated;
grant execute on function messenger.now() to service_role;

-- ---- 10_foundation/40_errors.sql
-- All deliberate errors: code, HTTP status, message, hint. A test compares codes and statuses with shared/errors.ts.
create or replace function messenger.error_codes()
returns table (code text, status int, message text, hint text)
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  values
    ('SM_BODY', 400, 'a message must be a JSON object', 'send {"type": ..., "payload": {...}}'),
    ('SM_TYPE', 400,
      'the message type is missing or malformed',
      'use a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens'),
    ('SM_QUEUE', 400,
      'the queue name is malformed',
      'use up to 63 lower-case letters, digits, underscores or hyphens, the first a letter or digit'),
    ('SM_TRANSPORT', 400,
      'the transport does not exist, is disabled, or is of a type that is not configured',
      'list the transports with select name, type, enabled from messenger_transports; if supabase or sync is '
      'missing, select messenger_start() creates it'),
    ('SM_PRIORITY', 400, 'the priority must be a whole number from 1 to 10', '10 goes first; the default is 5'),
    ('SM_MAX_RETRIES', 400,
      'max_retries must be a whole number from 0 to 100',
      'the default is 3, which allows four deliveries'),
    ('SM_AVAILABLE_AT', 400,
      'available_at must be a timestamp with a zone, before the year 10000',
      'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z'),
    ('SM_DELAY', 400,
      'the delay must be an interval with a unit, from zero to 100 years, and must not be combined with available_at',
      'write the unit, for example ''5 seconds'''),
    ('SM_EXPIRES_AT', 400,
      'expires_at must be a timestamp with a zone, in the future and after the message becomes available',
      'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z, or omit it'),
    ('SM_IDEMPOTENCY_KEY', 400,
      'the idempotency key must have 1 to 255 bytes and no control characters; its window must be an interval with a '
      'unit, from zero to one year; a window or a mode needs a key',
      'use a short stable name of the action that must happen once, for example order-1234-receipt'),
    ('SM_IDEMPOTENCY_MODE', 400,
      'this idempotency mode does not exist',
      'use ignore, replace, reschedule, throttle or debounce'),
    ('SM_IDEMPOTENCY_MISMATCH', 409,
      'this idempotency key was used for a message of another type, queue or payload',
      'use a new key for a different message'),
    ('SM_ORDERING_KEY', 400,
      'the ordering key must have 1 to 255 bytes and no control characters',
      'name the entity whose messages must keep their order, for example customer-1234'),
    ('SM_PAYLOAD_NOT_OBJECT', 400, 'the payload must be a JSON object', 'wrap the value: {"value": ...}'),
    ('SM_HEADERS_NOT_OBJECT', 400, 'headers must be a JSON object', 'use {"name": "value"}'),
    ('SM_METADATA_NOT_OBJECT', 400, 'metadata must be a JSON object', 'use {"name": "value"}'),
    ('SM_PAYLOAD_TOO_LARGE', 413, 'the payload is larger than 256 KB', 'store the data and send its id'),
    ('SM_HEADERS_TOO_LARGE', 413, 'headers or metadata are larger than 16 KB', 'move the data into the payload'),
    ('SM_BATCH_TOO_LARGE', 413, 'a batch may have at most 1000 elements and 8 MB', 'send several batches'),
    ('SM_NUMBER_RANGE', 422, 'a number lies outside the range of a double', 'send it as a string'),
    ('SM_DEPTH', 400, 'the JSON is nested deeper than 64 levels', 'flatten it'),
    ('SM_UNKNOWN_FIELD', 400, 'an unknown field', 'remove it, or check its spelling'),
    ('SM_FILTER', 400,
      'the filter or argument is malformed',
      'a filter is a JSON object with values of the types that the function''s comment names, and {} matches all; '
      'write timestamps in ISO 8601 with a zone; use a cursor only with the list and filter that returned it'),
    ('SM_BATCH', 400,
      'the batch must have at least one element and at most 1000',
      'pass a JSON array, or a number from 1 to 1000'),
    ('SM_WORKER', 400,
      'the worker name must have 1 to 200 characters and no control characters',
      'name the process, for example edge-1'),
    ('SM_LEASE', 400, 'the lease must be longer than zero and at most 12 hours', 'use for example ''60 seconds'''),
    ('SM_OUTCOME', 400,
      'an outcome must be an object with id, fence and outcome: completed, failed, snoozed or released',
      'see the comment on messenger_settle'),
    ('SM_CRON', 400,
      'the cron expression is not understood',
      'use 5 fields (minute hour day month weekday) or 6 (second first), for example 0 9 * * mon-fri, or one of '
      '@hourly @daily @midnight @weekly @monthly @yearly @annually'),
    ('SM_CRON_NEVER', 400,
      'the cron expression never fires',
      'use a day that its month has (31 2 is 31 February); with dst_gap skip, use a time that lies outside the gap'),
    ('SM_INTERVAL', 400,
      'the interval must be a whole number of milliseconds from 1000 (1 second) to 31622400000 (366 days)',
      'use for example {"interval": 60000} for one minute'),
    ('SM_TIMEZONE', 400,
      'the time zone is not an IANA name',
      'use a name such as Europe/Berlin or UTC, see select name from pg_timezone_names; abbreviations such as EST do '
      'not follow daylight saving time'),
    ('SM_SCHEDULE', 400,
      'the schedule is malformed',
      'pass {"cron": ...}, {"interval": ms, "startAt"?} or {"at": ...}, and options named as the columns of '
      'messenger_schedules'),
    ('SM_SETTING', 400, 'the setting is malformed or out of range', 'use a value of the documented type and range'),
    ('SM_UNAUTHENTICATED', 401, 'the call has no signed-in user', 'send a user''s access token'),
    ('SM_TYPE_FORBIDDEN', 403,
      'the caller may not dispatch or register this message type',
      'users: dispatch it from a server, or define it with dispatchableBy: "user"; types that begin with symphony. '
      'are reserved for the bus: choose another name'),
    ('SM_FIELD_FORBIDDEN', 403,
      'the caller may not set this field',
      'users: dispatch from a server to set it; the header x-symphony-user is set by the bus only'),
    ('SM_NOT_FOUND', 404, 'it does not exist', 'check the name or id'),
    ('SM_CONFLICT', 409, 'the current state does not allow this', 'read the current state, then decide again'),
    ('SM_STALE_LEASE', 409,
      'the lease on this message is no longer held',
      'another worker holds the message or it is settled: undo your work, and send no outcome'),
    ('SM_RATE', 429,
      'this user has too many unfinished messages and open dead letters',
      'wait until some have finished; an operator can resolve dead letters or raise max_unfinished_per_user'),
    ('SM_UNAVAILABLE', 503, 'the call cannot be completed at the moment', 'try again in one second')
$$;

-- what precedes the message and names the element or field, for example "message 3". remedy replaces the hint.
create or replace function messenger.raise_error(
  code text, what text default null, remedy text default null, message text default null
)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_error record;
begin
  select r.status, r.message, r.hint into strict v_error from messenger.error_codes() r where r.code = raise_error.code;
  raise exception using
    errcode = 'PT' || v_error.status,
    message = concat_ws(': ', nullif(what, ''), coalesce(raise_error.message, v_error.message)),
    detail = code,
    hint = coalesce(remedy, v_error.hint);
end $$;

-- The error of Postgres itself is only "cannot execute INSERT in a read-only transaction". During recovery every
-- transaction is read only.
create or replace function messenger.require_writable()
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    raise exception using errcode = 'PT503', detail = 'SM_UNAVAILABLE',
      message = 'this database is a read replica, and Symphony Messenger works on the primary database only',
      hint = 'connect to the primary database; on a replica only messages, dead letters and schedules can be read';
  elsif current_setting('transaction_read_only') = 'on' then
    raise exception using errcode = 'PT503', detail = 'SM_UNAVAILABLE', message = 'this transaction is read only',
      hint = 'begin it read write; if default_transaction_read_only is set for the session, role or database, reset it';
  end if;
end $$;

-- For functions that only read. Workers, ticks and wake-ups are in unlogged tables, which a replica does not have.
create or replace function messenger.require_primary()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    perform messenger.require_writable();
  end if;
  return true;
end $$;

comment on function messenger.error_codes() is 'All errors of the bus: code (SM_...), HTTP status, message, hint.';
comment on function messenger.raise_error(text, text, text, text) is
  'Raises the error with this code as SQLSTATE PT<status>, detail = code. Its message is preceded by what; message and '
  'remedy replace the message and hint of messenger.error_codes(). Never returns; the result type allows a call inside '
  'an expression. Example: '
  'perform messenger.raise_error(''SM_QUEUE'', ''message 3'').';
comment on function messenger.require_writable() is
  'Raises SM_UNAVAILABLE on a read replica and in a read-only transaction.';
comment on function messenger.require_primary() is 'Raises SM_UNAVAILABLE on a read replica; otherwise returns true.';
revoke all on function
  messenger.error_codes(),
  messenger.raise_error(text, text, text, text),
  messenger.require_writable(),
  messenger.require_primary()
from public, anon, authenticated;
grant execute on function
  messenger.error_codes(),
  messenger.raise_error(text, text, text, text),
  messenger.require_writable(),
  messenger.require_primary()
to service_role;

-- ---- 10_foundation/50_limits.sql
-- Limits of stored values: size, depth and numbers of JSON, length of texts, range of times and intervals.

-- pg_column_size first, because printing costs more; below 6,000 bytes no jsonb prints to more than 40 times its size.
-- A number such as 1e131071 has 9 bytes in jsonb and 131,072 when printed: call has_out_of_range_number before this.
create or replace function messenger.exceeds(value jsonb, bytes int)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_column_size(value) > bytes / 40 and octet_length(value::text) > bytes;
end $$;

create or replace function messenger.has_out_of_range_number(value jsonb)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return value @? 'strict $.** ? (@.type() == "number" && '
    '(@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308 || (@ != 0 && @ > -5e-324 && @ < 5e-324)))';
end $$;

-- Sixty-five nested containers take at least 520 bytes, so most payloads are not searched.
create or replace function messenger.is_too_deep(value jsonb)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_column_size(value) > 500
    and value @? 'strict $.**{64 to last} ? (@.type() == "object" || @.type() == "array")';
end $$;

create or replace function messenger.clip(value text, bytes int)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_length int;
begin
  if value is null or octet_length(value) <= bytes then
    return value;
  end if;
  v_length := least(bytes, bytes::bigint * length(value) / octet_length(value) + 16);
  while octet_length(left(value, v_length)) > bytes loop
    v_length := v_length - greatest(1, (octet_length(left(value, v_length)) - bytes) / 4);
  end loop;
  return left(value, v_length);
end $$;

-- A result or progress that is too large is replaced by a marker: it must not fail the message.
create or replace function messenger.cap_size(value jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when value is null or value = 'null'::jsonb then null
    when messenger.has_out_of_range_number(value) then
      jsonb_build_object('symphony_dropped', 'a number outside the range of a double')
    when messenger.exceeds(value, 65536) then
      jsonb_build_object('symphony_dropped', 'larger than 64 KB', 'bytes', octet_length(value::text))
    else value
  end;
end $$;

-- Small values are not tested one by one: that costs 4 us each.
create or replace function messenger.cap_results(results jsonb[])
returns jsonb[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_out_of_range boolean := messenger.has_out_of_range_number(to_jsonb(results));
begin
  return array(
    select case when v_is_out_of_range or pg_column_size(r.result) > 1600
      then messenger.cap_size(r.result) else r.result end
    from unnest(results) with ordinality as r(result, ord) order by r.ord);
end $$;

-- JSON strings as timestamps and intervals. The result is null where Postgres would raise, so that the caller can name
-- the element of a batch.

-- ISO 8601 with a zone: any other form depends on the settings of the session. The forms are those that Postgres
-- prints, years BC included.
create or replace function messenger.read_moment(value jsonb)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := value #>> '{}';
  v_time timestamptz;
begin
  if jsonb_typeof(value) <> 'string' or v_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}'
    '(:[0-9]{2}(\.[0-9]+)?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2}){0,2})( BC)?$' then
    return null;
  end if;
  v_time := v_text::timestamptz;
  return case when isfinite(v_time) and v_time < '10000-01-01 00:00:00+00' then v_time end;
exception when data_exception then
  return null;
end $$;

-- Postgres reads a number without a unit as seconds, also at the end of '1 day 7', where its author may mean days or
-- milliseconds. Zero is the same in every unit. Constraint messenger_transports_config_check has the same pattern.
create or replace function messenger.read_interval(value jsonb, longest interval)
returns interval
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := value #>> '{}';
  v_interval interval;
begin
  if jsonb_typeof(value) <> 'string'
    or v_text ~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*(ago\s*)?$' then
    return null;
  end if;
  v_interval := v_text::interval;
  -- '1 month -40 days' is negative only from some dates: compare by today's calendar, as its use will.
  return case when v_interval <= longest and pg_catalog.now() + v_interval >= pg_catalog.now() then v_interval end;
exception when data_exception then
  return null;
end $$;

-- A duration that is out of range or not a number must not lose the outcome reported with it.
create or replace function messenger.read_milliseconds(value jsonb, longest numeric)
returns double precision
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when jsonb_typeof(value) = 'number' then least(greatest(value::numeric, 0), longest)
    when value #>> '{}' ~ '^-?[0-9]{1,30}([.][0-9]{1,30})?$' then least(greatest((value #>> '{}')::numeric, 0), longest)
  end;
end $$;

comment on function messenger.exceeds(jsonb, int) is
  'True if the JSON text of the value has more than this number of bytes.';
comment on function messenger.has_out_of_range_number(jsonb) is
  'True if the value contains a number that a double cannot hold: too large, or too close to zero.';
comment on function messenger.is_too_deep(jsonb) is 'True if objects and arrays are nested deeper than 64 levels.';
comment on function messenger.clip(text, int) is
  'The text, cut to at most this number of bytes at a character boundary; null for null.';
comment on function messenger.cap_size(jsonb) is
  'The value, or a marker {"symphony_dropped": reason} if it has more than 64 KB or a number outside the range of a '
  'double. JSON null becomes SQL null.';
comment on function messenger.cap_results(jsonb[]) is 'The results of handlers, each as messenger.cap_size returns it.';
comment on function messenger.read_moment(jsonb) is
  'A JSON string in ISO 8601 with a zone as a timestamp before the year 10000; null for any other value.';
comment on function messenger.read_interval(jsonb, interval) is
  'A JSON string with a unit as an interval from zero to the given longest one; null for any other value.';
comment on function messenger.read_milliseconds(jsonb, numeric) is
  'A JSON number, or a string that contains one, limited to the range from zero to the given longest value; null for '
  'any other value.';

revoke all on function
  messenger.exceeds(jsonb, int),
  messenger.has_out_of_range_number(jsonb),
  messenger.is_too_deep(jsonb),
  messenger.clip(text, int),
  messenger.cap_size(jsonb),
  messenger.cap_results(jsonb[]),
  messenger.read_moment(jsonb),
  messenger.read_interval(jsonb, interval),
  messenger.read_milliseconds(jsonb, numeric)
from public, anon, authenticated;
grant execute on function
  messenger.exceeds(jsonb, int),
  messenger.has_out_of_range_number(jsonb),
  messenger.is_too_deep(jsonb),
  messenger.clip(text, int),
  messenger.cap_size(jsonb),
  messenger.cap_results(jsonb[]),
  messenger.read_moment(jsonb),
  messenger.read_interval(jsonb, interval),
  messenger.read_milliseconds(jsonb, numeric)
to service_role;

-- ---- 10_foundation/60_locks.sql
-- The bus's own locks are rows, because any role of the project can take an advisory lock and keep it.
create table if not exists messenger.locks (
  name text not null,
  constraint locks_pkey primary key (name)
);
comment on table messenger.locks is
  'One row per activity that must run once at a time. Rows are locked and never changed; a missing row is created on '
  'demand.';
comment on column messenger.locks.name is 'The activity, for example roll_up.';

-- The insert waits only for a session that is inserting the same row.
create or replace function messenger.try_lock(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from messenger.locks l where l.name = try_lock.name for update skip locked;
  if found then
    return true;
  elsif exists (select from messenger.locks l where l.name = try_lock.name) then
    return false;
  end if;
  insert into messenger.locks (name) values (try_lock.name) on conflict on constraint locks_pkey do nothing;
  return found;
end $$;

comment on function messenger.try_lock(text) is
  'Takes the lock of this name until the transaction ends. Returns false, without waiting, if another transaction '
  'holds it.';
alter table messenger.locks enable row level security;
drop policy if exists service_only on messenger.locks;
create policy service_only on messenger.locks for all to anon, authenticated using (false) with check (false);
revoke all on messenger.locks from public, anon, authenticated, service_role;
revoke all on function messenger.try_lock(text) from public, anon, authenticated, service_role;

-- ---- 10_foundation/70_caller.sql
-- The calling user: the subject of the token that PostgREST has verified.

-- auth.uid() raises an error if the subject is not a UUID, as in tokens of Clerk and Firebase. A dispatch in the
-- transaction of the project's own insert must not fail for that.
create or replace function messenger.caller_id()
returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subject text := nullif(current_setting('request.jwt.claim.sub', true), '');
  v_claims text := nullif(current_setting('request.jwt.claims', true), '');
begin
  -- Most dispatches carry no token, and the block below costs a subtransaction.
  if v_subject is null and v_claims is null then
    return null;
  end if;
  begin
    return coalesce(v_subject, v_claims::jsonb ->> 'sub')::uuid;
  exception when data_exception then
    return null;
  end;
end $$;

comment on function messenger.caller_id() is
  'The signed-in user as in auth.uid(): the subject of the verified token. Null without a token, or if the subject is '
  'not a UUID.';
revoke all on function messenger.caller_id() from public, anon, authenticated;
grant execute on function messenger.caller_id() to service_role;

-- ---- 10_foundation/80_message_rules.sql
-- The rules that each row of messenger_messages satisfies. Its only CHECK constraint calls them.

-- One call instead of six expressions: Postgres parses the stored text of a CHECK expression again at every statement.
-- An insert of one row takes 26 us of server CPU with this call, 48 us with the six expressions, and 16 us with none;
-- of a thousand, each costs 2 us more. 1.6 us of that are the SET clause, on PostgreSQL 15.
-- As in a CHECK constraint, a condition that is null is satisfied.
create or replace function messenger.is_valid_message(
  body jsonb,
  status text,
  priority int,
  processed_at timestamptz,
  locked_at timestamptz,
  locked_by text,
  lock_expires_at timestamptz,
  max_retries int,
  retry_count int,
  fence bigint,
  lease_losses int
)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when jsonb_typeof(body) <> 'object' then
      messenger.raise_invalid_message('body', json_build_object('body', jsonb_typeof(body)))
    when status not in ('pending', 'processing', 'completed', 'failed') then
      messenger.raise_invalid_message('status', json_build_object('status', status))
    when priority not between 1 and 10 then
      messenger.raise_invalid_message('priority', json_build_object('priority', priority))
    when (processed_at is null) <> (status in ('pending', 'processing')) then
      messenger.raise_invalid_message(
        'processed', json_build_object('status', status, 'processed_at', processed_at))
    when num_nonnulls(locked_at, locked_by, lock_expires_at) <> case when status = 'processing' then 3 else 0 end then
      messenger.raise_invalid_message('lease', json_build_object(
        'status', status, 'locked_at', locked_at, 'locked_by', locked_by, 'lock_expires_at', lock_expires_at))
    when max_retries not between 0 and 100 or retry_count not between 0 and max_retries + 1 or fence < retry_count
      or lease_losses < 0 then
      messenger.raise_invalid_message('deliveries', json_build_object(
        'max_retries', max_retries, 'retry_count', retry_count, 'fence', fence, 'lease_losses', lease_losses))
    else true
  end;
end $$;

-- actual has only values that may be printed. A caller's text is cut, because an update can set one of any length.
create or replace function messenger.raise_invalid_message(rule text, actual json)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
begin
  select r.requirement, r.hint into strict v_rule
  from (values
    ('body', 'the body must be a JSON object', 'wrap the value: {"value": ...}'),
    ('status',
      'the status must be pending, processing, completed or failed',
      'cancelled and discarded messages have the status failed and an error_class'),
    ('priority', 'the priority must be a whole number from 1 to 10', '10 goes first; the default is 5'),
    ('processed',
      'processed_at must be set if the status is completed or failed, and null if it is pending or processing',
      'set status and processed_at in one statement, or call the function for it, for example messenger_cancel or '
      'messenger_retry_failed'),
    ('lease',
      'locked_at, locked_by and lock_expires_at must all be set if the status is processing, and all be null otherwise',
      'set them and the status in one statement, or call the function for it: messenger_claim begins a lease, '
      'messenger_release ends it'),
    ('deliveries',
      'max_retries must be from 0 to 100, retry_count from 0 to max_retries + 1, fence at least retry_count, and '
      'lease_losses at least 0',
      'to deliver a message once more, call messenger_retry_failed, which resets its counters')
  ) as r(name, requirement, hint)
  where r.name = rule;
  raise exception using
    errcode = 'check_violation',
    schema = 'public',
    table = 'messenger_messages',
    constraint = format('messenger_messages_%s_check', rule),
    message = format('a row of messenger_messages violates the rule "%s": %s; found %s', rule, v_rule.requirement,
      (select string_agg(f.key || ' ' || coalesce(left(f.value, 100), 'null'), ', ') from json_each_text(actual) f)),
    hint = v_rule.hint;
end $$;

comment on function messenger.is_valid_message(
  jsonb, text, int, timestamptz, timestamptz, text, timestamptz, int, int, bigint, int
) is
  'True if these columns of a row of messenger_messages satisfy all rules. Otherwise raises check_violation (23514) '
  'with the table and, as constraint, messenger_messages_<rule>_check; rules are body, status, priority, processed, '
  'lease and deliveries.';
comment on function messenger.raise_invalid_message(text, json) is
  'Raises the check_violation of a rule of messenger_messages, with the columns and their values; of a body only the '
  'JSON type. Never returns; the result type allows a call inside an expression.';
-- service_role writes the table, so it needs both.
revoke all on function
  messenger.is_valid_message(jsonb, text, int, timestamptz, timestamptz, text, timestamptz, int, int, bigint, int),
  messenger.raise_invalid_message(text, json)
from public, anon, authenticated;
grant execute on function
  messenger.is_valid_message(jsonb, text, int, timestamptz, timestamptz, text, timestamptz, int, int, bigint, int),
  messenger.raise_invalid_message(text, json)
to service_role;

-- ---- 20_tables/10_transports.sql
-- Transports: how messages reach a worker. Secrets are in Vault or the environment, never here.
create table if not exists public.messenger_transports (
  id uuid not null default gen_random_uuid(),
  name text not null,
  type text not null,
  config jsonb not null default '{}',
  enabled boolean not null default true,
  created_at timestamptz not null default messenger.now(),
  updated_at timestamptz not null default messenger.now(),
  constraint messenger_transports_pkey primary key (id),
  constraint messenger_transports_name_key unique (name),
  constraint messenger_transports_name_check check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  constraint messenger_transports_type_check check (type in ('sync', 'supabase', 'redis', 'rabbitmq', 'sqs')),
  -- The pattern matches a number without a unit, as in messenger.read_interval.
  constraint messenger_transports_config_check check (
    jsonb_typeof(config) = 'object'
    and concat_ws('|', config ->> 'retention', config ->> 'failed_retention', config ->> 'idempotency_window')
      !~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*(ago\s*)?([|]|$)'
    and coalesce((config ->> 'retention')::interval between '0' and '100 years', true)
    and coalesce((config ->> 'failed_retention')::interval between '0' and '100 years', true)
    and coalesce((config ->> 'idempotency_window')::interval between '0' and '1 year', true)
    and coalesce(config ->> 'ordering_dead_letter' in ('block', 'continue'), true)
  )
);

comment on table public.messenger_transports is
  'Transports by name. Type sync handles a message where it is dispatched; with type supabase this database is the '
  'queue.';
comment on column public.messenger_transports.id is 'Random UUID of the row.';
comment on column public.messenger_transports.name is
  'Unique name, which dispatches and message types refer to: 1 to 63 lower-case letters, digits, underscores or '
  'hyphens.';
comment on column public.messenger_transports.type is 'sync, supabase, redis, rabbitmq or sqs.';
comment on column public.messenger_transports.config is
  'Settings as an object. Intervals are text with a unit: retention of finished messages (default: 7 days; 0 deletes '
  'them on completion), failed_retention of resolved dead letters (default: 30 days), both at most 100 years, and '
  'idempotency_window (default: 24 hours, at most 1 year). ordering_dead_letter: continue (default) or block, by which '
  'an open dead letter blocks its ordering key. No secrets.';
comment on column public.messenger_transports.enabled is
  'False: dispatches to it are rejected and its messages are not handed out.';
comment on column public.messenger_transports.created_at is 'When the row was inserted.';
comment on column public.messenger_transports.updated_at is 'When the row was last changed.';

create or replace function public.update_messenger_transports_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_transports_updated_at() is
  'Trigger function: sets updated_at if the statement has not set it.';

create or replace trigger messenger_transports_updated_at
before update on public.messenger_transports
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_transports_updated_at();

create or replace function messenger.ensure_transports()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.messenger_transports (name, type)
  select d.name, d.name from unnest(array['supabase', 'sync']) as d(name)
  where not exists (select from public.messenger_transports t where t.name = d.name)
  on conflict on constraint messenger_transports_name_key do nothing;
end $$;
comment on function messenger.ensure_transports() is 'Creates the transports supabase and sync if they are missing.';

-- A data-only restore inserts rows that the migration has already created. An unchanged row of the migration is deleted
-- in favour of the restored one, whose created_at is older; an ordinary insert takes the default.
create or replace function messenger.give_way_to_restored_transport()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from public.messenger_transports t
  where t.name = new.name and t.id <> new.id and new.created_at < messenger.now() - interval '1 second'
    and t.type = t.name and t.enabled and t.config = '{}';
  return new;
end $$;
comment on function messenger.give_way_to_restored_transport() is
  'Trigger function: deletes the unchanged transport of the migration when its restored row is inserted.';

create or replace trigger messenger_transports_restored
before insert on public.messenger_transports
for each row when (new.name in ('supabase', 'sync'))
execute function messenger.give_way_to_restored_transport();
-- Dumps of the Supabase CLI are restored with session_replication_role = replica, which skips ordinary triggers.
alter table public.messenger_transports enable always trigger messenger_transports_restored;

do $$ begin perform messenger.ensure_transports(); end $$;

alter table public.messenger_transports enable row level security;
drop policy if exists service_only on public.messenger_transports;
create policy service_only on public.messenger_transports
for all to anon, authenticated using (false) with check (false);
revoke all on public.messenger_transports from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_transports to service_role;
revoke all on function
  messenger.ensure_transports(),
  messenger.give_way_to_restored_transport(),
  public.update_messenger_transports_updated_at()
from public, anon, authenticated, service_role;

-- ---- 20_tables/15_messages.sql
-- The queue: every message from dispatch until pruning.
create table if not exists public.messenger_messages (
  id uuid not null default messenger.new_id(),
  transport_name text not null default 'supabase',
  queue_name text not null default 'default',
  message_type text not null,
  body jsonb not null default '{}',
  headers jsonb not null default '{}',
  metadata jsonb not null default '{}',
  priority int not null default 5,
  status text not null default 'pending',
  scheduled_at timestamptz,
  available_at timestamptz not null default messenger.now(),
  expires_at timestamptz,
  created_at timestamptz not null default messenger.now(),
  processed_at timestamptz,
  updated_at timestamptz not null default messenger.now(),
  retry_count int not null default 0,
  max_retries int not null default 3,
  last_error text,
  error_class text,
  fence bigint not null default 0,
  locked_at timestamptz,
  locked_by text,
  lock_expires_at timestamptz,
  lease_losses int not null default 0,
  cancel_requested_at timestamptz,
  idempotency_key text,
  ordering_key text,
  ordering_seq bigint,
  result jsonb,
  progress jsonb,
  created_by uuid,
  unrouted text[],
  constraint messenger_messages_pkey primary key (id),
  constraint messenger_messages_check check (
    messenger.is_valid_message(
      body, status, priority, processed_at, locked_at, locked_by, lock_expires_at, max_retries, retry_count, fence,
      lease_losses)
  )
)
-- Fillfactor 50 leaves room on the page for the claim's HOT update: 16.4 us of server CPU per message against 25.4 at
-- 100. With a cost delay of 0, vacuum runs continuously while a transaction holds a snapshot.
with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1
);

comment on table public.messenger_messages is
  'Messages: pending -> processing -> completed | pending (retry, snooze, release) | failed. Written only by the '
  'messenger functions.';
comment on column public.messenger_messages.id is
  'Time-ordered UUID, version 7; use it as the idempotency key of effects outside the database.';
comment on column public.messenger_messages.transport_name is
  'Transport the message was dispatched to, see messenger_transports.name.';
comment on column public.messenger_messages.queue_name is
  'Queue within the transport; a queue exists once a message names it.';
comment on column public.messenger_messages.message_type is
  'Type by which a handler is chosen, see messenger.message_types.';
comment on column public.messenger_messages.body is 'The payload, an object of at most 256 KB.';
comment on column public.messenger_messages.headers is
  'Headers of the caller and of the bus, for example traceparent; an object of at most 16 KB.';
comment on column public.messenger_messages.metadata is
  'Data of the caller that handlers receive beside the payload; an object of at most 16 KB.';
comment on column public.messenger_messages.priority is '1 to 10; 10 is handed out first.';
comment on column public.messenger_messages.status is 'pending, processing, completed or failed.';
comment on column public.messenger_messages.scheduled_at is
  'The time that the dispatch requested; null if it requested none.';
comment on column public.messenger_messages.available_at is
  'Earliest time at which the message is handed out; infinity while it waits for its predecessor of the same ordering '
  'key.';
comment on column public.messenger_messages.expires_at is
  'Time after which the message is no longer handed out but fails as Expired; null: never.';
comment on column public.messenger_messages.created_at is 'When the message was dispatched.';
comment on column public.messenger_messages.processed_at is
  'When the message finished; null exactly while it is pending or processing.';
comment on column public.messenger_messages.updated_at is 'When the row was last changed.';
comment on column public.messenger_messages.retry_count is 'Number of failed deliveries, lease expiry included.';
comment on column public.messenger_messages.max_retries is
  'Number of failed deliveries after which the next failure is final: 3 allows four deliveries.';
comment on column public.messenger_messages.last_error is
  'Error text of the last recorded failure: of a delivery, an expiry, a cancellation or a final lease loss. Null if '
  'there is none; the error of a lost lease that another worker took over is in messenger.attempts only.';
comment on column public.messenger_messages.error_class is
  'Class of that error; Expired, Cancelled, Discarded and LeaseExpired are reserved for the bus. Null like last_error.';
comment on column public.messenger_messages.fence is
  'Fencing token: every claim increments it, and outcomes with an older one are rejected.';
comment on column public.messenger_messages.locked_at is
  'When the current lease began; null unless the message is processing.';
comment on column public.messenger_messages.locked_by is
  'Name of the worker that holds the lease; null unless the message is processing.';
comment on column public.messenger_messages.lock_expires_at is
  'When the lease ends; null unless the message is processing.';
comment on column public.messenger_messages.lease_losses is
  'Deliveries that ended by lease expiry since the last ordinary outcome; above zero the message is the only one of '
  'its claim.';
comment on column public.messenger_messages.cancel_requested_at is
  'When messenger_cancel was called while the message was processing; null: not requested.';
comment on column public.messenger_messages.idempotency_key is
  'The key it was dispatched with; null without one, or once a newer message has taken the key over.';
comment on column public.messenger_messages.ordering_key is
  'Of the messages of one transport, queue and key one is in flight, in the order of ordering_seq; null: unordered.';
comment on column public.messenger_messages.ordering_seq is
  'Position within the ordering key, from the sequence messenger.ordering_seq; null without an ordering key.';
comment on column public.messenger_messages.result is
  'The value that the handler returned, at most 64 KB; a larger one is replaced by a marker. Null: none.';
comment on column public.messenger_messages.progress is
  'The newest progress that the handler reported, at most 64 KB; null: none.';
comment on column public.messenger_messages.created_by is
  'The signed-in user of the dispatching transaction (messenger.caller_id()); null for services and for subjects that '
  'are not UUIDs.';
comment on column public.messenger_messages.unrouted is
  'Which of queue, priority and max_retries the dispatch left open while its type was not registered; null otherwise, '
  'and once the values of the type are applied.';

-- Numbers are drawn under the lock of the ordering key, so within a key they rise in the order in which its
-- transactions commit. Gaps have no meaning.
create sequence if not exists messenger.ordering_seq;
comment on sequence messenger.ordering_seq is 'The order of dispatch of messages with an ordering key.';
-- Only locked, never changed: a dispatch holds the row of its key until its transaction ends. Rows instead of advisory
-- locks, because any role can take those, they fill the server's lock table (20,000 keys in one transaction), and two
-- keys may share one.
create table if not exists messenger.ordering_keys (
  transport_name text not null,
  queue_name text not null,
  ordering_key text not null,
  check_at timestamptz not null,
  constraint ordering_keys_pkey primary key (transport_name, queue_name, ordering_key)
);
comment on table messenger.ordering_keys is
  'Ordering keys in use, one row per key, which dispatches lock. Pruned when the key has no unfinished message.';
comment on column messenger.ordering_keys.transport_name is 'Transport of the key''s messages.';
comment on column messenger.ordering_keys.queue_name is 'Queue of the key''s messages.';
comment on column messenger.ordering_keys.ordering_key is 'The key; the same key in another queue is a different one.';
comment on column messenger.ordering_keys.check_at is
  'When pruning checks the row next: an hour after it was created or last found in use.';
create index if not exists ordering_keys_check_at_idx on messenger.ordering_keys (check_at);
alter table messenger.ordering_keys enable row level security;
drop policy if exists service_only on messenger.ordering_keys;
create policy service_only on messenger.ordering_keys for all to anon, authenticated using (false) with check (false);
revoke all on messenger.ordering_keys from public, anon, authenticated, service_role;
grant select, insert, update on messenger.ordering_keys to service_role;

do $$
begin
  if to_regtype('messenger.order_key') is null then
    create type messenger.order_key as (transport_name text, queue_name text, ordering_key text);
  end if;
end $$;
comment on type messenger.order_key is 'An ordering key with its transport and queue.';

-- The hot index. Neither its columns nor its predicate contain anything that a claim changes, so a claim is a HOT
-- update and writes no index.
create index if not exists messenger_messages_claim_idx
on public.messenger_messages (transport_name, queue_name, priority, available_at, id) where processed_at is null;
-- Partial: messages without an ordering key are in neither of these two.
create index if not exists messenger_messages_ordering_idx
on public.messenger_messages (transport_name, queue_name, ordering_key, ordering_seq)
where ordering_key is not null and processed_at is null;
create index if not exists messenger_messages_waiting_idx
on public.messenger_messages (transport_name, queue_name, ordering_key)
where ordering_key is not null and processed_at is null and available_at = 'infinity';
-- Partial: messages of registered types are not in it.
create index if not exists messenger_messages_unrouted_idx
on public.messenger_messages (message_type) where unrouted is not null and processed_at is null;
-- Partial: messages of services are in neither of these two.
create index if not exists messenger_messages_sender_idx
on public.messenger_messages (created_by, id) where created_by is not null;
create index if not exists messenger_messages_sender_unfinished_idx
on public.messenger_messages (created_by) where created_by is not null and processed_at is null;

create or replace function public.update_messenger_messages_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_messages_updated_at() is
  'Trigger function: sets updated_at if the statement has not set it.';

-- The functions of the hot path set updated_at themselves, so the condition is false: the call would cost 7 percent.
create or replace trigger messenger_messages_updated_at
before update on public.messenger_messages
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_messages_updated_at();

-- Messages of the bus's own types are handled or signed with the rights of its owner, so only the owner may write their
-- content. service_role has the table privileges, but must not forge one. The conditions keep both triggers off all
-- other messages, and off claims and outcomes.
create or replace function messenger.guard_own_types()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_has_role(current_user, (select c.relowner from pg_catalog.pg_class c where c.oid = tg_relid), 'usage') then
    perform messenger.raise_error('SM_TYPE_FORBIDDEN', new.message_type);
  end if;
  return new;
end $$;
comment on function messenger.guard_own_types() is
  'Trigger function: raises SM_TYPE_FORBIDDEN for messages of types symphony.* that are not written with the rights of '
  'the owner of the bus.';
revoke all on function messenger.guard_own_types() from public, anon, authenticated, service_role;

create or replace trigger messenger_messages_own_types_insert
before insert on public.messenger_messages
for each row when (starts_with(new.message_type, 'symphony.'))
execute function messenger.guard_own_types();

create or replace trigger messenger_messages_own_types_update
before update of message_type, body, headers on public.messenger_messages
for each row when (
  starts_with(new.message_type, 'symphony.')
  and (new.message_type, new.body, new.headers) is distinct from (old.message_type, old.body, old.headers))
execute function messenger.guard_own_types();

alter table public.messenger_messages enable row level security;
drop policy if exists sender_reads_own on public.messenger_messages;
create policy sender_reads_own on public.messenger_messages for select to authenticated
using (created_by = (select auth.uid()));
revoke all on public.messenger_messages, messenger.ordering_seq from public, anon, authenticated, service_role;
grant usage on messenger.ordering_seq to service_role;
grant select, insert, update, delete on public.messenger_messages to service_role;
-- Never last_error, headers, metadata or locked_by: they may reveal internals.
grant select (id, message_type, status, progress, result, created_at, available_at, processed_at)
on public.messenger_messages to authenticated;
revoke all on function public.update_messenger_messages_updated_at() from public, anon, authenticated, service_role;

-- ---- 20_tables/20_failed_messages.sql
-- Dead letters: messages that failed finally, with their last 20 failed deliveries. A row stays for its retention after
-- it was retried or discarded.
create table if not exists public.messenger_failed_messages (
  id uuid not null default messenger.new_id(),
  message_id uuid not null,
  transport_name text not null,
  queue_name text not null,
  message_type text not null,
  body jsonb not null,
  headers jsonb not null default '{}',
  metadata jsonb not null default '{}',
  error text,
  error_class text,
  error_trace text,
  attempts jsonb not null default '[]',
  retry_count int not null,
  max_retries int not null,
  failed_at timestamptz not null default messenger.now(),
  created_at timestamptz not null,
  idempotency_key text,
  resolved_at timestamptz,
  resolution text,
  created_by uuid,
  constraint messenger_failed_messages_pkey primary key (id),
  constraint messenger_failed_messages_resolution_check check (
    (resolved_at is null) = (resolution is null) and resolution in ('retried', 'discarded')
  )
);

comment on table public.messenger_failed_messages is
  'Dead letters. Open while resolved_at is null; pruned 30 days (default) after they are resolved.';
comment on column public.messenger_failed_messages.id is
  'Time-ordered UUID of the dead letter, version 7; a message that fails again gets another one.';
comment on column public.messenger_failed_messages.message_id is
  'Id of the message; a plain UUID, because a foreign key costs every delete of a message 25 percent more.';
comment on column public.messenger_failed_messages.transport_name is 'Transport of the message.';
comment on column public.messenger_failed_messages.queue_name is 'Queue of the message.';
comment on column public.messenger_failed_messages.message_type is 'Type of the message.';
comment on column public.messenger_failed_messages.body is 'Payload of the message.';
comment on column public.messenger_failed_messages.headers is 'Headers of the message.';
comment on column public.messenger_failed_messages.metadata is 'Metadata of the message.';
comment on column public.messenger_failed_messages.error is
  'Error text of the last attempt, at most 8 KB; null: none was reported.';
comment on column public.messenger_failed_messages.error_class is 'Error class of the last attempt.';
comment on column public.messenger_failed_messages.error_trace is
  'Stack trace of the last attempt, at most 8 KB; null: none was reported.';
comment on column public.messenger_failed_messages.attempts is
  'The last 20 deliveries, one element per delivery, oldest first: at, worker, error, error_class, duration_ms.';
comment on column public.messenger_failed_messages.retry_count is 'Number of failed deliveries, the last one included.';
comment on column public.messenger_failed_messages.max_retries is 'The limit that the message had.';
comment on column public.messenger_failed_messages.failed_at is 'When the message failed.';
comment on column public.messenger_failed_messages.created_at is 'When the message was dispatched.';
comment on column public.messenger_failed_messages.idempotency_key is 'Idempotency key of the message; null: none.';
comment on column public.messenger_failed_messages.resolved_at is
  'When the dead letter was retried or discarded; null: it is open.';
comment on column public.messenger_failed_messages.resolution is 'retried or discarded; null: it is open.';
comment on column public.messenger_failed_messages.created_by is
  'The user who dispatched the message, whose quota open dead letters count towards; null for services.';

-- At most one open dead letter per message, held by the database.
create unique index if not exists messenger_failed_messages_open_idx
on public.messenger_failed_messages (message_id) where resolved_at is null;
create index if not exists messenger_failed_messages_message_idx
on public.messenger_failed_messages (message_id);
-- Partial: dead letters of services' messages are not in it.
create index if not exists messenger_failed_messages_sender_idx
on public.messenger_failed_messages (created_by) where created_by is not null and resolved_at is null;
create index if not exists messenger_failed_messages_failed_at_idx
on public.messenger_failed_messages (failed_at desc, id);
create index if not exists messenger_failed_messages_resolved_at_idx
on public.messenger_failed_messages (resolved_at, id) where resolved_at is not null;

alter table public.messenger_failed_messages enable row level security;
drop policy if exists service_only on public.messenger_failed_messages;
create policy service_only on public.messenger_failed_messages
for all to anon, authenticated using (false) with check (false);
revoke all on public.messenger_failed_messages from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_failed_messages to service_role;

-- ---- 20_tables/25_schedules.sql
-- Schedules: messages to dispatch repeatedly, with the next time, and the ledger of past dispatches.
create table if not exists public.messenger_schedules (
  id uuid not null default gen_random_uuid(),
  name text not null,
  message_type text not null,
  transport_name text not null default 'supabase',
  queue_name text not null default 'default',
  body jsonb not null default '{}',
  headers jsonb not null default '{}',
  schedule_type text not null,
  schedule_config jsonb not null,
  timezone text not null default 'UTC',
  next_run_at timestamptz,
  last_run_at timestamptz,
  run_count bigint not null default 0,
  max_runs bigint,
  enabled boolean not null default true,
  starts_at timestamptz,
  ends_at timestamptz,
  misfire text not null default 'fire_once',
  misfire_grace_ms bigint not null default 60000,
  catch_up_limit int not null default 100,
  dst_gap text not null default 'run_after',
  dst_overlap text not null default 'first',
  overlap text not null default 'allow',
  jitter_ms bigint not null default 0,
  last_error text,
  created_at timestamptz not null default messenger.now(),
  updated_at timestamptz not null default messenger.now(),
  constraint messenger_schedules_pkey primary key (id),
  constraint messenger_schedules_name_key unique (name),
  constraint messenger_schedules_body_check check (jsonb_typeof(body) = 'object' and jsonb_typeof(headers) = 'object'),
  constraint messenger_schedules_type_check check (schedule_type in ('once', 'cron', 'interval')),
  constraint messenger_schedules_config_check check (jsonb_typeof(schedule_config) = 'object'),
  constraint messenger_schedules_policies_check check (
    misfire in ('fire_once', 'skip', 'catch_up') and dst_gap in ('run_after', 'skip')
    and dst_overlap in ('first', 'second', 'both') and overlap in ('allow', 'skip', 'replace')
  ),
  constraint messenger_schedules_numbers_check check (
    run_count >= 0 and max_runs > 0 and misfire_grace_ms >= 0 and catch_up_limit >= 1 and jitter_ms >= 0
  )
);

comment on table public.messenger_schedules is 'Schedules by name. Written by messenger_schedule and by the ticker.';
comment on column public.messenger_schedules.id is 'Random UUID of the schedule.';
comment on column public.messenger_schedules.name is 'Unique name, 1 to 128 characters.';
comment on column public.messenger_schedules.message_type is 'Type of the dispatched messages.';
comment on column public.messenger_schedules.transport_name is 'Transport of the dispatched messages.';
comment on column public.messenger_schedules.queue_name is 'Queue of the dispatched messages.';
comment on column public.messenger_schedules.body is 'Payload of the dispatched messages.';
comment on column public.messenger_schedules.headers is 'Headers of the dispatched messages.';
comment on column public.messenger_schedules.schedule_type is 'once, cron or interval.';
comment on column public.messenger_schedules.schedule_config is
  '{"cron": "*/5 9-17 * * mon-fri"} | {"interval": 60000, "startAt"?} (ms) | {"at": "2030-01-31T09:00:00Z"}';
comment on column public.messenger_schedules.timezone is 'IANA name; cron fields are local times of this zone.';
comment on column public.messenger_schedules.next_run_at is
  'The next due time; after an error the time of the next attempt; null if no run is left.';
comment on column public.messenger_schedules.last_run_at is
  'The due time of the last dispatched message; no earlier time runs again. Null: none was dispatched.';
comment on column public.messenger_schedules.run_count is 'Number of messages stored.';
comment on column public.messenger_schedules.max_runs is
  'Number of messages after which the schedule ends; null: no limit.';
comment on column public.messenger_schedules.enabled is 'False: it is disabled or has ended.';
comment on column public.messenger_schedules.starts_at is 'No run is due before this time; null: no limit.';
comment on column public.messenger_schedules.ends_at is 'No run is due after this time; null: no limit.';
comment on column public.messenger_schedules.misfire is
  'If several runs are due: fire_once dispatches the latest, catch_up the latest catch_up_limit, skip those that are '
  'late by at most misfire_grace_ms.';
comment on column public.messenger_schedules.misfire_grace_ms is
  'Milliseconds by which a run may be late with misfire skip.';
comment on column public.messenger_schedules.catch_up_limit is
  'Largest number of due runs that misfire catch_up dispatches, at most 1000.';
comment on column public.messenger_schedules.dst_gap is
  'Cron times that the change to summer time skips: run_after dispatches after the gap, skip does not dispatch.';
comment on column public.messenger_schedules.dst_overlap is
  'Cron times that occur twice at the change from summer time: first, second or both.';
comment on column public.messenger_schedules.overlap is
  'If the previous message is unfinished: allow dispatches another, skip does not, replace cancels the previous one.';
comment on column public.messenger_schedules.jitter_ms is
  'Milliseconds: a message becomes available up to this much after its due time, always by the same amount for the '
  'same due time.';
comment on column public.messenger_schedules.last_error is
  'Error of the last attempt to dispatch; null if it succeeded.';
comment on column public.messenger_schedules.created_at is 'When the schedule was created.';
comment on column public.messenger_schedules.updated_at is 'When the row was last changed.';

create index if not exists messenger_schedules_due_idx on public.messenger_schedules (next_run_at) where enabled;
-- For pruning of schedules of type once that have run.
create index if not exists messenger_schedules_fired_idx
on public.messenger_schedules (updated_at, id) where schedule_type = 'once' and not enabled;

-- No foreign keys: rows remain after their schedule until they are pruned, and a schedule is deleted without visiting
-- them.
create table if not exists messenger.occurrences (
  schedule_id uuid not null,
  due_at timestamptz not null,
  message_id uuid not null,
  constraint occurrences_pkey primary key (schedule_id, due_at)
);
comment on table messenger.occurrences is
  'The ledger: the message that was dispatched for a due time of a schedule, at most one. Kept for 7 days, and while '
  'the message is unfinished.';
comment on column messenger.occurrences.schedule_id is 'Id of the schedule, which may have been deleted.';
comment on column messenger.occurrences.due_at is 'The due time, without jitter.';
comment on column messenger.occurrences.message_id is 'Id of the message, which may have been pruned.';
create index if not exists occurrences_due_at_idx on messenger.occurrences (due_at, schedule_id);

create table if not exists messenger.schedule_backoffs (
  schedule_id uuid not null,
  due_at timestamptz not null,
  constraint schedule_backoffs_pkey primary key (schedule_id)
);
comment on table messenger.schedule_backoffs is 'Schedules that failed to dispatch and are attempted again later.';
comment on column messenger.schedule_backoffs.schedule_id is 'Id of the schedule.';
comment on column messenger.schedule_backoffs.due_at is
  'The due time that failed, while next_run_at holds the time of the next attempt.';

create or replace function public.update_messenger_schedules_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_schedules_updated_at() is
  'Trigger function: sets updated_at if the statement has not set it.';

create or replace trigger messenger_schedules_updated_at
before update on public.messenger_schedules
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_schedules_updated_at();

alter table public.messenger_schedules enable row level security;
drop policy if exists service_only on public.messenger_schedules;
create policy service_only on public.messenger_schedules
for all to anon, authenticated using (false) with check (false);
alter table messenger.occurrences enable row level security;
alter table messenger.schedule_backoffs enable row level security;
drop policy if exists service_only on messenger.occurrences;
create policy service_only on messenger.occurrences for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.schedule_backoffs;
create policy service_only on messenger.schedule_backoffs
for all to anon, authenticated using (false) with check (false);
revoke all on
  public.messenger_schedules,
  messenger.occurrences,
  messenger.schedule_backoffs
from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_schedules, messenger.schedule_backoffs to service_role;
grant select on messenger.occurrences to service_role;
revoke all on function public.update_messenger_schedules_updated_at() from public, anon, authenticated, service_role;

-- ---- 20_tables/30_message_types.sql
-- Message types as the code has registered them: route, retry policy, who may dispatch.
create table if not exists messenger.message_types (
  type text not null,
  transport_name text,
  queue_name text,
  priority int,
  dispatchable_by text not null default 'service',
  max_retries int not null default 3,
  retry_delay_ms bigint not null default 1000,
  retry_multiplier double precision not null default 2,
  retry_max_delay_ms bigint not null default 600000,
  retry_jitter double precision not null default 0.2,
  timeout_ms bigint,
  aliases text[] not null default '{}',
  sql_handler text,
  registered_at timestamptz not null default messenger.now(),
  constraint message_types_pkey primary key (type),
  constraint message_types_type_check check (type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'),
  constraint message_types_route_check check (queue_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$' and priority between 1 and 10),
  constraint message_types_dispatchable_check check (dispatchable_by in ('service', 'user')),
  constraint message_types_retry_check check (
    max_retries between 0 and 100 and retry_delay_ms between 0 and 86400000000 and retry_multiplier between 1 and 100
    and retry_max_delay_ms between 0 and 86400000000 and retry_jitter between 0 and 1
  ),
  -- As quote_ident writes it: a text that is not a name would raise an error in every tick that looks it up.
  constraint message_types_sql_handler_check check (
    sql_handler ~ '^([a-z_][a-z0-9_]*|"([^"]|"")+")\.([a-z_][a-z0-9_]*|"([^"]|"")+")$'
  ),
  constraint message_types_timeout_check check (timeout_ms > 0),
  -- Otherwise a type's SQL handler would also handle the bus's own messages.
  constraint message_types_aliases_check check (array_to_string(aliases, ' ') !~ '(^| )symphony\.')
);

-- Dispatches that wake a worker, and ticks, look for types with an SQL handler. Without the index they read all types:
-- 2 ms for 10,000.
create index if not exists message_types_sql_handler_idx on messenger.message_types (type)
where sql_handler is not null;

comment on table messenger.message_types is
  'Message types as registered by messenger_register. For a type without a row the defaults of these columns apply.';
comment on column messenger.message_types.type is
  'Name of the type; types that begin with symphony. belong to the bus.';
comment on column messenger.message_types.transport_name is 'Transport of dispatches that name none; null: supabase.';
comment on column messenger.message_types.queue_name is 'Queue of dispatches that name none; null: default.';
comment on column messenger.message_types.priority is 'Priority, 1 to 10, of dispatches that give none; null: 5.';
comment on column messenger.message_types.dispatchable_by is
  'service or user: whether signed-in users may dispatch it.';
comment on column messenger.message_types.max_retries is
  'Failed deliveries after which the next failure is final, 0 to 100.';
comment on column messenger.message_types.retry_delay_ms is 'Milliseconds before the first retry.';
comment on column messenger.message_types.retry_multiplier is
  'Factor by which the delay grows with each further retry, 1 to 100.';
comment on column messenger.message_types.retry_max_delay_ms is
  'Upper limit of the delay in milliseconds, before jitter.';
comment on column messenger.message_types.retry_jitter is
  'Share of the delay that is added at random: the wait is in [delay, delay * (1 + jitter)].';
comment on column messenger.message_types.timeout_ms is 'Milliseconds after which a handler has failed; null: 30 s.';
comment on column messenger.message_types.aliases is 'Former names, whose messages are handled as this type.';
comment on column messenger.message_types.sql_handler is
  'Function, as schema.name, that handles the type inside the database with the rights of the owner of the bus; null: '
  'a worker handles it. Set by messenger.set_sql_handler, by postgres only.';
comment on column messenger.message_types.registered_at is 'When the row was last changed by a registration.';

alter table messenger.message_types enable row level security;
drop policy if exists service_only on messenger.message_types;
create policy service_only on messenger.message_types for all to anon, authenticated using (false) with check (false);
revoke all on messenger.message_types from public, anon, authenticated, service_role;
grant select on messenger.message_types to service_role;
-- Every column but sql_handler.
grant
  insert (
    type, transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier,
    retry_max_delay_ms, retry_jitter, timeout_ms, aliases, registered_at
  ),
  update (
    transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier,
    retry_max_delay_ms, retry_jitter, timeout_ms, aliases, registered_at
  )
on messenger.message_types to service_role;

-- ---- 20_tables/35_attempts.sql
-- Failed deliveries, kept until the message finishes; a dead letter copies them.
create table if not exists messenger.attempts (
  message_id uuid not null,
  fence bigint not null,
  at timestamptz not null,
  worker text,
  error text,
  error_class text,
  error_trace text,
  duration_ms bigint,
  constraint attempts_pkey primary key (message_id, fence)
);

comment on table messenger.attempts is
  'One row per failed delivery. Its fence distinguishes a repeated failure report (already) from a late one (stale).';
comment on column messenger.attempts.message_id is 'Id of the message.';
comment on column messenger.attempts.fence is 'Fencing token of the delivery.';
comment on column messenger.attempts.at is 'When the failure was recorded.';
comment on column messenger.attempts.worker is 'Name of the worker that held the lease.';
comment on column messenger.attempts.error is 'Error text, at most 8 KB.';
comment on column messenger.attempts.error_class is
  'Class of the error, at most 200 characters; LeaseExpired: the lease ran out without an outcome.';
comment on column messenger.attempts.error_trace is 'Stack trace, at most 8 KB; null: none was reported.';
comment on column messenger.attempts.duration_ms is
  'Milliseconds that the handler took as reported, otherwise from claim to outcome.';

alter table messenger.attempts enable row level security;
drop policy if exists service_only on messenger.attempts;
create policy service_only on messenger.attempts for all to anon, authenticated using (false) with check (false);
revoke all on messenger.attempts from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.attempts to service_role;

-- ---- 20_tables/40_idempotency_keys.sql
-- Idempotency keys and their messages. A table of its own, because a key outlives its message if the window is longer
-- than the retention.
create table if not exists messenger.idempotency_keys (
  scope text not null,
  key text not null,
  message_id uuid not null,
  message_type text not null,
  fingerprint bytea not null,
  transport_name text not null,
  queue_name text not null,
  expires_at timestamptz not null,
  constraint idempotency_keys_pkey primary key (scope, key)
);

comment on table messenger.idempotency_keys is
  'A key is in use while its message is unfinished or an open dead letter, and until expires_at.';
comment on column messenger.idempotency_keys.scope is
  'Id of the user, or service: no caller can read or occupy the keys of another.';
comment on column messenger.idempotency_keys.key is 'The idempotency key, 1 to 255 bytes.';
comment on column messenger.idempotency_keys.message_id is 'Id of the message that the key identifies.';
comment on column messenger.idempotency_keys.message_type is
  'Type of that message; the same key for another type is rejected.';
comment on column messenger.idempotency_keys.fingerprint is
  'SHA-256 of the payload, see messenger.fingerprint; the modes ignore and reschedule reject the same key for another '
  'payload.';
comment on column messenger.idempotency_keys.transport_name is
  'Transport of the message, returned to dispatches of a duplicate.';
comment on column messenger.idempotency_keys.queue_name is
  'Queue of the message; the same key for another queue is rejected.';
comment on column messenger.idempotency_keys.expires_at is 'End of the idempotency window.';

create index if not exists idempotency_keys_expires_at_idx on messenger.idempotency_keys (expires_at);

alter table messenger.idempotency_keys enable row level security;
drop policy if exists service_only on messenger.idempotency_keys;
create policy service_only on messenger.idempotency_keys
for all to anon, authenticated using (false) with check (false);
revoke all on messenger.idempotency_keys from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.idempotency_keys to service_role;

-- ---- 20_tables/45_workers.sql
-- Workers and their last poll: a worker is active if it polled within two poll intervals.
-- Unlogged: a poll that claims nothing commits without waiting for the disk, and after a crash no worker is active
-- anyway.
create unlogged table if not exists messenger.workers (
  worker text not null,
  transport_name text,
  queues text[],
  types text[],
  started_at timestamptz not null,
  polled_at timestamptz not null,
  constraint workers_pkey primary key (worker)
) with (fillfactor = 50);

comment on table messenger.workers is 'Workers by name with their last poll.';
comment on column messenger.workers.worker is 'Name of the worker.';
comment on column messenger.workers.transport_name is 'Transport that the worker polls; null: all.';
comment on column messenger.workers.queues is 'Queues that the worker polls; null: all.';
comment on column messenger.workers.types is 'Message types that the worker polls; null: all.';
comment on column messenger.workers.started_at is 'When the worker polled first.';
comment on column messenger.workers.polled_at is 'When the worker polled last, up to 20 ms late.';

alter table messenger.workers enable row level security;
drop policy if exists service_only on messenger.workers;
create policy service_only on messenger.workers for all to anon, authenticated using (false) with check (false);
revoke all on messenger.workers from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.workers to service_role;

-- ---- 20_tables/50_settings.sql
-- Settings of the installation, the ticker's heartbeat, and the number of pruned messages.
create table if not exists messenger.settings (
  singleton boolean not null default true,
  functions_url text,
  clock_enabled boolean not null default false,
  clock_changed_at timestamptz,
  max_workers int not null default 4,
  messages_per_worker int not null default 100,
  poll_interval interval not null default '50 ms',
  max_unfinished_per_user int not null default 1000,
  constraint settings_pkey primary key (singleton),
  constraint settings_singleton_check check (singleton),
  constraint settings_functions_url_check check (functions_url ~ '^https?://[^\s]+[^/\s]$'),
  constraint settings_numbers_check check (
    max_workers between 1 and 100 and messages_per_worker between 1 and 100000
    and poll_interval between '1 ms' and '1 minute' and max_unfinished_per_user >= 0
  )
);
comment on table messenger.settings is
  'One row, created and changed by messenger_start; without it the defaults of the columns apply.';
comment on column messenger.settings.singleton is 'Always true: the table has at most one row.';
comment on column messenger.settings.functions_url is
  'Base URL of the edge functions, without a slash at the end; null: no wake-ups are sent.';
comment on column messenger.settings.clock_enabled is
  'Whether messenger_start (true) or messenger_stop (false) was called last.';
comment on column messenger.settings.clock_changed_at is 'When the ticker was last started or stopped; null: never.';
comment on column messenger.settings.max_workers is 'Largest number of workers that ticks keep active.';
comment on column messenger.settings.messages_per_worker is
  'Number of due messages for which one more worker is woken, up to max_workers.';
comment on column messenger.settings.poll_interval is 'Time between two polls of an idle worker.';
comment on column messenger.settings.max_unfinished_per_user is
  'Largest number of unfinished messages and open dead letters per user.';

create table if not exists messenger.clock (
  singleton boolean not null default true,
  last_tick_at timestamptz,
  ticks bigint not null default 0,
  last_error text,
  last_error_at timestamptz,
  unregistered_wakeup_at timestamptz,
  order_after messenger.order_key,
  roll_up_tail bigint not null default 0,
  roll_up_sweep bigint not null default 0,
  constraint clock_pkey primary key (singleton),
  constraint clock_singleton_check check (singleton)
) with (fillfactor = 10);
comment on table messenger.clock is 'One row: the heartbeat of the ticker, and where its scans stopped.';
comment on column messenger.clock.singleton is 'Always true: the table has at most one row.';
comment on column messenger.clock.last_tick_at is 'When the last tick began; null: none.';
comment on column messenger.clock.ticks is 'Number of ticks.';
comment on column messenger.clock.last_error is
  'Newest error of a step of a tick, preceded by the name of the step; null: none.';
comment on column messenger.clock.last_error_at is 'When that error occurred; null: never.';
comment on column messenger.clock.unregistered_wakeup_at is
  'When workers were last woken for types that no code has registered, at most once per minute; null: never.';
comment on column messenger.clock.order_after is
  'Ordering key at which the scan for blocked messages stopped; null: it begins at the first key.';
comment on column messenger.clock.roll_up_tail is
  'Block of messenger.measurements from which the next roll-up reads if the table is large.';
comment on column messenger.clock.roll_up_sweep is
  'Block at which the roll-up continues with the rows before roll_up_tail.';

create table if not exists messenger.rescue_cursors (
  transport_name text not null,
  queue_name text not null,
  priority int not null,
  available_at timestamptz not null,
  id uuid not null,
  constraint rescue_cursors_pkey primary key (transport_name, queue_name, priority)
);
comment on table messenger.rescue_cursors is
  'Where the last scan for expired leases stopped, for queues with more due messages than one scan covers.';
comment on column messenger.rescue_cursors.transport_name is 'Transport of the queue.';
comment on column messenger.rescue_cursors.queue_name is 'The queue.';
comment on column messenger.rescue_cursors.priority is 'Priority level that is scanned.';
comment on column messenger.rescue_cursors.available_at is 'available_at of the last message visited.';
comment on column messenger.rescue_cursors.id is 'Id of the last message visited.';

-- Rows are appended by each transaction that deletes messages and rolled up by the ticker: a counter row would be
-- contended. The primary key is for replication: a publication of all tables rejects deletes from a table without one.
create table if not exists messenger.pruned (
  id bigint generated always as identity,
  transport_name text not null,
  message_count bigint not null,
  at timestamptz not null default messenger.now(),
  constraint pruned_pkey primary key (id)
);
comment on table messenger.pruned is 'Numbers of finished messages that were deleted; the figure is their sum.';
comment on column messenger.pruned.id is 'Number of the row.';
comment on column messenger.pruned.transport_name is 'Transport of the deleted messages.';
comment on column messenger.pruned.message_count is 'Number of deleted messages.';
comment on column messenger.pruned.at is 'When they were deleted.';

-- Not called by the migration: a data-only restore contains these rows.
create or replace function messenger.ensure_singletons()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.settings default values on conflict on constraint settings_pkey do nothing;
  insert into messenger.clock default values on conflict on constraint clock_pkey do nothing;
end $$;
comment on function messenger.ensure_singletons() is
  'Creates the rows of messenger.settings and messenger.clock if they are missing.';

alter table messenger.settings enable row level security;
alter table messenger.clock enable row level security;
alter table messenger.rescue_cursors enable row level security;
alter table messenger.pruned enable row level security;
drop policy if exists service_only on messenger.settings;
create policy service_only on messenger.settings for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.clock;
create policy service_only on messenger.clock for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.rescue_cursors;
create policy service_only on messenger.rescue_cursors for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.pruned;
create policy service_only on messenger.pruned for all to anon, authenticated using (false) with check (false);
revoke all on
  messenger.settings,
  messenger.clock,
  messenger.rescue_cursors,
  messenger.pruned
from public, anon, authenticated, service_role;
revoke all on function messenger.ensure_singletons() from public, anon, authenticated, service_role;
grant select on messenger.settings, messenger.clock to service_role;
grant select, insert on messenger.pruned to service_role;

-- ---- 20_tables/55_wakeups.sql
-- Requests of the bus to pg_net. Its table of responses does not name the requester, and the responses of others must
-- not be deleted.
-- Unlogged, as pg_net's tables are: a crash empties them together. Times are the server's, as pg_net's are.
create unlogged table if not exists messenger.wakeups (
  request_id bigint not null,
  at timestamptz not null default pg_catalog.now(),
  constraint wakeups_pkey primary key (request_id)
);

comment on table messenger.wakeups is 'Requests given to pg_net within the last hours.';
comment on column messenger.wakeups.request_id is 'Id that net.http_post returned.';
comment on column messenger.wakeups.at is 'When the request was made, by the clock of the server.';

alter table messenger.wakeups enable row level security;
drop policy if exists service_only on messenger.wakeups;
create policy service_only on messenger.wakeups for all to anon, authenticated using (false) with check (false);
revoke all on messenger.wakeups from public, anon, authenticated, service_role;

create table if not exists messenger.wakeup_locks (
  transport_name text not null,
  queue_name text not null,
  made_at timestamptz not null default messenger.now(),
  constraint wakeup_locks_pkey primary key (transport_name, queue_name)
);
comment on table messenger.wakeup_locks is
  'One row per recently woken queue, locked by the transaction that sends its wake-up, so that others need not send '
  'one. Created by the tick.';
comment on column messenger.wakeup_locks.transport_name is 'Transport of the queue.';
comment on column messenger.wakeup_locks.queue_name is 'The queue.';
comment on column messenger.wakeup_locks.made_at is
  'When the row was created; it is pruned a day later and created again on demand.';
alter table messenger.wakeup_locks enable row level security;
drop policy if exists service_only on messenger.wakeup_locks;
create policy service_only on messenger.wakeup_locks for all to anon, authenticated using (false) with check (false);
revoke all on messenger.wakeup_locks from public, anon, authenticated, service_role;

-- ---- 20_tables/60_measurements.sql
-- Measurements: dispatch and settle append rows here, and the ticker rolls them up into messenger.metrics. A row covers
-- the messages of one type in one call: a batch of a hundred adds one row. Counter rows would be contended, or grow a
-- chain of versions that every later settle follows while a transaction holds a snapshot.
-- Unlogged: after a crash the figures of the last second are lost, never messages.
create unlogged table if not exists messenger.measurements (
  id bigint generated always as identity,
  at timestamptz not null,
  transport_name text not null,
  message_type text not null,
  kind text not null,
  message_count int not null default 1,
  durations real[],
  wait_count int not null default 0,
  waited interval,
  error_class text,
  error text,
  deleted_count int not null default 0,
  constraint measurements_pkey primary key (id)
)
-- A row exists for about a second.
with (
  fillfactor = 100,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 1
);
-- A settle has at most 1000 durations, 4 KB: they fit into the row, and compressing them would cost more than the rest
-- of the insert.
alter table messenger.measurements alter column durations set storage plain;

comment on table messenger.measurements is
  'Dispatches and ended deliveries that no tick has rolled up yet: one row per call, transport, type and kind.';
comment on column messenger.measurements.id is 'Number of the row.';
comment on column messenger.measurements.at is 'When the call was made.';
comment on column messenger.measurements.transport_name is 'Transport of the messages.';
comment on column messenger.measurements.message_type is 'Type of the messages.';
comment on column messenger.measurements.kind is 'dispatched, completed, retried or dead.';
comment on column messenger.measurements.message_count is 'Number of messages.';
comment on column messenger.measurements.durations is
  'Milliseconds that the handlers took as reported, otherwise from claim to outcome; null for dispatches and for lost '
  'leases.';
comment on column messenger.measurements.wait_count is
  'Number of deliveries in waited; those after a lost lease are excluded, because the begin of their wait is unknown.';
comment on column messenger.measurements.waited is 'Sum of the times from due to handed out; null: no delivery counts.';
comment on column messenger.measurements.error_class is 'Class of the error, for retried and dead; null otherwise.';
comment on column messenger.measurements.error is
  'First 200 characters of the error, for retried and dead; null otherwise.';
comment on column messenger.measurements.deleted_count is
  'Number of these messages that were deleted on completion; the roll-up adds it to messenger.pruned.';

alter table messenger.measurements enable row level security;
drop policy if exists service_only on messenger.measurements;
create policy service_only on messenger.measurements for all to anon, authenticated using (false) with check (false);
revoke all on messenger.measurements from public, anon, authenticated, service_role;
grant select, insert on messenger.measurements to service_role;

-- Reads the attempts just recorded; the caller still holds the locks of the messages.
create or replace function messenger.measure_failures(kind text, ids uuid[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if ids = '{}' then
    return;
  end if;
  insert into messenger.measurements
    (at, transport_name, message_type, kind, message_count, durations, wait_count, waited, error_class, error)
  select at, m.transport_name, m.message_type, kind, 1,
    case when a.error_class <> 'LeaseExpired' then array[least(a.duration_ms, 1e9)::real] end,
    (w.waited is not null)::int, w.waited, a.error_class, left(a.error, 200)
  from public.messenger_messages m
  join messenger.attempts a on a.message_id = m.id and a.fence = m.fence
  cross join lateral (
    select case when m.lease_losses = 0 and a.error_class <> 'LeaseExpired' and m.locked_at > m.available_at
      then m.locked_at - m.available_at end as waited
  ) w
  where m.id = any (ids);
end $$;

comment on function messenger.measure_failures(text, uuid[], timestamptz) is
  'Appends one measurement of this kind, retried or dead, for the newest attempt of each of these messages, which the '
  'caller has locked.';
revoke all on function messenger.measure_failures(text, uuid[], timestamptz) from public, anon, authenticated;
grant execute on function messenger.measure_failures(text, uuid[], timestamptz) to service_role;

-- ---- 20_tables/65_metrics.sql
-- Metrics per minute, five minutes, hour, day and of all time, by transport and type. Only the ticker writes here.
create table if not exists messenger.metrics (
  step_seconds int not null,
  at timestamptz not null,
  transport_name text not null,
  message_type text not null,
  dispatched bigint not null default 0,
  completed bigint not null default 0,
  retried bigint not null default 0,
  dead bigint not null default 0,
  duration_ms double precision not null default 0,
  durations bigint[] not null default '{}',
  wait_count bigint not null default 0,
  waited_ms double precision not null default 0,
  histogram numeric,
  constraint metrics_pkey primary key (step_seconds, at, transport_name, message_type),
  constraint metrics_step_check check (step_seconds in (0, 60, 300, 3600, 86400))
)
with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);

create table if not exists messenger.metric_errors (
  step_seconds int not null,
  at timestamptz not null,
  message_type text not null,
  error_class text not null,
  error_count bigint not null,
  error text,
  last_at timestamptz not null,
  constraint metric_errors_pkey primary key (step_seconds, at, message_type, error_class),
  constraint metric_errors_step_check check (step_seconds in (60, 300, 3600, 86400))
)
with (fillfactor = 70);

create index if not exists metrics_unpacked_idx on messenger.metrics (at) where step_seconds > 0 and histogram is null;

comment on table messenger.metrics is
  'Metrics by period, transport and type. Periods of five minutes and days are added up when they are over. Types '
  'after the first 500 count as (other).';
comment on column messenger.metrics.step_seconds is
  'Length of the period: 60 (kept for two days), 300 (two days), 3600 (90 days), 86400 (a day in UTC, 400 days), or 0 '
  'for all time.';
comment on column messenger.metrics.at is 'Start of the period; -infinity for all time.';
comment on column messenger.metrics.transport_name is 'Transport of the messages.';
comment on column messenger.metrics.message_type is 'Type of the messages, or (other).';
comment on column messenger.metrics.dispatched is 'Number of dispatched messages.';
comment on column messenger.metrics.completed is 'Number of completed messages.';
comment on column messenger.metrics.retried is 'Number of failed deliveries that were followed by a retry.';
comment on column messenger.metrics.dead is 'Number of messages that became dead letters.';
comment on column messenger.metrics.duration_ms is
  'Sum of the durations of the deliveries in the histogram, in milliseconds.';
comment on column messenger.metrics.durations is
  'Numbers of deliveries of all time by duration: at most 104 buckets, the first up to 1 ms, each limit 2^(1/4) times '
  'the previous one, the last without limit. Other rows have a histogram instead.';
comment on column messenger.metrics.wait_count is 'Number of deliveries in waited_ms.';
comment on column messenger.metrics.waited_ms is 'Sum of the waits from due to handed out, in milliseconds.';
comment on column messenger.metrics.histogram is
  'The buckets as messenger.pack_histogram packs them, which sum() can add up. Null in rows of release 0.1.0, which '
  'have durations.';
comment on table messenger.metric_errors is
  'Failed deliveries by type and error class, for the periods of messenger.metrics; at most 100 rows per period, the '
  'others count as (other).';
comment on column messenger.metric_errors.step_seconds is 'Length of the period: 60, 300, 3600 or 86400.';
comment on column messenger.metric_errors.at is 'Start of the period.';
comment on column messenger.metric_errors.message_type is 'Type of the messages, or (other).';
comment on column messenger.metric_errors.error_class is 'Class of the errors, or (other).';
comment on column messenger.metric_errors.error_count is 'Number of failed deliveries.';
comment on column messenger.metric_errors.error is 'First 200 characters of the newest error.';
comment on column messenger.metric_errors.last_at is 'When the newest error occurred.';

alter table messenger.metrics enable row level security;
alter table messenger.metric_errors enable row level security;
drop policy if exists service_only on messenger.metrics;
create policy service_only on messenger.metrics for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metric_errors;
create policy service_only on messenger.metric_errors for all to anon, authenticated using (false) with check (false);
revoke all on messenger.metrics, messenger.metric_errors from public, anon, authenticated, service_role;
grant select on messenger.metrics, messenger.metric_errors to service_role;

-- ---- 20_tables/70_queues.sql
-- Paused queues. A queue exists once a dispatch names it; a queue without a row here is not paused.
create table if not exists messenger.queues (
  transport_name text not null,
  queue_name text not null,
  paused_at timestamptz,
  resumed_at timestamptz,
  constraint queues_pkey primary key (transport_name, queue_name)
);

comment on table messenger.queues is 'Queues that are paused or have been paused.';
comment on column messenger.queues.transport_name is 'Transport of the queue.';
comment on column messenger.queues.queue_name is 'The queue.';
comment on column messenger.queues.paused_at is 'Since when no message is handed out; null: the queue is not paused.';
comment on column messenger.queues.resumed_at is 'When the queue was last resumed; null: never.';

alter table messenger.queues enable row level security;
drop policy if exists service_only on messenger.queues;
create policy service_only on messenger.queues for all to anon, authenticated using (false) with check (false);
revoke all on messenger.queues from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.queues to service_role;

-- ---- 20_tables/75_sql_runners.sql
-- Backends that run SQL handlers, with their current message, so that one that exceeds its timeout is cancelled and one
-- that has ended is noticed. Unlogged: after a crash there are no backends.
create unlogged table if not exists messenger.sql_runners (
  pid int not null,
  backend_start timestamptz not null,
  message_id uuid,
  message_type text,
  deadline timestamptz,
  cancelled_at timestamptz,
  constraint sql_runners_pkey primary key (pid),
  constraint sql_runners_message_check check (num_nonnulls(message_id, message_type, deadline) in (0, 3))
) with (fillfactor = 50);

comment on table messenger.sql_runners is
  'Backends of the job symphony-handlers. Times are the server''s, not those of messenger.now().';
comment on column messenger.sql_runners.pid is 'Process id of the backend.';
comment on column messenger.sql_runners.backend_start is
  'When the backend was started: process ids are reused, and another backend must never be cancelled.';
comment on column messenger.sql_runners.message_id is 'Id of the message it is handling; null: none.';
comment on column messenger.sql_runners.message_type is 'Type of that message; null: none.';
comment on column messenger.sql_runners.deadline is
  'When the handler exceeds the timeout of its type; null: it is handling none.';
comment on column messenger.sql_runners.cancelled_at is 'When the ticker cancelled the handler; null: it did not.';

alter table messenger.sql_runners enable row level security;
drop policy if exists service_only on messenger.sql_runners;
create policy service_only on messenger.sql_runners for all to anon, authenticated using (false) with check (false);
revoke all on messenger.sql_runners from public, anon, authenticated, service_role;
grant select on messenger.sql_runners to service_role;

-- ---- 20_tables/80_subscriptions.sql
-- Subscriptions to events of messages: functions of this database, and webhooks.
create table if not exists messenger.subscriptions (
  id uuid not null default messenger.new_id(),
  event text not null,
  message_type text,
  function_name text,
  url text,
  secret_name text,
  kind text not null generated always as (case when url is null then 'function' else 'webhook' end) stored,
  enabled boolean not null default true,
  disabled_reason text,
  created_at timestamptz not null default messenger.now(),
  constraint subscriptions_pkey primary key (id),
  -- Makes subscribing idempotent, so that a migration can do it repeatedly.
  constraint subscriptions_key unique nulls not distinct (event, message_type, function_name, url),
  constraint subscriptions_event_check check (event in ('completed', 'failed', 'dead', 'retried')),
  constraint subscriptions_message_type_check check (
    message_type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' and not starts_with(message_type, 'symphony.')
  ),
  constraint subscriptions_target_check check (
    num_nonnulls(function_name, url) = 1 and (url is null) = (secret_name is null)
  ),
  constraint subscriptions_secret_name_check check (starts_with(secret_name, 'symphony_webhook_')),
  constraint subscriptions_disabled_check check (not enabled or disabled_reason is null)
);

comment on table messenger.subscriptions is
  'Subscriptions, created by messenger.on and messenger.on_webhook, deleted by messenger.off.';
comment on column messenger.subscriptions.id is 'Time-ordered UUID, version 7, which messenger.off takes.';
comment on column messenger.subscriptions.event is
  'completed, retried (a delivery failed, another follows), dead (it became a dead letter) or failed (it finished '
  'without completion: dead, expired or cancelled).';
comment on column messenger.subscriptions.message_type is
  'Type whose messages have the event; null: all types but the bus''s own.';
comment on column messenger.subscriptions.function_name is
  'Subscribed function as schema.name, which takes and returns jsonb; null for a webhook.';
comment on column messenger.subscriptions.url is 'Subscribed URL; null for a function.';
comment on column messenger.subscriptions.secret_name is
  'Name in Vault of the secret that signs the webhook; during a rotation the secret under this name with _next signs '
  'too. Null for a function.';
comment on column messenger.subscriptions.kind is 'function or webhook.';
comment on column messenger.subscriptions.enabled is 'False: no events are sent.';
comment on column messenger.subscriptions.disabled_reason is
  'Why sending has stopped, for example the receiver replied 410 Gone; null: it has not.';
comment on column messenger.subscriptions.created_at is 'When the subscription was created.';

alter table messenger.subscriptions enable row level security;
drop policy if exists service_only on messenger.subscriptions;
create policy service_only on messenger.subscriptions for all to anon, authenticated using (false) with check (false);
revoke all on messenger.subscriptions from public, anon, authenticated, service_role;
-- The columns that settling an outcome reads. The targets are for the owner only.
grant select (id, event, message_type, kind, enabled) on messenger.subscriptions to service_role;

-- ---- 20_tables/83_delivery_settings.sql
-- What each claim and settle must know of transports, queues and subscriptions, in one row: reading those tables costs
-- 25 us more of 570.

create table if not exists messenger.delivery_settings (
  singleton boolean not null default true,
  deleting text[] not null,
  halted text[] not null,
  has_subscribers boolean not null,
  constraint delivery_settings_pkey primary key (singleton),
  constraint delivery_settings_singleton_check check (singleton)
);

comment on table messenger.delivery_settings is
  'Derived from messenger_transports, messenger.queues and messenger.subscriptions by triggers. Without a row, the next '
  'claim or settle derives it.';
comment on column messenger.delivery_settings.singleton is 'Always true: the table has at most one row.';
comment on column messenger.delivery_settings.deleting is
  'Names of the transports that delete messages on completion (retention 0).';
comment on column messenger.delivery_settings.halted is
  'What hands out no message: names of transports, and paused queues as transport/queue.';
comment on column messenger.delivery_settings.has_subscribers is
  'Whether a subscription to the event completed exists.';

alter table messenger.delivery_settings enable row level security;
drop policy if exists service_only on messenger.delivery_settings;
create policy service_only on messenger.delivery_settings for all to anon, authenticated using (false)
with check (false);
revoke all on messenger.delivery_settings from public, anon, authenticated, service_role;
grant select on messenger.delivery_settings to service_role;

-- The lock comes first, in a statement of its own: the next statement then sees what the previous holder committed.
create or replace function messenger.derive_delivery_settings()
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deleting text[];
  v_halted text[];
  v_has_subscribers boolean;
begin
  insert into messenger.delivery_settings values (true, '{}', '{}', false)
  on conflict on constraint delivery_settings_pkey do update set singleton = true;
  v_deleting := array(
    select t.name from public.messenger_transports t where (t.config ->> 'retention')::interval = '0' order by t.name);
  v_halted := array(
    select t.name from public.messenger_transports t where not (t.enabled and t.type in ('supabase', 'sync'))
    union all
    select q.transport_name || '/' || q.queue_name from messenger.queues q where q.paused_at is not null
    order by 1);
  v_has_subscribers := exists (select from messenger.subscriptions s where s.event = 'completed');
  update messenger.delivery_settings d
  set deleting = v_deleting, halted = v_halted, has_subscribers = v_has_subscribers;
end $$;

create or replace function messenger.refresh_delivery_settings()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.derive_delivery_settings();
  return null;
end $$;

create or replace trigger messenger_transports_delivery_settings
after insert or update or delete or truncate on public.messenger_transports
for each statement execute function messenger.refresh_delivery_settings();
create or replace trigger queues_delivery_settings
after insert or update or delete or truncate on messenger.queues
for each statement execute function messenger.refresh_delivery_settings();
create or replace trigger subscriptions_delivery_settings
after insert or update or delete or truncate on messenger.subscriptions
for each statement execute function messenger.refresh_delivery_settings();

comment on function messenger.derive_delivery_settings() is
  'Writes messenger.delivery_settings from the tables it is derived from.';
comment on function messenger.refresh_delivery_settings() is
  'Trigger function: derives messenger.delivery_settings after a change of the tables it is derived from.';
revoke all on function messenger.derive_delivery_settings(), messenger.refresh_delivery_settings()
from public, anon, authenticated, service_role;
grant execute on function messenger.derive_delivery_settings() to service_role;

-- ---- 20_tables/85_ticker.sql
-- State of the ticker: its last ticks, the errors of its steps, rows that it has set aside, and where its scans
-- stopped.

-- Rows instead of a counter: a transaction that has ticked and stays open would hold the counter row, and no other tick
-- could count. Unlogged: after a crash the count begins again.
create unlogged table if not exists messenger.ticks (
  id bigint generated always as identity,
  at timestamptz not null,
  duration_ms int not null,
  slowest_step text,
  slowest_ms int,
  constraint ticks_pkey primary key (id)
);
comment on table messenger.ticks is 'Ticks of the last five minutes, from which health computes their rate per minute.';
comment on column messenger.ticks.id is 'Number of the row.';
comment on column messenger.ticks.at is 'When the tick began.';
comment on column messenger.ticks.duration_ms is 'Milliseconds that the tick took.';
comment on column messenger.ticks.slowest_step is 'Name of the step that took longest; null: no step ran.';
comment on column messenger.ticks.slowest_ms is 'Milliseconds that this step took.';

create table if not exists messenger.step_errors (
  step text not null,
  error text not null,
  sqlstate text not null,
  at timestamptz not null,
  failures bigint not null default 1,
  repeats int not null default 1,
  constraint step_errors_pkey primary key (step)
);
comment on table messenger.step_errors is
  'The newest error of each step of a tick. A failed step is undone by itself; the other steps of the tick continue.';
comment on column messenger.step_errors.step is 'Name of the step, as messenger.steps lists it.';
comment on column messenger.step_errors.error is 'Text of the newest error.';
comment on column messenger.step_errors.sqlstate is 'SQLSTATE of the newest error.';
comment on column messenger.step_errors.at is 'When the step failed last.';
comment on column messenger.step_errors.failures is 'Number of failures.';
comment on column messenger.step_errors.repeats is
  'Number of failures in succession, each within five minutes of the previous one.';

create table if not exists messenger.set_aside (
  step text not null,
  object text not null,
  row_id text not null,
  error text not null,
  sqlstate text not null,
  at timestamptz not null,
  attempts int not null default 1,
  retry_at timestamptz not null,
  constraint set_aside_pkey primary key (step, object, row_id)
);
comment on table messenger.set_aside is
  'Rows that a step of a tick could not write, so that they do not stop the others. Each is attempted again from '
  'retry_at on, and deleted here on success.';
comment on column messenger.set_aside.step is 'Name of the step, or claim.';
comment on column messenger.set_aside.object is 'Table of the row.';
comment on column messenger.set_aside.row_id is
  'Key of the row as a JSON object, for example {"id": "01990000-0000-7000-8000-000000000001"}.';
comment on column messenger.set_aside.error is 'Text of the newest error.';
comment on column messenger.set_aside.sqlstate is 'SQLSTATE of the newest error.';
comment on column messenger.set_aside.at is 'When that error occurred.';
comment on column messenger.set_aside.attempts is 'Number of failures.';
comment on column messenger.set_aside.retry_at is 'When the row is attempted next.';
create index if not exists set_aside_retry_at_idx on messenger.set_aside (retry_at);

-- Typed columns, because a timestamp as text depends on the session: Postgres prints IST for India and reads it as
-- Israel.
create table if not exists messenger.scan_positions (
  step text not null,
  at timestamptz,
  id uuid,
  resume_at timestamptz,
  constraint scan_positions_pkey primary key (step)
);
comment on table messenger.scan_positions is
  'Where the scan of a step stopped, so that the next tick continues there and rows that must stay do not hide others.';
comment on column messenger.scan_positions.step is 'Name of the step.';
comment on column messenger.scan_positions.at is
  'Time of the last row visited, if the scan is ordered by time; null otherwise.';
comment on column messenger.scan_positions.id is
  'Id of the last row visited, if the scan is ordered by id, or by time and id; null otherwise.';
comment on column messenger.scan_positions.resume_at is
  'When the next scan may begin after this one has reached the end; null: at once.';

-- Another tick may hold the row in a transaction that stays open. Then the position is kept, and the same rows are
-- scanned again.
create or replace function messenger.move_scan(step text, at timestamptz, id uuid, resume_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if num_nonnulls(at, id, resume_at) = 0 then
    delete from messenger.scan_positions p
    where p.step in (
      select x.step from messenger.scan_positions x where x.step = move_scan.step for update skip locked);
  elsif exists (select from messenger.scan_positions p where p.step = move_scan.step) then
    update messenger.scan_positions p
    set at = move_scan.at, id = move_scan.id, resume_at = move_scan.resume_at
    where p.step in (
      select x.step from messenger.scan_positions x where x.step = move_scan.step for update skip locked);
  else
    insert into messenger.scan_positions values (step, at, id, resume_at)
    on conflict on constraint scan_positions_pkey do nothing;
  end if;
end $$;

comment on function messenger.move_scan(text, timestamptz, uuid, timestamptz) is
  'Stores where the scan of this step stopped; nulls: the scan has reached the end, and the next begins at the start, '
  'from resume_at on.';

alter table messenger.ticks enable row level security;
alter table messenger.step_errors enable row level security;
alter table messenger.set_aside enable row level security;
alter table messenger.scan_positions enable row level security;
drop policy if exists service_only on messenger.ticks;
create policy service_only on messenger.ticks for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.step_errors;
create policy service_only on messenger.step_errors for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.set_aside;
create policy service_only on messenger.set_aside for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.scan_positions;
create policy service_only on messenger.scan_positions for all to anon, authenticated using (false) with check (false);
revoke all on
  messenger.ticks,
  messenger.step_errors,
  messenger.set_aside,
  messenger.scan_positions
from public, anon, authenticated, service_role;
grant select on messenger.ticks, messenger.step_errors, messenger.set_aside to service_role;
revoke all on function messenger.move_scan(text, timestamptz, uuid, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 30_dispatch/10_types.sql
-- Composite types of dispatch.

do $$
begin
  if to_regtype('messenger.dispatched') is null then
    create type messenger.dispatched as (
      id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz
    );
  end if;
end $$;
comment on type messenger.dispatched is
  'A row of messenger_dispatch: the stored values of the message after the call, also for a duplicate. available_at is '
  'null while the message waits for its predecessor.';

do $$
begin
  if to_regtype('messenger.draft') is null then
    create type messenger.draft as (
      ord int, error_code text, unknown_field text,
      message_type text, transport_name text, queue_name text, priority int, body jsonb, headers jsonb, metadata jsonb,
      scheduled_at timestamptz, available_at timestamptz, expires_at timestamptz, max_retries int,
      idempotency_key text, idempotency_mode text, idempotency_window interval, ordering_key text
    );
  end if;
end $$;
comment on type messenger.draft is
  'One parsed element of a dispatch, with defaults. scheduled_at is the requested time, available_at that time or now.';

-- ---- 30_dispatch/20_dispatch.sql
-- Dispatch for services: one message, or up to 1000 in one call.

-- A named type, because plpgsql rejects a parameter and a result column of the same name. Language sql would plan the
-- body at each call (0.7 ms against 0.4).
create or replace function public.messenger_dispatch(
  type text, payload jsonb default '{}', queue text default null, priority int default null,
  available_at timestamptz default null, delay interval default null, idempotency_key text default null,
  idempotency_mode text default 'ignore', idempotency_window interval default null, ordering_key text default null,
  transport text default null, max_retries int default null, expires_at timestamptz default null,
  headers jsonb default '{}', metadata jsonb default '{}'
)
returns setof messenger.dispatched
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stored messenger.dispatched[];
begin
  if num_nonnulls(queue, priority, available_at, delay, idempotency_key, idempotency_window, ordering_key, transport,
      max_retries, expires_at) = 0
    and coalesce(idempotency_mode, 'ignore') = 'ignore' and coalesce(headers, '{}') = '{}'
    and coalesce(metadata, '{}') = '{}' and messenger.is_plain_payload(payload)
  then
    v_stored := messenger.store_plain(array[type], array[payload], null, messenger.caller_id());
    if v_stored is not null then
      return next v_stored[1];
      return;
    end if;
  end if;

  return query
  select s.id, s.duplicate, s.status, s.transport, s.queue, s.available_at
  from messenger.store_messages((
    select jsonb_build_array(jsonb_object_agg(given.field, given.value) filter (where given.value is not null))
    from (values
      ('type', to_jsonb(type)), ('payload', payload), ('queue', to_jsonb(queue)), ('priority', to_jsonb(priority)),
      ('available_at', to_jsonb(available_at)), ('delay', to_jsonb(delay)),
      ('idempotency_key', to_jsonb(idempotency_key)), ('idempotency_mode', to_jsonb(idempotency_mode)),
      ('idempotency_window', to_jsonb(idempotency_window)), ('ordering_key', to_jsonb(ordering_key)),
      ('transport', to_jsonb(transport)), ('max_retries', to_jsonb(max_retries)), ('expires_at', to_jsonb(expires_at)),
      ('headers', headers), ('metadata', metadata)
    ) as given(field, value)
  ), true, 'service', messenger.caller_id(), true) as s;
end $$;

create or replace function public.messenger_dispatch_batch(messages jsonb, atomic boolean default true)
returns table (
  ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz,
  error_code text, error text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stored messenger.dispatched[];
begin
  if jsonb_typeof(messages) = 'array' then
    if jsonb_array_length(messages) between 1 and 1000 then
      v_stored := messenger.store_plain_batch(messages, messenger.caller_id());
    end if;
  end if;
  if v_stored is null then
    return query
    select * from messenger.store_messages(messages, coalesce(atomic, true), 'service', messenger.caller_id());
    return;
  end if;
  return query
  select s.ord::int, s.id, s.duplicate, s.status, s.transport, s.queue, s.available_at, null::text, null::text
  from unnest(v_stored) with ordinality as s(id, duplicate, status, transport, queue, available_at, ord);
end $$;

comment on function public.messenger_dispatch(
  text, jsonb, text, int, timestamptz, interval, text, text, interval, text, text, int, timestamptz, jsonb, jsonb
) is
  'Stores one message in the caller''s transaction and returns its stored values, also for the duplicate of an '
  'idempotency key. '
  'Example: select * from messenger_dispatch(''Greeting'', ''{"name": "Ada"}'', delay => ''5 minutes''). '
  'A null parameter means its default. queue, priority (1 to 10, 10 first), transport and max_retries (0 to 100) '
  'default to the registration of the type, then to default, 5, supabase and 3. '
  'Give either available_at or delay; expires_at must be later. '
  'idempotency_mode is the effect of a later dispatch with the same key on a message that is still pending: '
  'ignore: none; replace: new content; reschedule: new time; throttle: none, and the payload may differ; debounce: new '
  'content and time, so that it runs once, delay (default: the window) after the last call. The window defaults to the '
  'transport''s, 24 hours. '
  'ordering_key: of the messages of one key in one transport and queue, one is in flight, in the order of dispatch. '
  'Errors have SQLSTATE PT<status>, detail SM_<CODE> and a hint.';
comment on function public.messenger_dispatch_batch(jsonb, boolean) is
  'Stores 1 to 1000 messages, at most 8 MB. The elements have the parameter names of messenger_dispatch and exact JSON '
  'types, no nulls; timestamps are ISO 8601 with a zone, intervals text with a unit. '
  'Example: select * from messenger_dispatch_batch(''[{"type": "Greeting", "payload": {"name": "Ada"}, "delay": "5 '
  'minutes"}]''). '
  'Returns one row per element; ord counts from 1. '
  'atomic (default: true): the first invalid element raises its error, which names it as "message <ord>", and nothing '
  'is stored. Otherwise the row of an invalid element has error_code and error, and the others are stored.';
revoke all on function
  public.messenger_dispatch(
    text, jsonb, text, int, timestamptz, interval, text, text, interval, text, text, int, timestamptz, jsonb, jsonb
  ),
  public.messenger_dispatch_batch(jsonb, boolean)
from public, anon, authenticated;
grant execute on function
  public.messenger_dispatch(
    text, jsonb, text, int, timestamptz, interval, text, text, interval, text, text, int, timestamptz, jsonb, jsonb
  ),
  public.messenger_dispatch_batch(jsonb, boolean)
to service_role;

-- ---- 30_dispatch/25_user_dispatch.sql
-- Dispatch for signed-in users: allow-listed types, an idempotency scope per user, and a quota of unfinished messages.

-- Only locked, never changed: dispatches of one user are counted one after the other, so that parallel ones cannot
-- exceed the quota together.
create table if not exists messenger.senders (
  user_id uuid not null,
  check_at timestamptz not null,
  constraint senders_pkey primary key (user_id)
);
comment on table messenger.senders is
  'Users with recent dispatches, one row per user, which their dispatches lock. Pruned after an hour and created again '
  'on demand.';
comment on column messenger.senders.user_id is
  'auth.users.id, or the subject of another provider''s token if it is a UUID.';
comment on column messenger.senders.check_at is 'When the row may be pruned.';
create index if not exists senders_check_at_idx on messenger.senders (check_at);
alter table messenger.senders enable row level security;
drop policy if exists service_only on messenger.senders;
create policy service_only on messenger.senders for all to anon, authenticated using (false) with check (false);
revoke all on messenger.senders from public, anon, authenticated, service_role;

create or replace function messenger.lock_sender(user_id uuid, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lock_timeout text := messenger.bound_waits();
begin
  insert into messenger.senders as s (user_id, check_at)
  values (lock_sender.user_id, lock_sender.at + interval '1 hour')
  on conflict on constraint senders_pkey do update set check_at = s.check_at where false;
  perform messenger.unbound_waits(v_lock_timeout);
exception when lock_not_available then
  perform messenger.reject_waits(v_lock_timeout, sqlerrm);
end $$;

create or replace function messenger.prune_senders(at timestamptz, chunk int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_pruned bigint;
begin
  delete from messenger.senders s
  where s.ctid = any (array(
    select x.ctid from messenger.senders x
    where x.check_at < prune_senders.at
    order by x.check_at limit chunk
    for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- Definer, because users have no privileges on the tables. The user's id comes from the token alone.
create or replace function messenger.user_dispatch(
  type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb
)
returns table (id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user uuid := messenger.caller_id();
  v_forbidden text;
  v_limit int;
begin
  perform messenger.require_writable();
  if v_user is null then
    if coalesce(current_setting('request.jwt.claims', true), '') ~ '"sub"\s*:\s*"[^"]' then
      perform messenger.raise_error('SM_UNAUTHENTICATED', 'the subject of the token is not a UUID',
        'users of other identity providers cannot own messages: dispatch for them from a server with a secret key');
    end if;
    perform messenger.raise_error('SM_UNAUTHENTICATED');
  end if;
  perform messenger.lock_sender(v_user, messenger.now());
  -- The same error for a type that is not allowed and for one that does not exist: users must not be able to list the
  -- types.
  if not exists (
    select from messenger.message_types k where k.type = user_dispatch.type and k.dispatchable_by = 'user') then
    perform messenger.raise_error('SM_TYPE_FORBIDDEN');
  end if;
  if jsonb_typeof(headers) = 'object' then
    select h.key into v_forbidden from jsonb_object_keys(headers) as h(key)
    where h.key not in ('traceparent', 'x-request-id') limit 1;
    if found then
      perform messenger.raise_error('SM_FIELD_FORBIDDEN', 'headers.' || left(v_forbidden, 100));
    end if;
  end if;
  if num_nonnulls(idempotency_key, delay) = 0 and coalesce(headers, '{}') = '{}' and coalesce(metadata, '{}') = '{}'
    and messenger.is_plain_payload(payload)
  then
    select s.* into id, duplicate, status, transport, queue, available_at
    from unnest(messenger.store_plain(
      array[type], array[payload], jsonb_build_object('x-symphony-user', v_user), v_user)) s;
  end if;
  if id is null then
    select s.id, s.duplicate, s.status, s.transport, s.queue, s.available_at
    into id, duplicate, status, transport, queue, available_at
    from messenger.store_messages((
      select jsonb_build_array(jsonb_object_agg(field, value) filter (where value is not null))
      from (values
        ('type', to_jsonb(type)), ('payload', payload), ('idempotency_key', to_jsonb(idempotency_key)),
        ('delay', to_jsonb(delay)), ('headers', headers), ('metadata', metadata)
      ) as given(field, value)
    ), true, v_user::text, v_user, true) s;
  end if;
  -- After the dispatch, so that a duplicate gets its message and not the quota error, which undoes a new message.
  v_limit := coalesce((select s.max_unfinished_per_user from messenger.settings s), 1000);
  if not duplicate and v_limit < (
    select count(*) from (
      (select from public.messenger_messages m
       where m.created_by = v_user and m.processed_at is null limit v_limit + 1)
      union all
      (select from public.messenger_failed_messages f
       where f.created_by = v_user and f.resolved_at is null limit v_limit + 1)
    ) as unfinished
  ) then
    perform messenger.raise_error('SM_RATE', 'the quota is ' || v_limit);
  end if;
  return next;
end $$;

create or replace function public.messenger_user_dispatch(
  type text, payload jsonb default '{}', idempotency_key text default null, delay interval default null,
  headers jsonb default '{}', metadata jsonb default '{}'
)
returns table (id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz)
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.user_dispatch(type, payload, idempotency_key, delay, headers, metadata) $$;

comment on function messenger.user_dispatch(text, jsonb, text, interval, jsonb, jsonb) is
  'Implements public.messenger_user_dispatch.';
comment on function public.messenger_user_dispatch(text, jsonb, text, interval, jsonb, jsonb) is
  'Dispatch by a signed-in user, who owns the message (created_by). '
  'Example: select * from messenger_user_dispatch(''Greeting'', ''{"name": "Ada"}'', idempotency_key => '
  '''greeting-1''). '
  'Accepts types that are registered with dispatchable_by = user (SM_TYPE_FORBIDDEN) and of the headers traceparent '
  'and x-request-id (SM_FIELD_FORBIDDEN). A user may have at most max_unfinished_per_user (default: 1000) unfinished '
  'messages and open dead letters together (SM_RATE), counted exactly under parallel calls. '
  'Without a user: SM_UNAUTHENTICATED. The bus adds the header x-symphony-user.';
comment on function messenger.lock_sender(uuid, timestamptz) is
  'Makes this transaction the only one that dispatches for this user. SM_UNAVAILABLE for a call through the API if '
  'another transaction holds the user longer than a quarter of a second.';
comment on function messenger.prune_senders(timestamptz, int) is
  'Deletes up to chunk rows whose check_at is before the given time and that are not locked. Returns their number.';
revoke all on function
  messenger.lock_sender(uuid, timestamptz),
  messenger.prune_senders(timestamptz, int)
from public, anon, authenticated, service_role;
revoke all on function
  messenger.user_dispatch(text, jsonb, text, interval, jsonb, jsonb),
  public.messenger_user_dispatch(text, jsonb, text, interval, jsonb, jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.user_dispatch(text, jsonb, text, interval, jsonb, jsonb),
  public.messenger_user_dispatch(text, jsonb, text, interval, jsonb, jsonb)
to authenticated, service_role;

-- ---- 30_dispatch/28_store_plain.sql
-- Storing plain messages: registered types, and nothing given but a payload. One statement stores one or a thousand.

-- A small payload is tested by its sizes alone: a number outside the range of a double prints to more than 300 bytes,
-- and 65 nested levels take more than 500. Each of the other tests costs 3 us.
create or replace function messenger.is_plain_payload(payload jsonb)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_typeof(payload) = 'object' and case
    when pg_column_size(payload) <= 500 and octet_length(payload::text) <= 300 then true
    when pg_column_size(payload) <= 6000
      then not messenger.has_out_of_range_number(payload) and not messenger.is_too_deep(payload)
    else false end;
end $$;

-- Whether a worker is active is looked up at most every 20 ms per session, queue and type: a worker that was active or
-- was woken then still is. If the transaction or savepoint that sent the wake-up is rolled back, so is the setting
-- messenger.wake_checked.
create or replace function messenger.store_plain(types text[], payloads jsonb[], stamp jsonb, sender uuid)
returns messenger.dispatched[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := messenger.now();
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
  v_stored messenger.dispatched[];
  v_transports text[];
  v_queues text[];
  v_types text[];
  v_check text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  with stored as materialized (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, priority, available_at, created_at, updated_at,
       max_retries, created_by)
    select (v_prefix || lpad(to_hex(v_random + e.ord), 16, '0'))::uuid, t.name, coalesce(k.queue_name, 'default'),
      k.type, e.payload, coalesce(stamp, '{}'), coalesce(k.priority, 5), v_now, v_now, v_now,
      coalesce(k.max_retries, 3), sender
    from unnest(types, payloads) with ordinality as e(type, payload, ord)
    join messenger.message_types k on k.type = e.type and not starts_with(k.type, 'symphony.')
    join public.messenger_transports t on t.name = coalesce(k.transport_name, 'supabase') and t.enabled
      and t.type in ('supabase', 'sync')
    returning m.id, m.transport_name, m.queue_name, m.message_type
  ),
  kind as materialized (
    select s.transport_name, s.queue_name, s.message_type, count(*) as message_count from stored s
    group by s.transport_name, s.queue_name, s.message_type
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    select v_now, k.transport_name, k.message_type, 'dispatched', k.message_count from kind k
  )
  select (
      -- Ids rise in the order of the elements.
      select array_agg(row(s.id, false, 'pending', s.transport_name, s.queue_name, v_now)::messenger.dispatched
        order by s.id) from stored s),
    array_agg(k.transport_name), array_agg(k.queue_name), array_agg(k.message_type)
  into v_stored, v_transports, v_queues, v_types
  from kind k;
  if v_stored is null then
    return null;
  elsif cardinality(v_stored) < cardinality(types) then
    v_stored := array(
      select row(s.id, false, s.status, s.transport, s.queue, s.available_at)::messenger.dispatched
      from unnest(types) with ordinality as e(type, ord)
      left join unnest(v_stored) s on s.id = (v_prefix || lpad(to_hex(v_random + e.ord), 16, '0'))::uuid
      order by e.ord);
  end if;
  v_check := row((date_part('epoch', v_now) * 50)::bigint, v_transports, v_queues, v_types)::text;
  if current_setting('messenger.wake_checked', true) is distinct from v_check then
    perform messenger.wake_worker(k.transport, k.queue, k.type)
    from unnest(v_transports, v_queues, v_types) as k(transport, queue, type);
    perform set_config('messenger.wake_checked', v_check, false);
  end if;
  return v_stored;
end $$;

-- Null if an element is not plain, or its type is not registered: then messenger.store_messages stores the batch.
create or replace function messenger.store_plain_batch(messages jsonb, sender uuid)
returns messenger.dispatched[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
  v_types text[];
  v_payloads jsonb[];
  v_are_plain boolean;
begin
  -- Batches are mostly of one kind, so the first element spares most others the test.
  if jsonb_typeof(messages -> 0) <> 'object' then
    return null;
  elsif (messages -> 0) - '{type,payload}'::text[] <> '{}' then
    return null;
  end if;
  select array_agg(e ->> 'type'), array_agg(coalesce(e -> 'payload', '{}')), bool_and(coalesce(
    case when jsonb_typeof(e) = 'object' then jsonb_typeof(e -> 'type') = 'string'
      and e - '{type,payload}'::text[] = '{}' and case
        when pg_column_size(e) <= 500 and octet_length(e::text) <= 300
          then coalesce(jsonb_typeof(e -> 'payload'), 'object') = 'object'
        else messenger.is_plain_payload(e -> 'payload') end
    end, false))
  into v_types, v_payloads, v_are_plain
  from jsonb_array_elements(messages) e;
  if not v_are_plain then
    return null;
  elsif exists (
    select from (select distinct u.type from unnest(v_types) as u(type)) x
    left join messenger.message_types k on k.type = x.type and not starts_with(k.type, 'symphony.')
    left join public.messenger_transports t on t.name = coalesce(k.transport_name, 'supabase') and t.enabled
      and t.type in ('supabase', 'sync')
    where k.type is null or t.name is null
  ) then
    return null;
  end if;
  return messenger.store_plain(v_types, v_payloads, null, sender);
end $$;

comment on function messenger.is_plain_payload(jsonb) is
  'Whether the payload is an object of at most 6000 bytes that passes all checks of a dispatch; false or null for '
  'payloads that messenger.store_messages must check.';
comment on function messenger.store_plain(text[], jsonb[], jsonb, uuid) is
  'Stores messages of registered types with checked payloads, due now, for a sender, and wakes workers for them. stamp: '
  'headers that the bus adds. Returns one row per element in order, with nulls for an element that was not stored '
  'because its type is not registered, its transport is disabled or a trigger suppressed it; null if none was.';
comment on function messenger.store_plain_batch(jsonb, uuid) is
  'messenger.store_plain for the elements of messenger_dispatch_batch. Null, with nothing stored, if one of them is not '
  'plain.';
revoke all on function
  messenger.is_plain_payload(jsonb),
  messenger.store_plain(text[], jsonb[], jsonb, uuid),
  messenger.store_plain_batch(jsonb, uuid)
from public, anon, authenticated;
grant execute on function
  messenger.is_plain_payload(jsonb),
  messenger.store_plain(text[], jsonb[], jsonb, uuid),
  messenger.store_plain_batch(jsonb, uuid)
to service_role;

-- ---- 30_dispatch/30_store_messages.sql
-- Storing drafts as messages. Every dispatch uses these functions.

-- A function of its own, which runs on errors only, so that the two statements below do not repeat the expression.
create or replace function messenger.reject_message(error_code text, ord int, single boolean, subject text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return messenger.raise_error(
    error_code, concat_ws(': ', case when not single then 'message ' || ord end, subject));
end $$;

-- All dispatches with an ordering key, or with a mode that changes a stored message.
create or replace function messenger.store_in_turn(
  messages jsonb, atomic boolean, scope text, sender uuid, single boolean, at timestamptz
)
returns table (
  ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz,
  error_code text, error text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_messages jsonb := messages;
  v_atomic boolean := atomic;
  v_scope text := scope;
  v_sender uuid := sender;
  v_single boolean := single;
  v_now timestamptz := at;
  -- Names the user whose metadata it is. created_by cannot: a service's dispatch in a user's transaction has it too.
  v_stamp jsonb := case
    when sender is not null and scope = sender::text then jsonb_build_object('x-symphony-user', sender) end;
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
begin
  return query
  with draft as materialized (
    select d.*, (v_prefix || lpad(to_hex(v_random + d.ord), 16, '0'))::uuid as new_id,
      case when v_atomic and d.error_code is not null then
        messenger.reject_message(d.error_code, d.ord, v_single, quote_ident(d.unknown_field))
      end as rejected,
      case when (select k.type from messenger.message_types k where k.type = d.message_type) is null then
        messenger.open_fields(v_messages -> d.ord - 1)
      end as unrouted,
      case when d.idempotency_key is not null then d end as keyed_draft
    from messenger.read_drafts(v_messages, v_now) d
  ),
  -- In the order of the keys, not of the elements, so that two batches cannot deadlock.
  keyed as materialized (
    select d.ord, k.taken, k.is_stored, k.passed_on, k.message_id, k.status, k.transport, k.queue, k.error_code,
      -- Every row of a message returns its state at the end of the call.
      last_value(k.available_at) over (
        partition by k.message_id order by d.ord rows between unbounded preceding and unbounded following
      ) as available_at,
      case when v_atomic and k.error_code is not null then
        messenger.reject_message(k.error_code, d.ord, v_single, 'message ' || k.message_id)
      end as rejected
    from (
      select x.ord, x.keyed_draft, x.new_id,
        count(*) over same_key > 1
          and bool_or(x.idempotency_mode in ('replace', 'reschedule', 'debounce')) over same_key as may_change
      from draft x where x.error_code is null and x.idempotency_key is not null
      window same_key as (partition by x.idempotency_key)
      order by x.idempotency_key collate "C", x.ord
    ) d
    cross join lateral messenger.take_key(v_scope, d.keyed_draft, d.new_id, v_sender, d.may_change, v_now) k
  ),
  -- Always one row, after all keys are taken: locks of another kind follow.
  dropped as materialized (
    select case when count(k.passed_on) > 0 then messenger.drop_keys(array_agg(k.passed_on), v_now) end as keys
    from keyed k
  ),
  turn as materialized (
    select t.ord, t.seq, t.available_at
    from (
      select array_agg(d.ord) as ords, array_agg(d.new_id) as ids, array_agg(d.transport_name) as transports,
        array_agg(d.queue_name) as queues, array_agg(d.ordering_key) as keys, array_agg(d.available_at) as moments,
        array_agg(coalesce(k.is_stored, false)) as are_stored
      from dropped cross join draft d left join keyed k on k.ord = d.ord
      where d.error_code is null and d.ordering_key is not null and coalesce(k.taken, true)
      having count(*) > 0
    ) l
    cross join lateral messenger.take_turns(
      l.ords, l.ids, l.transports, l.queues, l.keys, l.moments, l.are_stored) t
  ),
  stored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, scheduled_at, available_at,
       expires_at, created_at, updated_at, max_retries, idempotency_key, ordering_key, ordering_seq, created_by,
       unrouted)
    select d.new_id, d.transport_name, d.queue_name, d.message_type, d.body, coalesce(d.headers || v_stamp, d.headers),
      d.metadata, d.priority, d.scheduled_at, coalesce(t.available_at, d.available_at), d.expires_at,
      v_now, v_now, d.max_retries, d.idempotency_key, d.ordering_key, t.seq, v_sender, d.unrouted
    from draft d left join keyed k on k.ord = d.ord left join turn t on t.ord = d.ord
    where d.error_code is null and coalesce(k.taken and not k.is_stored, true)
    returning m.id, m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  dispatched as materialized (
    select s.id, s.transport_name, s.queue_name, s.message_type, s.available_at from stored s
    union all
    select d.new_id, d.transport_name, d.queue_name, d.message_type, coalesce(t.available_at, k.available_at)
    from keyed k join draft d on d.ord = k.ord left join turn t on t.ord = k.ord
    where k.is_stored
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    select v_now, s.transport_name, s.message_type, 'dispatched', count(*)
    from dispatched s group by s.transport_name, s.message_type
  ),
  woken as materialized (
    select count(messenger.wake_worker(due.transport_name, due.queue_name, due.message_type)) as wakeups
    from (
      select distinct s.transport_name, s.queue_name, s.message_type from dispatched s where s.available_at <= v_now
    ) due
  ),
  -- A message of this call is not visible yet when a later element has its key. The id is null if a trigger of the
  -- project has suppressed the row.
  reply as (
    select d.ord, case when coalesce(k.taken, true) then s.id else k.message_id end as message_id,
      not coalesce(k.taken, true) as is_duplicate,
      case when s.id is null then k.status else 'pending' end as message_status,
      coalesce(k.transport, d.transport_name) as message_transport, coalesce(k.queue, d.queue_name) as message_queue,
      nullif(coalesce(s.available_at, k.available_at), 'infinity') as message_available_at,
      d.unknown_field, coalesce(d.error_code, k.error_code) as code
    from draft d
    left join keyed k on k.ord = d.ord
    left join dispatched s on s.id = coalesce(k.message_id, d.new_id)
    cross join woken
  )
  select r.ord, r.message_id, r.is_duplicate, r.message_status, r.message_transport, r.message_queue,
    r.message_available_at, null, null
  from reply r where r.code is null
  union all
  select r.ord, null, null, null, null, null, null, r.code,
    concat_ws(': ', quote_ident(r.unknown_field),
      (select e.message from messenger.error_codes() e where e.code = r.code))
  from reply r where r.code is not null
  order by 1;
end $$;

-- All other dispatches: no ordering key, and a mode that changes no stored message. A statement of its own: with the
-- numbering of ordering keys in it each dispatch would cost 54 us more, of 230. For the same reason the two statements
-- repeat the column list of the insert; keyed_draft costs nothing where there is no key. The type is looked up by a
-- scalar subquery: for "not exists" the planner would read all types, 3 ms of ten thousand.
create or replace function messenger.store_messages(
  messages jsonb, atomic boolean, scope text, sender uuid, single boolean default false
)
returns table (
  ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz,
  error_code text, error text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_messages jsonb := messages;
  v_atomic boolean := atomic;
  v_scope text := scope;
  v_sender uuid := sender;
  v_single boolean := single;
  v_now timestamptz := messenger.now();
  -- Names the user whose metadata it is. created_by cannot: a service's dispatch in a user's transaction has it too.
  v_stamp jsonb := case
    when sender is not null and scope = sender::text then jsonb_build_object('x-symphony-user', sender) end;
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
  v_lock_timeout text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  if v_messages is null or jsonb_typeof(v_messages) <> 'array' or jsonb_array_length(v_messages) = 0 then
    perform messenger.raise_error('SM_BATCH');
  elsif jsonb_array_length(v_messages) > 1000 or pg_column_size(v_messages) > 8388608 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  elsif v_messages @? '$[*].idempotency_key' then
    v_lock_timeout := messenger.bound_waits();
    if v_lock_timeout is not null then
      begin
        return query select * from messenger.store_messages(v_messages, v_atomic, v_scope, v_sender, v_single);
        perform messenger.unbound_waits(v_lock_timeout);
      exception when lock_not_available then
        perform messenger.reject_waits(v_lock_timeout, sqlerrm);
      end;
      return;
    end if;
  end if;
  -- This test takes 0.4 us for one message, 37 us for a thousand.
  if v_messages @? '$[*].ordering_key' or v_messages @? '$[*].idempotency_mode ? (@ != "ignore")' then
    return query select * from messenger.store_in_turn(v_messages, v_atomic, v_scope, v_sender, v_single, v_now);
    return;
  end if;

  return query
  with draft as materialized (
    select d.*, (v_prefix || lpad(to_hex(v_random + d.ord), 16, '0'))::uuid as new_id,
      case when v_atomic and d.error_code is not null then
        messenger.reject_message(d.error_code, d.ord, v_single, quote_ident(d.unknown_field))
      end as rejected,
      case when (select k.type from messenger.message_types k where k.type = d.message_type) is null then
        messenger.open_fields(v_messages -> d.ord - 1)
      end as unrouted,
      case when d.idempotency_key is not null then d end as keyed_draft
    from messenger.read_drafts(v_messages, v_now) d
  ),
  -- In the order of the keys, not of the elements, so that two batches cannot deadlock.
  keyed as materialized (
    select d.ord, k.*,
      case when v_atomic and k.error_code is not null then
        messenger.reject_message(k.error_code, d.ord, v_single, 'message ' || k.message_id)
      end as rejected
    from (
      select x.ord, x.keyed_draft, x.new_id from draft x
      where x.error_code is null and x.idempotency_key is not null
      order by x.idempotency_key collate "C", x.ord
    ) d
    cross join lateral messenger.take_key(v_scope, d.keyed_draft, d.new_id, v_sender, false, v_now) k
  ),
  stored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, scheduled_at, available_at,
       expires_at, created_at, updated_at, max_retries, idempotency_key, created_by, unrouted)
    select d.new_id, d.transport_name, d.queue_name, d.message_type, d.body, coalesce(d.headers || v_stamp, d.headers),
      d.metadata, d.priority, d.scheduled_at, d.available_at, d.expires_at,
      v_now, v_now, d.max_retries, d.idempotency_key, v_sender, d.unrouted
    from draft d left join keyed k on k.ord = d.ord
    where d.error_code is null and coalesce(k.taken, true)
    returning m.id, m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    select v_now, s.transport_name, s.message_type, 'dispatched', count(*)
    from stored s group by s.transport_name, s.message_type
  ),
  woken as materialized (
    select count(messenger.wake_worker(due.transport_name, due.queue_name, due.message_type)) as wakeups
    from (
      select distinct s.transport_name, s.queue_name, s.message_type from stored s where s.available_at <= v_now
    ) due
  ),
  -- A message of this call is not visible yet when a later element has its key. The id is null if a trigger of the
  -- project has suppressed the row.
  reply as (
    select d.ord, case when coalesce(k.taken, true) then s.id else k.message_id end as message_id,
      not coalesce(k.taken, true) as is_duplicate,
      case when s.id is null then k.status else 'pending' end as message_status,
      coalesce(k.transport, d.transport_name) as message_transport, coalesce(k.queue, d.queue_name) as message_queue,
      nullif(coalesce(s.available_at, k.available_at), 'infinity') as message_available_at,
      d.unknown_field, coalesce(d.error_code, k.error_code) as code
    from draft d
    left join keyed k on k.ord = d.ord
    left join stored s on s.id = coalesce(k.message_id, d.new_id)
    cross join woken
  )
  select r.ord, r.message_id, r.is_duplicate, r.message_status, r.message_transport, r.message_queue,
    r.message_available_at, null, null
  from reply r where r.code is null
  union all
  select r.ord, null, null, null, null, null, null, r.code,
    concat_ws(': ', quote_ident(r.unknown_field),
      (select e.message from messenger.error_codes() e where e.code = r.code))
  from reply r where r.code is not null
  order by 1;
end $$;

comment on function messenger.reject_message(text, int, boolean, text) is
  'Raises the error of an element of a dispatch: "message <ord>: <subject>: <message of the code>"; single omits the '
  'element. Never returns.';
comment on function messenger.store_in_turn(jsonb, boolean, text, uuid, boolean, timestamptz) is
  'The variant of messenger.store_messages for calls in which an element has an ordering key or a mode other than '
  'ignore.';
comment on function messenger.store_messages(jsonb, boolean, text, uuid, boolean) is
  'Stores 1 to 1000 elements, see messenger.read_drafts, in an idempotency scope and for a sender, and wakes workers '
  'for those that are due. '
  'atomic: the first invalid element raises its error; otherwise its row has error_code and error. single: errors do '
  'not name the element.';
revoke all on function
  messenger.reject_message(text, int, boolean, text),
  messenger.store_in_turn(jsonb, boolean, text, uuid, boolean, timestamptz),
  messenger.store_messages(jsonb, boolean, text, uuid, boolean)
from public, anon, authenticated;
grant execute on function
  messenger.reject_message(text, int, boolean, text),
  messenger.store_in_turn(jsonb, boolean, text, uuid, boolean, timestamptz),
  messenger.store_messages(jsonb, boolean, text, uuid, boolean)
to service_role;

-- ---- 30_dispatch/40_read_drafts.sql
-- Parsing of dispatches: JSON elements become typed drafts, each with its first error. Nothing is written here.

-- The fields of an element, each with the error code for a null in it.
create or replace function messenger.draft_fields()
returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select '{"type": "SM_TYPE", "payload": "SM_PAYLOAD_NOT_OBJECT", "queue": "SM_QUEUE", "priority": "SM_PRIORITY",
    "available_at": "SM_AVAILABLE_AT", "delay": "SM_DELAY", "idempotency_key": "SM_IDEMPOTENCY_KEY",
    "idempotency_mode": "SM_IDEMPOTENCY_MODE", "idempotency_window": "SM_IDEMPOTENCY_KEY",
    "ordering_key": "SM_ORDERING_KEY", "transport": "SM_TRANSPORT", "max_retries": "SM_MAX_RETRIES",
    "expires_at": "SM_EXPIRES_AT", "headers": "SM_HEADERS_NOT_OBJECT", "metadata": "SM_METADATA_NOT_OBJECT"}'::jsonb
$$;

-- One pass over the set: a function call per element would cost as much as its insert, so calls come after cheap tests
-- of size. Without the planner settings each dispatch would read all types, 3 ms of ten thousand.
create or replace function messenger.read_drafts(messages jsonb, at timestamptz)
returns setof messenger.draft
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with element as materialized (
    select
      e.ord, e.value, r.*,
      -- The name of a null or unknown field is searched only if the element has one.
      case when e.value - array(select jsonb_object_keys(messenger.draft_fields())) <> '{}'
        or e.value @? 'strict $.* ? (@ == null)'
      then (select f.key from jsonb_each(e.value) f where f.value = 'null' or not messenger.draft_fields() ? f.key
            order by messenger.draft_fields() ? f.key, f.key limit 1) end as odd_field,
      case when r.available_at is not null then messenger.read_moment(r.available_at) end as parsed_available_at,
      case when r.delay is not null then messenger.read_interval(r.delay, '100 years') end as parsed_delay,
      case when r.expires_at is not null then messenger.read_moment(r.expires_at) end as parsed_expires_at,
      case when r.idempotency_window is not null then messenger.read_interval(r.idempotency_window, '1 year') end
        as parsed_window
    from (
      select n as ord, jsonb_typeof(v) = 'object' as is_object,
        case when jsonb_typeof(v) = 'object' then v else '{}' end as value
      from jsonb_array_elements(messages) with ordinality as t(v, n)
    ) as e
    cross join lateral jsonb_to_record(case when e.is_object then e.value else '{"type": 0}' end) as r(
      type jsonb, payload jsonb, queue jsonb, priority jsonb, available_at jsonb, delay jsonb, idempotency_key jsonb,
      idempotency_mode jsonb, idempotency_window jsonb, ordering_key jsonb, transport jsonb, max_retries jsonb,
      expires_at jsonb, headers jsonb, metadata jsonb)
  ),
  checked as materialized (
    select
      e.*, k.queue_name as route_queue, k.priority as route_priority, k.max_retries as route_retries,
      t.name as transport_name, t.config as transport_config, a.requested_at,
      case
        when e.odd_field is not null then coalesce(messenger.draft_fields() ->> e.odd_field, 'SM_UNKNOWN_FIELD')
        when e.type is null or jsonb_typeof(e.type) <> 'string'
          or (k.type is null and e.value ->> 'type' !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$') then 'SM_TYPE'
        when starts_with(e.value ->> 'type', 'symphony.') then 'SM_TYPE_FORBIDDEN'
        when (select messenger.has_out_of_range_number(messages)) and messenger.has_out_of_range_number(e.value)
          then 'SM_NUMBER_RANGE'
        when jsonb_typeof(e.payload) <> 'object' then 'SM_PAYLOAD_NOT_OBJECT'
        when jsonb_typeof(e.headers) <> 'object' then 'SM_HEADERS_NOT_OBJECT'
        when e.headers ? 'x-symphony-user' then 'SM_FIELD_FORBIDDEN'
        when jsonb_typeof(e.metadata) <> 'object' then 'SM_METADATA_NOT_OBJECT'
        when pg_column_size(e.payload) > 6000 and messenger.exceeds(e.payload, 262144) then 'SM_PAYLOAD_TOO_LARGE'
        when pg_column_size(e.headers) > 400 and messenger.exceeds(e.headers, 16384) then 'SM_HEADERS_TOO_LARGE'
        when pg_column_size(e.metadata) > 400 and messenger.exceeds(e.metadata, 16384) then 'SM_HEADERS_TOO_LARGE'
        when pg_column_size(e.value) > 500
          and (messenger.is_too_deep(e.payload) or messenger.is_too_deep(e.headers)
            or messenger.is_too_deep(e.metadata)) then 'SM_DEPTH'
        when jsonb_typeof(e.queue) <> 'string' or e.value ->> 'queue' !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then 'SM_QUEUE'
        when jsonb_typeof(e.transport) <> 'string' or t.name is null then 'SM_TRANSPORT'
        when e.priority is not null and not e.priority = any ('{1,2,3,4,5,6,7,8,9,10}'::jsonb[]) then 'SM_PRIORITY'
        when jsonb_typeof(e.max_retries) <> 'number' then 'SM_MAX_RETRIES'
        when e.max_retries::numeric not between 0 and 100 or e.max_retries::numeric % 1 <> 0 then 'SM_MAX_RETRIES'
        when e.available_at is not null and e.parsed_available_at is null then 'SM_AVAILABLE_AT'
        when e.delay is not null and (e.parsed_delay is null or e.available_at is not null) then 'SM_DELAY'
        when e.expires_at is not null and (e.parsed_expires_at is null
          or e.parsed_expires_at <= greatest(at, a.requested_at)) then 'SM_EXPIRES_AT'
        when jsonb_typeof(e.idempotency_key) <> 'string'
          or octet_length(e.value ->> 'idempotency_key') not between 1 and 255
          or e.value ->> 'idempotency_key' ~ '[\x01-\x1f\x7f]' then 'SM_IDEMPOTENCY_KEY'
        when e.idempotency_mode <> '"ignore"'
          and not e.idempotency_mode = any (array['"replace"', '"reschedule"', '"throttle"', '"debounce"']::jsonb[])
          then 'SM_IDEMPOTENCY_MODE'
        when e.idempotency_mode <> '"ignore"' and e.idempotency_key is null then 'SM_IDEMPOTENCY_KEY'
        when e.idempotency_window is not null and (e.parsed_window is null or e.idempotency_key is null)
          then 'SM_IDEMPOTENCY_KEY'
        when e.ordering_key is not null and (
          jsonb_typeof(e.ordering_key) <> 'string' or octet_length(e.value ->> 'ordering_key') not between 1 and 255
          or e.value ->> 'ordering_key' ~ '[\x01-\x1f\x7f]') then 'SM_ORDERING_KEY'
      end as error_code
    from element e
    left join messenger.message_types k on k.type = e.value ->> 'type'
    left join public.messenger_transports t
      on t.name = coalesce(e.value ->> 'transport', k.transport_name, 'supabase') and t.enabled
        and t.type in ('supabase', 'sync')
    -- A debounced message without a delay waits for its window.
    cross join lateral (
      select coalesce(
        e.parsed_available_at,
        at + e.parsed_delay,
        case when e.idempotency_mode = '"debounce"'
          then at + coalesce(e.parsed_window, (t.config ->> 'idempotency_window')::interval, '24 hours') end
      ) as requested_at
    ) a
  )
  select c.ord::int, c.error_code,
    case
      when not messenger.draft_fields() ? c.odd_field then c.odd_field
      when c.error_code = 'SM_FIELD_FORBIDDEN' then 'headers.x-symphony-user'
    end,
    d.*
  from checked c
  -- Casts only after the checks have passed: offset 0 keeps the planner from moving them out of the condition.
  left join lateral (
    select
      c.value ->> 'type', c.transport_name, coalesce(c.value ->> 'queue', c.route_queue, 'default'),
      coalesce(c.priority::int, c.route_priority, 5), coalesce(c.payload, '{}'), coalesce(c.headers, '{}'),
      coalesce(c.metadata, '{}'), c.requested_at, greatest(at, c.requested_at), c.parsed_expires_at,
      coalesce(c.max_retries::int, c.route_retries, 3), c.value ->> 'idempotency_key',
      coalesce(c.idempotency_mode #>> '{}', 'ignore'),
      coalesce(c.parsed_window, (c.transport_config ->> 'idempotency_window')::interval, '24 hours'),
      c.ordering_key #>> '{}'
    where c.error_code is null
    offset 0
  ) as d on true;
end $$;

comment on function messenger.draft_fields() is
  'The field names of a dispatch, each with the error code for a null in it.';
comment on function messenger.read_drafts(jsonb, timestamptz) is
  'The elements of a dispatch as drafts, in order. Elements have the parameter names of messenger_dispatch, exact JSON '
  'types and no nulls. error_code is the first error of an element; its other columns are then null.';
revoke all on function
  messenger.draft_fields(),
  messenger.read_drafts(jsonb, timestamptz)
from public, anon, authenticated;
grant execute on function messenger.draft_fields(), messenger.read_drafts(jsonb, timestamptz) to service_role;

-- ---- 30_dispatch/45_take_turns.sql
-- Ordering keys at dispatch: the position of a message in its key, and whether it must wait for another one.

-- The check for a predecessor is a statement of its own after the lock, so its snapshot is newer. In a transaction with
-- one snapshot for all statements it may be stale: the message is then stored blocked, and the tick unblocks it. Settle
-- takes no such lock, so a message that is stored while its predecessor finishes may be left blocked too, until the
-- next tick.
create or replace function messenger.take_turns(
  ords int[], ids uuid[], transports text[], queues text[], keys text[], moments timestamptz[], are_stored boolean[]
)
returns table (ord int, seq bigint, available_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform messenger.lock_order_keys(array(
    select row(k.transport, k.queue, k.key)::messenger.order_key
    from unnest(transports, queues, keys) as k(transport, queue, key)));

  return query
  with numbered as materialized (
    select d.ord, d.id, d.is_stored, nextval('messenger.ordering_seq') as seq,
      case
        when d.position > 1 or current_setting('transaction_isolation') in ('repeatable read', 'serializable')
          -- Messages of this call that are already in the table have no ordering_seq yet. The order and the limit keep
          -- the planner, which may last have seen an empty table, from scanning the queue by another index or hashing
          -- the waiting messages of all keys. The update lists the ids for the same reason.
          or (select true from public.messenger_messages m
            where m.transport_name = d.transport and m.queue_name = d.queue and m.ordering_key = d.key
              and m.ordering_seq is not null and m.processed_at is null
            order by m.ordering_seq limit 1)
          or messenger.is_held_by_dead_letter(d.transport, d.queue, d.key)
        then 'infinity'
        else d.moment
      end as available_at
    from (
      select k.*, row_number() over (partition by k.transport, k.queue, k.key order by k.ord) as position
      from unnest(ords, ids, transports, queues, keys, moments, are_stored)
        as k(ord, id, transport, queue, key, moment, is_stored)
      order by k.ord
    ) d
  ),
  updated as (
    update public.messenger_messages m set ordering_seq = n.seq, available_at = n.available_at
    from numbered n where m.id = any (array(select x.id from numbered x where x.is_stored)) and m.id = n.id
  )
  select n.ord, n.seq, n.available_at from numbered n;
end $$;

comment on function messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[]) is
  'Numbers messages within their (transport, queue, ordering key) in the order of ord. available_at is the requested '
  'time, or infinity if another message of the key comes first; messages that are already stored are updated.';
revoke all on function
  messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[])
from public, anon, authenticated;
grant execute on function
  messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[])
to service_role;

-- ---- 30_dispatch/50_idempotency.sql
-- Idempotency: one message per key, and the changes that a later dispatch with that key may make to it.

-- Modes, by the effect of a later dispatch on a pending message (waiting for a retry or its predecessor included):
-- ignore: none. replace: new content, same position. reschedule: new time, same content. throttle: none, and the
-- payload may differ. debounce: new content and time, so it runs once, that long after the last call.
-- Once a worker has begun the message, or it has finished or expired, nothing of it changes. A key is in use while its
-- message is unfinished or an open dead letter, and until the window ends, so throttle also waits for a message that
-- takes longer than the window. Only debounce releases the key earlier: the content that its message has begun to
-- handle is older than the call, and the call must not be lost. The key then passes to a new message, and the old one
-- continues without it, retries included; one key never has two waiting messages (I4).

-- For a key that a later element of the batch uses too and may change. With an ordering key the message is blocked
-- until take_turns has numbered it.
create or replace function messenger.store_draft(draft messenger.draft, new_id uuid, sender uuid, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.messenger_messages
    (id, transport_name, queue_name, message_type, body, headers, metadata, priority, scheduled_at, available_at,
     expires_at, created_at, updated_at, max_retries, idempotency_key, ordering_key, created_by)
  values
    (new_id, draft.transport_name, draft.queue_name, draft.message_type, draft.body, draft.headers, draft.metadata,
     draft.priority, draft.scheduled_at,
     case when draft.ordering_key is null then draft.available_at else 'infinity' end, draft.expires_at,
     at, at, draft.max_retries, draft.idempotency_key, draft.ordering_key, sender);
end $$;

-- The caller has locked the row. A wait for a retry is never shortened and used retries stay used: otherwise a sender
-- that repeats its dispatch would keep a failing message from the dead letters. A blocked message stays blocked; its
-- time counts when it is unblocked.
create or replace function messenger.revise(
  message_id uuid, draft messenger.draft, at timestamptz, out available_at timestamptz, out error_code text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moves boolean := draft.idempotency_mode in ('reschedule', 'debounce');
  v_rewrites boolean := draft.idempotency_mode in ('replace', 'debounce');
  v_scheduled_at timestamptz;
  v_expires_at timestamptz;
begin
  select
    case
      when not v_moves or m.available_at = 'infinity' then m.available_at
      when m.retry_count > 0 then greatest(m.available_at, draft.available_at)
      else draft.available_at
    end,
    case when v_moves then draft.scheduled_at else m.scheduled_at end,
    case when v_rewrites then draft.expires_at else m.expires_at end
  into available_at, v_scheduled_at, v_expires_at
  from public.messenger_messages m where m.id = message_id;

  if v_expires_at <= greatest(at, v_scheduled_at, nullif(available_at, 'infinity')) then
    error_code := 'SM_EXPIRES_AT';
    return;
  end if;

  update public.messenger_messages m
  set available_at = revise.available_at, scheduled_at = v_scheduled_at, expires_at = v_expires_at, updated_at = at,
      body = case when v_rewrites then draft.body else m.body end,
      headers = case when v_rewrites then draft.headers else m.headers end,
      metadata = case when v_rewrites then draft.metadata else m.metadata end,
      priority = case when v_rewrites then draft.priority else m.priority end,
      max_retries = case when v_rewrites then greatest(draft.max_retries, m.retry_count) else m.max_retries end,
      unrouted = case when v_rewrites and draft.max_retries <> m.max_retries then null else m.unrouted end
  where m.id = message_id;
  if v_moves and available_at <= at then
    perform messenger.wake_worker(m.transport_name, m.queue_name, m.message_type) from public.messenger_messages m
    where m.id = message_id;
  end if;
end $$;

-- The insert waits for a transaction that is taking the same key; if that one rolls back, the key is free. Reads are
-- statements of their own, so they see rows that were committed while the insert waited.
-- Locks, in this order: the row of the key, then the message's. A call that changes a message has locked its key's row,
-- so that the key cannot have passed on; a call that only reads locks nothing. A message is locked only while it is
-- pending, which waits for the transaction of a claim.
create or replace function messenger.take_key(
  scope text, draft messenger.draft, new_id uuid, sender uuid, store boolean, at timestamptz
)
returns table (
  taken boolean, is_stored boolean, passed_on uuid, message_id uuid, status text, transport text, queue text,
  available_at timestamptz, error_code text
)
language plpgsql rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fingerprint bytea := messenger.fingerprint(draft.body);
  v_may_change boolean := draft.idempotency_mode in ('replace', 'reschedule', 'debounce');
  v_locked boolean := v_may_change;
  v_key messenger.idempotency_keys;
  v_is_ours boolean := false;
  v_is_pending boolean;
  v_holds boolean;
begin
  <<attempts>>
  loop
    insert into messenger.idempotency_keys
      (scope, key, message_id, message_type, fingerprint, transport_name, queue_name, expires_at)
    values
      (take_key.scope, draft.idempotency_key, take_key.new_id, draft.message_type, v_fingerprint, draft.transport_name,
       draft.queue_name, take_key.at + draft.idempotency_window)
    on conflict on constraint idempotency_keys_pkey do nothing;
    exit attempts when found;

    if v_locked then
      select * into v_key from messenger.idempotency_keys k
      where k.scope = take_key.scope and k.key = draft.idempotency_key for update;
    else
      select * into v_key from messenger.idempotency_keys k
      where k.scope = take_key.scope and k.key = draft.idempotency_key;
    end if;
    continue when v_key.message_id is null;
    message_id := v_key.message_id;
    transport := v_key.transport_name;
    queue := v_key.queue_name;

    -- An expired message counts as finished, even if no scan has found it yet.
    if v_may_change then
      perform from public.messenger_messages m
      where m.id = v_key.message_id and m.status = 'pending' and (m.expires_at is null or m.expires_at > take_key.at)
      for no key update;
      v_is_ours := found;
    end if;
    select m.status, m.available_at, m.status = 'pending' and (m.expires_at is null or m.expires_at > take_key.at),
      m.processed_at is null or exists (
        select from public.messenger_failed_messages f where f.message_id = m.id and f.resolved_at is null)
    into status, available_at, v_is_pending, v_holds
    from public.messenger_messages m where m.id = v_key.message_id;
    -- Its worker has returned it between the two statements.
    continue when v_may_change and v_is_pending and not v_is_ours;
    status := coalesce(status, 'completed');

    -- Not ">": an earlier element of this batch may have taken the key with a window of zero.
    if v_holds or v_key.expires_at >= take_key.at then
      if (v_key.message_type, v_key.queue_name) <> (draft.message_type, draft.queue_name)
        or draft.idempotency_mode in ('ignore', 'reschedule') and v_key.fingerprint <> v_fingerprint
          and v_key.fingerprint <> sha256(convert_to(draft.body::text, 'UTF8')) then -- the fingerprint of release 0.1.0
        error_code := 'SM_IDEMPOTENCY_MISMATCH';
      elsif v_is_ours then
        select r.available_at, r.error_code into available_at, error_code
        from messenger.revise(v_key.message_id, draft, take_key.at) r;
        if error_code is null and v_key.fingerprint <> v_fingerprint then
          update messenger.idempotency_keys k set fingerprint = v_fingerprint
          where k.scope = take_key.scope and k.key = draft.idempotency_key;
        end if;
      elsif draft.idempotency_mode = 'debounce' then
        passed_on := v_key.message_id;
      end if;
      if passed_on is null then
        taken := false;
        is_stored := false;
        return next;
        return;
      end if;
    end if;

    -- The key is free. Without the lock it is checked once more, under the lock.
    if v_locked then
      update messenger.idempotency_keys k
      set message_id = take_key.new_id, message_type = draft.message_type, fingerprint = v_fingerprint,
          transport_name = draft.transport_name, queue_name = draft.queue_name,
          expires_at = take_key.at + draft.idempotency_window
      where k.scope = take_key.scope and k.key = draft.idempotency_key;
      exit attempts;
    end if;
    v_locked := true;
  end loop;

  if store then
    perform messenger.store_draft(draft, take_key.new_id, sender, take_key.at);
  end if;
  return query
  select true, store, take_key.passed_on, take_key.new_id, 'pending', draft.transport_name, draft.queue_name,
    case when store and draft.ordering_key is not null then 'infinity' else draft.available_at end, null::text;
end $$;

-- So that no dead letter brings the key back. Locks in the order of ids, as settle does. A worker's outcome for such a
-- message waits until the dispatching transaction ends.
create or replace function messenger.drop_keys(ids uuid[], at timestamptz)
returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_dropped int;
begin
  with held as materialized (
    select m.id from public.messenger_messages m
    where m.id = any (ids) and (m.processed_at is null or m.status = 'failed')
    order by m.id
    for no key update
  )
  update public.messenger_messages m set idempotency_key = null, updated_at = at
  where m.id = any (array(select h.id from held h));
  get diagnostics v_dropped = row_count;
  return v_dropped;
end $$;

comment on function messenger.store_draft(messenger.draft, uuid, uuid, timestamptz) is
  'Inserts one message; with an ordering key it is blocked and without a number.';
comment on function messenger.revise(uuid, messenger.draft, timestamptz) is
  'Changes a locked pending message as the draft''s idempotency mode requires. Returns its new available_at, or '
  'SM_EXPIRES_AT, with nothing changed, if it would expire before that.';
comment on function messenger.take_key(text, messenger.draft, uuid, uuid, boolean, timestamptz) is
  'Takes (scope, key) for new_id (taken = true; passed_on: the message that had it), or returns the message that has '
  'it, changed as the mode requires; error_code if that one must not be returned. store: inserts the new message '
  'immediately.';
comment on function messenger.drop_keys(uuid[], timestamptz) is
  'Sets the idempotency key of those of these messages to null that are unfinished or failed. Returns their number.';
revoke all on function
  messenger.store_draft(messenger.draft, uuid, uuid, timestamptz),
  messenger.revise(uuid, messenger.draft, timestamptz),
  messenger.take_key(text, messenger.draft, uuid, uuid, boolean, timestamptz),
  messenger.drop_keys(uuid[], timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.store_draft(messenger.draft, uuid, uuid, timestamptz),
  messenger.revise(uuid, messenger.draft, timestamptz),
  messenger.take_key(text, messenger.draft, uuid, uuid, boolean, timestamptz),
  messenger.drop_keys(uuid[], timestamptz)
to service_role;

-- ---- 30_dispatch/55_fingerprint.sql
-- Fingerprints of payloads for idempotency keys: values that are equal as jsonb have the same fingerprint.

-- jsonb sorts keys and drops whitespace, but prints a number with its trailing zeros: 1 and 1.0 are equal and print
-- differently. Few payloads contain such a number, so most cost one regular expression only. A string is matched as a
-- whole, which skips the numbers in it. jsonb_hash_extended would be shorter, but it gives the same hash to lists whose
-- elements 32 positions apart are exchanged.
create or replace function messenger.fingerprint(body jsonb)
returns bytea
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := body::text;
begin
  if v_text ~ '[.][0-9]*0[],}]' then
    v_text := regexp_replace(v_text, '("(?:[^"\\]|\\.)*")|[.]0+(?=[],}])|([.][0-9]*[1-9])0+(?=[],}])', '\1\2', 'g');
  end if;
  return sha256(convert_to(v_text, 'UTF8'));
end $$;

comment on function messenger.fingerprint(jsonb) is
  'SHA-256 of a JSON object, the same for objects that are equal as jsonb.';
revoke all on function messenger.fingerprint(jsonb) from public, anon, authenticated;
grant execute on function messenger.fingerprint(jsonb) to service_role;

-- ---- 30_dispatch/60_register.sql
-- Registration of message types: the routes, retry policies and allow-list of the code become rows.

-- The bus's own types, symphony.*, are created by the migration. An event runs with the rights of the owner of the bus,
-- so only the bus may define it.
create or replace function messenger.ensure_own_types()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.message_types
    (type, queue_name, max_retries, retry_delay_ms, retry_multiplier, retry_max_delay_ms)
  values ('symphony.event', 'events', 5, 5000, 3, 3600000), ('symphony.webhook', 'webhooks', 8, 5000, 3, 3600000)
  on conflict on constraint message_types_pkey do nothing;
end $$;

-- As messenger.give_way_to_restored_transport. The project cannot change these rows, and messenger.on sets the handler
-- again.
create or replace function messenger.give_way_to_restored_type()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.registered_at < messenger.now() - interval '1 second' then
    delete from messenger.message_types k where k.type = new.type and k.sql_handler is null;
  end if;
  return new;
end $$;

create or replace trigger message_types_restored
before insert on messenger.message_types
for each row when (starts_with(new.type, 'symphony.'))
execute function messenger.give_way_to_restored_type();
alter table messenger.message_types enable always trigger message_types_restored;

do $$ begin perform messenger.ensure_own_types(); end $$;

create or replace function public.messenger_register(types jsonb)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_types jsonb := types;
  v_bad jsonb;
begin
  perform messenger.require_writable();
  if v_types is null or jsonb_typeof(v_types) <> 'array' then
    perform messenger.raise_error('SM_TYPE', 'types must be a JSON array');
  end if;
  if jsonb_array_length(v_types) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  end if;
  select e into v_bad from jsonb_array_elements(v_types) e
  where jsonb_typeof(e) <> 'object' or jsonb_typeof(e -> 'type') is distinct from 'string'
    or e ->> 'type' !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'
  limit 1;
  if found then
    perform messenger.raise_error('SM_TYPE', left(v_bad::text, 200));
  end if;
  v_types := coalesce((
    select jsonb_agg(e) from jsonb_array_elements(v_types) e where not starts_with(e ->> 'type', 'symphony.')), '[]');
  select e -> 'type' into v_bad from jsonb_array_elements(v_types) e
  where jsonb_typeof(e -> 'aliases') = 'array'
    and exists (select from jsonb_array_elements_text(e -> 'aliases') a where starts_with(a, 'symphony.'))
  limit 1;
  if found then
    perform messenger.raise_error('SM_TYPE_FORBIDDEN', 'aliases of ' || left(v_bad #>> '{}', 128));
  end if;
  perform messenger.check_types(v_types);

  -- A route may name a transport that no operator has created yet: it is created with type supabase.
  insert into public.messenger_transports (name, type)
  select distinct e ->> 'transport', 'supabase' from jsonb_array_elements(v_types) e where e ->> 'transport' is not null
  order by 1
  on conflict (name) do nothing;

  -- Sorted, so that isolates that start together lock in the same order. Unchanged rows are not written.
  insert into messenger.message_types as m (
    type, transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier,
    retry_max_delay_ms, retry_jitter, timeout_ms, aliases
  )
  select distinct on (e.type)
    e.type, e.transport, e.queue, e.priority::int, coalesce(e.dispatchable_by, 'service'), coalesce(r.max_retries, 3),
    coalesce(r.delay_ms, 1000), coalesce(r.multiplier, 2), coalesce(r.max_delay_ms, 600000), coalesce(r.jitter, 0.2),
    e.timeout_ms::bigint, coalesce(e.aliases, '{}')
  -- Numeric, because 5.0 is a whole number that a cast to int would reject.
  from jsonb_to_recordset(v_types) as e(
    type text, transport text, queue text, priority numeric, dispatchable_by text, retry jsonb, timeout_ms numeric,
    aliases text[])
  cross join lateral jsonb_to_record(coalesce(nullif(e.retry, 'null'), '{}'))
    as r(
      max_retries numeric, delay_ms numeric, multiplier double precision, max_delay_ms numeric, jitter double precision)
  order by e.type
  on conflict (type) do update set
    transport_name = excluded.transport_name, queue_name = excluded.queue_name, priority = excluded.priority,
    dispatchable_by = excluded.dispatchable_by, max_retries = excluded.max_retries,
    retry_delay_ms = excluded.retry_delay_ms, retry_multiplier = excluded.retry_multiplier,
    retry_max_delay_ms = excluded.retry_max_delay_ms, retry_jitter = excluded.retry_jitter,
    timeout_ms = excluded.timeout_ms, aliases = excluded.aliases, registered_at = messenger.now()
  where (m.transport_name, m.queue_name, m.priority, m.dispatchable_by, m.max_retries, m.retry_delay_ms,
         m.retry_multiplier, m.retry_max_delay_ms, m.retry_jitter, m.timeout_ms, m.aliases)
    is distinct from
        (excluded.transport_name, excluded.queue_name, excluded.priority, excluded.dispatchable_by,
         excluded.max_retries, excluded.retry_delay_ms, excluded.retry_multiplier, excluded.retry_max_delay_ms,
         excluded.retry_jitter, excluded.timeout_ms, excluded.aliases);
  -- The ticker routes the others, and all of them if a trigger of the project rejects a row: the types are registered
  -- in any case.
  begin
    perform messenger.route_messages(
      array(select e ->> 'type' from jsonb_array_elements(v_types) e), 1000, messenger.now());
  exception when others then
    raise log 'symphony: messages dispatched before their type could not be routed: %', sqlerrm;
  end;
  return jsonb_array_length(types);
end $$;

comment on function public.messenger_register(jsonb) is
  'Inserts or updates message types. '
  'Example: select messenger_register(''[{"type": "Greeting", "queue": "mail", "retry": {"max_retries": 5}}]''). '
  'An element is {"type", "transport"?, "queue"?, "priority"?, "dispatchable_by"?: "service"|"user", "retry"?: '
  '{max_retries, delay_ms, multiplier, max_delay_ms, jitter}, "timeout_ms"?, "aliases"?}; omitted fields get the '
  'defaults of messenger.message_types. '
  'Types of the bus (symphony.*) are ignored. Returns the number of elements. '
  'The first invalid field raises SM_TYPE, SM_TYPE_FORBIDDEN, SM_TRANSPORT, SM_QUEUE, SM_PRIORITY, SM_MAX_RETRIES or '
  'SM_SETTING; more than 1000 elements raise SM_BATCH_TOO_LARGE.';
comment on function messenger.give_way_to_restored_type() is
  'Trigger function: deletes the row of the migration when its restored row is inserted.';
comment on function messenger.ensure_own_types() is 'Creates the rows of the bus''s own types if they are missing.';
revoke all on function
  messenger.ensure_own_types(),
  messenger.give_way_to_restored_type()
from public, anon, authenticated, service_role;
revoke all on function public.messenger_register(jsonb) from public, anon, authenticated;
grant execute on function public.messenger_register(jsonb) to service_role;

-- ---- 30_dispatch/65_route_messages.sql
-- Routing of messages that were dispatched before their type was registered: they get its route and retries afterwards.

create or replace function messenger.open_fields(element jsonb)
returns text[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(array(
    select f.field from unnest('{queue,priority,max_retries}'::text[]) as f(field)
    where not coalesce(element ? f.field, false)), '{}');
end $$;

-- Messages with an idempotency key or an ordering key stay in their queue, which is part of the key; they only get the
-- retries. Used retries stay used. Running messages follow once they are pending again; messages that others have
-- locked are left to the next tick.
create or replace function messenger.route_messages(types text[], chunk int, at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_routed bigint;
begin
  with chosen as materialized (
    select m.ctid as row_id from public.messenger_messages m
    where m.unrouted is not null and m.processed_at is null and m.message_type = any (types) and m.status = 'pending'
    limit chunk
    for no key update skip locked
  ),
  routed as (
    update public.messenger_messages m
    set queue_name = case when 'queue' = any (m.unrouted) and num_nonnulls(m.idempotency_key, m.ordering_key) = 0
          then coalesce(k.queue_name, m.queue_name) else m.queue_name end,
        priority = case when 'priority' = any (m.unrouted) and num_nonnulls(m.idempotency_key, m.ordering_key) = 0
          then coalesce(k.priority, m.priority) else m.priority end,
        max_retries = case when 'max_retries' = any (m.unrouted)
          then greatest(k.max_retries, m.retry_count) else m.max_retries end,
        unrouted = null, updated_at = route_messages.at
    from messenger.message_types k
    where k.type = m.message_type and m.ctid = any (array(select c.row_id from chosen c))
    returning m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  woken as (
    select count(messenger.wake_worker(d.transport_name, d.queue_name, d.message_type)) as wakeups
    from (
      select distinct r.transport_name, r.queue_name, r.message_type from routed r
      where r.available_at <= route_messages.at
    ) d
  )
  select count(*) into v_routed from routed cross join woken;
  return v_routed;
end $$;

-- Finds the types of such messages by one probe of the index per type, and keeps those that are registered. A dispatch
-- that commits after the registration, without having seen it, is found here too.
create or replace function messenger.route_due(at timestamptz, chunk int, ends_at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_types text[];
  v_routed bigint;
  v_total bigint := 0;
begin
  with recursive waiting as (
    (select m.message_type from public.messenger_messages m
     where m.unrouted is not null and m.processed_at is null order by m.message_type limit 1)
    union all
    select n.message_type
    from waiting w
    cross join lateral (
      select m.message_type from public.messenger_messages m
      where m.unrouted is not null and m.processed_at is null and m.message_type > w.message_type
      order by m.message_type limit 1
    ) n
  )
  select array_agg(w.message_type) into v_types from (select * from waiting limit 1000) w
  where exists (select from messenger.message_types k where k.type = w.message_type);
  while v_types is not null loop
    v_routed := messenger.route_messages(v_types, chunk, at);
    v_total := v_total + v_routed;
    exit when v_routed < chunk or clock_timestamp() > ends_at;
  end loop;
  return v_total;
end $$;

comment on function messenger.open_fields(jsonb) is
  'Those of queue, priority and max_retries that an element of a dispatch leaves to its type; null: none.';
comment on function messenger.route_messages(text[], int, timestamptz) is
  'Gives up to chunk pending messages of these registered types, which were dispatched before the registration, the '
  'values that their dispatch left open. Returns their number.';
comment on function messenger.route_due(timestamptz, int, timestamptz) is
  'messenger.route_messages for all registered types, in chunks, until about ends_at. Returns the number of messages.';
revoke all on function
  messenger.open_fields(jsonb),
  messenger.route_messages(text[], int, timestamptz),
  messenger.route_due(timestamptz, int, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.open_fields(jsonb),
  messenger.route_messages(text[], int, timestamptz),
  messenger.route_due(timestamptz, int, timestamptz)
to service_role;

-- ---- 30_dispatch/70_check_settings.sql
-- Checks of settings in JSON, of message types and of messenger_start: each must have its JSON type and be in its
-- range.

create or replace function messenger.is_setting(value jsonb, kind text, lowest numeric, highest numeric)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case kind
    when 'name' then jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[a-z0-9][a-z0-9_-]{0,62}$'
    when 'type' then jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'
    when 'sender' then value in ('"service"', '"user"')
    when 'object' then jsonb_typeof(value) = 'object'
    when 'array' then jsonb_typeof(value) = 'array'
    -- Compared as jsonb first: 1e131071 is a number that takes 131 KB to print.
    else coalesce(jsonb_typeof(value) = 'number' and value between to_jsonb(lowest) and to_jsonb(highest)
      and (kind = 'number' or value::numeric % 1 = 0), false)
  end;
end $$;

create or replace function messenger.reject_setting(code text, field text, value jsonb, wanted text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_shown text := case
    when messenger.has_out_of_range_number(value) then 'a number outside the range of a double'
    else left(value::text, 60) end;
begin
  perform messenger.raise_error(
    code, format('%s must be %s, not %s', field, wanted, v_shown), format('set %s to %s, or omit it', field, wanted));
end $$;

create or replace function messenger.check_types(types jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fault record;
begin
  select e.value ->> 'type' as type, f.code, array_to_string(f.path, '.') as field, e.value #> f.path as value, f.wanted
  into v_fault
  from jsonb_array_elements(types) with ordinality as e(value, ord)
  cross join (values
    (1, array['transport'], 'SM_TRANSPORT', 'name', null, null,
     '1 to 63 lower-case letters, digits, underscores or hyphens'),
    (2, array['queue'], 'SM_QUEUE', 'name', null, null, '1 to 63 lower-case letters, digits, underscores or hyphens'),
    (3, array['priority'], 'SM_PRIORITY', 'whole', 1, 10, 'a whole number from 1 to 10'),
    (4, array['dispatchable_by'], 'SM_SETTING', 'sender', null, null, '"service" or "user"'),
    (5, array['retry'], 'SM_SETTING', 'object', null, null, 'an object'),
    (6, array['retry', 'max_retries'], 'SM_MAX_RETRIES', 'whole', 0, 100, 'a whole number from 0 to 100'),
    (7, array['retry', 'delay_ms'], 'SM_SETTING', 'whole', 0, 86400000000,
     'a whole number of milliseconds from 0 to 86400000000 (1000 days)'),
    (8, array['retry', 'multiplier'], 'SM_SETTING', 'number', 1, 100, 'a number from 1 to 100'),
    (9, array['retry', 'max_delay_ms'], 'SM_SETTING', 'whole', 0, 86400000000,
     'a whole number of milliseconds from 0 to 86400000000 (1000 days)'),
    (10, array['retry', 'jitter'], 'SM_SETTING', 'number', 0, 1, 'a number from 0 to 1'),
    (11, array['timeout_ms'], 'SM_SETTING', 'whole', 1, 86400000000,
     'a whole number of milliseconds from 1 to 86400000000 (1000 days)'),
    (12, array['aliases'], 'SM_TYPE', 'array', null, null, 'an array of message types')
  ) as f(ord, path, code, kind, lowest, highest, wanted)
  where e.value #> f.path <> 'null' and not messenger.is_setting(e.value #> f.path, f.kind, f.lowest, f.highest)
  order by e.ord, f.ord limit 1;
  if found then
    perform messenger.reject_setting(
      v_fault.code, v_fault.type || ': ' || v_fault.field, v_fault.value, v_fault.wanted);
  end if;
  select e.value ->> 'type' as type, a.value into v_fault
  from jsonb_array_elements(types) with ordinality as e(value, ord)
  cross join lateral jsonb_array_elements(
    case jsonb_typeof(e.value -> 'aliases') when 'array' then e.value -> 'aliases' else '[]' end) as a(value)
  where not messenger.is_setting(a.value, 'type', null, null)
  order by e.ord limit 1;
  if found then
    perform messenger.reject_setting(
      'SM_TYPE', v_fault.type || ': aliases', v_fault.value, 'an array of message types');
  end if;
end $$;

create or replace function messenger.check_start(functions_url text, options jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fault record;
begin
  if functions_url !~ '^https?://[^\s]+[^/\s]$' then
    perform messenger.raise_error('SM_SETTING',
      format('functions_url must be the http or https URL of the edge functions, not "%s"', left(functions_url, 100)),
      'for example https://<project>.supabase.co/functions/v1');
  end if;
  select f.field, options -> f.field as value, f.wanted into v_fault
  from (values
    ('max_workers', 1, 100, 'a whole number from 1 to 100'),
    ('messages_per_worker', 1, 100000, 'a whole number from 1 to 100000'),
    ('max_unfinished_per_user', 0, 2147483647, 'a whole number from 0 to 2147483647')
  ) as f(field, lowest, highest, wanted)
  where options -> f.field <> 'null' and not messenger.is_setting(options -> f.field, 'whole', f.lowest, f.highest)
  order by f.field limit 1;
  if found then
    perform messenger.reject_setting('SM_SETTING', 'options.' || v_fault.field, v_fault.value, v_fault.wanted);
  elsif options -> 'poll_interval' <> 'null'
    and coalesce(messenger.read_interval(options -> 'poll_interval', '1 minute') < '1 ms', true) then
    perform messenger.reject_setting('SM_SETTING', 'options.poll_interval', options -> 'poll_interval',
      'an interval with a unit from "1 ms" to "1 minute"');
  end if;
end $$;

comment on function messenger.is_setting(jsonb, text, numeric, numeric) is
  'Whether a JSON value is of this kind: name (of a queue or transport), type, sender (service or user), object, '
  'array, whole (a whole number) or number; the last two must be in the given range.';
comment on function messenger.reject_setting(text, text, jsonb, text) is
  'Raises the error with this code for a field, with the required and the actual value.';
comment on function messenger.check_types(jsonb) is
  'Raises an error for the first definition of a message type with a field that is malformed or out of range, and '
  'names type and field.';
comment on function messenger.check_start(text, jsonb) is
  'Raises SM_SETTING for a URL or an option of messenger_start that is malformed or out of range.';
revoke all on function
  messenger.is_setting(jsonb, text, numeric, numeric),
  messenger.reject_setting(text, text, jsonb, text),
  messenger.check_types(jsonb),
  messenger.check_start(text, jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.is_setting(jsonb, text, numeric, numeric),
  messenger.reject_setting(text, text, jsonb, text),
  messenger.check_types(jsonb),
  messenger.check_start(text, jsonb)
to service_role;

-- ---- 40_delivery/10_types.sql
-- Composite types of claims and outcomes.

do $$
begin
  if to_regtype('messenger.claimed') is null then
    create type messenger.claimed as (
      id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int,
      retry_count int, max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
    );
  end if;
end $$;
comment on type messenger.claimed is
  'A row of messenger_claim: a message with its fencing token and lease. solo: it is the only one of its claim.';

do $$
begin
  if to_regtype('messenger.settled') is null then
    create type messenger.settled as (id uuid, outcome text, available_at timestamptz);
  end if;
end $$;
comment on type messenger.settled is
  'A row of messenger_settle: the message, its outcome and, for retries, snoozes and releases, when it is available '
  'again.';

do $$
begin
  if to_regtype('messenger.outcome') is null then
    create type messenger.outcome as (
      ord int, outcome text, error text, error_class text, error_trace text, retryable boolean, delay interval,
      duration_ms bigint
    );
  end if;
end $$;
comment on type messenger.outcome is
  'A reported outcome other than completed, parsed; ord is its position among the outcomes, counted from 1.';

do $$
begin
  if to_regtype('messenger.exchanged') is null then
    create type messenger.exchanged as (settled messenger.settled[], claimed messenger.claimed[]);
  end if;
end $$;
comment on type messenger.exchanged is 'The result of messenger_exchange, before its conversion to JSON.';

-- ---- 40_delivery/11_exchange_rows.sql
-- The exchange for workers with a database connection: arrays in and rows out instead of JSON, which halves its cost at
-- batches of a hundred.

-- Completions given as arrays. What messenger.settle_arrays cannot record, because a row is locked or cannot be
-- written, is recorded as messenger_settle does it.
create or replace function messenger.settle_completed(
  ids uuid[], fences bigint[], durations double precision[], results jsonb[], at timestamptz
)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
declare
  v_settled messenger.settled[];
  v_outcomes jsonb;
begin
  begin
    v_settled := messenger.settle_arrays(
      ids, fences, null, durations, case when results is not null then messenger.cap_results(results) end, null, at);
    if v_settled is null or 'locked' <> all (array(select s.outcome from unnest(v_settled) s)) then
      return v_settled;
    end if;
  exception when others then
    if not messenger.is_row_error(sqlstate) then
      raise;
    end if;
  end;
  v_outcomes := (
    select jsonb_agg(jsonb_build_object('id', c.id, 'fence', c.fence, 'outcome', 'completed', 'result', c.result,
      'duration_ms', c.duration) order by c.ord)
    from unnest(ids, fences, durations, results) with ordinality as c(id, fence, duration, result, ord));
  return case when v_settled is null then messenger.settle_outcomes(v_outcomes)
    else messenger.settle_locked(v_outcomes, v_settled) end;
end $$;

create or replace function messenger.exchange_rows(
  ids uuid[], fences bigint[], durations double precision[], results jsonb[], others jsonb,
  worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null
)
returns table (
  settled_id uuid, outcome text, available_at timestamptz,
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_settled messenger.settled[];
begin
  if cardinality(ids) > 0 then
    if cardinality(ids) > 1000 then
      perform messenger.raise_error('SM_BATCH_TOO_LARGE');
    elsif num_nulls(variadic ids::text[] || fences::text[]) > 0 or cardinality(fences) <> cardinality(ids) then
      perform messenger.raise_error('SM_OUTCOME', 'ids and fences must have the same length and no nulls');
    end if;
    v_settled := messenger.settle_completed(ids, fences, durations, results, messenger.now());
  end if;
  if others is not null then
    v_settled := v_settled || messenger.settle_outcomes(others);
  end if;
  if v_settled is not null then
    return query
    select s.id, s.outcome, s.available_at, null::uuid, null::text, null::text, null::jsonb, null::jsonb, null::jsonb,
      null::int, null::int, null::int, null::bigint, null::timestamptz, null::timestamptz, null::boolean
    from unnest(v_settled) s where s.outcome <> 'completed';
  end if;
  return query
  select null::uuid, null::text, null::timestamptz, c.*
  from unnest(messenger.claim_messages(worker, batch, lease, transport, queues, types)) c;
end $$;

comment on function messenger.settle_completed(uuid[], bigint[], double precision[], jsonb[], timestamptz) is
  'Records completions given as arrays. Returns one row per completion in the same order; null if all were recorded.';
comment on function messenger.exchange_rows(
  uuid[], bigint[], double precision[], jsonb[], jsonb, text, int, interval, text, text[], text[]
) is
  'messenger_exchange for a worker with a database connection, with the same effects. ids, fences, durations '
  '(milliseconds) and results are those of up to 1000 completed messages, or null; durations and results may be null '
  'as a whole or in places. others: all other outcomes, in the form of messenger_settle, or null. '
  'Returns one row per outcome that was not recorded as completed (settled_id, outcome, available_at, as of '
  'messenger_settle; id is null), then one per claimed message, with the columns of messenger_claim. '
  'Example: select * from messenger.exchange_rows(null, null, null, null, null, ''worker-1'', batch => 10). '
  'Errors: SM_OUTCOME, SM_BATCH_TOO_LARGE and those of messenger_claim.';
revoke all on function
  messenger.settle_completed(uuid[], bigint[], double precision[], jsonb[], timestamptz),
  messenger.exchange_rows(
    uuid[], bigint[], double precision[], jsonb[], jsonb, text, int, interval, text, text[], text[]
  )
from public, anon, authenticated;
grant execute on function
  messenger.settle_completed(uuid[], bigint[], double precision[], jsonb[], timestamptz),
  messenger.exchange_rows(
    uuid[], bigint[], double precision[], jsonb[], jsonb, text, int, interval, text, text[], text[]
  )
to service_role;

-- ---- 40_delivery/12_exchange.sql
-- Exchange: settle and claim in one round trip and one commit, as workers call it.

-- Returns JSON: a composite type of schema messenger would be unknown to the API's generated types.
create or replace function public.messenger_exchange(
  outcomes jsonb, worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settled messenger.settled[] := messenger.settle_outcomes(outcomes);
begin
  -- json, which is built as text, costs 3.1 us per row; jsonb, which is built as a tree and printed, 7.5.
  return row_to_json(row(
    v_settled, messenger.claim_messages(worker, batch, lease, transport, queues, types))::messenger.exchanged);
end $$;

comment on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) is
  'messenger_settle and messenger_claim in one transaction: {"settled": [...], "claimed": [...]}, with the rows of '
  'those functions. Example: select messenger_exchange(''[]'', ''worker-1'', batch => 10).';
revoke all on function
  public.messenger_exchange(jsonb, text, int, interval, text, text[], text[])
from public, anon, authenticated;
grant execute on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) to service_role;

-- ---- 40_delivery/13_sql_runners.sql
-- Runners of SQL handlers: the backends of the pg_cron job symphony-handlers, their claims and their timeouts.

create or replace function messenger.is_backend_alive(pid int, backend_start timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_stat_get_activity(pid) a where a.backend_start = is_backend_alive.backend_start) $$;

create or replace function messenger.is_handlers_job_running()
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from messenger.sql_runners r where messenger.is_backend_alive(r.pid, r.backend_start)) $$;

create or replace function messenger.note_runner()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start timestamptz := (select a.backend_start from pg_stat_get_activity(pg_backend_pid()) a);
begin
  if not exists (select from messenger.sql_runners r where r.pid = pg_backend_pid() and r.backend_start = v_start) then
    delete from messenger.sql_runners r where r.pid = pg_backend_pid();
    insert into messenger.sql_runners (pid, backend_start) values (pg_backend_pid(), v_start);
  end if;
end $$;

create or replace function messenger.note_run(message messenger.claimed, timeout interval default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if message.id is null then
    update messenger.sql_runners r set message_id = null, message_type = null, deadline = null, cancelled_at = null
    where r.pid = pg_backend_pid() and r.message_id is not null;
  else
    update messenger.sql_runners r
    set message_id = message.id, message_type = message.message_type, deadline = clock_timestamp() + timeout,
        cancelled_at = null
    where r.pid = pg_backend_pid();
  end if;
end $$;

-- Named by its backend: no other session holds the row of this worker, so no open claim can block it.
create or replace function messenger.sql_worker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select 'sql-' || pg_backend_pid() $$;

-- The lease lasts 30 s longer than the handler may run, so that a cancelled handler is settled and not rescued.
create or replace function messenger.claim_for_runner()
returns messenger.claimed
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_types text[];
  v_message messenger.claimed;
  v_timeout interval;
begin
  perform messenger.note_runner();
  v_types := messenger.sql_types();
  if v_types is null then
    return null;
  end if;
  select * into v_message
  from public.messenger_claim(
    messenger.sql_worker(), 1, '60 seconds', queues => messenger.sql_queues(v_types), types => v_types);
  if v_message.id is null then
    return null;
  end if;
  v_timeout := messenger.handler_timeout(v_message.message_type);
  if v_timeout <> interval '30 seconds' then
    perform public.messenger_heartbeat(
      jsonb_build_array(jsonb_build_object('id', v_message.id, 'fence', v_message.fence)),
      v_timeout + interval '30 seconds');
  end if;
  perform messenger.note_run(v_message, v_timeout);
  return v_message;
end $$;

-- One transaction of the job symphony-handlers, which the job commits: it handles the message claimed before and claims
-- the next. So each claim is committed before its handler runs, and a handler that ends its backend has been counted.
-- Never raises.
create or replace function messenger.work_off(message messenger.claimed, goes_on boolean, cut_at timestamptz)
returns messenger.claimed
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if message.id is not null then
    begin
      perform messenger.handle_message(message, cut_at);
    exception when others or query_canceled then
      -- Not settled: the lease will expire.
      perform messenger.note_step_error('symphony-handlers', sqlerrm, sqlstate, messenger.now());
      perform messenger.note_run(null);
    end;
  end if;
  if goes_on then
    -- A block of its own: the handled message stays settled if the claim fails.
    begin
      return messenger.claim_for_runner();
    exception when others or query_canceled then
      perform messenger.note_step_error('symphony-handlers', sqlerrm, sqlstate, messenger.now());
    end;
  end if;
  return null;
end $$;

-- For the ticker. The row is locked while the signal is sent, and the runner must write it before it continues with
-- another message: the signal meets this handler or none. A handler that catches the cancellation and continues is
-- ended with its backend ten seconds later.
create or replace function messenger.cancel_overdue_handlers()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runner messenger.sql_runners;
begin
  for v_runner in
    select * from messenger.sql_runners r where r.deadline < clock_timestamp() order by r.pid for update skip locked
  loop
    continue when not messenger.is_backend_alive(v_runner.pid, v_runner.backend_start);
    if v_runner.cancelled_at is null then
      update messenger.sql_runners r set cancelled_at = clock_timestamp() where r.pid = v_runner.pid;
      perform pg_cancel_backend(v_runner.pid);
    elsif v_runner.cancelled_at < clock_timestamp() - interval '10 seconds' then
      perform pg_terminate_backend(v_runner.pid);
    end if;
  end loop;
  delete from messenger.sql_runners r
  where r.pid in (
    select x.pid from messenger.sql_runners x
    where coalesce(x.deadline < clock_timestamp() - interval '30 seconds', true)
      and not messenger.is_backend_alive(x.pid, x.backend_start)
    for update skip locked);
end $$;

comment on function messenger.is_backend_alive(int, timestamptz) is
  'Whether the server process with this id is still the one that was started at that time.';
comment on function messenger.is_handlers_job_running() is 'Whether a backend of the job symphony-handlers is running.';
comment on function messenger.note_runner() is 'Records that this backend runs SQL handlers.';
comment on function messenger.note_run(messenger.claimed, interval) is
  'Records the message that this backend handles, and its deadline; null: none.';
comment on function messenger.sql_worker() is
  'The worker name under which this backend claims messages for SQL handlers.';
comment on function messenger.claim_for_runner() is
  'Claims one message for the job symphony-handlers and records the deadline of its handler; null if none is due.';
comment on function messenger.work_off(messenger.claimed, boolean, timestamptz) is
  'Handles a message that was claimed before and, if goes_on, claims the next. Returns that one, or null.';
comment on function messenger.cancel_overdue_handlers() is
  'Cancels SQL handlers that have exceeded the timeout of their type, and deletes the rows of backends that have '
  'ended.';
revoke all on function
  messenger.is_backend_alive(int, timestamptz),
  messenger.is_handlers_job_running(),
  messenger.note_runner(),
  messenger.note_run(messenger.claimed, interval),
  messenger.sql_worker(),
  messenger.claim_for_runner(),
  messenger.work_off(messenger.claimed, boolean, timestamptz),
  messenger.cancel_overdue_handlers()
from public, anon, authenticated, service_role;

-- ---- 40_delivery/14_run_sql_handlers.sql
-- Running SQL handlers: one message at a time, its effects and its completion in one subtransaction.

create or replace function messenger.handler_timeout(type text)
returns interval
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select least(interval '11 hours', coalesce((
    select k.timeout_ms * interval '1 ms' from messenger.message_types k
    where handler_timeout.type = any (k.type || k.aliases) and k.sql_handler is not null limit 1
  ), interval '30 seconds'))
$$;

-- After "set constraints all immediate" the constraints would be checked immediately for the next handler of the same
-- transaction, which may rely on a check at its end.
create or replace function messenger.defer_constraints()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text;
begin
  select string_agg(distinct format('%I.%I', n.nspname, c.conname), ', ') into v_names
  from pg_catalog.pg_constraint c join pg_catalog.pg_namespace n on n.oid = c.connamespace
  where c.condeferred and has_schema_privilege(n.oid, 'usage');
  if v_names is not null then
    execute format('set constraints %s deferred', v_names);
  end if;
end $$;

-- The handler's writes, the completion and deferred constraints are undone together if one of them fails. The runner's
-- row is written last: from then on the ticker cannot lock it, so it never cancels a backend that has continued with
-- another message. A handler that changes its role, for example to be subject to row level security, need not change it
-- back.
create or replace function messenger.handle_message(message messenger.claimed, cut_at timestamptz default null)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_role text := current_setting('role');
  v_handler regprocedure := (select h.handler from messenger.sql_handlers() h where h.type = message.message_type);
  v_was_overdue boolean;
  v_result jsonb;
  v_error text;
  v_detail text;
  v_state text;
  v_trace text;
begin
  begin
    perform set_config('messenger.message', jsonb_build_object(
      'id', message.id, 'type', message.message_type, 'queue', message.queue_name, 'fence', message.fence,
      'retry_count', message.retry_count, 'headers', message.headers, 'metadata', message.metadata)::text, true);
    execute format('select %s($1)', v_handler::regproc) into v_result using message.body;
    if current_setting('role') <> v_role then
      perform set_config('role', v_role, false);
    end if;
    perform public.messenger_complete(message.id, message.fence, v_result, true);
    set constraints all immediate;
    perform set_config('messenger.message', '', true);
    perform messenger.note_run(null);
    return 'completed';
  exception when others or query_canceled or assert_failure then
    get stacked diagnostics v_error = message_text, v_detail = pg_exception_detail, v_state = returned_sqlstate,
      v_trace = pg_exception_context;
  end;

  -- Waits for the ticker, which holds the row until it has committed the cancellation.
  select r.cancelled_at is not null into v_was_overdue from messenger.sql_runners r
  where r.pid = pg_backend_pid() and r.message_id = message.id for update;
  perform messenger.note_run(null);
  if v_state = '57014' and v_was_overdue then
    v_error := format('the handler did not end within %s s and was cancelled',
      trim_scale(extract(epoch from messenger.handler_timeout(message.message_type))));
    v_state := 'Timeout';
  elsif v_state = '57014' and clock_timestamp() >= cut_at then
    -- The statement_timeout of the job that runs handlers, not the timeout of the type. It occurs once.
    perform public.messenger_release(message.id, message.fence);
    return 'released';
  end if;
  perform public.messenger_fail(
    message.id, message.fence, concat_ws(': ', v_error, nullif(v_detail, '')), v_state, v_trace, v_state <> 'PT422');
  return 'failed';
end $$;

-- If a handler has ended its backend, its type waits until the lease of that message has expired: with a backlog of
-- such messages every new runner would be ended immediately.
create or replace function messenger.sql_types()
returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(h.type) from messenger.sql_handlers() h
  where h.handler is not null and h.type not in (
    select r.message_type from messenger.sql_runners r
    where r.message_id is not null and r.deadline > clock_timestamp() - interval '30 seconds'
      and not messenger.is_backend_alive(r.pid, r.backend_start))
$$;

-- Events have a queue of their own. Searching all queues, beside 300,000 waiting messages of other types, cost every
-- second claim 150 ms.
create or replace function messenger.sql_queues(types text[])
returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when types = '{symphony.event}' then '{events}'::text[] end $$;

-- Runs in the tick if pg_cron has no job for it: claim, effects and completion commit together with the tick, or not at
-- all. The time budget is checked between messages, and the remaining ones are released. It is 500 ms (setting
-- messenger.sql_handler_budget).
create or replace function messenger.run_sql_handlers(batch int)
returns table (completed bigint, failed bigint, released bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_types text[] := messenger.sql_types();
  v_ends_at timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.sql_handler_budget', true), ''), '500 milliseconds')::interval;
  v_left int := batch;
  v_message messenger.claimed;
  v_claimed int;
begin
  completed := 0; failed := 0; released := 0;
  while v_left > 0 and v_types is not null loop
    v_claimed := 0;
    for v_message in
      select * from public.messenger_claim(messenger.sql_worker(), least(v_left, 10),
        queues => messenger.sql_queues(v_types), types => v_types)
    loop
      v_claimed := v_claimed + 1;
      -- The first is never released: with a budget of zero no message would ever be handled.
      if completed + failed > 0 and clock_timestamp() > v_ends_at then
        perform public.messenger_release(v_message.id, v_message.fence);
        released := released + 1;
        continue;
      end if;
      perform messenger.defer_constraints();
      if messenger.handle_message(v_message) = 'completed' then
        completed := completed + 1;
      else
        failed := failed + 1;
      end if;
    end loop;
    v_left := v_left - v_claimed;
    exit when v_claimed = 0 or released > 0 or clock_timestamp() > v_ends_at;
  end loop;
  return next;
end $$;

comment on function messenger.handler_timeout(text) is
  'How long the SQL handler of a type may run: timeout_ms of the type (default: 30 s), at most 11 hours.';
comment on function messenger.defer_constraints() is 'Defers the constraints that are initially deferred.';
comment on function messenger.handle_message(messenger.claimed, timestamptz) is
  'Runs the SQL handler of a claimed message and settles the message. Returns completed, failed, or released if the '
  'statement_timeout of the job ended it at cut_at.';
comment on function messenger.sql_types() is 'Types and aliases whose SQL handler may run now; null if there are none.';
comment on function messenger.sql_queues(text[]) is 'The queues in which messages of these types can be; null: any.';
comment on function messenger.run_sql_handlers(int) is
  'Handles up to batch due messages whose type has an SQL handler, within the time budget. Returns how many were '
  'completed, failed and released.';
revoke all on function
  messenger.handler_timeout(text),
  messenger.defer_constraints(),
  messenger.handle_message(messenger.claimed, timestamptz),
  messenger.sql_types(),
  messenger.sql_queues(text[]),
  messenger.run_sql_handlers(int)
from public, anon, authenticated, service_role;

-- ---- 40_delivery/20_claim.sql
-- Claiming: a worker takes due messages under a lease with a fencing token.

-- An array of valid queue names prints without quotes, except for the name null.
create or replace function messenger.check_claim(worker text, lease interval, queues text[] default null)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if worker is null or length(worker) not between 1 and 200 or worker ~ '[\x01-\x1f\x7f]' then
    perform messenger.raise_error('SM_WORKER');
  elsif queues::text !~ '^\{(([a-z0-9][a-z0-9_-]{0,62}|"null")(,([a-z0-9][a-z0-9_-]{0,62}|"null"))*)?\}$' then
    perform messenger.raise_error('SM_QUEUE', (
      select format('queues: "%s"', left(q.name, 100)) from unnest(queues) q(name)
      where q.name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' or q.name is null limit 1));
  elsif lease <= '0' or lease > '12 hours' then
    perform messenger.raise_error('SM_LEASE');
  end if;
end $$;

-- A worker is active while it polls. A session stores its poll at most every 20 ms, and a session skips the row that it
-- has just written. Two sessions may use one name: a row that the other has locked is skipped, and the first poll of a
-- name gives up after 10 ms if another session is inserting the same name.
create or replace function messenger.note_poll(worker text, transport text, queues text[], types text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_poll text := concat_ws('|', worker, transport, queues::text, types::text);
  v_now numeric := extract(epoch from at);
  v_noted text := current_setting('messenger.poll_noted', true);
begin
  if split_part(v_noted, '|', 2) = md5(v_poll)
    and v_now between split_part(v_noted, '|', 1)::numeric and split_part(v_noted, '|', 1)::numeric + 0.02 then
    return;
  end if;
  update messenger.workers w
  set polled_at = note_poll.at, transport_name = note_poll.transport, queues = note_poll.queues, types = note_poll.types
  where w.ctid = any (array(
    select x.ctid from messenger.workers x where x.worker = note_poll.worker for no key update skip locked));
  if not found then
    if not exists (select from messenger.workers w where w.worker = note_poll.worker) then
      perform messenger.add_worker(worker, transport, queues, types, at);
    end if;
  end if;
  perform set_config('messenger.poll_noted', v_now || '|' || md5(v_poll), false);
end $$;

create or replace function messenger.add_worker(
  worker text, transport text, queues text[], types text[], at timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
begin
  insert into messenger.workers
  values (add_worker.worker, add_worker.transport, add_worker.queues, add_worker.types, add_worker.at, add_worker.at)
  on conflict on constraint workers_pkey do nothing;
exception when lock_not_available then
  null;
end $$;

-- What a session does once in 20 ms for one worker and selection: it checks the arguments, records the poll and looks
-- for due queues, which it caches in messenger.due_queues.
create or replace function messenger.begin_poll(
  worker text, transport text, queues text[], types text[], at timestamptz, poll text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.check_claim(worker, null, queues);
  if transport is not null then
    if not exists (select from public.messenger_transports t where t.name = begin_poll.transport) then
      perform messenger.raise_error('SM_TRANSPORT', quote_ident(left(transport, 100)));
    end if;
  end if;
  perform messenger.note_poll(worker, transport, queues, types, at);
  if not exists (select from messenger.delivery_settings) then
    perform messenger.derive_delivery_settings();
  end if;
  perform set_config('messenger.due_queues', messenger.known_queues(transport, queues, false, at, types)::text, false),
    set_config('messenger.poll', poll, false);
end $$;

-- The messages are collected before the block ends: rows that were returned one by one could not be taken back if a
-- trigger fails at the end of the statement.
-- An error undoes the attempt and claim_carefully follows: it scans in chunks and, if writing the rows together fails,
-- writes each in a subtransaction of its own. A row that cannot be written is set aside, and the others are handed out.
-- The block costs 3 us. An expression costs 1 us, because plpgsql prepares it again in every transaction.
create or replace function messenger.claim_messages(
  worker text, batch int, lease interval, transport text, queues text[], types text[]
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := messenger.now();
  v_room int := coalesce(batch, 10);
  v_lease interval := coalesce(lease, '60 s');
  v_poll text := row((date_part('epoch', v_now) * 50)::bigint, worker, transport, queues, types)::text;
  v_queue text;
  v_visited text[] := '{}'::text[];
  v_taken record;
  v_due record;
  v_claimed messenger.claimed[];
  v_is_mixed boolean;
begin
  if (v_room between 1 and 1000 and v_lease > '0' and v_lease <= '12 hours') is not true then
    perform messenger.check_claim(worker, v_lease);
    perform messenger.raise_error('SM_BATCH');
  end if;
  if current_setting('messenger.poll', true) is distinct from v_poll then
    perform messenger.begin_poll(worker, transport, queues, types, v_now, v_poll);
  end if;

  begin
    <<attempts>>
    for v_attempt in 1..2 loop
      foreach v_queue in array case v_attempt when 1 then current_setting('messenger.due_queues', true)::text[]
        else messenger.known_queues(transport, queues, true, v_now, types) end
      loop
        continue when v_queue = any (v_visited);
        v_taken := messenger.take_due(
          split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), v_room, types, worker, v_lease, v_now);
        if v_taken.claimed <> '{}' then
          v_is_mixed := v_claimed is not null;
          v_claimed := v_claimed || v_taken.claimed;
          v_room := v_room - cardinality(v_taken.claimed);
          exit attempts when v_room = 0;
        end if;
        v_visited := v_visited || v_queue;
        continue when v_taken.is_plain;
        v_due := messenger.find_due(
          split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), v_room, types, v_now, v_claimed is null);
        if v_due.places is not null then
          v_is_mixed := v_claimed is not null;
          v_claimed := v_claimed || messenger.take(v_due.places, worker, v_lease, v_now);
          v_room := v_room - cardinality(v_due.places);
        end if;
        exit attempts when v_due.is_solo or v_room = 0;
      end loop;
    end loop;
    if v_claimed is null then
      return '{}';
    elsif current_setting('messenger.none_deferred_in', true) is distinct from date_part('epoch', v_now)::bigint::text
    then
      perform messenger.check_deferred(v_now);
    end if;
    return case when v_is_mixed then messenger.in_order(v_claimed) else v_claimed end;
  exception when others then
    if sqlstate <> 'SM001' and not messenger.is_row_error(sqlstate) then
      raise;
    end if;
  end;
  return messenger.claim_carefully(worker, coalesce(batch, 10), v_lease, transport, queues, types, v_now);
end $$;

-- Queues are visited in random order, for at most 100 ms (setting messenger.claim_budget).
create or replace function messenger.claim_carefully(
  worker text, batch int, lease interval, transport text, queues text[], types text[], at timestamptz
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_end timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.claim_budget', true), ''), '100 milliseconds')::interval;
  v_queue text;
  v_due record;
  v_claimed messenger.claimed[] := '{}'::messenger.claimed[];
  v_has_failed boolean;
begin
  <<queues>>
  foreach v_queue in array messenger.known_queues(transport, queues, true, at, types) loop
    loop
      v_due := messenger.find_due(
        split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), batch - cardinality(v_claimed), types, at,
        v_claimed = '{}', true);
      exit when v_due.places is null;
      v_has_failed := false;
      begin
        v_claimed := v_claimed || messenger.take(v_due.places, worker, lease, at);
      exception when others then
        if not messenger.is_row_error(sqlstate) then
          raise;
        end if;
        v_has_failed := true;
      end;
      if v_has_failed then
        v_claimed := v_claimed || messenger.take_singly(v_due.places, worker, lease, at);
      end if;
      exit queues when v_due.is_solo and v_claimed <> '{}' or cardinality(v_claimed) = batch
        or clock_timestamp() > v_end;
      exit when not v_has_failed;
    end loop;
  end loop queues;
  return v_claimed;
end $$;

create or replace function public.messenger_claim(
  worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null
)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from unnest(messenger.claim_messages(worker, batch, lease, transport, queues, types));
end $$;

-- For the sync transport, which handles a message where it is dispatched: takes this message, due or not, if no worker
-- has it.
create or replace function messenger.claim_one(message_id uuid, worker text, lease interval)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_worker text := worker;
  v_lease interval := coalesce(lease, '60 s');
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.check_claim(worker, v_lease);
  return query
  update public.messenger_messages m
  set status = 'processing', fence = m.fence + 1, locked_at = v_now, locked_by = v_worker,
      lock_expires_at = v_now + v_lease, updated_at = v_now
  where m.ctid = any (array(
    select x.ctid from public.messenger_messages x
    where x.id = message_id and x.status = 'pending' and x.available_at < 'infinity'
      and (x.expires_at is null or x.expires_at > v_now)
    for no key update skip locked))
  returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count, m.max_retries,
    m.fence, m.lock_expires_at, m.created_at, m.lease_losses > 0;
end $$;

create or replace function public.messenger_claim_one(id uuid, worker text, lease interval default '60 s')
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.claim_one(id, worker, lease) $$;

comment on function messenger.check_claim(text, interval, text[]) is
  'Raises SM_WORKER, SM_QUEUE or SM_LEASE for a worker name or queue name that is malformed, and for a lease that is '
  'out of range.';
comment on function messenger.note_poll(text, text, text[], text[], timestamptz) is
  'Records the poll of a worker, which makes it active.';
comment on function messenger.add_worker(text, text, text[], text[], timestamptz) is
  'Inserts the row of a worker at its first poll, unless another session is inserting it.';
comment on function messenger.begin_poll(text, text, text[], text[], timestamptz, text) is
  'Checks the arguments of a claim, records the poll of its worker and caches its due queues in the session. poll is '
  'the key of the cache. Errors: SM_WORKER, SM_QUEUE, SM_TRANSPORT.';
comment on function messenger.claim_messages(text, int, interval, text, text[], text[]) is
  'Implements messenger_claim and returns its rows as an array.';
comment on function messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz) is
  'A claim that skips any number of messages it cannot take, and rows that cannot be written.';
comment on function public.messenger_claim(text, int, interval, text, text[], text[]) is
  'Takes up to batch (1 to 1000, default: 10) due messages for a worker under a lease (default: 60 s, at most 12 '
  'hours). '
  'Example: select * from messenger_claim(''worker-1'', batch => 10, queues => ''{mail}''). '
  'Null transport, queues or types mean all. Every outcome must carry the fence of its row. solo: the only row of its '
  'claim, to be run with no other message in flight. '
  'Waits for no lock: messages whose rows others have locked are left for the next claim. Errors: SM_WORKER, SM_BATCH, '
  'SM_LEASE, SM_QUEUE, SM_TRANSPORT.';
comment on function messenger.claim_one(uuid, text, interval) is 'Implements public.messenger_claim_one.';
comment on function public.messenger_claim_one(uuid, text, interval) is
  'Takes one pending message by id, due or not, for the caller that has just dispatched it. Returns no row if another '
  'worker has it, its row is locked or it has finished. Errors: SM_WORKER, SM_LEASE.';
revoke all on function
  messenger.check_claim(text, interval, text[]),
  messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.add_worker(text, text, text[], text[], timestamptz),
  messenger.begin_poll(text, text, text[], text[], timestamptz, text),
  messenger.claim_messages(text, int, interval, text, text[], text[]),
  messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]),
  public.messenger_claim_one(uuid, text, interval)
from public, anon, authenticated;
grant execute on function
  messenger.check_claim(text, interval, text[]),
  messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.add_worker(text, text, text[], text[], timestamptz),
  messenger.begin_poll(text, text, text[], text[], timestamptz, text),
  messenger.claim_messages(text, int, interval, text, text[], text[]),
  messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]),
  public.messenger_claim_one(uuid, text, interval)
to service_role;

-- ---- 40_delivery/22_due_queues.sql
-- Queues: those that hold unfinished messages, those that hold due messages, and the session's cache of the latter.

-- A skip scan of the hot index: one probe per queue, however long it is. It begins at the end of the index: entries of
-- finished messages, which remain while a transaction holds a snapshot, are at the beginning of their queue, and a scan
-- from there visited them all (77 ms beside 60,000, against 0.4 ms from the end).
create or replace function messenger.active_queues(only_transport text, only_queues text[], halted boolean)
returns table (transport_name text, queue_name text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with recursive pair as (
    (select m.transport_name, m.queue_name from public.messenger_messages m where m.processed_at is null
     order by m.transport_name desc, m.queue_name desc limit 1)
    union all
    select n.transport_name, n.queue_name
    from pair p
    cross join lateral (
      select m.transport_name, m.queue_name from public.messenger_messages m
      where m.processed_at is null and (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
      order by m.transport_name desc, m.queue_name desc limit 1
    ) n
  )
  select p.transport_name, p.queue_name
  from pair p
  join public.messenger_transports t on t.name = p.transport_name and t.type in ('supabase', 'sync')
  left join messenger.queues q on q.transport_name = p.transport_name and q.queue_name = p.queue_name
  where (halted or t.enabled and q.paused_at is null)
    and (only_transport is null or p.transport_name = only_transport)
    and (only_queues is null or p.queue_name = any (only_queues));
end $$;

-- Scans the hot index from its end and stops only at queues with a due message. Entries of later messages are skipped
-- inside the index: beside 5,000 queues with one message each it takes 0.4 ms where a probe per queue takes 55 ms, with
-- 50 messages each 31 to 84 ms. The first step is a statement without a bound, because each entry would be compared
-- with it. runnable: only messages that no worker holds.
create or replace function messenger.scan_due_queues(
  at timestamptz, only_transport text, runnable boolean, only_types text[], below_transport text, below_queue text,
  max_queues int
)
returns table (transport_name text, queue_name text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_is_first boolean := below_transport is null;
begin
  if v_is_first then
    select m.transport_name, m.queue_name into below_transport, below_queue from public.messenger_messages m
    where m.processed_at is null and m.available_at <= scan_due_queues.at
      and (not runnable or m.status = 'pending' or m.lock_expires_at < scan_due_queues.at)
      and (only_types is null or m.message_type = any (only_types))
      and (only_transport is null or m.transport_name = only_transport)
    order by m.transport_name desc, m.queue_name desc limit 1;
    if not found then
      return;
    end if;
  end if;
  return query
  with recursive pair as (
    select below_transport as transport_name, below_queue as queue_name, v_is_first as is_due
    union all
    select n.transport_name, n.queue_name, true
    from pair p
    cross join lateral (
      select m.transport_name, m.queue_name from public.messenger_messages m
      where (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
        and m.processed_at is null and m.available_at <= scan_due_queues.at
        and (not runnable or m.status = 'pending' or m.lock_expires_at < scan_due_queues.at)
        and (only_types is null or m.message_type = any (only_types))
        and (only_transport is null or m.transport_name = only_transport)
      order by m.transport_name desc, m.queue_name desc limit 1
    ) n
  )
  select p.transport_name, p.queue_name from pair p where p.is_due limit max_queues;
end $$;

-- Up to 64 queues are probed one by one. With more, scan_due_queues finds those with a due message, at most max_queues
-- per call, and the session's next call continues where this one stopped, so that no queue starves behind others that
-- are never empty. That there are more than 64 is cached for 10 s, because finding it out costs 65 probes. runnable and
-- only_types are hints that exclude queues without a message for the caller.
create or replace function messenger.due_queues(
  at timestamptz, only_transport text default null, only_queues text[] default null, runnable boolean default false,
  only_types text[] default null, halted boolean default false, max_queues int default 200
)
returns table (transport_name text, queue_name text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_transports text[];
  v_queues text[];
  v_setting text;
  -- "end of the cache in seconds|transport|queue at which the last scan stopped"
  v_scan text[];
  v_now numeric := extract(epoch from at);
  v_is_whole boolean;
begin
  if only_queues is not null then
    select array_agg(t.name), array_agg(q.name) into v_transports, v_queues
    from public.messenger_transports t cross join (select distinct u.name from unnest(only_queues) u(name)) q
    where only_transport is null or t.name = only_transport;
  else
    v_setting := 'messenger.many_queues_' || replace(
      hashtextextended(concat_ws('/', only_transport, runnable, only_types::text, halted), 0)::text, '-', 'n');
    v_scan := string_to_array(nullif(current_setting(v_setting, true), ''), '|');
    if v_now between v_scan[1]::numeric - 10 and v_scan[1]::numeric then
      null;
    else
      v_scan := null;
      with recursive pair as (
        (select m.transport_name, m.queue_name from public.messenger_messages m where m.processed_at is null
         order by m.transport_name desc, m.queue_name desc limit 1)
        union all
        select n.transport_name, n.queue_name
        from pair p
        cross join lateral (
          select m.transport_name, m.queue_name from public.messenger_messages m
          where m.processed_at is null and (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
          order by m.transport_name desc, m.queue_name desc limit 1
        ) n
      )
      select array_agg(p.transport_name), array_agg(p.queue_name) into v_transports, v_queues
      from (select * from pair limit 65) p;
      if cardinality(v_queues) > 64 then
        v_scan := array[(v_now + 10)::text];
      end if;
    end if;
  end if;

  if v_scan is not null then
    loop
      v_is_whole := v_scan[2] is null;
      select array_agg(w.transport_name), array_agg(w.queue_name) into v_transports, v_queues
      from messenger.scan_due_queues(
        due_queues.at, only_transport, runnable, only_types, v_scan[2], v_scan[3], max_queues) w;
      v_scan := v_scan[1:1];
      if cardinality(v_queues) = max_queues then
        v_scan := v_scan || v_transports[max_queues] || v_queues[max_queues];
      end if;
      exit when v_is_whole or v_queues is not null;
    end loop;
    perform set_config(v_setting, array_to_string(v_scan, '|'), false);
  end if;

  -- One probe per priority: a range over all priorities would visit every later message of the queue.
  return query
  select u.transport_name, u.queue_name
  from unnest(v_transports, v_queues) as u(transport_name, queue_name)
  join public.messenger_transports t on t.name = u.transport_name and t.type in ('supabase', 'sync')
  where (only_transport is null or t.name = only_transport)
    and (halted or t.enabled and not exists (
      select from messenger.queues q
      where q.transport_name = u.transport_name and q.queue_name = u.queue_name and q.paused_at is not null))
    and (v_scan is not null or exists (
      select from generate_series(1, 10) as level(priority)
      cross join lateral (
        select from public.messenger_messages m
        where m.transport_name = u.transport_name and m.queue_name = u.queue_name and m.priority = level.priority
          and m.processed_at is null and m.available_at <= due_queues.at
        limit 1
      ) due));
end $$;

-- Up to 100 due queues as 'transport/queue' in random order, so that no queue starves behind another that is never
-- empty. Cached by the session for 20 ms, as the search costs as much as claiming one message; a claim that does not
-- get its batch from them searches again.
-- A search that took longer than 5 ms (setting messenger.queues_after), because the index holds entries of finished
-- messages for a snapshot, is cached for twice its time, at most a second, for that second search too: a queue that
-- fills meanwhile waits for this session. Only twice, because a busy machine is slow too, and an idle worker must not
-- miss a message for long.
-- only_types is last, with a default: a claim of 0.1.0 that waits while the upgrade commits calls the function without
-- it.
create or replace function messenger.known_queues(
  only_transport text, only_queues text[], again boolean, at timestamptz, only_types text[] default null
)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting text := 'messenger.known_queues_' || replace(
    hashtextextended(concat_ws('/', only_transport, only_queues::text, only_types::text), 0)::text, '-', 'n');
  -- "stored at|end|end for a claim that searches again|queues", times in seconds: as text they would depend on
  -- DateStyle.
  v_text text := current_setting(v_setting, true);
  v_now numeric := extract(epoch from at);
  v_cached text[];
  v_queues text[];
  v_started timestamptz;
  v_took numeric;
begin
  if v_text <> '' then
    v_cached := string_to_array(v_text, '|');
    if v_now between v_cached[1]::numeric and v_cached[2 + again::int]::numeric then
      return v_cached[4]::text[];
    end if;
  end if;
  v_started := clock_timestamp();
  v_queues := array(
    select d.transport_name || '/' || d.queue_name
    from messenger.due_queues(at, only_transport, only_queues, true, only_types, false, 100) d order by random());
  v_took := extract(epoch from clock_timestamp() - v_started);
  if v_took < extract(epoch from
      coalesce(nullif(current_setting('messenger.queues_after', true), ''), '5 milliseconds')::interval)
      + cardinality(v_queues) * 0.00005 then
    v_took := 0;
  end if;
  v_took := least(1, 2 * v_took);
  perform set_config(
    v_setting, concat_ws('|', v_now, v_now + greatest(v_took, 0.02), v_now + v_took, v_queues::text), false);
  return v_queues;
end $$;

comment on function messenger.active_queues(text, text[], boolean) is
  'Transports and queues with unfinished messages; halted: paused or disabled ones too.';
comment on function messenger.scan_due_queues(timestamptz, text, boolean, text[], text, text, int) is
  'Queues with a due message in descending order, below a transport and queue (exclusive) or, if these are null, from '
  'the last one.';
comment on function messenger.due_queues(timestamptz, text, text[], boolean, text[], boolean, int) is
  'Queues that hold a due message, optionally only of one transport or of these queues. With more than 64 queues at '
  'most max_queues per call, in turn. halted: paused or disabled ones too. runnable, only_types: may exclude queues '
  'whose due messages are held by workers or are of other types.';
comment on function messenger.known_queues(text, text[], boolean, timestamptz, text[]) is
  'Due queues as transport/queue in random order, cached for 20 ms, or up to a second if finding them took long; '
  'again: ignores the 20 ms.';
revoke all on function
  messenger.active_queues(text, text[], boolean),
  messenger.scan_due_queues(timestamptz, text, boolean, text[], text, text, int),
  messenger.due_queues(timestamptz, text, text[], boolean, text[], boolean, int),
  messenger.known_queues(text, text[], boolean, timestamptz, text[])
from public, anon, authenticated;
grant execute on function
  messenger.active_queues(text, text[], boolean),
  messenger.scan_due_queues(timestamptz, text, boolean, text[], text, text, int),
  messenger.due_queues(timestamptz, text, text[], boolean, text[], boolean, int),
  messenger.known_queues(text, text[], boolean, timestamptz, text[])
to service_role;

-- ---- 40_delivery/23_take_due.sql
-- The usual claim of one queue: its due messages are found, locked and taken by one statement.

-- is_plain is false if messenger.find_due must continue: nothing is taken if the session leaves messages out or the scan
-- meets a message that is expired or cancelled or was lost by a worker; a message that was changed between the snapshot
-- of the statement and its lock is left, because the update does not see its new version.
-- One index range per priority, so messages that are not yet due are never visited. The time is part of one expression
-- with the cheap tests, because the planner would put them first: a scan may skip any number of messages of other types
-- and locked ones. After 25 ms it raises SM001, as in find_due.
create or replace function messenger.take_due(
  transport text, queue text, batch int, types text[], worker text, lease interval, at timestamptz,
  out claimed messenger.claimed[], out is_plain boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  v_started timestamptz := clock_timestamp();
  v_setting text;
  v_ends_at timestamptz;
  -- By priority. Variables without a value cost nothing: plpgsql prepares each expression again in every transaction.
  v_from_times timestamptz[];
  v_from_ids uuid[];
  v_found int;
  v_is_slow boolean;
  v_ctids tid[];
begin
  if current_setting('messenger.leaves_out_until', true) <> '' then
    if messenger.messages_set_aside(at) is not null then
      is_plain := false;
      return;
    end if;
  end if;
  if current_setting('messenger.has_watermarks', true) <> '' then
    v_setting := messenger.watermark_setting(transport, queue, types);
    select w.ends_at, w.times, w.ids into v_ends_at, v_from_times, v_from_ids
    from messenger.read_watermark(v_setting, at) w;
  end if;
  with found as materialized (
    select array_agg(due.tid) as ctids, bool_and(due.is_ready) as are_ready, count(*) as number
    from (
      select head.* from (values (10), (9), (8), (7), (6), (5), (4), (3), (2), (1)) as level(priority)
      cross join lateral (
        select m.ctid as tid,
          m.status = 'pending' and m.lease_losses = 0 and m.cancel_requested_at is null
            and coalesce(m.expires_at > at, true) as is_ready
        from public.messenger_messages m
        where m.transport_name = transport and m.queue_name = queue and m.priority = level.priority
          and m.processed_at is null and m.available_at <= at
          and (m.available_at, m.id) >= (coalesce(v_from_times[level.priority], '-infinity'),
            coalesce(v_from_ids[level.priority], '00000000-0000-0000-0000-000000000000'))
          and case
            when clock_timestamp() > (
              select v_started + batch * interval '20 microseconds'
                + coalesce(nullif(current_setting('messenger.scan_limit', true), ''), '25 milliseconds')::interval)
            then messenger.stop_scan()
            else (m.status = 'pending' or m.lock_expires_at < at) and (types is null or m.message_type = any (types))
            end
        order by m.available_at, m.id
        limit batch
        for no key update skip locked
      ) head
      -- Also here, and not only where queues are searched, so that a pause takes effect with its commit.
      where (select not d.halted && array[transport, transport || '/' || queue] from messenger.delivery_settings d)
      limit batch
    ) due
  ),
  taken as (
    update public.messenger_messages m
    set status = 'processing', fence = m.fence + 1, locked_at = at, locked_by = worker, lock_expires_at = at + lease,
        updated_at = at
    where m.ctid = any ((select f.ctids from found f where f.are_ready)::tid[])
    returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count,
      m.max_retries, m.fence, m.lock_expires_at, m.created_at, m.available_at, m.ctid as tid
  )
  select f.number, scan.is_slow,
    case when scan.is_slow then array(select t.tid from taken t order by t.priority desc, t.available_at, t.id) end,
    array(
      select row(t.id, t.message_type, t.queue_name, t.body, t.headers, t.metadata, t.priority, t.retry_count,
        t.max_retries, t.fence, t.lock_expires_at, t.created_at, false)::messenger.claimed
      from taken t order by t.priority desc, t.available_at, t.id)
  into v_found, v_is_slow, v_ctids, claimed
  from found f
  -- Before the update, which is not part of the scan.
  cross join lateral (
    select clock_timestamp() - v_started > f.number * interval '2 microseconds'
      + coalesce(nullif(current_setting('messenger.watermark_after', true), ''), '500 microseconds')::interval
      as is_slow
  ) scan;
  is_plain := v_found = cardinality(claimed);
  if v_is_slow then
    if is_plain then
      perform messenger.store_watermark(
        messenger.watermark_setting(transport, queue, types), v_ends_at, v_from_times, v_from_ids, batch, v_ctids,
        clock_timestamp() - v_started, at);
    end if;
  elsif v_setting is not null and v_ends_at is null then
    perform set_config(v_setting, '', false);
  end if;
end $$;

comment on function messenger.take_due(text, text, int, text[], text, interval, timestamptz) is
  'Gives up to batch due messages of one queue to a worker. is_plain is false if messenger.find_due must continue, for '
  'messages that this statement cannot take. Raises SQLSTATE SM001 if it has skipped too many messages.';
revoke all on function messenger.take_due(text, text, int, text[], text, interval, timestamptz)
from public, anon, authenticated;
grant execute on function messenger.take_due(text, text, int, text[], text, interval, timestamptz) to service_role;

-- ---- 40_delivery/24_find_due.sql
-- Finding the due messages of one queue.

-- Ends a scan that has visited too many messages it cannot take. Raising is the only way out of a running statement.
create or replace function messenger.stop_scan()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'SM001',
    message = 'the scan for due messages has met too many that cannot be handed out';
end $$;

-- In order of priority (10 first), availability and id, by one index range per priority, so messages that are not yet
-- due are never visited. The same scan finds messages whose lease has expired. Such a message may have crashed its
-- worker, so it is handed out alone; up to 100 that are expired, cancelled or exhausted are finished on the way.
-- The first scan ends by an error after 25 ms (setting messenger.scan_limit) and 20 us per message of the batch,
-- because it may skip any number of messages: of other types, held or locked by others. The caller then calls again
-- with careful: the range is scanned in chunks, at most 100,000 entries, and a watermark is stored behind them. Beside
-- 50,000 such messages that takes 30 ms.
-- Without the planner settings the claim was measured 1.2 to 2.1 times slower. Disabled scans look so expensive to the
-- planner that it would compile each plan (jit), for seconds.
-- The ctids are returned under their name of 0.1.0: a claim of 0.1.0 that waits while the upgrade commits reads it.
create or replace function messenger.find_due(
  transport text, queue text, batch int, types text[], at timestamptz, may_be_solo boolean,
  careful boolean default false, out places tid[], out is_solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
  v_setting text := messenger.watermark_setting(transport, queue, types);
  v_ends_at timestamptz;
  -- By priority. Variables without a value cost nothing: plpgsql prepares each expression again in every transaction.
  v_from_times timestamptz[];
  v_from_ids uuid[];
  v_to_times timestamptz[];
  v_to_ids uuid[];
  v_left_out uuid[];
  v_skips_ended boolean;
  v_stop_priority int;
  v_stop_at timestamptz;
  v_stop_id uuid;
  v_chunk int;
  v_visited int;
  v_started timestamptz := clock_timestamp();
  v_took interval;
  v_found tid[];
  v_dispositions text[];
  v_ids uuid[];
  v_end int;
begin
  select w.ends_at, w.times, w.ids into v_ends_at, v_from_times, v_from_ids
  from messenger.read_watermark(v_setting, at) w;
  if current_setting('messenger.leaves_out_until', true) <> '' then
    v_left_out := messenger.messages_set_aside(at);
  end if;

  <<scans>>
  loop
    if careful or v_skips_ended then
      v_chunk := least(20000, coalesce(10 * v_chunk, 2 * batch + 100));
      select found.* into v_stop_priority, v_stop_at, v_stop_id from generate_series(10, 1, -1) as level(priority)
      cross join lateral (
        select m.priority, m.available_at, m.id from public.messenger_messages m
        where m.transport_name = find_due.transport and m.queue_name = find_due.queue and m.priority = level.priority
          and m.processed_at is null and m.available_at <= at
          and (m.available_at, m.id) >= (coalesce(v_from_times[level.priority], '-infinity'),
            coalesce(v_from_ids[level.priority], '00000000-0000-0000-0000-000000000000'))
        order by m.available_at, m.id
      ) found
      limit 1 offset v_chunk - 1;
      v_to_times := array(
        select case when p < v_stop_priority then '-infinity' when p = v_stop_priority then v_stop_at else at end
        from generate_series(1, 10) p);
      v_to_ids := array(select case when p = v_stop_priority then v_stop_id end from generate_series(1, 10) p);
    end if;

    select array_agg(due.tid), array_agg(due.disposition) into v_found, v_dispositions
    from (
      select found.* from generate_series(10, 1, -1) as level(priority)
      cross join lateral (
        select m.ctid as tid,
          case
            when m.expires_at <= at then 'expired'
            when m.cancel_requested_at is not null then 'cancelled'
            when m.status = 'processing' and m.retry_count >= m.max_retries then 'exhausted'
            when m.status = 'processing' then 'lost'
            when m.lease_losses > 0 then 'suspect'
            else 'ready'
          end as disposition
        from public.messenger_messages m
        where m.transport_name = find_due.transport and m.queue_name = find_due.queue and m.priority = level.priority
          and m.processed_at is null
          and (m.available_at, m.id) <= (coalesce(v_to_times[level.priority], at),
            coalesce(v_to_ids[level.priority], 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
          and (m.available_at, m.id) >= (coalesce(v_from_times[level.priority], '-infinity'),
            coalesce(v_from_ids[level.priority], '00000000-0000-0000-0000-000000000000'))
          -- One expression, because the planner would put the cheap tests before that of the time.
          and case
            when clock_timestamp() > (select clock_timestamp() + case when careful then '1 hour'
              else coalesce(nullif(current_setting('messenger.scan_limit', true), ''), '25 milliseconds') end::interval
              + batch * interval '20 microseconds')
            then messenger.stop_scan()
            else (m.status = 'pending' or m.lock_expires_at < at) and (types is null or m.message_type = any (types))
              and (v_left_out is null or m.id <> all (v_left_out))
              and (v_skips_ended is null or not (
                coalesce(m.expires_at <= at, false) or m.cancel_requested_at is not null
                or m.status = 'processing' and m.retry_count >= m.max_retries))
            end
        order by m.available_at, m.id
        limit batch
        for no key update skip locked
      ) found
      -- Also here, and not only in due_queues, so that a pause takes effect with its commit.
      where (
        select not d.halted && array[find_due.transport, find_due.transport || '/' || find_due.queue]
        from messenger.delivery_settings d
      )
      limit batch - coalesce(cardinality(places), 0)
    ) due;

    if not v_dispositions <@ '{ready}'::text[] then
      v_ids := array(
        select m.id from unnest(v_found) with ordinality as x(tid, n)
        join public.messenger_messages m on m.ctid = x.tid order by x.n);
      if v_dispositions && '{expired,cancelled,exhausted}'::text[] then
        if careful then
          perform messenger.finish_undeliverable_singly(v_ids[1:100], v_dispositions[1:100], at);
        else
          perform messenger.finish_undeliverable(v_ids[1:100], v_dispositions[1:100], at);
        end if;
        -- A scan by chunks, which leaves out the other messages to be finished, finds the remaining ones.
        v_skips_ended := true;
        continue scans;
      end if;
      -- Up to the first message that must be alone; the next claim begins with it.
      v_end := (
        select min(x.n) from unnest(v_dispositions) with ordinality as x(disposition, n)
        where x.disposition <> 'ready');
      if v_end > 1 then
        places := places || v_found[1:v_end - 1];
      elsif places is null and may_be_solo then
        perform messenger.note_lost_leases(v_ids[1:1], 'retried', at);
        perform messenger.emit('retried', array(select v_ids[1] where v_dispositions[1] = 'lost'), at);
        places := v_found[1:1];
        is_solo := true;
      end if;
      return;
    end if;

    places := places || v_found;
    exit scans when v_stop_id is null or coalesce(cardinality(places), 0) >= batch;
    v_from_times := array(
      select case
        when p < v_stop_priority then v_from_times[p] when p = v_stop_priority then v_stop_at else 'infinity' end
      from generate_series(1, 10) p);
    v_from_ids := array(
      select case when p = v_stop_priority then v_stop_id else v_from_ids[p] end
      from generate_series(1, 10) p);
    -- The next chunk begins with the last message of this one.
    v_left_out := v_left_out || v_stop_id;
    v_visited := coalesce(v_visited, 0) + v_chunk;
    exit scans when v_visited >= 100000;
  end loop;

  v_took := clock_timestamp() - v_started;
  if v_took > coalesce(nullif(current_setting('messenger.watermark_after', true), ''), '500 microseconds')::interval
      + coalesce(cardinality(places), 0) * interval '2 microseconds' then
    perform messenger.store_watermark(
      v_setting, v_ends_at, v_from_times, v_from_ids, batch, places, v_took, at, v_stop_priority + 1);
  elsif current_setting(v_setting, true) <> '' and v_ends_at is null then
    perform set_config(v_setting, '', false);
  end if;
end $$;

comment on function messenger.stop_scan() is 'Raises SQLSTATE SM001, which the claim catches.';
comment on function messenger.find_due(text, text, int, text[], timestamptz, boolean, boolean) is
  'Locks up to batch due messages of one queue and returns their ctids, or null. A solo message is returned alone or, '
  'if may_be_solo is false, not at all. Raises SQLSTATE SM001 if it has skipped too many messages, unless careful.';
revoke all on function
  messenger.stop_scan(),
  messenger.find_due(text, text, int, text[], timestamptz, boolean, boolean)
from public, anon, authenticated;
grant execute on function
  messenger.stop_scan(),
  messenger.find_due(text, text, int, text[], timestamptz, boolean, boolean)
to service_role;

-- ---- 40_delivery/26_scan_watermarks.sql
-- Scan watermarks: where a session's next scan of a queue begins, so that scans stay short while dead index entries
-- cannot be vacuumed.

-- Per priority, the position before which the session's last scan found no message to take. While a transaction holds a
-- snapshot, the index keeps an entry for every message finished since, and each scan would visit them all: the rate
-- fell to a third in 75 s, with watermarks it stayed constant.
-- A watermark is only an optimization. It ends after at most 5 s, or if the clock is before the time it was stored;
-- then a scan without it follows. Messages that become visible behind it (a late commit, an expired lease, a returned
-- message) wait at most that long.
-- It is a setting of the session, {"placed", "ends", "times": [ten], "ids": [ten]}, named by everything a scan filters
-- on: otherwise the watermark of one worker would hide the messages of another. In JSON its timestamps are ISO 8601,
-- whatever the session's DateStyle.
create or replace function messenger.watermark_setting(transport text, queue text, types text[])
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'messenger.scan_mark_'
    || replace(hashtextextended(concat_ws('/', transport, queue, types::text), 0)::text, '-', 'n');
end $$;

-- The record has no values if none is stored, or it has ended.
create or replace function messenger.read_watermark(
  setting text, at timestamptz, out ends_at timestamptz, out times timestamptz[], out ids uuid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := current_setting(setting, true);
  v_watermark jsonb;
begin
  if v_text <> '' then
    v_watermark := v_text::jsonb;
    if at between (v_watermark ->> 'placed')::timestamptz and (v_watermark ->> 'ends')::timestamptz then
      ends_at := (v_watermark ->> 'ends')::timestamptz;
      times := array(
        select t::timestamptz from jsonb_array_elements_text(v_watermark -> 'times') with ordinality x(t, n)
        order by n);
      ids := array(
        select i::uuid from jsonb_array_elements_text(v_watermark -> 'ids') with ordinality x(i, n) order by n);
    end if;
  end if;
end $$;

-- After a slow scan, stores the watermarks; after a fast one that began at the beginning, drops them. Slow is
-- longer than 500 us (setting messenger.watermark_after) and 2 us per message: a scan takes 50 us, but a busy machine
-- must not pass for a cluttered index. The margin is for transactions that commit a little later than the time they
-- wrote into available_at.
-- lowest: the lowest priority that was scanned to its end; below it the positions stay the same. It is last, with a
-- default: a scan of 0.1.0 that waits while the upgrade commits calls the function without it.
create or replace function messenger.store_watermark(
  setting text, ends_at timestamptz, from_times timestamptz[], from_ids uuid[], batch int, ctids tid[],
  took interval, at timestamptz, lowest int default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_times timestamptz[] := coalesce(from_times, array_fill('-infinity'::timestamptz, array[10]));
  v_ids uuid[] := coalesce(from_ids, array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[10]));
  v_margin timestamptz := at - interval '250 milliseconds';
  v_found record;
  v_first int;
  v_lowest int := coalesce(lowest, 1);
begin
  select array_agg(m.priority order by x.n) as priorities, array_agg(m.available_at order by x.n) as times,
    array_agg(m.id order by x.n) as ids
  into v_found
  from unnest(ctids) with ordinality as x(tid, n) join public.messenger_messages m on m.ctid = x.tid;
  -- A full batch ended the scan within this priority: below it nothing was scanned.
  if cardinality(ctids) >= batch then
    v_lowest := v_found.priorities[batch];
  end if;
  for v_level in v_lowest..10 loop
    v_first := array_position(v_found.priorities, v_level);
    if v_first is not null and v_found.times[v_first] < v_margin then
      v_times[v_level] := v_found.times[v_first];
      v_ids[v_level] := v_found.ids[v_first];
    else
      v_times[v_level] := v_margin;
      v_ids[v_level] := '00000000-0000-0000-0000-000000000000';
    end if;
  end loop;
  perform set_config(setting, jsonb_build_object(
    'placed', at, 'ends', coalesce(ends_at, at + least(interval '5 seconds', greatest(interval '1 second', 20 * took))),
    'times', v_times, 'ids', v_ids)::text, false), set_config('messenger.has_watermarks', 'true', false);
end $$;

comment on function messenger.watermark_setting(text, text, text[]) is
  'The session setting that holds the watermarks of one queue and selection of types.';
comment on function messenger.read_watermark(text, timestamptz) is
  'The watermarks in this setting of the session: when they end, and the positions by priority. Nulls if there are '
  'none.';
comment on function messenger.store_watermark(
  text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz, int
) is
  'Stores the positions of a slow scan for the next scan of the session.';
revoke all on function
  messenger.watermark_setting(text, text, text[]),
  messenger.read_watermark(text, timestamptz),
  messenger.store_watermark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz, int)
from public, anon, authenticated;
grant execute on function
  messenger.watermark_setting(text, text, text[]),
  messenger.read_watermark(text, timestamptz),
  messenger.store_watermark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz, int)
to service_role;

-- ---- 40_delivery/28_take.sql
-- Taking: the statement that gives messages, which a scan has found and locked, to a worker.

-- Rows are addressed by ctid, which cannot change while the scan's lock is held.
create or replace function messenger.take(ctids tid[], worker text, lease interval, at timestamptz)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_claimed messenger.claimed[];
begin
  with taken as (
    update public.messenger_messages m
    set status = 'processing', fence = m.fence + 1, locked_at = take.at, locked_by = take.worker,
        lock_expires_at = take.at + take.lease, updated_at = take.at,
        retry_count = m.retry_count + (m.status = 'processing')::int,
        lease_losses = m.lease_losses + (m.status = 'processing')::int
    where m.ctid = any (ctids)
    returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count,
      m.max_retries, m.fence, m.lock_expires_at, m.created_at, m.lease_losses > 0 as solo, m.available_at
  )
  select array_agg(
    row(t.id, t.message_type, t.queue_name, t.body, t.headers, t.metadata, t.priority, t.retry_count, t.max_retries,
      t.fence, t.lock_expires_at, t.created_at, t.solo)::messenger.claimed
    order by t.priority desc, t.available_at, t.id)
  into v_claimed
  from taken t;
  perform messenger.check_deferred(at);
  return v_claimed;
end $$;

-- Of several queues: each was taken in its own order.
create or replace function messenger.in_order(claimed messenger.claimed[])
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array_agg(c order by m.priority desc, m.available_at, m.id)
    from unnest(claimed) c join public.messenger_messages m on m.id = c.id);
end $$;

create or replace function messenger.take_singly(ctids tid[], worker text, lease interval, at timestamptz)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ctid tid;
  v_claimed messenger.claimed[];
begin
  foreach v_ctid in array ctids loop
    begin
      v_claimed := v_claimed || messenger.take(array[v_ctid], worker, lease, at);
    exception when others then
      if not messenger.is_row_error(sqlstate) then
        raise;
      end if;
      perform messenger.set_message_aside(m.id, sqlerrm, sqlstate, at) from public.messenger_messages m
      where m.ctid = v_ctid;
    end;
  end loop;
  return v_claimed;
end $$;

comment on function messenger.take(tid[], text, interval, timestamptz) is
  'Gives the messages with these ctids, which the caller has locked, to a worker. Null if there are none.';
comment on function messenger.in_order(messenger.claimed[]) is
  'The claimed messages by priority, availability and id.';
comment on function messenger.take_singly(tid[], text, interval, timestamptz) is
  'As messenger.take, one message at a time; messages that cannot be written are set aside.';
revoke all on function
  messenger.take(tid[], text, interval, timestamptz),
  messenger.in_order(messenger.claimed[]),
  messenger.take_singly(tid[], text, interval, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.take(tid[], text, interval, timestamptz),
  messenger.in_order(messenger.claimed[]),
  messenger.take_singly(tid[], text, interval, timestamptz)
to service_role;

-- ---- 40_delivery/30_heartbeat.sql
-- Heartbeats: a worker extends the leases of the messages it runs.

-- Never waits: a locked row is skipped, and lock_timeout limits the waits of the project's triggers. An error undoes
-- the attempt (the block costs 3 us), and each lease is then extended on its own, for at most 400 ms in all.
create or replace function public.messenger_heartbeat(leases jsonb, lease interval default '60 s')
returns table (id uuid, outcome text, cancel_requested boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
  v_leases jsonb := leases;
  v_lease interval := coalesce(lease, '60 s');
  v_now timestamptz := messenger.now();
  v_end timestamptz := clock_timestamp() + interval '400 milliseconds';
  v_one jsonb;
  v_ids uuid[];
  v_outcomes text[];
  v_cancels boolean[];
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  if v_leases is null or jsonb_typeof(v_leases) <> 'array' then
    perform messenger.raise_error('SM_LEASE', 'leases must be a JSON array of {"id", "fence", "progress"?}');
  elsif jsonb_array_length(v_leases) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  elsif v_lease <= '0' or v_lease > '12 hours'
    or exists (select from jsonb_array_elements(v_leases) e where jsonb_typeof(e) <> 'object') then
    perform messenger.raise_error('SM_LEASE');
  end if;

  begin
    with given as materialized (
      select row_number() over () as ord, g.id, g.fence, messenger.cap_size(g.progress) as progress
      from jsonb_to_recordset(v_leases) as g(id uuid, fence bigint, progress jsonb)
    ),
    -- An expired lease that no other worker has taken over is still current.
    held as materialized (
      select m.id, m.fence from public.messenger_messages m
      where m.id = any (array(select g.id from given g)) and m.status = 'processing'
      order by m.id
      for no key update skip locked
    ),
    extended as (
      update public.messenger_messages m
      set lock_expires_at = v_now + v_lease, updated_at = v_now, progress = coalesce(g.progress, m.progress)
      from given g join held h on h.id = g.id and h.fence = g.fence
      where m.id = g.id
      returning m.id, m.fence, m.cancel_requested_at is not null as cancel_requested
    ),
    -- A lease whose row could not be locked is still held.
    reply as (
      select g.id,
        case when e.id is not null then 'extended' when l.id is not null then 'locked' else 'stale' end as outcome,
        coalesce(e.cancel_requested, l.cancel_requested_at is not null) as cancel_requested
      from given g
      left join extended e on e.id = g.id and e.fence = g.fence
      left join lateral (
        select m.id, m.cancel_requested_at from public.messenger_messages m
        where e.id is null and m.id = g.id and m.fence = g.fence and m.status = 'processing'
        limit 1
      ) l on true
      order by g.ord
    )
    select array_agg(r.id), array_agg(r.outcome), array_agg(r.cancel_requested)
    into v_ids, v_outcomes, v_cancels
    from reply r;
    perform messenger.check_deferred(v_now);
  exception when others then
    if not messenger.is_row_error(sqlstate) then
      raise;
    elsif jsonb_array_length(v_leases) = 1 then
      return query
      select g.id, messenger.outcome_of_error(sqlstate, sqlerrm),
        -- The whole table may be locked.
        sqlstate <> '55P03' and exists (
          select from public.messenger_messages m
          where m.id = g.id and m.fence = g.fence and m.cancel_requested_at is not null)
      from jsonb_to_recordset(v_leases) as g(id uuid, fence bigint);
      return;
    end if;
    for v_one in select e from jsonb_array_elements(v_leases) e loop
      if clock_timestamp() < v_end then
        return query select h.id, h.outcome, h.cancel_requested
        from public.messenger_heartbeat(jsonb_build_array(v_one), v_lease) h;
      else
        return query select (v_one ->> 'id')::uuid, 'locked', false;
      end if;
    end loop;
    return;
  end;
  return query select a.id, a.outcome, a.cancel_requested
  from unnest(v_ids, v_outcomes, v_cancels) as a(id, outcome, cancel_requested);
end $$;

comment on function public.messenger_heartbeat(jsonb, interval) is
  'Extends up to 1000 leases [{"id", "fence", "progress"?}] to now + lease (default: 60 s, at most 12 hours) and '
  'stores progress, at most 64 KB. '
  'Example: select * from messenger_heartbeat(''[{"id": "01990000-0000-7000-8000-000000000001", "fence": 1}]''). '
  'outcome: extended; locked (another transaction has locked the row: the lease is still held and was not extended, '
  'send it again); stale (the lease is no longer held); error: <SQLSTATE> <message> (a trigger or constraint on '
  'messenger_messages rejected the row; the lease is still held). '
  'cancel_requested: the handler should stop. Errors: SM_LEASE, SM_BATCH_TOO_LARGE.';
revoke all on function public.messenger_heartbeat(jsonb, interval) from public, anon, authenticated;
grant execute on function public.messenger_heartbeat(jsonb, interval) to service_role;

-- ---- 40_delivery/40_complete_with.sql
-- A business function and the completion of a message in one transaction: the effect happens once, however often the
-- message is delivered.

-- The row is locked before the function runs, so a second delivery never runs it at the same time: it finds the message
-- completed, its lease lost, or the row still locked.
create or replace function public.messenger_complete_with(
  id uuid, fence bigint, function_name text, args jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := id;
  v_fence bigint := fence;
  v_function regprocedure;
  v_result jsonb;
  v_outcome text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.lock_message(v_id);
  if not exists (
    select from public.messenger_messages m
    where m.id = v_id and m.fence = v_fence and m.status = 'processing') then
    if exists (
      select from public.messenger_messages m
      where m.id = v_id and m.fence = v_fence and m.status = 'completed') then
      return jsonb_build_object('outcome', 'already');
    end if;
    perform messenger.raise_error('SM_STALE_LEASE', 'message ' || v_id);
  end if;

  v_function := messenger.business_function(function_name);
  execute format('select %s($1)', v_function::regproc) into v_result using coalesce(args, '{}');
  v_outcome := public.messenger_complete(v_id, v_fence, v_result, true);
  return jsonb_build_object('outcome', v_outcome, 'result', v_result);
end $$;

comment on function public.messenger_complete_with(uuid, bigint, text, jsonb) is
  'Runs schema.name(jsonb) returns jsonb and completes the message in this transaction. '
  'Returns {"outcome": "completed", "result"}, where result is stored as the message''s, or {"outcome": "already"}, '
  'without running the function, if this fence has completed the message before. '
  'Example: select messenger_complete_with(id, fence, ''public.charge'', ''{"amount": 5}''). '
  'SM_STALE_LEASE if the lease is not current; SM_UNAVAILABLE if another transaction holds the row longer than 250 ms; '
  'SM_NOT_FOUND or SM_FIELD_FORBIDDEN for a function that does not exist or must not be called. '
  'The function runs with the rights of the caller and search_path pg_catalog, pg_temp; its errors reach the caller, '
  'undo everything and leave the lease.';
revoke all on function
  public.messenger_complete_with(uuid, bigint, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.messenger_complete_with(uuid, bigint, text, jsonb) to service_role;

-- ---- 40_delivery/42_lock_message.sql
-- Locking of one message for a call that cannot skip it, with a limit on the wait for other transactions.

-- Attempted every 10 ms: under lock_timeout a row can be waited for twice, in the queue of waiting transactions and
-- then for the row lock. The limit is 250 ms (setting messenger.lock_wait).
create or replace function messenger.lock_message(message_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.lock_wait', true), ''), '250 milliseconds')::interval;
begin
  loop
    perform from public.messenger_messages m where m.id = message_id for no key update skip locked;
    exit when found;
    if not exists (select from public.messenger_messages m where m.id = message_id) then
      return false;
    elsif clock_timestamp() > v_end then
      perform messenger.raise_error('SM_UNAVAILABLE',
        format('message %s is locked by another transaction', message_id));
    end if;
    perform pg_sleep(0.01);
  end loop;
  return true;
end $$;

comment on function messenger.lock_message(uuid) is
  'Locks the row of a message until the transaction ends. Returns false if it does not exist; raises SM_UNAVAILABLE if '
  'another transaction holds it longer than 250 ms.';
revoke all on function messenger.lock_message(uuid) from public, anon, authenticated;
grant execute on function messenger.lock_message(uuid) to service_role;

-- ---- 40_delivery/44_single_outcomes.sql
-- One outcome per call, for callers in SQL; each calls messenger_settle.
create or replace function public.messenger_complete(
  id uuid, fence bigint, result jsonb default null, strict boolean default false
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome text;
begin
  select s.outcome into v_outcome
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'completed', 'result', result))) s;
  if strict and v_outcome in ('stale', 'unknown') then
    perform messenger.raise_error('SM_STALE_LEASE', 'message ' || id);
  elsif strict and v_outcome = 'locked' then
    perform messenger.raise_error('SM_UNAVAILABLE', format('message %s is locked by another transaction', id));
  elsif strict and starts_with(v_outcome, 'error: ') then
    perform messenger.raise_error('SM_CONFLICT', format('message %s cannot be completed: %s', id, v_outcome));
  end if;
  return v_outcome;
end $$;

create or replace function public.messenger_fail(
  id uuid, fence bigint, error text, error_class text default null, error_trace text default null,
  retryable boolean default true, retry_after interval default null
)
returns table (outcome text, available_at timestamptz)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select s.outcome, s.available_at
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'failed', 'error', error, 'error_class', error_class,
    'error_trace', error_trace, 'retryable', retryable, 'delay_ms', extract(epoch from retry_after) * 1000))) as s
$$;

create or replace function public.messenger_snooze(id uuid, fence bigint, delay interval)
returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  select s.outcome
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'snoozed', 'delay_ms', extract(epoch from delay) * 1000))) as s
$$;

create or replace function public.messenger_release(id uuid, fence bigint)
returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  select s.outcome
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'released'))) as s
$$;

comment on function public.messenger_complete(uuid, bigint, jsonb, boolean) is
  'Completes a message with a result of at most 64 KB. Example: select messenger_complete(id, fence, ''{"sent": '
  'true}''). '
  'Returns completed, already, stale, unknown, locked or error: ..., see messenger_settle. strict raises '
  'SM_STALE_LEASE for stale and unknown, SM_UNAVAILABLE for locked and SM_CONFLICT for an error, so that a transaction '
  'with the business writes rolls back.';
comment on function public.messenger_fail(uuid, bigint, text, text, text, boolean, interval) is
  'Records a failed delivery. Example: select * from messenger_fail(id, fence, ''the server replied 503'', retry_after '
  '=> ''1 minute''). '
  'Returns retry (with available_at), dead, already, stale, unknown, locked or error: ..., see messenger_settle. '
  'retryable false makes it a dead letter; retry_after (default: the policy of the type) is the wait before the next '
  'delivery.';
comment on function public.messenger_snooze(uuid, bigint, interval) is
  'Postpones a message by delay without using a retry: snoozed, stale, locked, cancelled or error: ..., see '
  'messenger_settle. Example: select messenger_snooze(id, fence, ''10 minutes'').';
comment on function public.messenger_release(uuid, bigint) is
  'Returns an unstarted message to its previous position in the queue: released, stale, locked, cancelled or error: '
  '..., see messenger_settle. Example: select messenger_release(id, fence).';
revoke all on function
  public.messenger_complete(uuid, bigint, jsonb, boolean),
  public.messenger_fail(uuid, bigint, text, text, text, boolean, interval),
  public.messenger_snooze(uuid, bigint, interval),
  public.messenger_release(uuid, bigint)
from public, anon, authenticated;
grant execute on function
  public.messenger_complete(uuid, bigint, jsonb, boolean),
  public.messenger_fail(uuid, bigint, text, text, text, boolean, interval),
  public.messenger_snooze(uuid, bigint, interval),
  public.messenger_release(uuid, bigint)
to service_role;

-- ---- 40_delivery/50_settle.sql
-- Settling: all outcomes are recorded here, and only with the current fencing token.

-- Outcomes other than completed, of rows that the caller has locked.
create or replace function messenger.settle_rest(
  ids uuid[], rest messenger.outcome[], ords bigint[], dispositions text[], at timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_retried uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'retry');
  v_dead uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'dead');
  v_cancelled uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'cancelled');
  v_invalid uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'invalid');
begin
  insert into messenger.attempts (message_id, fence, at, worker, error, error_class, error_trace, duration_ms)
  select m.id, m.fence, settle_rest.at, m.locked_by, r.error, r.error_class, r.error_trace,
    coalesce(r.duration_ms, (extract(epoch from settle_rest.at - m.locked_at) * 1000)::bigint)
  from unnest(rest) r join public.messenger_messages m on m.id = ids[r.ord]
  where r.outcome = 'failed' and r.ord = any (ords);

  perform messenger.measure_failures('retried', v_retried, at);
  perform messenger.measure_failures('dead', v_dead, at);
  perform messenger.move_to_dead_letters(v_dead, at);
  perform messenger.fail_without_dead_letter(v_cancelled, 'Cancelled', at);
  perform messenger.fail_without_dead_letter(v_invalid, 'InvalidPayload', at);

  update public.messenger_messages m
  set status = 'pending', updated_at = settle_rest.at, locked_at = null, locked_by = null, lock_expires_at = null,
      available_at = case c.disposition
        when 'retry' then settle_rest.at + coalesce(r.delay, messenger.retry_delay(m.message_type, m.retry_count + 1))
        when 'snoozed' then settle_rest.at + coalesce(r.delay, '0')
        else m.available_at end,
      retry_count = m.retry_count + (c.disposition = 'retry')::int,
      lease_losses = case c.disposition when 'released' then m.lease_losses else 0 end,
      last_error = case c.disposition when 'retry' then r.error else m.last_error end,
      error_class = case c.disposition when 'retry' then r.error_class else m.error_class end
  from unnest(ords, dispositions) as c(ord, disposition) join unnest(rest) r on r.ord = c.ord
  where m.id = ids[c.ord] and c.disposition in ('retry', 'snoozed', 'released');
  perform messenger.emit('retried', v_retried, at);
end $$;

-- Which outcomes count, and their effects. Only for calls with other outcomes than completed, and for second attempts.
create or replace function messenger.hold_outcomes(
  ids uuid[], fences bigint[], kinds text[], rest messenger.outcome[]
)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    -- Rows are locked in the order of their ids, not of the outcomes, so that two settles cannot deadlock.
    with held as materialized (
      select m.id, m.fence, m.retry_count >= m.max_retries as is_last, m.cancel_requested_at is not null as is_cancelled,
        m.created_by is not null as has_sender
      from public.messenger_messages m
      where m.id = any (ids) and m.status = 'processing'
      order by m.id
      for no key update skip locked
    ),
    -- Of two outcomes for one delivery the first counts.
    counted as (
      select distinct on (v.id) v.ord,
        case
          when v.kind = 'completed' then 'completed'
          -- After a request to cancel, every outcome but completed ends the message as cancelled.
          when h.is_cancelled then 'cancelled'
          when v.kind = 'failed' then case
            when h.has_sender and r.error_class = 'InvalidPayload' then 'invalid'
            when h.is_last or not r.retryable then 'dead'
            else 'retry' end
          else v.kind
        end as disposition
      from unnest(ids, fences, kinds) with ordinality as v(id, fence, kind, ord)
      join held h on h.id = v.id and h.fence = v.fence
      left join unnest(rest) r on r.ord = v.ord
      order by v.id, v.ord
    )
    select array_agg(c.disposition order by x.ord)
    from unnest(ids) with ordinality as x(id, ord) left join counted c on c.ord = x.ord
  );
end $$;

-- Implements messenger_settle for outcomes as arrays. kinds is null if all are completed.
-- Never waits: the direct write of completions waits 50 ms for a lock, and the second attempt skips locked rows. An
-- error undoes the attempt (the block costs 3 us), and the outcomes are recorded in parts. A part deletes no message,
-- because the error may be due to that: a foreign key of the project. Pruning deletes it later.
create or replace function messenger.settle_arrays(
  ids uuid[], fences bigint[], kinds text[], durations double precision[], results jsonb[], rest messenger.outcome[],
  at timestamptz, is_part boolean default false
)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dispositions text[];
  v_keys messenger.order_key[];
  v_rest_ords bigint[];
  v_done bigint[];
begin
  if is_part then
    perform set_config('lock_timeout', '10ms', true);
  end if;
  if is_part or kinds is not null then
    v_dispositions := messenger.hold_outcomes(
      ids, fences, coalesce(kinds, array_fill('completed'::text, array[cardinality(ids)])), rest);
  end if;
  v_done := messenger.complete(ids, fences, durations, results, v_dispositions, not is_part, at);
  if kinds is not null then
    v_rest_ords := array(
      select n from generate_subscripts(v_dispositions, 1) n where v_dispositions[n] <> 'completed' order by n);
    if v_rest_ords <> '{}' then
      v_keys := messenger.order_keys(array(select ids[n] from unnest(v_rest_ords) n));
      perform messenger.settle_rest(
        ids, rest, v_rest_ords, array(select v_dispositions[n] from unnest(v_rest_ords) with ordinality x(n, i)
          order by x.i), at);
      perform messenger.unblock_next(v_keys, at);
    end if;
  end if;
  -- Tested here first: the call would cost every settle 5 us.
  if current_setting('messenger.none_deferred_in', true) is distinct from date_part('epoch', at)::bigint::text then
    perform messenger.check_deferred(at);
  end if;
  if cardinality(v_done) = cardinality(ids) then
    return null;
  end if;

  return array(
    select row(v.id,
      case
        when v.ord = any (v_done) then 'completed'
        when v.disposition = 'invalid' then 'dead'
        when v.disposition <> 'completed' then v.disposition
        when m.id is null and v.kind in ('completed', 'failed') then 'unknown'
        when m.fence = v.fence and m.status = 'processing' then 'locked'
        -- The same outcome for the same lease was recorded before and its reply was lost. A lease that expired has had
        -- no outcome.
        when m.fence = v.fence and v.kind = 'completed' and m.status = 'completed' then 'already'
        when m.fence = v.fence and v.kind = 'failed' and m.status = 'failed'
          and m.error_class not in ('Expired', 'Cancelled', 'Discarded', 'LeaseExpired') then 'already'
        when v.kind = 'failed' and exists (
          select from messenger.attempts a
          where a.message_id = v.id and a.fence = v.fence and a.error_class <> 'LeaseExpired') then 'already'
        else 'stale'
      end,
      case when v.disposition in ('retry', 'snoozed', 'released') then m.available_at end)::messenger.settled
    from (
      select u.id, u.fence, u.ord, coalesce(kinds[u.ord], 'completed') as kind, v_dispositions[u.ord] as disposition
      from unnest(ids, fences) with ordinality as u(id, fence, ord)
    ) v
    left join public.messenger_messages m on m.id = v.id
    order by v.ord);
end $$;

-- Without the planner settings the whole table would be read: the planner assumes a long list.
create or replace function messenger.settle_outcomes(outcomes jsonb, is_part boolean default false)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
set lock_timeout = '50ms'
as $$
declare
  v_now timestamptz := messenger.now();
  v_ids uuid[];
  v_fences bigint[];
  v_kinds text[];
  v_results jsonb[];
  v_durations double precision[];
  v_rest messenger.outcome[];
  v_settled messenger.settled[];
begin
  if outcomes is null or jsonb_typeof(outcomes) <> 'array' then
    perform messenger.raise_error('SM_OUTCOME', 'outcomes must be a JSON array');
  elsif jsonb_array_length(outcomes) = 0 then
    return '{}'::messenger.settled[];
  elsif jsonb_array_length(outcomes) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  end if;
  select array_agg((e ->> 'id')::uuid), array_agg((e ->> 'fence')::bigint),
    case when not bool_and(coalesce(e ->> 'outcome' = 'completed', false)) then array_agg(e ->> 'outcome') end,
    case when bool_or(e -> 'result' <> 'null') then array_agg(nullif(e -> 'result', 'null')) end,
    array_agg(case jsonb_typeof(e -> 'duration_ms')
      when 'number' then least(greatest((e -> 'duration_ms')::numeric, 0), 1e9)::double precision
      when 'string' then messenger.read_milliseconds(e -> 'duration_ms', 1e9) end)
  into v_ids, v_fences, v_kinds, v_results, v_durations
  from jsonb_array_elements(outcomes) e;
  if v_kinds is not null then
    if not v_kinds <@ '{completed,failed,snoozed,released}'::text[] then
      perform messenger.raise_error('SM_OUTCOME');
    end if;
    v_rest := messenger.read_outcomes(outcomes);
  end if;
  if v_results is not null then
    v_results := messenger.cap_results(v_results);
  end if;

  begin
    v_settled := messenger.settle_arrays(v_ids, v_fences, v_kinds, v_durations, v_results, v_rest, v_now, is_part);
    if v_settled is null then
      return array(select row(v.id, 'completed', null)::messenger.settled from unnest(v_ids) v(id));
    end if;
  exception when others then
    if sqlstate = '25006' then
      perform messenger.require_writable();
    elsif not messenger.is_row_error(sqlstate) then
      raise;
    elsif not is_part then
      return messenger.settle_in_parts(outcomes, v_ids);
    elsif cardinality(v_ids) > 1 then
      return null;
    end if;
    return array[row(v_ids[1], messenger.outcome_of_error(sqlstate, sqlerrm), null)::messenger.settled];
  end;

  return case when is_part or 'locked' <> all (array(select s.outcome from unnest(v_settled) s)) then v_settled
    else messenger.settle_locked(outcomes, v_settled) end;
end $$;

create or replace function public.messenger_settle(outcomes jsonb)
returns table (id uuid, outcome text, available_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from unnest(messenger.settle_outcomes(outcomes));
end $$;

comment on function messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz) is
  'Records failures, snoozes, releases and the end of cancelled messages. ords are positions among the outcomes, '
  'dispositions their effects: retry, dead, invalid, cancelled, snoozed or released.';
comment on function messenger.hold_outcomes(uuid[], bigint[], text[], messenger.outcome[]) is
  'Locks the messages of these outcomes. Returns the effect of each outcome by position: completed, retry, dead, '
  'invalid, cancelled, snoozed or released; null if it does not count or the row is locked.';
comment on function messenger.settle_arrays(
  uuid[], bigint[], text[], double precision[], jsonb[], messenger.outcome[], timestamptz, boolean
) is
  'Records outcomes given as arrays. kinds may be null: all are completed; rest has the other outcomes. is_part: '
  'deletes no message and skips locked rows. Returns one row per outcome in the same order; null if all are '
  'completed.';
comment on function messenger.settle_outcomes(jsonb, boolean) is
  'Implements messenger_settle. is_part: deletes no message, skips locked rows, and returns null if it fails with more '
  'than one outcome.';
comment on function public.messenger_settle(jsonb) is
  'Records up to 1000 outcomes: [{"id", "fence", "outcome": completed|failed|snoozed|released, "result"?, "error"?, '
  '"error_class"?, "error_trace"?, "retryable"?, "delay_ms"?, "duration_ms"?}]. '
  'Example: select * from messenger_settle(''[{"id": "01990000-0000-7000-8000-000000000001", "fence": 1, "outcome": '
  '"completed"}]''). '
  'Durations are in milliseconds and limited to the range from zero to 100 years. Returns one row per outcome in the '
  'same order: '
  'completed; retry; dead (failed finally, with a dead letter, but without one for a user''s message of class '
  'InvalidPayload); snoozed; released; cancelled (cancellation was requested before this outcome); already (this '
  'outcome was recorded before); stale (the lease is not current, nothing changed); unknown (no such message); locked '
  '(another transaction has locked the row, nothing changed: send it again); error: <SQLSTATE> <message> (a trigger or '
  'constraint of the project rejected the row, nothing changed). '
  'Waits for locks at most half a second. Errors: SM_OUTCOME, SM_BATCH_TOO_LARGE.';
revoke all on function
  messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz),
  messenger.hold_outcomes(uuid[], bigint[], text[], messenger.outcome[]),
  messenger.settle_arrays(
    uuid[], bigint[], text[], double precision[], jsonb[], messenger.outcome[], timestamptz, boolean
  ),
  messenger.settle_outcomes(jsonb, boolean),
  public.messenger_settle(jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz),
  messenger.hold_outcomes(uuid[], bigint[], text[], messenger.outcome[]),
  messenger.settle_arrays(
    uuid[], bigint[], text[], double precision[], jsonb[], messenger.outcome[], timestamptz, boolean
  ),
  messenger.settle_outcomes(jsonb, boolean),
  public.messenger_settle(jsonb)
to service_role;

-- ---- 40_delivery/51_complete.sql
-- Completions: the statements that finish messages, all of one call together.

-- Usually one statement: it finds the rows by id and fence and writes them at once, without locking them first, which
-- would write a lock record per message to the log (54 bytes). A row that another session changes meanwhile is checked
-- again in its new version, so a lease that has changed hands is not written.
-- Rows are visited in the order of their ids, not of the outcomes, so that two settles cannot deadlock.
create or replace function messenger.complete(
  ids uuid[], fences bigint[], durations double precision[], results jsonb[], dispositions text[], may_delete boolean,
  at timestamptz
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deleting text[];
  v_has_subscribers boolean;
  v_done bigint[];
  v_kept bigint[];
  v_keys messenger.order_key[];
  v_ordered messenger.order_key[];
  v_retried uuid[];
  v_watched uuid[];
  v_unkept uuid[];
begin
  select d.deleting, d.has_subscribers into v_deleting, v_has_subscribers from messenger.delivery_settings d;
  if not found then
    perform messenger.derive_delivery_settings();
    select d.deleting, d.has_subscribers into v_deleting, v_has_subscribers from messenger.delivery_settings d;
  end if;

  -- Messages whose completion somebody must be told about are first kept, because the events are made from their rows.
  if v_deleting <> '{}' and may_delete and not v_has_subscribers then
    with deleted as (
      delete from public.messenger_messages m
      using (
        select u.id, u.fence, u.duration, u.ord
        from unnest(ids, fences, durations) with ordinality as u(id, fence, duration, ord) order by u.id
      ) r
      where m.id = r.id and m.fence = r.fence and m.status = 'processing' and m.created_by is null
        and m.transport_name = any (v_deleting)
        and (dispositions is null or dispositions[r.ord] = 'completed')
      returning r.ord, m.id, m.transport_name, m.message_type, m.queue_name, m.ordering_key, m.retry_count,
        least(greatest(coalesce(r.duration, date_part('epoch', complete.at - m.locked_at) * 1000), 0), 1e9)::real
          as duration,
        case when m.lease_losses = 0 and m.locked_at > m.available_at and m.available_at > '-infinity'
          then m.locked_at - m.available_at end as waited
    ),
    measured as (
      insert into messenger.measurements
        (at, transport_name, message_type, kind, message_count, durations, wait_count, waited, deleted_count)
      select complete.at, d.transport_name, d.message_type, 'completed', count(*), array_agg(d.duration),
        count(d.waited), sum(d.waited), count(*)
      from deleted d group by d.transport_name, d.message_type
    )
    select array_agg(d.ord), array_agg(d.id) filter (where d.retry_count > 0),
      array_agg(row(d.transport_name, d.queue_name, d.ordering_key)::messenger.order_key)
        filter (where d.ordering_key is not null)
    into v_done, v_retried, v_keys
    from deleted d;
    if v_retried is not null then
      delete from messenger.attempts a where a.message_id = any (v_retried);
    end if;
  end if;

  if cardinality(v_done) is distinct from cardinality(ids) then
    -- The old values, by which durations are measured, are read before the update, in the same snapshot.
    with held as materialized (
      select r.ord, m.ctid as tid, m.id, m.fence, m.transport_name, m.message_type, m.queue_name, m.ordering_key,
        m.created_by is not null as has_sender,
        least(greatest(coalesce(r.duration, date_part('epoch', complete.at - m.locked_at) * 1000), 0), 1e9)::real
          as duration,
        case when m.lease_losses = 0 and m.locked_at > m.available_at and m.available_at > '-infinity'
          then m.locked_at - m.available_at end as waited
      from (
        select u.id, u.fence, u.duration, u.ord
        from unnest(ids, fences, durations) with ordinality as u(id, fence, duration, ord) order by u.id
      ) r
      join public.messenger_messages m on m.id = r.id and m.fence = r.fence and m.status = 'processing'
      where dispositions is null or dispositions[r.ord] = 'completed'
    ),
    completed as (
      update public.messenger_messages m
      set status = 'completed', processed_at = complete.at, updated_at = complete.at, locked_at = null,
          locked_by = null, lock_expires_at = null, result = results[h.ord]
      from held h
      where m.ctid = h.tid and m.fence = h.fence and m.status = 'processing'
      returning h.ord, h.id, h.transport_name, h.message_type, h.queue_name, h.ordering_key, h.has_sender, h.duration,
        h.waited
    ),
    measured as (
      insert into messenger.measurements
        (at, transport_name, message_type, kind, message_count, durations, wait_count, waited)
      select complete.at, c.transport_name, c.message_type, 'completed', count(*), array_agg(c.duration),
        count(c.waited), sum(c.waited)
      from completed c group by c.transport_name, c.message_type
    )
    select array_agg(c.ord), array_agg(c.id) filter (where c.has_sender or v_has_subscribers),
      array_agg(c.id) filter (where may_delete and c.transport_name = any (v_deleting)),
      array_agg(row(c.transport_name, c.queue_name, c.ordering_key)::messenger.order_key)
        filter (where c.ordering_key is not null)
    into v_kept, v_watched, v_unkept, v_ordered
    from completed c;
    v_done := v_done || v_kept;
    if v_watched is not null then
      perform messenger.emit('completed', v_watched, at);
    end if;
    if v_unkept is not null then
      perform messenger.delete_messages(v_unkept, at);
    end if;
    v_keys := v_keys || v_ordered;
  end if;
  if v_keys is not null then
    perform messenger.unblock_next(v_keys, at);
  end if;
  return v_done;
end $$;

comment on function messenger.complete(
  uuid[], bigint[], double precision[], jsonb[], text[], boolean, timestamptz
) is
  'Finishes the messages with these ids that are leased under these fences as completed, measures them, sends their '
  'events and unblocks their successors. Durations are in milliseconds; results may be null. dispositions: only where '
  'this is completed; null: all. may_delete: deletes those of transports with retention 0. Returns the positions of '
  'the completed ones; null: none.';
revoke all on function
  messenger.complete(uuid[], bigint[], double precision[], jsonb[], text[], boolean, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.complete(uuid[], bigint[], double precision[], jsonb[], text[], boolean, timestamptz)
to service_role;

-- ---- 40_delivery/52_settle_again.sql
-- Second attempts at settling: rows that were locked, and calls in which one row could not be written.

-- A claim of another worker whose scan began before this row was claimed locks it for the few milliseconds until it
-- commits. So locked rows are waited for, at most 250 ms (setting messenger.settle_wait), before the worker has to send
-- them again.
create or replace function messenger.settle_locked(outcomes jsonb, settled messenger.settled[])
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settled messenger.settled[] := settled;
  v_locked int[] := array(
    select n from generate_subscripts(settled, 1) n where (settled[n]).outcome = 'locked' order by n);
  v_again messenger.settled[];
begin
  begin
    perform set_config(
      'lock_timeout', coalesce(nullif(current_setting('messenger.settle_wait', true), ''), '250ms'), true);
    perform from public.messenger_messages m
    where m.id = any (array(select (settled[n]).id from unnest(v_locked) n))
    order by m.id
    for no key update;
  exception when lock_not_available then
    null;
  end;
  v_again := messenger.settle_outcomes((select jsonb_agg(outcomes -> n - 1 order by n) from unnest(v_locked) n), true);
  for v_index in 1..coalesce(cardinality(v_again), 0) loop
    v_settled[v_locked[v_index]] := v_again[v_index];
  end loop;
  return v_settled;
end $$;

create or replace function messenger.outcome_of_error(sqlstate text, error text)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when sqlstate = '55P03' then 'locked'
    else 'error: ' || sqlstate || ' ' || messenger.clip(error, 1000) end;
end $$;

-- Begins with the whole call, whose locked rows are now skipped. A part that fails is halved until the faulty row is
-- alone: ten failures for a thousand rows. In random order and for 400 ms (setting messenger.settle_budget), so that rows that wait for locks do not delay the others for long; the
-- outcomes left after that are reported as locked. Two outcomes of one message keep their order.
create or replace function messenger.settle_in_parts(outcomes jsonb, ids uuid[])
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.settle_budget', true), ''), '400 milliseconds')::interval;
  v_salt bigint := (random() * 1e9)::bigint;
  v_order int[] := array(
    select n from generate_series(1, cardinality(ids)) n order by hashtextextended(ids[n]::text, v_salt), n);
  -- A stack of parts, each a range of indexes of v_order.
  v_from int[] := array[1];
  v_to int[] := array[cardinality(ids)];
  v_depth int := 1;
  v_first int;
  v_last int;
  v_part messenger.settled[];
  v_settled messenger.settled[];
begin
  while v_depth > 0 loop
    v_first := v_from[v_depth];
    v_last := v_to[v_depth];
    v_depth := v_depth - 1;
    v_part := null;
    if clock_timestamp() >= v_end then
      v_part := array(
        select row(ids[v_order[n]], 'locked', null)::messenger.settled
        from generate_series(v_first, v_last) n);
    else
      v_part := messenger.settle_outcomes(
        (select jsonb_agg(outcomes -> v_order[n] - 1 order by n) from generate_series(v_first, v_last) n), true);
    end if;
    if v_part is null then
      v_from[v_depth + 1] := (v_first + v_last + 1) / 2;
      v_to[v_depth + 1] := v_last;
      v_from[v_depth + 2] := v_first;
      v_to[v_depth + 2] := v_from[v_depth + 1] - 1;
      v_depth := v_depth + 2;
    else
      for v_index in v_first..v_last loop
        v_settled[v_order[v_index]] := v_part[v_index - v_first + 1];
      end loop;
    end if;
  end loop;
  return v_settled;
end $$;

comment on function messenger.settle_locked(jsonb, messenger.settled[]) is
  'Waits briefly for the rows reported as locked, and settles them.';
comment on function messenger.outcome_of_error(text, text) is
  'The outcome of a row that could not be written: locked, or error: <SQLSTATE> <message>.';
comment on function messenger.settle_in_parts(jsonb, uuid[]) is
  'Records the outcomes of a call that failed in parts, for at most half a second.';
revoke all on function
  messenger.settle_locked(jsonb, messenger.settled[]),
  messenger.outcome_of_error(text, text),
  messenger.settle_in_parts(jsonb, uuid[])
from public, anon, authenticated;
grant execute on function
  messenger.settle_locked(jsonb, messenger.settled[]),
  messenger.outcome_of_error(text, text),
  messenger.settle_in_parts(jsonb, uuid[])
to service_role;

-- ---- 40_delivery/54_read_outcomes.sql
-- Parsing of outcomes that workers report.

-- A handler's own error class must not be mistaken for a reserved one.
create or replace function messenger.error_class_of(error_class text)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when error_class in ('Expired', 'Cancelled', 'Discarded', 'LeaseExpired') then 'Handler' || error_class
    else left(coalesce(nullif(error_class, ''), 'Error'), 200) end;
end $$;

-- Only outcomes other than completed: most batches have none.
create or replace function messenger.read_outcomes(outcomes jsonb)
returns messenger.outcome[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array_agg(row(
      v.ord, v.outcome,
      case when v.outcome = 'failed' then messenger.clip(coalesce(v.error, 'no error text was given'), 8192) end,
      case when v.outcome = 'failed' then messenger.error_class_of(v.error_class) end,
      case when v.outcome = 'failed' then messenger.clip(v.error_trace, 8192) end,
      coalesce(v.retryable, true),
      make_interval(secs => messenger.read_milliseconds(v.delay_ms, 3155760000000) / 1000), -- 100 years
      messenger.read_milliseconds(v.duration_ms, 1e15)::bigint)::messenger.outcome order by v.ord)
    from rows from (jsonb_to_recordset(outcomes) as (
      outcome text, error text, error_class text, error_trace text, retryable boolean, delay_ms jsonb,
      duration_ms jsonb)
    ) with ordinality as v(outcome, error, error_class, error_trace, retryable, delay_ms, duration_ms, ord)
    where v.outcome <> 'completed'
  );
end $$;

comment on function messenger.error_class_of(text) is
  'The class under which an error is stored: Error if there is none, Handler<Name> if the name is reserved; at most '
  '200 characters.';
comment on function messenger.read_outcomes(jsonb) is
  'The outcomes of messenger_settle other than completed, in order; error texts are cut to 8 KB.';
revoke all on function
  messenger.error_class_of(text),
  messenger.read_outcomes(jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.error_class_of(text),
  messenger.read_outcomes(jsonb)
to service_role;

-- ---- 40_delivery/56_retry_delay.sql
-- How long a message waits before its next delivery.

-- Exponential and capped. The jitter is added after the cap: a delivery is never earlier than the policy requires.
create or replace function messenger.retry_delay(message_type text, failures int)
returns interval
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select make_interval(secs =>
      least(policy.max_delay_ms, policy.delay_ms * power(policy.multiplier, least(failures - 1, 100)))
        * (1 + policy.jitter * random()) / 1000)
    from (
      select coalesce(max(k.retry_delay_ms), 1000)::double precision as delay_ms,
        coalesce(max(k.retry_multiplier), 2) as multiplier,
        coalesce(max(k.retry_max_delay_ms), 600000)::double precision as max_delay_ms,
        coalesce(max(k.retry_jitter), 0.2) as jitter
      from messenger.message_types k where k.type = retry_delay.message_type
    ) policy
  );
end $$;

comment on function messenger.retry_delay(text, int) is
  'The wait before the next delivery after this number of failures, by the policy of the type.';
revoke all on function messenger.retry_delay(text, int) from public, anon, authenticated;
grant execute on function messenger.retry_delay(text, int) to service_role;

-- ---- 40_delivery/60_unwritable_messages.sql
-- Rows that cannot be written: which errors are due to a row, and which messages claims therefore leave out.

-- Excluded are errors that a retry of the whole call may fix, such as a lost connection, a full disk or a lost race.
-- Any other error may be due to a single row: a trigger or constraint of the project, a value out of range, a lock that
-- a trigger waited for.
create or replace function messenger.is_row_error(sqlstate text)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return left(sqlstate, 2) not in ('08', '25', '40', '53', '57', '58');
end $$;

-- Deferred constraints of the project would fail at commit, too late to find the row, so they are checked now. A
-- session that has found none caches that until the second is over. A constraint that shares its name with one that is not
-- deferrable is left out: it could not be deferred again.
create or replace function messenger.check_deferred(at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_second text := date_part('epoch', at)::bigint;
  v_names text;
begin
  if current_setting('messenger.none_deferred_in', true) = v_second then
    return;
  end if;
  v_names := (
    select string_agg(distinct format('%I.%I', n.nspname, c.conname), ', ')
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_constraint c on c.oid = t.tgconstraint
    join pg_catalog.pg_namespace n on n.oid = c.connamespace
    where t.tgrelid in ('public.messenger_messages'::regclass, 'public.messenger_failed_messages'::regclass)
      and t.tginitdeferred and t.tgenabled <> 'D' and not exists (
        select from pg_catalog.pg_constraint x
        where x.connamespace = c.connamespace and x.conname = c.conname and not x.condeferrable));
  if v_names is null then
    perform set_config('messenger.none_deferred_in', v_second, false);
  else
    execute format('set constraints %s immediate', v_names);
    execute format('set constraints %s deferred', v_names);
  end if;
end $$;

-- At the head of a queue such a message would be found again by every claim. Health reports it, and it is attempted
-- again after a minute. Definer: the table belongs to the ticker, which attempts its rows with the owner's rights, so
-- service_role must not write it.
create or replace function messenger.set_message_aside(message_id uuid, error text, sqlstate text, at timestamptz)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.set_row_aside(
    'claim', 'public.messenger_messages', jsonb_build_object('id', message_id)::text, messenger.clip(error, 1000),
    sqlstate, at);
  perform set_config('messenger.leaves_out_until', extract(epoch from at + interval '1 minute')::text, false);
end $$;

-- Only a session that has met such a message queries them, for a minute.
create or replace function messenger.messages_set_aside(at timestamptz)
returns uuid[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until numeric := nullif(current_setting('messenger.leaves_out_until', true), '')::numeric;
begin
  if extract(epoch from at) between v_until - 60 and v_until then
    return array(
      select (s.row_id::jsonb ->> 'id')::uuid from messenger.set_aside s
      where s.step = 'claim' and s.object = 'public.messenger_messages' and s.retry_at > messages_set_aside.at
      order by s.at desc limit 1000);
  end if;
  return null;
end $$;

-- Each in a subtransaction of its own, so that one row that cannot be written does not keep the others from finishing.
create or replace function messenger.finish_undeliverable_singly(ids uuid[], dispositions text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_index in 1..cardinality(ids) loop
    begin
      perform messenger.finish_undeliverable(ids[v_index:v_index], dispositions[v_index:v_index], at);
      perform messenger.check_deferred(at);
    exception when others then
      if not messenger.is_row_error(sqlstate) then
        raise;
      end if;
      perform messenger.set_message_aside(ids[v_index], sqlerrm, sqlstate, at);
    end;
  end loop;
end $$;

comment on function messenger.is_row_error(text) is
  'Whether an error with this SQLSTATE may be due to the written row; false for errors of the connection, the server '
  'and lost races.';
comment on function messenger.check_deferred(timestamptz) is
  'Checks the deferred constraints of the project on messenger_messages and messenger_failed_messages now.';
comment on function messenger.set_message_aside(uuid, text, text, timestamptz) is
  'Keeps a message whose row cannot be written out of claims for a minute or more, and records the error.';
comment on function messenger.messages_set_aside(timestamptz) is
  'Ids of the messages that claims of this session leave out now; null: none.';
comment on function messenger.finish_undeliverable_singly(uuid[], text[], timestamptz) is
  'As messenger.finish_undeliverable, one message at a time; messages that cannot be written are set aside.';
revoke all on function
  messenger.is_row_error(text),
  messenger.check_deferred(timestamptz),
  messenger.set_message_aside(uuid, text, text, timestamptz),
  messenger.messages_set_aside(timestamptz),
  messenger.finish_undeliverable_singly(uuid[], text[], timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.is_row_error(text),
  messenger.check_deferred(timestamptz),
  messenger.set_message_aside(uuid, text, text, timestamptz),
  messenger.messages_set_aside(timestamptz),
  messenger.finish_undeliverable_singly(uuid[], text[], timestamptz)
to service_role;

-- ---- 40_delivery/70_final_failures.sql
-- Finishing without completion: lost leases, dead letters, expiry, cancellation. Callers hold the row locks.

-- The caller then hands the message out alone or moves it to the dead letters.
create or replace function messenger.note_lost_leases(ids uuid[], kind text, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.attempts (message_id, fence, at, worker, error, error_class, duration_ms)
  select m.id, m.fence, at, m.locked_by,
    'the lease ran out at ' || to_char(m.lock_expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      || ' without an outcome: the worker died, hung or was too slow',
    'LeaseExpired', (extract(epoch from m.lock_expires_at - m.locked_at) * 1000)::bigint
  from public.messenger_messages m
  where m.id = any (ids) and m.status = 'processing'
  on conflict do nothing;
  insert into messenger.measurements (at, transport_name, message_type, kind, error_class, error)
  select note_lost_leases.at, m.transport_name, m.message_type, note_lost_leases.kind, 'LeaseExpired',
    'the lease ran out without an outcome'
  from public.messenger_messages m
  where m.id = any (ids) and m.status = 'processing' and note_lost_leases.kind is not null;
end $$;

-- The last attempt becomes the error of the dead letter.
create or replace function messenger.move_to_dead_letters(ids uuid[], at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moved bigint;
begin
  with history as (
    select a.message_id,
      jsonb_agg(jsonb_build_object(
        'at', a.at, 'worker', a.worker, 'error', a.error, 'error_class', a.error_class, 'duration_ms', a.duration_ms)
        order by a.fence)
        filter (where a.newest <= 20) as attempts,
      max(a.error) filter (where a.newest = 1) as error,
      max(a.error_class) filter (where a.newest = 1) as error_class,
      max(a.error_trace) filter (where a.newest = 1) as error_trace
    from (
      select x.*, row_number() over (partition by x.message_id order by x.fence desc) as newest
      from messenger.attempts x where x.message_id = any (move_to_dead_letters.ids)
    ) a
    group by a.message_id
  ),
  dead as (
    update public.messenger_messages m
    set status = 'failed', processed_at = move_to_dead_letters.at, updated_at = move_to_dead_letters.at,
        locked_at = null, locked_by = null, lock_expires_at = null, retry_count = m.retry_count + 1,
        last_error = h.error, error_class = h.error_class
    from history h
    where m.id = h.message_id
    returning m.*
  )
  insert into public.messenger_failed_messages
    (message_id, transport_name, queue_name, message_type, body, headers, metadata, error, error_class, error_trace,
     attempts, retry_count, max_retries, failed_at, created_at, idempotency_key, created_by)
  select d.id, d.transport_name, d.queue_name, d.message_type, d.body, d.headers, d.metadata, h.error, h.error_class,
    h.error_trace, h.attempts, d.retry_count, d.max_retries, move_to_dead_letters.at, d.created_at, d.idempotency_key,
    d.created_by
  from dead d join history h on h.message_id = d.id;
  get diagnostics v_moved = row_count;
  delete from messenger.attempts a where a.message_id = any (move_to_dead_letters.ids);
  perform messenger.emit('dead', move_to_dead_letters.ids, move_to_dead_letters.at);
  perform messenger.unblock_next(messenger.order_keys(move_to_dead_letters.ids), move_to_dead_letters.at);
  return v_moved;
end $$;

-- Expired and cancelled messages are never handed out again and have no dead letter, because nobody needs them. Neither
-- has a user's message with an invalid payload (last_error has the reason): otherwise a user could fill the dead
-- letters.
create or replace function messenger.fail_without_dead_letter(ids uuid[], error_class text, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.messenger_messages m
  set status = 'failed', processed_at = fail_without_dead_letter.at, updated_at = fail_without_dead_letter.at,
      locked_at = null, locked_by = null, lock_expires_at = null, error_class = fail_without_dead_letter.error_class,
      retry_count = m.retry_count + (fail_without_dead_letter.error_class = 'InvalidPayload')::int,
      last_error = case fail_without_dead_letter.error_class
        when 'Expired' then 'expired before it could be handled'
        when 'Cancelled' then 'cancelled'
        else (select a.error from messenger.attempts a where a.message_id = m.id and a.fence = m.fence) end
  where m.id = any (ids);
  perform messenger.emit('failed', ids, at);
  perform messenger.unblock_next(messenger.order_keys(ids), at);
end $$;

-- Dispositions: expired, cancelled (its worker was requested to stop and let the lease expire), exhausted.
create or replace function messenger.finish_undeliverable(ids uuid[], dispositions text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_expired uuid[] := array(
    select x.id from unnest(ids, dispositions) as x(id, disposition) where x.disposition = 'expired');
  v_cancelled uuid[] := array(
    select x.id from unnest(ids, dispositions) as x(id, disposition) where x.disposition = 'cancelled');
  v_exhausted uuid[] := array(
    select x.id from unnest(ids, dispositions) as x(id, disposition) where x.disposition = 'exhausted');
begin
  if v_expired || v_cancelled <> '{}' then
    perform messenger.note_lost_leases(v_expired || v_cancelled, null, at);
    perform messenger.fail_without_dead_letter(v_expired, 'Expired', at);
    perform messenger.fail_without_dead_letter(v_cancelled, 'Cancelled', at);
  end if;
  -- The table of dead letters is accessed only if needed: the project may be altering it, and its lock would block
  -- every lost lease.
  if v_exhausted <> '{}' then
    perform messenger.note_lost_leases(v_exhausted, 'dead', at);
    perform messenger.move_to_dead_letters(v_exhausted, at);
  end if;
end $$;

comment on function messenger.note_lost_leases(uuid[], text, timestamptz) is
  'Records an attempt of class LeaseExpired for each of these messages that is processing, and measures it as kind: '
  'retried, dead, or null (not measured).';
comment on function messenger.move_to_dead_letters(uuid[], timestamptz) is
  'Fails messages finally: counts the last delivery and inserts a dead letter with the last 20 attempts, of which one '
  'must have been recorded. Returns the number of messages.';
comment on function messenger.fail_without_dead_letter(uuid[], text, timestamptz) is
  'Fails unfinished messages with class Expired, Cancelled or InvalidPayload, without a dead letter.';
comment on function messenger.finish_undeliverable(uuid[], text[], timestamptz) is
  'Finishes the messages whose disposition is expired, cancelled or exhausted; the others are not changed.';
revoke all on function
  messenger.finish_undeliverable(uuid[], text[], timestamptz),
  messenger.note_lost_leases(uuid[], text, timestamptz),
  messenger.move_to_dead_letters(uuid[], timestamptz),
  messenger.fail_without_dead_letter(uuid[], text, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.finish_undeliverable(uuid[], text[], timestamptz),
  messenger.note_lost_leases(uuid[], text, timestamptz),
  messenger.move_to_dead_letters(uuid[], timestamptz),
  messenger.fail_without_dead_letter(uuid[], text, timestamptz)
to service_role;

-- ---- 40_delivery/75_ordering.sql
-- Ordering keys: of the unfinished messages of a key the first may be handed out; the others wait with available_at =
-- infinity until it has finished.
create or replace function messenger.order_keys(ids uuid[])
returns messenger.order_key[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct row(m.transport_name, m.queue_name, m.ordering_key)::messenger.order_key
    from public.messenger_messages m where m.id = any (ids) and m.ordering_key is not null);
end $$;

-- Held until the transaction ends: the next dispatch of the key waits for it and then sees its result. In the order of
-- the keys, not of the elements, so that two batches cannot deadlock. The update changes nothing, but it locks an
-- existing row.
create or replace function messenger.lock_order_keys(keys messenger.order_key[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_check_at timestamptz := messenger.now() + interval '1 hour';
  v_lock_timeout text := messenger.bound_waits();
begin
  insert into messenger.ordering_keys as o (transport_name, queue_name, ordering_key, check_at)
  select k.*, v_check_at
  from (select distinct x.transport_name, x.queue_name, x.ordering_key from unnest(keys) x) k
  order by k.transport_name, k.queue_name, k.ordering_key
  on conflict on constraint ordering_keys_pkey do update set check_at = o.check_at where false;
  perform messenger.unbound_waits(v_lock_timeout);
exception when lock_not_available then
  perform messenger.reject_waits(v_lock_timeout, sqlerrm);
end $$;

-- A message retried from the dead letters is behind the one in flight with the same ordering_seq, so the first is the
-- one that is not blocked. No lock on the key: a dispatch that saw the predecessor unfinished and commits after this
-- leaves its message blocked, until the tick finds it.
create or replace function messenger.unblock_next(keys messenger.order_key[], at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next uuid[];
  v_woken record;
begin
  if keys is null or keys = '{}' then
    return 0;
  end if;
  v_next := array(
    select first.id
    from unnest(keys) k
    cross join lateral (
      select m.id, m.available_at from public.messenger_messages m
      where m.transport_name = k.transport_name and m.queue_name = k.queue_name and m.ordering_key = k.ordering_key
        and m.processed_at is null
      order by m.ordering_seq, m.available_at, m.id
      limit 1
    ) first
    where first.available_at = 'infinity'
      and not messenger.is_held_by_dead_letter(k.transport_name, k.queue_name, k.ordering_key)
    order by first.id
  );
  for v_woken in
    with unblocked as (
      update public.messenger_messages m
      set available_at = greatest(at, m.scheduled_at), updated_at = at
      where m.id = any (array(
        select x.id from public.messenger_messages x
        where x.id = any (v_next) and x.available_at = 'infinity' and x.processed_at is null
        order by x.id
        for no key update skip locked))
      returning m.transport_name, m.queue_name, m.message_type, m.available_at <= at as is_due
    )
    select u.transport_name, u.queue_name, u.message_type from unblocked u
    where u.is_due group by u.transport_name, u.queue_name, u.message_type
  loop
    perform messenger.wake_worker(v_woken.transport_name, v_woken.queue_name, v_woken.message_type);
  end loop;
  return cardinality(v_next);
end $$;

-- For messages retried from the dead letters: before all waiting messages of their key, but behind the one in flight.
create or replace function messenger.requeue_in_order(ids uuid[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := ids;
  v_keys messenger.order_key[] := messenger.order_keys(ids);
begin
  if v_keys = '{}' then
    return;
  end if;
  perform messenger.lock_order_keys(v_keys);
  update public.messenger_messages m
  set scheduled_at = m.available_at, available_at = 'infinity', updated_at = requeue_in_order.at,
      ordering_seq = greatest(m.ordering_seq, (
        select case when first.available_at < 'infinity' then first.ordering_seq end
        from (
          select h.ordering_seq, h.available_at from public.messenger_messages h
          where h.transport_name = m.transport_name and h.queue_name = m.queue_name and h.ordering_key = m.ordering_key
            and h.processed_at is null
            and h.id <> all (v_ids)
          order by h.ordering_seq, h.available_at, h.id
          limit 1
        ) first))
  where m.id = any (v_ids) and m.ordering_key is not null;
  perform messenger.unblock_next(v_keys, at);
end $$;

-- Only if the transport's config is {"ordering_dead_letter": "block"}.
create or replace function messenger.is_held_by_dead_letter(transport text, queue text, ordering_key text)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from public.messenger_transports t
    join public.messenger_failed_messages f on f.transport_name = t.name and f.queue_name = is_held_by_dead_letter.queue
      and f.resolved_at is null
    join public.messenger_messages m on m.id = f.message_id and m.ordering_key = is_held_by_dead_letter.ordering_key
    where t.name = transport and t.config ->> 'ordering_dead_letter' = 'block');
end $$;

-- For the ticker: keys whose first message is blocked without a predecessor, in chunks of waiting keys per tick, from
-- where the last chunk stopped.
create or replace function messenger.unblock_stuck(at timestamptz, chunk int, ends_at timestamptz default 'infinity')
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_after messenger.order_key;
  v_keys messenger.order_key[];
begin
  v_after := (select c.order_after from messenger.clock c);
  with recursive waiting as (
    (select m.transport_name, m.queue_name, m.ordering_key, 1 as n from public.messenger_messages m
     where m.available_at = 'infinity' and m.processed_at is null and m.ordering_key is not null
       and (m.transport_name, m.queue_name, m.ordering_key)
         > (coalesce(v_after.transport_name, ''), coalesce(v_after.queue_name, ''), coalesce(v_after.ordering_key, ''))
     order by m.transport_name, m.queue_name, m.ordering_key limit 1)
    union all
    select x.transport_name, x.queue_name, x.ordering_key, w.n + 1
    from waiting w
    cross join lateral (
      select m.transport_name, m.queue_name, m.ordering_key from public.messenger_messages m
      where m.available_at = 'infinity' and m.processed_at is null and m.ordering_key is not null
        and (m.transport_name, m.queue_name, m.ordering_key) > (w.transport_name, w.queue_name, w.ordering_key)
      order by m.transport_name, m.queue_name, m.ordering_key limit 1
    ) x
    where w.n < chunk
  )
  select array_agg(row(w.transport_name, w.queue_name, w.ordering_key)::messenger.order_key order by w.n) into v_keys
  from waiting w;
  update messenger.clock c set order_after = case when cardinality(v_keys) = chunk then v_keys[chunk] end
  where c.order_after is distinct from case when cardinality(v_keys) = chunk then v_keys[chunk] end
    and c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  return messenger.unblock_each(v_keys, at, ends_at);
end $$;

-- A key that a dispatch has locked is skipped.
create or replace function messenger.prune_ordering_keys(at timestamptz, chunk int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_pruned bigint;
begin
  with checked as materialized (
    select o.ctid as tid, exists (
      select from public.messenger_messages m
      where m.transport_name = o.transport_name and m.queue_name = o.queue_name and m.ordering_key = o.ordering_key
        and m.processed_at is null
    ) as is_used
    from messenger.ordering_keys o
    where o.check_at < prune_ordering_keys.at
    order by o.check_at limit chunk
    for update skip locked
  ),
  kept as (
    update messenger.ordering_keys o set check_at = prune_ordering_keys.at + interval '1 hour'
    where o.ctid = any (array(select c.tid from checked c where c.is_used))
  )
  delete from messenger.ordering_keys o where o.ctid = any (array(select c.tid from checked c where not c.is_used));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

comment on function messenger.prune_ordering_keys(timestamptz, int) is
  'Checks up to chunk ordering keys whose check_at has passed, and deletes those without an unfinished message. '
  'Returns the number deleted.';
comment on function messenger.lock_order_keys(messenger.order_key[]) is
  'Makes this transaction the only one that dispatches to these keys. SM_UNAVAILABLE for a call through the API if '
  'another transaction holds one longer than a quarter of a second.';
comment on function messenger.requeue_in_order(uuid[], timestamptz) is
  'Puts pending messages with an ordering key back in order, each behind the message of its key that may be in flight.';
comment on function messenger.order_keys(uuid[]) is 'The ordering keys of these messages, without duplicates.';
comment on function messenger.unblock_next(messenger.order_key[], timestamptz) is
  'Makes the first message of each key available if it is blocked and has no predecessor. Returns the number of such '
  'messages.';
comment on function messenger.is_held_by_dead_letter(text, text, text) is
  'True if an open dead letter blocks this ordering key.';
comment on function messenger.unblock_stuck(timestamptz, int, timestamptz) is
  'Unblocks messages whose predecessor has finished meanwhile, among the next chunk of keys with waiting messages, '
  'until about ends_at. Returns the number of messages.';
revoke all on function
  messenger.lock_order_keys(messenger.order_key[]),
  messenger.requeue_in_order(uuid[], timestamptz),
  messenger.order_keys(uuid[]),
  messenger.unblock_next(messenger.order_key[], timestamptz),
  messenger.is_held_by_dead_letter(text, text, text),
  messenger.unblock_stuck(timestamptz, int, timestamptz),
  messenger.prune_ordering_keys(timestamptz, int)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.lock_order_keys(messenger.order_key[]),
  messenger.requeue_in_order(uuid[], timestamptz),
  messenger.order_keys(uuid[]),
  messenger.unblock_next(messenger.order_key[], timestamptz),
  messenger.is_held_by_dead_letter(text, text, text)
to service_role;

-- ---- 40_delivery/80_events.sql
-- Events of messages, stored in the transaction that decides the outcome. An event for a subscriber is a message
-- itself.

-- Notifies signed-in senders by Supabase Realtime, if the project has it. A notification may be lost, and must not
-- prevent the outcome: signed-in users can lock Realtime's table, so the wait is limited. Definer, because other roles
-- have no access to Realtime's schema.
create or replace function messenger.announce(ids uuid[], events text[])
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_send regprocedure := to_regprocedure('realtime.send(jsonb,text,text,boolean)');
begin
  if v_send is null then
    return;
  end if;
  execute format($send$
    select %s(
      jsonb_build_object('id', m.id, 'type', m.message_type, 'event', e.event,
        'status', case e.event when 'completed' then 'completed' when 'retried' then 'pending' else 'failed' end),
      e.event, 'messenger:' || m.created_by, true)
    from public.messenger_messages m cross join unnest($2) as e(event)
    where m.id = any ($1)$send$, v_send::regproc) using ids, events;
exception when others then
  raise log 'symphony: realtime.send failed, the senders were not notified: %', sqlerrm;
end $$;

-- Inserted directly and not dispatched: nobody may dispatch the bus's own types, and while a transport is disabled
-- outcomes still count and their events wait. Definer, because an event's function runs with the rights of the owner of
-- the bus: only the owner may write its message (messenger.guard_own_types).
create or replace function messenger.store_events(event text, events text[], ids uuid[], at timestamptz)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_event text := event;
  v_events text[] := events;
  v_has_webhooks boolean;
begin
  with stored as (
    insert into public.messenger_messages as m
      (queue_name, message_type, body, available_at, created_at, updated_at, max_retries)
    select e.queue_name, e.message_type, e.body, store_events.at, store_events.at, store_events.at,
      coalesce(k.max_retries, 3)
    from (
      select
        case s.kind when 'webhook' then 'webhooks' else 'events' end as queue_name,
        case s.kind when 'webhook' then 'symphony.webhook' else 'symphony.event' end as message_type,
        jsonb_build_object('subscription', s.id, 'event', s.event, 'at', store_events.at, 'message', jsonb_build_object(
          'id', x.id, 'type', x.message_type, 'transport', x.transport_name, 'queue', x.queue_name,
          'status', case v_event when 'completed' then 'completed' when 'retried' then 'pending' else 'failed' end,
          -- A lost lease is counted by the claim that follows.
          'retry_count', x.retry_count + (v_event = 'retried' and x.status = 'processing')::int,
          'error_class', case when v_event <> 'completed' then coalesce(a.error_class, x.error_class) end,
          'error', case when v_event <> 'completed' then messenger.clip(coalesce(a.error, x.last_error), 1000) end,
          'created_at', x.created_at, 'processed_at', case when v_event <> 'retried' then store_events.at end,
          'created_by', x.created_by)) as body
      from public.messenger_messages x
      join messenger.subscriptions s on s.enabled and s.event = any (v_events)
        and coalesce(s.message_type = x.message_type, true)
      left join messenger.attempts a on v_event = 'retried' and a.message_id = x.id and a.fence = x.fence
      where x.id = any (ids) and not starts_with(x.message_type, 'symphony.')
    ) e
    left join messenger.message_types k on k.type = e.message_type
    returning m.transport_name, m.message_type
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind)
    select store_events.at, t.transport_name, t.message_type, 'dispatched' from stored t
  )
  select bool_or(t.message_type = 'symphony.webhook') into v_has_webhooks from stored t;
  return coalesce(v_has_webhooks, false);
end $$;

-- Called before completed messages are written, as they may be deleted immediately, and after all others are. The
-- caller holds their locks and an outcome counts once, so each event is stored once: an idempotency key would only
-- suppress the event of a message that was retried from the dead letters.
create or replace function messenger.emit(event text, ids uuid[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_events text[] := case event when 'dead' then '{dead,failed}'::text[] else array[event] end;
  v_senders uuid[];
begin
  if ids = '{}' then
    return;
  end if;
  if exists (select from messenger.subscriptions) then
    if messenger.store_events(event, v_events, ids, at) then
      perform messenger.wake_worker('supabase', 'webhooks', 'symphony.webhook');
    end if;
  end if;

  v_senders := array(
    select m.id from public.messenger_messages m
    where m.id = any (ids) and m.created_by is not null and not starts_with(m.message_type, 'symphony.'));
  if v_senders <> '{}' then
    perform messenger.announce(v_senders, v_events);
  end if;
end $$;

comment on function messenger.announce(uuid[], text[]) is
  'Sends {"id", "type", "status", "event"} to the private Realtime topic messenger:<user> of each message''s sender. '
  'Never raises.';
comment on function messenger.emit(text, uuid[], timestamptz) is
  'Stores a message for each subscriber to an event (completed, retried, failed, or dead, which implies failed) of '
  'these messages, and notifies the senders who are users. The bus''s own messages, of types symphony.*, have no '
  'events.';
comment on function messenger.store_events(text, text[], uuid[], timestamptz) is
  'Stores a message for each subscriber to one of these events of these messages. Returns true if one of them is for a '
  'webhook.';
revoke all on function
  messenger.announce(uuid[], text[]),
  messenger.store_events(text, text[], uuid[], timestamptz),
  messenger.emit(text, uuid[], timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.announce(uuid[], text[]),
  messenger.store_events(text, text[], uuid[], timestamptz),
  messenger.emit(text, uuid[], timestamptz)
to service_role;

-- ---- 40_delivery/85_webhooks.sql
-- Webhooks: subscribing a URL and signing requests to it by the Standard Webhooks scheme. The secret never leaves the
-- database.

-- Every Supabase project has pgcrypto, but not all have it in the same schema.
create or replace function messenger.hmac_sha256(data bytea, key bytea)
returns bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_digest bytea;
begin
  select e.extnamespace::regnamespace::text into v_schema from pg_catalog.pg_extension e where e.extname = 'pgcrypto';
  if v_schema is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'webhooks are signed with pgcrypto, which is not installed',
      hint = 'create extension pgcrypto schema extensions';
  end if;
  execute format('select %s.hmac($1, $2, ''sha256'')', v_schema) into v_digest using data, key;
  return v_digest;
end $$;

-- The secret's own key and, during a rotation, its successor's. Executable by the owner only.
create or replace function messenger.webhook_keys(secret_name text)
returns setof bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret text;
begin
  if to_regclass('vault.decrypted_secrets') is not null then
    for v_secret in
      select s.decrypted_secret from vault.decrypted_secrets s where s.name in (secret_name, secret_name || '_next')
      order by s.name
    loop
      if coalesce(v_secret, '') !~ '^whsec_([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
        or length(v_secret) not between 38 and 94 then
        raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
          message = 'secret_name: the value of ' || quote_ident(secret_name) || ' in Vault is not a webhook secret',
          hint = 'store whsec_ and 24 to 64 random bytes in base64: '
            '''whsec_'' || encode(extensions.gen_random_bytes(32), ''base64'')';
      end if;
      return next decode(substr(v_secret, 7), 'base64');
    end loop;
  end if;
  if not found then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'secret_name: Vault has no secret ' || quote_ident(left(secret_name, 100)),
      hint = 'select vault.create_secret('
        '''whsec_'' || encode(extensions.gen_random_bytes(32), ''base64''), ''symphony_webhook_...'')';
  end if;
end $$;

create or replace function messenger.on_webhook(event text, url text, secret_name text, message_type text default null)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
begin
  perform messenger.check_subscription(event, message_type);
  perform messenger.ensure_own_types();
  -- The worker checks the address at each delivery, because the address of a host name may change.
  if coalesce(length(url) > 2000 or url !~ '^(https://[][A-Za-z0-9.:_-]+|'
    'http://(localhost|127\.0\.0\.1|\[::1\]|host\.docker\.internal)(:[0-9]{1,5})?)([/?#][!-\[\]-~]*)?$', true)
  then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'url must be an https:// URL of at most 2000 ASCII characters, without user name and password',
      hint = 'for development, http://localhost and http://host.docker.internal are accepted too, '
        'and called if SYMPHONY_WEBHOOK_ALLOW_PRIVATE is true';
  elsif coalesce(not starts_with(secret_name, 'symphony_webhook_'), true) then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'secret_name must begin with symphony_webhook_',
      hint = 'store the secret in Vault under such a name; no other secret may sign a webhook';
  end if;
  -- Raises an error for a secret that does not exist or cannot sign.
  perform messenger.hmac_sha256('', k.key) from messenger.webhook_keys(secret_name) as k(key);
  insert into messenger.subscriptions as s (event, message_type, url, secret_name)
  values (event, message_type, url, secret_name)
  on conflict on constraint subscriptions_key do update
  set secret_name = excluded.secret_name, enabled = true, disabled_reason = null
  returning s.id into v_id;
  return v_id;
end $$;

-- Definer: service_role cannot read the secret. The time is the database's, as in all functions.
create or replace function messenger.sign_webhook(subscription uuid, id uuid, body text)
returns table (url text, signed_at bigint, signature text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_subscription messenger.subscriptions;
  v_id uuid := id;
  v_body text := body;
  v_now bigint := extract(epoch from messenger.now());
begin
  select * into v_subscription from messenger.subscriptions s
  where s.id = subscription and s.enabled and s.kind = 'webhook';
  if not found then
    return;
  end if;
  return query
  select v_subscription.url, v_now,
    string_agg('v1,' || encode(
      messenger.hmac_sha256(convert_to(concat_ws('.', v_id, v_now, v_body), 'UTF8'), k.key), 'base64'), ' ')
  from messenger.webhook_keys(v_subscription.secret_name) as k(key);
end $$;

create or replace function public.messenger_sign_webhook(subscription uuid, id uuid, body text)
returns table (url text, signed_at bigint, signature text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.sign_webhook(subscription, id, body) $$;

-- Definer: service_role may disable a webhook whose receiver has ended it, and change nothing else of it.
create or replace function messenger.disable_webhook(subscription uuid, reason text)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.require_writable();
  update messenger.subscriptions s
  set enabled = false, disabled_reason = messenger.clip(coalesce(reason, 'no reason was given'), 1000)
  where s.id = subscription and s.kind = 'webhook' and s.enabled;
  return found;
end $$;

create or replace function public.messenger_disable_webhook(subscription uuid, reason text)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.disable_webhook(subscription, reason) $$;

comment on function messenger.hmac_sha256(bytea, bytea) is
  'HMAC-SHA-256 by pgcrypto, in the schema where it is installed. SM_NOT_FOUND if it is not installed.';
comment on function messenger.webhook_keys(text) is
  'The keys of a webhook secret in Vault and of its successor. SM_NOT_FOUND if there is none, SM_FIELD_FORBIDDEN if it '
  'is not a webhook secret.';
comment on function messenger.on_webhook(text, text, text, text) is
  'Subscribes a URL to an event (see messenger.on). For postgres only. '
  'Requests are signed with the secret whsec_<base64> that Vault holds under secret_name, which must begin with '
  'symphony_webhook_. A worker posts the same JSON that a subscribed function receives. '
  'Example: select messenger.on_webhook(''dead'', ''https://example.com/hook'', ''symphony_webhook_ops''). '
  'Returns the subscription''s id, the same for the same event, type and URL; subscribing again enables it again, with '
  'the secret named then. Errors: SM_NOT_FOUND, SM_FIELD_FORBIDDEN, SM_TYPE.';
comment on function messenger.sign_webhook(uuid, uuid, text) is 'Implements public.messenger_sign_webhook.';
comment on function public.messenger_sign_webhook(uuid, uuid, text) is
  'The URL of a webhook and its signature at this time for the message id and body: url, signed_at (webhook-timestamp, '
  'in seconds) and signature (webhook-signature). No row if the subscription is gone or disabled.';
comment on function messenger.disable_webhook(uuid, text) is 'Implements public.messenger_disable_webhook.';
comment on function public.messenger_disable_webhook(uuid, text) is
  'Disables a webhook whose receiver wants no more requests, and stores the reason. Returns false if there is no '
  'enabled webhook with this id.';
revoke all on function
  messenger.hmac_sha256(bytea, bytea),
  messenger.webhook_keys(text),
  messenger.on_webhook(text, text, text, text),
  messenger.sign_webhook(uuid, uuid, text),
  public.messenger_sign_webhook(uuid, uuid, text),
  messenger.disable_webhook(uuid, text),
  public.messenger_disable_webhook(uuid, text)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.sign_webhook(uuid, uuid, text),
  public.messenger_sign_webhook(uuid, uuid, text),
  messenger.disable_webhook(uuid, text),
  public.messenger_disable_webhook(uuid, text)
to service_role;

-- ---- 40_delivery/86_subscriptions.sql
-- Subscriptions to events, and the SQL handler that calls the subscribed functions.

create or replace function messenger.check_subscription(event text, message_type text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if event is null or event not in ('completed', 'failed', 'dead', 'retried') then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'event: there is no event ' || left(coalesce(event, 'null'), 100),
      hint = 'use completed, retried, dead or failed';
  elsif message_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.raise_error('SM_TYPE', 'message_type');
  elsif starts_with(message_type, 'symphony.') then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'message_type: the bus''s own messages have no events',
      hint = 'name a type of the project, or omit it for all of them';
  end if;
end $$;

-- The name is stored as it prints without the session's settings, so that one function always has one name.
create or replace function messenger.on(event text, function_name text, message_type text default null)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
  v_function regprocedure;
  v_id uuid;
begin
  perform messenger.check_subscription(event, message_type);
  v_function := messenger.find_owned_function(function_name);
  perform messenger.ensure_own_types();
  update messenger.message_types k set sql_handler = 'messenger.deliver_event'
  where k.type = 'symphony.event' and k.sql_handler is distinct from 'messenger.deliver_event';
  insert into messenger.subscriptions as s (event, message_type, function_name)
  values (event, message_type, v_function::regproc::text)
  on conflict on constraint subscriptions_key do update set enabled = true, disabled_reason = null
  returning s.id into v_id;
  perform messenger.sync_handlers_job();
  return v_id;
end $$;

create or replace function messenger.off(id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was_there boolean;
begin
  delete from messenger.subscriptions s where s.id = off.id;
  v_was_there := found;
  perform messenger.sync_handlers_job();
  return v_was_there;
end $$;

-- Looked up at each delivery: a name is stored, and the function of that name may have been dropped or changed its
-- owner.
create or replace function messenger.deliver_event(event jsonb)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_function regprocedure;
  v_result jsonb;
begin
  select s.function_name into v_name from messenger.subscriptions s
  where s.id = (deliver_event.event ->> 'subscription')::uuid and s.enabled and s.kind = 'function';
  if not found then
    return jsonb_build_object('skipped', 'unsubscribed');
  end if;
  v_function := messenger.owned_function(v_name);
  if v_function is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = v_name || '(jsonb) returns jsonb is gone, or has changed its owner',
      hint = 'create it again as the owner of the bus, or call messenger.off';
  end if;
  execute format('select %s($1)', v_function::regproc) into v_result using deliver_event.event;
  return v_result;
end $$;

comment on function messenger.check_subscription(text, text) is
  'Raises SM_NOT_FOUND, SM_TYPE or SM_FIELD_FORBIDDEN for an event or a message type that cannot be subscribed to.';
comment on function messenger.on(text, text, text) is
  'Subscribes schema.name(jsonb) returns jsonb to an event, completed, retried, dead or failed, of one message type or '
  'of all. For postgres only. '
  'Example: select messenger.on(''dead'', ''public.alert'', ''Greeting''). '
  'The function runs with the rights of the owner of the bus and receives {"subscription", "event", "at", "message": '
  '{"id", "type", "transport", "queue", "status", "retry_count", "error_class", "error", "created_at", "processed_at", '
  '"created_by"}}. If it raises an error the event is retried, and then becomes a dead letter of type symphony.event. '
  'Returns the subscription''s id, the same for the same subscription. Errors: SM_NOT_FOUND, SM_FIELD_FORBIDDEN, '
  'SM_TYPE.';
comment on function messenger.off(uuid) is
  'Deletes a subscription; events not yet delivered to it are dropped. Returns false if it does not exist. For '
  'postgres only.';
comment on function messenger.deliver_event(jsonb) is
  'The SQL handler of symphony.event: calls the subscribed function and returns its result.';
revoke all on function
  messenger.check_subscription(text, text),
  messenger.on(text, text, text),
  messenger.off(uuid),
  messenger.deliver_event(jsonb)
from public, anon, authenticated, service_role;

-- ---- 40_delivery/90_sql_handlers.sql
-- SQL handlers: the function of this database that handles a type, and the right to set it.

-- These functions run with the rights of the ticker's owner, so a function that another role could replace must not
-- run.
create or replace function messenger.owned_function(name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select p.oid::regprocedure from pg_catalog.pg_proc p join pg_catalog.pg_roles r on r.oid = p.proowner
    where p.oid = to_regprocedure(owned_function.name || '(jsonb)')
      and p.prorettype = 'jsonb'::regtype and not p.proretset and p.prokind = 'f'
      and (r.rolsuper or p.proowner = (
        select c.relowner from pg_catalog.pg_class c where c.oid = 'messenger.message_types'::regclass)));
end $$;

create or replace function messenger.find_owned_function(function_name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure := messenger.business_function(function_name);
begin
  if messenger.owned_function(v_function::regproc::text) is distinct from v_function then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'function_name: ' || v_function || ' does not belong to the owner of the bus',
      hint = 'run alter function ... owner to postgres: the function runs with the rights of that owner, '
        'and its own owner could replace it';
  end if;
  return v_function;
end $$;

-- Null if the function is gone or has changed its signature or owner.
create or replace function messenger.sql_handlers()
returns table (type text, handler regprocedure)
language plpgsql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  select alias.type, messenger.owned_function(k.sql_handler)
  from messenger.message_types k cross join lateral unnest(k.type || k.aliases) as alias(type)
  where k.sql_handler is not null;
end $$;

-- The name is stored as it prints without the session's settings, so that one function always has one name.
create or replace function messenger.set_sql_handler(type text, function_name text)
returns regprocedure
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
  v_type text := type;
  v_function regprocedure;
begin
  if v_type is null or v_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.raise_error('SM_TYPE');
  end if;
  if function_name is null then
    update messenger.message_types k set sql_handler = null where k.type = v_type;
    perform messenger.sync_handlers_job();
    return null;
  end if;
  v_function := messenger.find_owned_function(function_name);
  insert into messenger.message_types as k (type, sql_handler) values (v_type, v_function::regproc::text)
  on conflict on constraint message_types_pkey do update set sql_handler = excluded.sql_handler;
  perform messenger.sync_handlers_job();
  return v_function;
end $$;

comment on function messenger.owned_function(text) is
  'The function name(jsonb) returns jsonb, if it belongs to the owner of the bus or a superuser; otherwise null.';
comment on function messenger.find_owned_function(text) is
  'As messenger.business_function, but raises SM_FIELD_FORBIDDEN if the function does not belong to the owner of the '
  'bus.';
comment on function messenger.sql_handlers() is
  'Types and aliases that have an SQL handler, with the function; null if it cannot run.';
comment on function messenger.set_sql_handler(text, text) is
  'Makes schema.name(jsonb) returns jsonb the handler of a message type inside the database. For postgres only. '
  'Example: select messenger.set_sql_handler(''Greeting'', ''public.greet''). '
  'The job symphony-handlers runs it with the rights of the owner of the bus, or the tick if pg_cron has no such job. '
  'A null function_name removes the handler. The type need not be registered. '
  'The function receives the payload; current_setting(''messenger.message'')::jsonb has id, type, queue, fence, '
  'retry_count, headers and metadata. Its result is stored as the message''s; an error is a failed delivery, with '
  'SQLSTATE PT422 a final one. '
  'Errors: SM_TYPE, SM_NOT_FOUND, SM_FIELD_FORBIDDEN.';
revoke all on function
  messenger.owned_function(text),
  messenger.find_owned_function(text),
  messenger.sql_handlers(),
  messenger.set_sql_handler(text, text)
from public, anon, authenticated, service_role;

-- ---- 40_delivery/92_business_functions.sql
-- Functions of the project that the bus calls by name.

-- By catalog lookup, never as text: the result is the one function of exactly this signature, so no part of the name is
-- executed as SQL.
create or replace function messenger.business_function(function_name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_function regprocedure;
  v_is_of_extension boolean;
begin
  begin
    v_names := parse_ident(function_name);
  exception when invalid_parameter_value then
    v_names := null;
  end;
  if cardinality(v_names) = 1 then
    v_names := array_prepend('public', v_names);
  end if;
  if cardinality(v_names) = 2 then
    select p.oid::regprocedure, exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    into v_function, v_is_of_extension
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = v_names[1] and p.proname = v_names[2] and p.prokind = 'f' and not p.proretset
      and p.pronargs = 1 and p.proargtypes[0] = 'jsonb'::regtype and p.prorettype = 'jsonb'::regtype;
    -- The platform's schemas contain functions that send, schedule, decrypt and sign: none of them is a business
    -- function.
    if v_is_of_extension or v_names[1] ~ '^pg_' or v_names[1] in (
      'information_schema', 'messenger', 'auth', 'cron', 'extensions', 'graphql', 'graphql_public', 'net', 'pgbouncer',
      'pgmq', 'pgsodium', 'realtime', 'storage', 'supabase_functions', 'supabase_migrations', 'vault') then
      raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
        message = 'function_name: functions of the system, the platform and extensions must not be called',
        hint = 'call it from a function of your own, in public or another schema of your own';
    end if;
  end if;
  if v_function is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'function_name: there is no function ' || left(coalesce(function_name, 'null'), 200)
        || '(jsonb) returns jsonb',
      hint = 'name it as schema.name or, in public, as name; quote names that are not lower-case; '
        'it must take one jsonb and return jsonb';
  end if;
  return v_function;
end $$;

comment on function messenger.business_function(text) is
  'The function schema.name(jsonb) returns jsonb of this name (default schema: public). SM_NOT_FOUND if it does not '
  'exist, SM_FIELD_FORBIDDEN for functions of the system, the platform and extensions.';
revoke all on function messenger.business_function(text) from public, anon, authenticated, service_role;
grant execute on function messenger.business_function(text) to service_role;

-- ---- 50_operations/10_cancel.sql
-- Cancels a message: immediately while it is pending, by request while a worker holds its lease.
create or replace function public.messenger_cancel(id uuid)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := id;
  v_now timestamptz := messenger.now();
  v_status text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.lock_message(v_id);
  select m.status into v_status from public.messenger_messages m where m.id = v_id;
  case v_status
    when 'pending' then
      perform messenger.fail_without_dead_letter(array[v_id], 'Cancelled', v_now);
      return 'cancelled';
    when 'processing' then
      update public.messenger_messages m set cancel_requested_at = v_now, updated_at = v_now where m.id = v_id
        and m.cancel_requested_at is null;
      return 'requested';
    when 'completed', 'failed' then
      return 'finished';
    else
      return 'unknown';
  end case;
end $$;

comment on function public.messenger_cancel(uuid) is
  'Cancels a message and returns one of: cancelled (the message was pending and is never handed out again); requested '
  '(a worker holds it: the worker''s next heartbeat carries the request, a completion still counts, and any other '
  'outcome or the end of the lease cancels the message); finished; unknown. A cancelled message has no dead letter. '
  'Raises SM_UNAVAILABLE if another transaction holds the row for more than 250 ms. Example: select '
  'messenger_cancel(''01890a5d-ac96-774b-bcce-b302099a8057'');';
revoke all on function public.messenger_cancel(uuid) from public, anon, authenticated;
grant execute on function public.messenger_cancel(uuid) to service_role;

-- ---- 50_operations/20_dead_letters.sql
-- Resolves dead letters: retries their messages with the same id and history, or discards them.

-- Dead letters are locked in the order of their ids, so two resolutions cannot deadlock. A dead letter that another
-- transaction has just resolved is skipped.
create or replace function messenger.lock_dead_letters(ids uuid[], filter jsonb, max int)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := ids;
  v_max int := coalesce(max, 1000);
  v_invalid text;
  v_from timestamptz;
  v_to timestamptz;
begin
  if (v_ids is null) = (filter is null) then
    perform messenger.raise_error('SM_FILTER', 'name dead letters either by ids or by a filter',
      'pass ids or filter, not both; the filter {} selects all open dead letters');
  elsif v_max not between 1 and 10000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'max must be a number from 1 to 10000',
      remedy => 'default: 1000');
  elsif array_position(v_ids, null) is not null then
    perform messenger.raise_error('SM_FILTER', 'ids must not contain null', 'remove the null from ids');
  elsif cardinality(v_ids) > v_max then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE',
      message => format('more ids than max: ids has %s elements, and max is %s', cardinality(v_ids), v_max),
      remedy => 'pass fewer ids per call, or raise max (up to 10000)');
  elsif jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object',
      'pass {} to select all open dead letters');
  elsif v_ids is not null then
    return array(select f.id from public.messenger_failed_messages f where f.id = any (v_ids) and f.resolved_at is null
      order by f.id for no key update);
  end if;

  select k into v_invalid from jsonb_object_keys(filter) k
  where k not in ('transport', 'queue', 'type', 'error_class', 'from', 'to') order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_invalid, 100),
      'the fields are transport, queue, type, error_class, from and to');
  end if;
  v_from := messenger.read_moment(filter -> 'from');
  v_to := messenger.read_moment(filter -> 'to');
  select f.key into v_invalid from jsonb_each(filter) f
  where jsonb_typeof(f.value) <> 'string' or f.key = 'from' and v_from is null
    or f.key = 'to' and (v_to is null or v_to <= v_from)
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_invalid, case
      when v_invalid in ('from', 'to')
        then 'pass an ISO 8601 moment with a zone, for example 2030-01-31T09:00:00Z; to must be later than from'
      else 'pass a string' end);
  end if;
  return array(
    select f.id from public.messenger_failed_messages f
    where f.resolved_at is null
      and (filter ->> 'transport' is null or f.transport_name = filter ->> 'transport')
      and (filter ->> 'queue' is null or f.queue_name = filter ->> 'queue')
      and (filter ->> 'type' is null or f.message_type = filter ->> 'type')
      and (filter ->> 'error_class' is null or f.error_class = filter ->> 'error_class')
      and (v_from is null or f.failed_at >= v_from)
      and (v_to is null or f.failed_at < v_to)
    order by f.id
    limit v_max
    for no key update);
end $$;

create or replace function public.messenger_retry_failed(
  ids uuid[] default null, filter jsonb default null, payload jsonb default null, per_second int default null,
  max int default 1000
)
returns table (id uuid, message_id uuid, outcome text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_ids uuid[] := ids;
  v_code text;
  v_type text;
  v_open uuid[];
  v_kept uuid[];
begin
  perform messenger.require_writable();
  if payload is not null then
    if cardinality(v_ids) is distinct from 1 then
      perform messenger.raise_error('SM_FILTER', 'a payload needs exactly one id', 'pass one id in ids, and no filter');
    end if;
    -- The payload is checked as in a dispatch. Codes about routes are ignored, because no route is given.
    select d.error_code into v_code
    from messenger.read_drafts(jsonb_build_array(jsonb_build_object('type', 'Edited', 'payload', payload)), v_now) d
    where d.error_code in ('SM_PAYLOAD_NOT_OBJECT', 'SM_PAYLOAD_TOO_LARGE', 'SM_NUMBER_RANGE', 'SM_DEPTH');
    if found then
      perform messenger.raise_error(v_code);
    end if;
    select f.message_type into v_type from public.messenger_failed_messages f where f.id = v_ids[1]
      and starts_with(f.message_type, 'symphony.');
    if found then
      perform messenger.raise_error('SM_TYPE_FORBIDDEN', v_type,
        'retry it without a payload: a message of the bus''s own types keeps its payload');
    end if;
  end if;
  if per_second not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'per_second must be a number from 1 to 1000',
      remedy => 'leave it out to make all messages due immediately');
  end if;

  v_open := messenger.lock_dead_letters(v_ids, filter, max);
  v_kept := messenger.take_keys_back(v_open, v_now);
  perform messenger.requeue(array(select o from unnest(v_open) o where o <> all (v_kept)), payload, per_second, v_now);

  return query
  select g.id, f.message_id,
    case when f.id is null then 'unknown' when o.id is null or g.nth > 1 then 'resolved'
      when k.id is not null then 'conflict' else 'retried' end
  from (
    select u.id, u.ord, row_number() over (partition by u.id order by u.ord) as nth
    from unnest(coalesce(v_ids, v_open)) with ordinality as u(id, ord)
  ) g
  left join public.messenger_failed_messages f on f.id = g.id
  left join unnest(v_open) o(id) on o.id = g.id
  left join unnest(v_kept) k(id) on k.id = g.id
  order by g.ord;
end $$;

create or replace function public.messenger_discard_failed(
  ids uuid[] default null, filter jsonb default null, max int default 1000
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_open uuid[];
begin
  perform messenger.require_writable();
  v_open := messenger.lock_dead_letters(ids, filter, max);
  update public.messenger_failed_messages f set resolved_at = v_now, resolution = 'discarded' where f.id = any (v_open);
  update public.messenger_messages m set error_class = 'Discarded', updated_at = v_now
  from public.messenger_failed_messages f
  where f.id = any (v_open) and m.id = f.message_id and m.status = 'failed';
  perform messenger.unblock_next(
    messenger.order_keys(
      array(select f.message_id from public.messenger_failed_messages f where f.id = any (v_open))), v_now);
  return cardinality(v_open);
end $$;

comment on function messenger.lock_dead_letters(uuid[], jsonb, int) is
  'Checks ids or filter and locks at most max of the open dead letters they select. Returns their ids in ascending '
  'order. Raises SM_FILTER, SM_BATCH, SM_BATCH_TOO_LARGE, SM_UNKNOWN_FIELD.';
comment on function public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int) is
  'Requeues the messages of dead letters with the same id and idempotency key and a retry count of 0. Select the dead '
  'letters by ids or by filter {"transport"?, "queue"?, "type"?, "error_class"?, "from"?, "to"?}; from (inclusive) and '
  'to (exclusive) apply to failed_at, and {} selects all. payload replaces the body of exactly one id. per_second (1 '
  'to 1000) spreads the retries, which stop if more than a fifth of them fail again (see messenger.replay_report()). '
  'max: 1 to 10000, default 1000. Returns one row per dead letter (id, message_id, outcome): retried; resolved '
  '(already resolved before); unknown (no such dead letter); conflict (another message holds the idempotency key, or '
  'the message is no longer failed; nothing changes). Raises SM_FILTER, SM_BATCH, SM_BATCH_TOO_LARGE, '
  'SM_UNKNOWN_FIELD, SM_TYPE_FORBIDDEN and the payload errors of a dispatch. Example: select * from '
  'messenger_retry_failed(filter => ''{"type": "SendEmail"}'', per_second => 10);';
comment on function public.messenger_discard_failed(uuid[], jsonb, int) is
  'Discards dead letters, selected as in messenger_retry_failed: sets resolution to discarded and the message''s '
  'error_class to Discarded. Returns the number of dead letters discarded. Raises SM_FILTER, SM_BATCH, '
  'SM_BATCH_TOO_LARGE, SM_UNKNOWN_FIELD. Example: select messenger_discard_failed(filter => ''{"queue": "email"}'');';
revoke all on function
  messenger.lock_dead_letters(uuid[], jsonb, int),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int),
  public.messenger_discard_failed(uuid[], jsonb, int)
from public, anon, authenticated;
grant execute on function
  messenger.lock_dead_letters(uuid[], jsonb, int),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int),
  public.messenger_discard_failed(uuid[], jsonb, int)
to service_role;

-- ---- 50_operations/25_requeue.sql
-- Requeues the messages of dead letters, with their keys.

-- While a dead letter is open, its message keeps the idempotency key. A key whose row was deleted is taken
-- again in the same order in which a dispatch takes keys. A dead letter cannot be retried if its message is no
-- longer failed or another message holds the key.
create or replace function messenger.take_keys_back(dead_letters uuid[], at timestamptz)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dead_letters uuid[] := dead_letters;
  v_kept uuid[];
  v_has_deleted boolean;
begin
  perform from public.messenger_messages m
  where m.id = any (array(select f.message_id from public.messenger_failed_messages f
    where f.id = any (v_dead_letters)))
  order by m.id for no key update;
  -- A deleted message of the bus's own types is not restored: service_role may edit the dead letter.
  select
    coalesce(array_agg(f.id) filter (
      where m.status <> 'failed' or m.id is null and starts_with(f.message_type, 'symphony.')), '{}'),
    coalesce(bool_or(m.id is null and f.idempotency_key is not null), false)
  into v_kept, v_has_deleted
  from public.messenger_failed_messages f left join public.messenger_messages m on m.id = f.message_id
  where f.id = any (v_dead_letters);

  return v_kept || array(
    select l.id
    from (
      select f.*, coalesce(deleted.scope, m.created_by::text, 'service') as scope,
        -- A newer message may have taken over the key of an existing message since.
        case when m.id is null then f.idempotency_key else m.idempotency_key end as key,
        f.created_at + coalesce((t.config ->> 'idempotency_window')::interval, '24 hours') as expires_at
      from public.messenger_failed_messages f
      left join public.messenger_messages m on m.id = f.message_id
      left join messenger.idempotency_keys own
        on own.scope in ('service', m.created_by::text) and own.key = f.idempotency_key and own.message_id = m.id
      -- If the message was deleted, only the key's row holds its scope. No index covers this lookup.
      left join messenger.idempotency_keys deleted
        on v_has_deleted and m.id is null and deleted.key = f.idempotency_key and deleted.message_id = f.message_id
      left join public.messenger_transports t on t.name = f.transport_name
      where f.id = any (v_dead_letters)
        and case when m.id is null then f.idempotency_key else m.idempotency_key end is not null
        and own.key is null
        and f.id <> all (v_kept)
      order by f.idempotency_key collate "C", f.id
    ) l
    cross join lateral messenger.take_key(l.scope,
      row(null, null, null, l.message_type, l.transport_name, l.queue_name, null, l.body,
        null, null, null, null, null, null, l.key, 'ignore',
        l.expires_at - take_keys_back.at, null)::messenger.draft,
      l.message_id, null, false, take_keys_back.at) k
    where not k.taken and k.message_id <> l.message_id);
end $$;

-- last_error and error_class stay until the next outcome, as after an ordinary retry. expires_at stays too, so an
-- expired message is not handed out again.
create or replace function messenger.requeue(dead_letters uuid[], payload jsonb, per_second int, at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dead_letters uuid[] := dead_letters;
  v_payload jsonb := payload;
  v_step interval := coalesce(make_interval(secs => 1.0 / per_second), '0');
  v_wakeups bigint;
begin
  with dead_letter as (
    update public.messenger_failed_messages f set resolved_at = requeue.at, resolution = 'retried'
    where f.id = any (v_dead_letters) returning f.*
  ),
  due as materialized (
    select l.*, m.id is null as is_deleted, requeue.at + (row_number() over (order by l.id) - 1) * v_step as due_at
    from dead_letter l left join public.messenger_messages m on m.id = l.message_id
  ),
  requeued as (
    update public.messenger_messages m
    set status = 'pending', available_at = d.due_at, processed_at = null, updated_at = requeue.at,
        retry_count = 0, lease_losses = 0, cancel_requested_at = null, body = coalesce(v_payload, m.body)
    from due d
    where m.id = d.message_id
    returning m.id, m.fence
  ),
  -- A deleted message has lost its sender, priority and fence. The new fence is the time in milliseconds since 1970:
  -- higher than any number of claims, and exact in JavaScript.
  restored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, available_at, created_at,
        updated_at,
       max_retries, last_error, error_class, fence, idempotency_key, created_by)
    select d.message_id, d.transport_name, d.queue_name, d.message_type, coalesce(v_payload, d.body), d.headers,
      d.metadata, coalesce(k.priority, 5), d.due_at,
      d.created_at, requeue.at, d.max_retries, d.error, d.error_class, (extract(epoch from requeue.at) * 1000)::bigint,
      d.idempotency_key, d.created_by
    from due d left join messenger.message_types k on k.type = d.message_type
    where d.is_deleted
    returning m.id, m.fence
  ),
  replay as (
    insert into messenger.replays (started_at, per_second, total) select requeue.at, requeue.per_second, count(*)
    from due where requeue.per_second is not null
    having count(*) > 0
    returning id
  ),
  recorded as (
    insert into messenger.replayed (replay_id, message_id, dead_letter_id, fence, due_at)
    select r.id, d.message_id, d.id, w.fence, d.due_at
    from replay r cross join due d
    join (select * from requeued union all select * from restored) w on w.id = d.message_id
  )
  select count(*) filter (where messenger.wake_worker(s.transport_name, s.queue_name, s.message_type)) into v_wakeups
  from (select distinct d.transport_name, d.queue_name, d.message_type from due d where d.due_at <= requeue.at) s;
  perform messenger.requeue_in_order(array(select f.message_id from public.messenger_failed_messages f
    where f.id = any (v_dead_letters)), at);
  return v_wakeups;
end $$;

comment on function messenger.take_keys_back(uuid[], timestamptz) is
  'Locks the messages of these dead letters and restores their idempotency keys. Returns the ids '
  'of the dead letters that cannot be retried.';
comment on function messenger.requeue(uuid[], jsonb, int, timestamptz) is
  'Resolves locked, open dead letters as retried and makes their messages pending. payload replaces the body; '
  'per_second spreads the due times. Returns the number of wake-ups sent.';
revoke all on function
  messenger.take_keys_back(uuid[], timestamptz),
  messenger.requeue(uuid[], jsonb, int, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.take_keys_back(uuid[], timestamptz),
  messenger.requeue(uuid[], jsonb, int, timestamptz)
to service_role;

-- ---- 50_operations/30_replays.sql
-- Replays: retries of many dead letters at a limited rate. The ticker stops a replay whose messages fail again.
create table if not exists messenger.replays (
  id uuid not null default messenger.new_id(),
  started_at timestamptz not null,
  per_second int not null,
  total int not null,
  completed int not null default 0,
  dead int not null default 0,
  lapsed int not null default 0,
  returned int not null default 0,
  stopped_at timestamptz,
  stop_reason text,
  finished_at timestamptz,
  constraint replays_pkey primary key (id),
  constraint replays_stop_check check ((stopped_at is null) = (stop_reason is null))
);
create index if not exists replays_running_idx on messenger.replays (id) where finished_at is null;

create table if not exists messenger.replayed (
  replay_id uuid not null,
  message_id uuid not null,
  dead_letter_id uuid not null,
  fence bigint not null,
  due_at timestamptz not null,
  outcome text,
  constraint replayed_pkey primary key (replay_id, message_id),
  constraint replayed_outcome_check check (outcome in ('completed', 'dead', 'lapsed', 'returned'))
);
create index if not exists replayed_undecided_idx on messenger.replayed (replay_id, due_at) where outcome is null;

comment on table messenger.replays is
  'Retries of dead letters with per_second. A replay stops if at least five messages have ended and more than a fifth '
  'of them are dead letters again. Pruned a week after it has finished.';
comment on column messenger.replays.id is 'Time-ordered UUID of the replay, version 7.';
comment on column messenger.replays.started_at is 'When the replay was started.';
comment on column messenger.replays.per_second is 'Number of messages that become due per second.';
comment on column messenger.replays.total is 'Number of dead letters that were retried.';
comment on column messenger.replays.completed is 'Number of messages that completed.';
comment on column messenger.replays.dead is 'Number of messages that became dead letters again.';
comment on column messenger.replays.lapsed is
  'Number of messages that expired or were cancelled: neither a success nor a failure of the replay.';
comment on column messenger.replays.returned is
  'Number of messages that were not handed out when the replay was stopped: their dead letters are open again.';
comment on column messenger.replays.stopped_at is 'When the replay was stopped; null: it was not.';
comment on column messenger.replays.stop_reason is 'Why it was stopped; null: it was not.';
comment on column messenger.replays.finished_at is 'When the last message ended; null: the replay is running.';
comment on table messenger.replayed is 'The messages of a replay; outcome is null until they end.';
comment on column messenger.replayed.replay_id is 'Id of the replay.';
comment on column messenger.replayed.message_id is 'Id of the message.';
comment on column messenger.replayed.dead_letter_id is 'Id of the dead letter that was retried.';
comment on column messenger.replayed.fence is
  'The message''s fence when it was retried; while it is the same, no worker has received the message.';
comment on column messenger.replayed.due_at is 'When the message becomes due.';
comment on column messenger.replayed.outcome is
  'completed, dead, lapsed or returned; null until the message has ended.';

-- Messages that a claim has locked are skipped; the next tick returns them if they are still pending.
create or replace function messenger.return_replayed(replay_id uuid, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_replay uuid := replay_id;
  v_messages uuid[];
begin
  v_messages := array(
    select m.id
    from messenger.replayed x join public.messenger_messages m on m.id = x.message_id
    where x.replay_id = v_replay and x.outcome is null and m.status = 'pending' and m.fence = x.fence
      and exists (select from public.messenger_failed_messages f where f.id = x.dead_letter_id
        and f.resolution = 'retried')
      and not exists (select from public.messenger_failed_messages f where f.message_id = m.id
        and f.resolved_at is null)
    order by m.id
    for no key update of m skip locked);
  with dead_letter as (
    update public.messenger_failed_messages f set resolved_at = null, resolution = null
    from messenger.replayed x
    where x.replay_id = v_replay and x.message_id = any (v_messages) and f.id = x.dead_letter_id
    returning f.message_id, f.error, f.error_class, f.retry_count
  ),
  message as (
    update public.messenger_messages m
    set status = 'failed', processed_at = return_replayed.at, updated_at = return_replayed.at, last_error = l.error,
        error_class = l.error_class,
        retry_count = least(l.retry_count, m.max_retries + 1, m.fence)
    from dead_letter l
    where m.id = l.message_id
  )
  update messenger.replayed x set outcome = 'returned' where x.replay_id = v_replay and x.message_id = any (v_messages);
  update messenger.replays r set returned = r.returned + cardinality(v_messages)
  where r.id = v_replay and v_messages <> '{}';
  perform messenger.unblock_next(messenger.order_keys(v_messages), at);
end $$;

-- The caller has locked the replays.
create or replace function messenger.watch_replay(row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
  v_replay messenger.replays;
begin
  foreach v_id in array messenger.uuids_of(row_ids) loop
    with ended as (
      update messenger.replayed x
      set outcome = case when s.status is null or s.status = 'completed' then 'completed'
        when s.error_class in ('Expired', 'Cancelled') then 'lapsed' else 'dead' end
      from (
        select u.message_id, m.status, m.error_class
        from messenger.replayed u left join public.messenger_messages m on m.id = u.message_id
        where u.replay_id = v_id and u.outcome is null and u.due_at <= watch_replay.at
          and (m.id is null or m.processed_at is not null)
      ) s
      where x.replay_id = v_id and x.message_id = s.message_id
      returning x.outcome
    )
    update messenger.replays r
    set completed = r.completed + e.completed, dead = r.dead + e.dead, lapsed = r.lapsed + e.lapsed
    from (
      select count(*) filter (where outcome = 'completed') as completed, count(*)
        filter (where outcome = 'dead') as dead,
        count(*) filter (where outcome = 'lapsed') as lapsed, count(*) as ended
      from ended
    ) e
    where r.id = v_id and e.ended > 0;

    select * into v_replay from messenger.replays r where r.id = v_id;
    if v_replay.stopped_at is null and v_replay.completed + v_replay.dead >= 5
      and v_replay.dead * 5 > v_replay.completed + v_replay.dead then
      update messenger.replays r
      set stopped_at = watch_replay.at,
          stop_reason = format('%s of %s handled messages are dead letters again', r.dead, r.completed + r.dead)
      where r.id = v_id
      returning * into v_replay;
    end if;
    if v_replay.stopped_at is not null then
      perform messenger.return_replayed(v_id, watch_replay.at);
    end if;
    update messenger.replays r set finished_at = watch_replay.at
    where r.id = v_id and not exists (select from messenger.replayed x where x.replay_id = v_id and x.outcome is null);
  end loop;
  return '{}'::jsonb;
end $$;

create or replace function messenger.watch_replays(at timestamptz, ends_at timestamptz default 'infinity')
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_running text[] := messenger.row_ids(array(
    select r.id from messenger.replays r where r.finished_at is null order by r.id for update skip locked));
begin
  perform messenger.write_each('replays', 'messenger.replays',
    messenger.without_set_aside('replays', 'messenger.replays', v_running, at), at, ends_at);
end $$;

create or replace function messenger.prune_replays(at timestamptz, chunk int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from messenger.replayed x
  where x.ctid = any (array(
    select u.ctid from messenger.replays r join messenger.replayed u on u.replay_id = r.id
    where r.finished_at < prune_replays.at - interval '7 days'
    limit chunk for update of u skip locked));
  delete from messenger.replays r
  where r.id in (
      select o.id from messenger.replays o where o.finished_at < prune_replays.at - interval '7 days'
      for update skip locked)
    and not exists (select from messenger.replayed x where x.replay_id = r.id);
end $$;

create or replace function messenger.replay_report()
returns table (
  id uuid, started_at timestamptz, per_second int, total int, completed int, dead int, lapsed int, returned int,
  remaining int,
  stopped_at timestamptz, stop_reason text, finished_at timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.id, r.started_at, r.per_second, r.total, r.completed, r.dead, r.lapsed, r.returned,
    r.total - r.completed - r.dead - r.lapsed - r.returned,
    r.stopped_at, r.stop_reason, r.finished_at
  from messenger.replays r
  order by r.id desc
$$;

comment on function messenger.return_replayed(uuid, timestamptz) is
  'Reopens the dead letters of the messages of a stopped replay that were not handed out.';
comment on function messenger.watch_replay(text[], timestamptz) is
  'Counts the ended messages of these replays, stops replays whose messages fail again, and '
  'finishes replays without remaining messages.';
comment on function messenger.watch_replays(timestamptz, timestamptz) is
  'Calls messenger.watch_replay for the running replays. A replay that cannot be written is set aside.';
comment on function messenger.prune_replays(timestamptz, int) is
  'Deletes replays that finished more than a week ago, at most chunk messages per call.';
comment on function messenger.replay_report() is
  'Running replays and those of the last week, newest first, as of the last tick: total messages, of which completed, '
  'dead (failed again), lapsed (expired or cancelled), returned (dead letter reopened by a stop) and remaining. '
  'Example: select * from messenger.replay_report() where finished_at is null;';

alter table messenger.replays enable row level security;
alter table messenger.replayed enable row level security;
drop policy if exists service_only on messenger.replays;
create policy service_only on messenger.replays for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.replayed;
create policy service_only on messenger.replayed for all to anon, authenticated using (false) with check (false);
revoke all on messenger.replays, messenger.replayed from public, anon, authenticated, service_role;
grant select, insert on messenger.replays, messenger.replayed to service_role;
revoke all on function
  messenger.return_replayed(uuid, timestamptz),
  messenger.watch_replay(text[], timestamptz),
  messenger.watch_replays(timestamptz, timestamptz),
  messenger.prune_replays(timestamptz, int),
  messenger.replay_report()
from public, anon, authenticated, service_role;
grant execute on function messenger.replay_report() to service_role;

-- ---- 50_operations/40_pause.sql
-- Pauses and resumes a queue. In a paused queue nothing is handed out;
-- running handlers finish and dispatches are stored.
create or replace function messenger.check_queue(transport text, queue text)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from public.messenger_transports t where t.name = check_queue.transport) then
    perform messenger.raise_error('SM_TRANSPORT', quote_ident(left(transport, 100)));
  elsif queue is null or queue !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform messenger.raise_error('SM_QUEUE', quote_ident(left(queue, 100)));
  end if;
end $$;

create or replace function public.messenger_pause(transport text, queue text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.require_writable();
  perform messenger.check_queue(transport, queue);
  insert into messenger.queues as q (transport_name, queue_name, paused_at)
  values (messenger_pause.transport, messenger_pause.queue, messenger.now())
  on conflict on constraint queues_pkey do update set paused_at = excluded.paused_at where q.paused_at is null;
  return found;
end $$;

create or replace function public.messenger_resume(transport text, queue text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.require_writable();
  perform messenger.check_queue(transport, queue);
  update messenger.queues q set paused_at = null, resumed_at = messenger.now()
  where q.transport_name = messenger_resume.transport and q.queue_name = messenger_resume.queue
    and q.paused_at is not null;
  return found;
end $$;

-- Nothing in a paused queue or disabled transport could be claimed before this moment. Timestamps in the future,
-- written before the database clock was set back, are ignored.
create or replace function messenger.runs_since(transport text, queue text, at timestamptz)
returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(
    case when t.updated_at <= runs_since.at then t.updated_at end,
    (select q.resumed_at from messenger.queues q where q.transport_name = t.name and q.queue_name = runs_since.queue
      and q.resumed_at <= runs_since.at))
  from public.messenger_transports t where t.name = runs_since.transport
$$;

comment on function messenger.check_queue(text, text) is
  'Raises SM_TRANSPORT if the transport does not exist, SM_QUEUE if the queue name is malformed.';
comment on function messenger.runs_since(text, text, timestamptz) is
  'The later of the moments when the queue was last resumed and its transport last changed; null if neither is on '
  'record. Messages cannot have been overdue before it.';
comment on function public.messenger_pause(text, text) is
  'Pauses a queue: from the commit on, none of its messages are handed out. Running handlers finish, expired leases '
  'are counted, and dispatches are stored. Returns true, or false if the queue was already paused. Raises '
  'SM_TRANSPORT, SM_QUEUE. Example: select messenger_pause(''supabase'', ''email'');';
comment on function public.messenger_resume(text, text) is
  'Resumes a paused queue: active workers find it with their next poll, and the ticker wakes others within a second. '
  'Returns true, or false if the queue was not paused. Raises SM_TRANSPORT, SM_QUEUE. Example: select '
  'messenger_resume(''supabase'', ''email'');';
revoke all on function
  messenger.check_queue(text, text),
  messenger.runs_since(text, text, timestamptz),
  public.messenger_pause(text, text),
  public.messenger_resume(text, text)
from public, anon, authenticated;
grant execute on function
  messenger.check_queue(text, text),
  messenger.runs_since(text, text, timestamptz),
  public.messenger_pause(text, text),
  public.messenger_resume(text, text)
to service_role;

-- ---- 50_operations/50_transports.sql
-- Lists, creates and changes transports. A message refers to its transport by name.
create or replace function public.messenger_list_transports()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('transports', coalesce(jsonb_agg(to_jsonb(t) order by t.name), '[]'))
  from public.messenger_transports t
$$;

create or replace function public.messenger_put_transport(
  name text, type text default null, config jsonb default null, enabled boolean default null
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type text;
  v_config jsonb;
  v_invalid text;
  v_row jsonb;
begin
  perform messenger.require_writable();
  if name is null or name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform messenger.raise_error('SM_TRANSPORT',
      'the name must have 1 to 63 lower-case letters, digits, underscores or hyphens, and begin with a letter or digit',
      'choose another name');
  end if;
  select t.type, t.config into v_type, v_config from public.messenger_transports t
  where t.name = messenger_put_transport.name;
  if messenger_put_transport.name in ('supabase', 'sync') and type <> v_type then
    perform messenger.raise_error('SM_TRANSPORT',
      'the type of ' || quote_ident(messenger_put_transport.name) || ' cannot be changed',
      'leave type out, or put a transport with another name');
  elsif type not in ('sync', 'supabase', 'redis', 'rabbitmq', 'sqs') then
    perform messenger.raise_error('SM_TRANSPORT', 'there is no type ' || quote_ident(left(type, 60)),
      'use sync, supabase, redis, rabbitmq or sqs');
  elsif jsonb_typeof(config) <> 'object' then
    perform messenger.raise_error('SM_TRANSPORT', 'config must be a JSON object', 'pass {} for the defaults');
  end if;
  if coalesce(type, v_type, 'supabase') in ('sync', 'supabase') then
    select k into v_invalid from jsonb_object_keys(coalesce(config, v_config)) k
    where k not in ('retention', 'failed_retention', 'idempotency_window', 'ordering_dead_letter') order by k limit 1;
    if found then
      perform messenger.raise_error('SM_UNKNOWN_FIELD', 'config.' || left(v_invalid, 100),
        'the fields are retention, failed_retention, idempotency_window and ordering_dead_letter');
    end if;
  end if;
  select c.key into v_invalid from jsonb_each(config) c
  where c.key in ('retention', 'failed_retention', 'idempotency_window') and c.value not in ('0', 'null')
    and messenger.read_interval(
      c.value, case c.key when 'idempotency_window' then interval '1 year' else '100 years' end) is null
  order by c.key limit 1;
  if found then
    perform messenger.raise_error('SM_TRANSPORT',
      format('config.%s must be an interval with a unit, from zero to %s', v_invalid,
        case v_invalid when 'idempotency_window' then '1 year' else '100 years' end),
      'add a unit, for example "7 days"');
  elsif config ->> 'ordering_dead_letter' not in ('block', 'continue') then
    perform messenger.raise_error('SM_TRANSPORT', 'config.ordering_dead_letter must be block or continue',
      'default: continue');
  end if;
  begin
    insert into public.messenger_transports as t (name, type, config, enabled)
    values (messenger_put_transport.name, coalesce(messenger_put_transport.type, v_type, 'supabase'),
      coalesce(messenger_put_transport.config, '{}'), coalesce(messenger_put_transport.enabled, true))
    on conflict on constraint messenger_transports_name_key do update
    set type = coalesce(messenger_put_transport.type, t.type),
        config = coalesce(messenger_put_transport.config, t.config),
        enabled = coalesce(messenger_put_transport.enabled, t.enabled), updated_at = messenger.now()
    returning to_jsonb(t) into v_row;
  exception when check_violation or data_exception then
    perform messenger.raise_error('SM_TRANSPORT', 'config is malformed',
      'retention and failed_retention must be intervals with a unit from zero to 100 years, for example "7 days"; '
      'idempotency_window one from zero to 1 year; ordering_dead_letter must be block or continue');
  end;
  return v_row;
end $$;

comment on function public.messenger_list_transports() is
  'All transports: {"transports": [columns of messenger_transports]}. Their config refers to secrets by name and '
  'contains none. Example: select messenger_list_transports();';
comment on function public.messenger_put_transport(text, text, jsonb, boolean) is
  'Creates a transport (defaults: type supabase, config {}, enabled) or changes the given fields of an existing '
  'one, and returns its row. config replaces the whole config. The types of the transports supabase and sync '
  'cannot be changed. Raises SM_TRANSPORT, SM_UNKNOWN_FIELD. Example: select '
  'messenger_put_transport(''supabase'', config => ''{"retention": "14 days"}'');';
revoke all on function
  public.messenger_list_transports(),
  public.messenger_put_transport(text, text, jsonb, boolean)
from public, anon, authenticated;
grant execute on function
  public.messenger_list_transports(),
  public.messenger_put_transport(text, text, jsonb, boolean)
to service_role;

-- ---- 60_schedules/05_types.sql
-- Composite types of cron expressions and due runs.

do $$
begin
  if to_regtype('messenger.run_plan') is null then
    create type messenger.run_plan as (runs timestamptz[], next_run_at timestamptz);
  end if;
end $$;
comment on type messenger.run_plan is
  'The occurrences of a schedule to fire now, oldest first, and the next occurrence after them.';

do $$
begin
  if to_regtype('messenger.run_disposition') is null then
    create type messenger.run_disposition as (schedule_id uuid, due_at timestamptz, error text);
  end if;
end $$;
comment on type messenger.run_disposition is 'The result of one occurrence: stored if error is null, else the error.';

do $$
begin
  if to_regtype('messenger.cron_run') is null then
    create type messenger.cron_run as (run_at timestamptz, note text);
  end if;
end $$;
comment on type messenger.cron_run is
  'A run and how a change of offset affected it: moved, first of the doubled '
  'hour, second of the doubled hour, or null.';

do $$
begin
  if to_regtype('messenger.cron_fields') is null then
    create type messenger.cron_fields as (
      seconds text, minutes text, hours text, days text, months text, weekdays text, last_weekdays text, nth int,
      last_day boolean,
      first_second int, first_minute int, first_hour int, elapsed boolean);
  end if;
end $$;
comment on type messenger.cron_fields is
  'A cron expression as masks; weekdays start with Sunday. A day matches by days, by weekdays (only the nth of the '
  'month if nth > 0), by last_weekdays or by last_day. A field that does not restrict the day is all zeros.';

-- ---- 60_schedules/10_schedules.sql
-- Saves, pauses, resumes, removes and previews schedules.

-- The message is checked as in a dispatch, with the headers it will carry. The route of its type
-- is resolved here, when the schedule is saved.
create or replace function messenger.read_schedule_message(
  name text, type text, payload jsonb, schedule public.messenger_schedules, at timestamptz
)
returns public.messenger_schedules
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules := schedule;
  v_draft record;
begin
  if name is null or length(name) not between 1 and 128 or name ~ '[/\x01-\x1f\x7f]' or name <> btrim(name) then
    perform messenger.raise_error('SM_SCHEDULE',
      'the name must have 1 to 128 characters, no slash or control character, and no space around it',
      'choose another name');
  end if;
  select d.* into v_draft
  from messenger.read_drafts((
    select jsonb_build_array(jsonb_object_agg(given.field, given.value) filter (where given.value is not null))
    from (values
      ('type', to_jsonb(type)), ('payload', coalesce(payload, '{}')), ('queue', to_jsonb(v_row.queue_name)),
      ('transport', to_jsonb(v_row.transport_name)),
      ('headers', case when jsonb_typeof(v_row.headers) = 'object'
        then v_row.headers || messenger.schedule_headers(name, at) else v_row.headers end)
    ) as given(field, value)
  ), at) d;
  if v_draft.error_code is not null then
    perform messenger.raise_error(v_draft.error_code);
  end if;
  v_row.name := name;
  v_row.message_type := v_draft.message_type;
  v_row.transport_name := v_draft.transport_name;
  v_row.queue_name := v_draft.queue_name;
  v_row.body := v_draft.body;
  return v_row;
end $$;

-- Saving an unchanged schedule keeps its state: a due run stays due, a finished
-- schedule stays finished, a paused one stays paused.
create or replace function public.messenger_schedule(
  name text, type text, schedule jsonb, payload jsonb default '{}', timezone text default 'UTC',
  options jsonb default '{}'
)
returns public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_new public.messenger_schedules := messenger.read_schedule(messenger_schedule.schedule, messenger_schedule.timezone,
    messenger_schedule.options, v_now);
  v_old public.messenger_schedules;
  v_is_same boolean;
begin
  perform messenger.require_writable();
  v_new := messenger.read_schedule_message(
    messenger_schedule.name, messenger_schedule.type, messenger_schedule.payload, v_new, v_now);
  v_new.run_count := 0;
  v_new.updated_at := v_now;
  loop
    select s.* into v_old from public.messenger_schedules s where s.name = v_new.name for update;
    v_is_same := false;
    if found then
      v_is_same := (v_old.schedule_config, v_old.timezone, v_old.starts_at, v_old.ends_at,
          v_old.dst_gap, v_old.dst_overlap)
        is not distinct from (v_new.schedule_config, v_new.timezone, v_new.starts_at, v_new.ends_at,
          v_new.dst_gap, v_new.dst_overlap);
      v_new.created_at := v_old.created_at;
      v_new.last_run_at := v_old.last_run_at;
      v_new.run_count := v_old.run_count;
    end if;
    v_new.next_run_at := case when v_is_same and v_old.next_run_at is not null
      and (v_old.enabled or v_new.enabled is not true)
      then messenger.due_since(v_old) else messenger.first_run(v_new, v_now) end;
    if v_new.run_count >= v_new.max_runs then
      v_new.next_run_at := null;
    end if;
    if not v_is_same and (v_new.next_run_at is null
      or v_new.schedule_type = 'once' and v_new.misfire = 'skip'
        and v_new.next_run_at < v_now - v_new.misfire_grace_ms * interval '1 millisecond') then
      perform messenger.raise_error('SM_SCHEDULE',
        'it never runs: its occurrences are in the past or outside of starts_at and ends_at, or max_runs is reached',
        'change the moment, starts_at, ends_at or max_runs');
    end if;
    v_new.enabled := v_new.next_run_at is not null
      and coalesce(v_new.enabled, v_old.enabled or v_old.next_run_at is null, true);

    if v_old.id is not null then
      update public.messenger_schedules s
      set message_type = v_new.message_type, transport_name = v_new.transport_name, queue_name = v_new.queue_name,
          body = v_new.body, headers = v_new.headers,
          schedule_type = v_new.schedule_type, schedule_config = v_new.schedule_config, timezone = v_new.timezone,
          next_run_at = v_new.next_run_at,
          max_runs = v_new.max_runs, enabled = v_new.enabled, starts_at = v_new.starts_at, ends_at = v_new.ends_at,
          misfire = v_new.misfire,
          misfire_grace_ms = v_new.misfire_grace_ms, catch_up_limit = v_new.catch_up_limit, dst_gap = v_new.dst_gap,
          dst_overlap = v_new.dst_overlap,
          overlap = v_new.overlap, jitter_ms = v_new.jitter_ms, last_error = null, updated_at = v_now
      where s.id = v_old.id
      returning s.* into v_new;
      delete from messenger.schedule_backoffs b where b.schedule_id = v_old.id;
      exit;
    end if;
    v_new.id := gen_random_uuid();
    insert into public.messenger_schedules select v_new.* on conflict do nothing;
    exit when found;
    -- Another session has just saved the first schedule of this name: compare with that row.
    v_new.enabled := (messenger.read_options(coalesce(messenger_schedule.options, '{}'))).enabled;
  end loop;
  return v_new;
end $$;

create or replace function public.messenger_unschedule(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
begin
  perform messenger.require_writable();
  delete from public.messenger_schedules s where s.name = messenger_unschedule.name returning s.id into v_id;
  delete from messenger.schedule_backoffs b where b.schedule_id = v_id;
  return v_id is not null;
end $$;

create or replace function public.messenger_pause_schedule(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule public.messenger_schedules;
begin
  perform messenger.require_writable();
  select s.* into v_schedule from public.messenger_schedules s where s.name = messenger_pause_schedule.name for update;
  if not found then
    perform messenger.raise_error('SM_NOT_FOUND', format('schedule "%s"', left(name, 128)));
  end if;
  update public.messenger_schedules s set enabled = false, updated_at = messenger.now()
  where s.id = v_schedule.id and s.enabled;
  return found;
end $$;

-- Occurrences due during the pause are dropped, except that of a schedule that runs once: its misfire policy decides.
create or replace function public.messenger_resume_schedule(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := messenger.now();
  v_schedule public.messenger_schedules;
  v_next timestamptz;
begin
  perform messenger.require_writable();
  select s.* into v_schedule from public.messenger_schedules s where s.name = messenger_resume_schedule.name for update;
  if not found then
    perform messenger.raise_error('SM_NOT_FOUND', format('schedule "%s"', left(name, 128)));
  elsif v_schedule.enabled or v_schedule.next_run_at is null then
    return false;
  end if;
  v_next := messenger.due_since(v_schedule);
  if v_next <= v_now then
    v_next := messenger.first_run(v_schedule, v_now);
  end if;
  update public.messenger_schedules s set enabled = v_next is not null, next_run_at = v_next, updated_at = v_now
  where s.id = v_schedule.id;
  delete from messenger.schedule_backoffs b where b.schedule_id = v_schedule.id;
  return v_next is not null;
end $$;

create or replace function public.messenger_schedule_preview(
  schedule jsonb, timezone text default 'UTC', from_time timestamptz default null, count int default 10,
  options jsonb default '{}'
)
returns table (run_at timestamptz, local_time timestamp, note text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after timestamptz := coalesce(from_time, messenger.now());
  v_count int := coalesce(count, 10);
  v_row public.messenger_schedules := messenger.read_schedule(schedule, timezone, options, v_after);
  v_run messenger.cron_run;
  v_skipped messenger.cron_run;
  v_needs_gap_run boolean := v_row.schedule_type = 'cron' and v_row.dst_gap = 'skip';
begin
  if v_count not between 1 and 1000 then
    perform messenger.raise_error('SM_SCHEDULE', 'count must be a whole number from 1 to 1000', 'default: 10');
  end if;
  for v_turn in 1..least(v_count, v_row.max_runs) loop
    v_row.dst_gap := case when v_needs_gap_run then 'skip' else v_row.dst_gap end;
    v_run := messenger.next_run(v_row, v_after);
    if v_needs_gap_run then
      v_row.dst_gap := 'run_after';
      v_skipped := messenger.next_run(v_row, v_after);
    end if;
    exit when v_run.run_at is null;
    if v_skipped.run_at < v_run.run_at then
      -- The wall-clock time in the gap does not exist, so it is computed with the offset before the change.
      run_at := null;
      local_time := messenger.wall_time_in_gap(v_skipped.run_at, v_row.timezone);
      note := 'skipped by DST';
      v_after := v_skipped.run_at;
    else
      run_at := v_run.run_at;
      local_time := v_run.run_at at time zone v_row.timezone;
      note := v_run.note;
      v_after := v_run.run_at;
    end if;
    return next;
  end loop;
end $$;

create or replace function messenger.wall_time_in_gap(moment timestamptz, timezone text)
returns timestamp
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moment timestamp := moment at time zone 'UTC';
  v_before timestamp :=
    (moment - interval '26 hours') at time zone timezone - (v_moment - interval '26 hours') + v_moment;
begin
  return v_before;
end $$;

comment on function messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz) is
  'Checks name, type, payload, headers and route of a schedule and returns the row with them. Raises '
  'SM_SCHEDULE and the errors of a dispatch.';
comment on function messenger.wall_time_in_gap(timestamptz, text) is
  'The wall-clock time that this moment would have had, computed with the offset of 26 hours before.';
comment on function public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb) is
  'Saves a schedule by name: {"cron": "0 9 * * mon-fri"}, {"interval": ms, "startAt"?} or {"at": moment}. '
  'Moments are ISO 8601 with a zone. options has columns of messenger_schedules by name; those left out get '
  'their defaults. Returns the row. Raises SM_SCHEDULE, SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE and the '
  'errors of a dispatch. Example: select messenger_schedule(''report'', ''SendReport'', ''{"cron": "0 9 * * '
  'mon-fri"}'', timezone => ''Europe/Berlin'');';
comment on function public.messenger_unschedule(text) is
  'Removes a schedule; messages it has stored stay. Returns false if there is no schedule of this name. '
  'Example: select messenger_unschedule(''report'');';
comment on function public.messenger_pause_schedule(text) is
  'Pauses a schedule. Returns true, or false if it was already paused or has finished. Raises SM_NOT_FOUND. Example: '
  'select messenger_pause_schedule(''report'');';
comment on function public.messenger_resume_schedule(text) is
  'Resumes a paused schedule from now on. Returns true, or false if it was not paused or has finished. Raises '
  'SM_NOT_FOUND. Example: select messenger_resume_schedule(''report'');';
comment on function public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb) is
  'The next occurrences of a schedule after from_time (default: now): up to count rows (1 to 1000) of run_at, '
  'local_time and note. note: moved, first of the doubled hour, second of the doubled hour, or skipped by DST (run_at '
  'is then null). Jitter is not included. Raises SM_SCHEDULE, SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE. '
  'Example: select * from messenger_schedule_preview(''{"cron": "30 2 * * *"}'', ''Europe/Berlin'', count => 3);';
revoke all on function
  messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz),
  messenger.wall_time_in_gap(timestamptz, text),
  public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb),
  public.messenger_unschedule(text),
  public.messenger_pause_schedule(text),
  public.messenger_resume_schedule(text),
  public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz),
  messenger.wall_time_in_gap(timestamptz, text),
  public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb),
  public.messenger_unschedule(text),
  public.messenger_pause_schedule(text),
  public.messenger_resume_schedule(text),
  public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb)
to service_role;

-- ---- 60_schedules/15_import_cron.sql
-- Proposes schedules for jobs of pg_cron. Nothing is changed: the script is for a person to read and run.

-- Differences of pg_cron: "$" is the last day of the month, and "30 seconds" is an interval. If one of the two day
-- fields begins with an asterisk, as */2 does, pg_cron requires both to match; a schedule of the bus requires either.
create or replace function messenger.schedule_of_cron(schedule text)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule text := regexp_replace(btrim(schedule), '\s+', ' ', 'g');
  v_fields text[];
begin
  if v_schedule ~ '^[0-9]+ [sS][eE][cC][oO][nN][dD][sS]?$' then
    return jsonb_build_object('interval', split_part(v_schedule, ' ', 1)::bigint * 1000);
  elsif lower(v_schedule collate "C") = '@reboot' then
    return null;
  end if;
  v_fields := string_to_array(v_schedule, ' ');
  if cardinality(v_fields) = 5 then
    if v_fields[3] like '*%' or v_fields[5] like '*%' then
      if (v_fields[3] not like '*%' or messenger.read_cron_field('day', v_fields[3], 1, 31, null) <> repeat('1', 31))
        and (v_fields[5] not like '*%'
          or messenger.read_cron_field('weekday', v_fields[5], 0, 7, null) <> repeat('1', 7)) then
        perform messenger.raise_error('SM_CRON',
          format('pg_cron runs "%s" on days that match both day fields', left(v_schedule, 80)),
          'a schedule of the bus runs on days that match either: restrict one field, and '
            'let the handler check the other');
      end if;
    end if;
    v_fields[3] := replace(v_fields[3], '$', 'L');
  end if;
  return jsonb_build_object('cron', array_to_string(v_fields, ' '));
end $$;

-- A dollar-quote tag that does not occur in the text.
create or replace function messenger.dollar_tag(quoted text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tag text := '$job$';
  v_n int := 0;
begin
  while strpos(quoted, v_tag) > 0 loop
    v_n := v_n + 1;
    v_tag := '$job' || v_n || '$';
  end loop;
  return v_tag;
end $$;

-- Definer: service_role may not read pg_cron's table. As in cron.job itself, a job is visible only to callers who may
-- act as the role it runs as, because its command may contain a secret. Within a definer function the setting "role"
-- still names the caller; it is none if the caller never changed it.
create or replace function messenger.import_cron(jobid bigint)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_job record;
  v_name text;
  v_type text;
  v_function text;
  v_schedule jsonb;
  v_timezone text := coalesce(nullif(current_setting('cron.timezone', true), ''), 'GMT');
  v_options jsonb;
  v_reason text;
  v_body text;
  v_tag text;
  v_notes text[] := array[]::text[];
  v_caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
  if to_regclass('cron.job') is null then
    perform messenger.raise_error('SM_UNAVAILABLE', 'pg_cron is not installed', 'create extension pg_cron');
  end if;
  execute 'select j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::text, j.database::text from '
    'cron.job j where j.jobid = $1' into v_job using jobid;
  if v_job.jobid is null or not coalesce(pg_has_role(
    v_caller, (select r.oid from pg_catalog.pg_roles r where r.rolname = v_job.username), 'usage'), false) then
    perform messenger.raise_error('SM_NOT_FOUND',
      'pg_cron has no job ' || coalesce(jobid::text, 'null') || ' that role ' || v_caller || ' may see',
      'run select jobid, jobname, username from cron.job as the role the job runs as, or as a member of that role');
  elsif v_job.jobname in ('symphony-clock', 'symphony-handlers') then
    perform messenger.raise_error('SM_CONFLICT', v_job.jobname || ' is a job of Symphony Messenger',
      'import another job');
  end if;
  v_reason := messenger.needs_no_transaction(v_job.command);
  if v_reason is not null then
    perform messenger.raise_error('SM_CONFLICT',
      format('the command of job %s cannot run inside a function, as a handler does: %s', v_job.jobid, v_reason),
      'leave this job to pg_cron');
  end if;

  v_schedule := messenger.schedule_of_cron(v_job.schedule);
  if v_schedule is null then
    perform messenger.raise_error('SM_CRON', v_job.schedule || ' has no due moments', 'leave this job to pg_cron');
  end if;
  v_timezone := case when v_timezone in ('GMT', 'Etc/GMT') then 'UTC' else v_timezone end;
  -- Raises the error of messenger_schedule if the bus cannot run the expression.
  perform messenger.read_schedule(v_schedule, v_timezone, '{}', messenger.now());

  v_options := jsonb_build_object('misfire', 'skip', 'enabled', v_job.active);

  -- The job id, which pg_cron never reuses, keeps apart two jobs of similar names.
  v_name := left(btrim(regexp_replace(coalesce(nullif(v_job.jobname, ''), 'job ' || v_job.jobid), '[/[:cntrl:]]', '-',
    'g')), 128);
  v_type := coalesce(nullif(trim(both '_'
    from left(regexp_replace(coalesce(v_job.jobname, ''), '[^A-Za-z0-9]+', '_', 'g'), 90)), ''), 'job') || '_'
      || v_job.jobid;
  v_function := 'public.' || quote_ident('run_cron_' || left(lower(v_type collate "C"), 33) || '_' || v_job.jobid);
  v_type := 'cron.' || v_type;

  if v_job.command ~* 'net\.http_(post|get|delete)' then
    v_notes := v_notes
      || 'The command makes an HTTP call, and the handler completes as soon as the call is queued. Instead, schedule '
        'a message type whose handler makes the call: failed calls are then retried and recorded.'::text;
  end if;
  if exists (select from messenger.leading_words(v_job.command) w(words) where w.words ~ '^(CALL|DO)(\s|$)') then
    v_notes := v_notes
      || 'The command runs a procedure or a DO block. Inside a handler it must not commit or roll back. If it does, '
        'every run fails, and the job should stay with pg_cron.'::text;
  end if;
  if not v_job.active then
    v_notes := v_notes || 'The job is inactive, so the schedule is disabled.'::text;
  end if;
  if v_job.username <> current_user then
    v_notes := v_notes || format('The job runs as role %I; handlers run as role %I, the owner of the schema messenger.',
      v_job.username, current_user);
  end if;
  if v_job.database <> current_database() then
    v_notes := v_notes
      || format('The job runs in database %I; the handler runs in this database, %I.', v_job.database,
        current_database());
  end if;
  v_notes := v_notes
    || 'After an outage pg_cron does not run missed occurrences; the schedule does the same with misfire skip. Remove '
      'the option to run once instead.'::text;

  -- EXECUTE accepts several statements and comments, and discards returned rows.
  v_tag := messenger.dollar_tag(v_job.command);
  v_body := format(E'  execute %s%s%s;', v_tag, v_job.command, v_tag);
  v_tag := messenger.dollar_tag(v_body);
  return jsonb_build_object(
    'job', jsonb_build_object('jobid', v_job.jobid, 'jobname', v_job.jobname, 'schedule', v_job.schedule, 'command',
      v_job.command, 'active', v_job.active),
    'schedule', jsonb_build_object('name', v_name, 'type', v_type, 'schedule', v_schedule, 'timezone', v_timezone,
      'options', v_options),
    'sql', format(
      E'-- pg_cron''s job %s, as a schedule of the bus.\nbegin;\n\n'
      'create or replace function %s(payload jsonb)\nreturns jsonb\nlanguage plpgsql\nset search_path = public, '
      'extensions\nas %s\nbegin\n%s\n  return null;\nend %s;\n'
      'revoke all on function %s(jsonb) from public, anon, authenticated, service_role;\n\n'
      'select messenger.set_sql_handler(%L, %L);\n'
      'select messenger_schedule(name => %L, type => %L, schedule => %L, timezone => %L, options => %L);\n'
      'select cron.unschedule(%s);\n\ncommit;\n',
      v_job.jobid, v_function, v_tag, v_body, v_tag, v_function, v_type, v_function, v_name, v_type, v_schedule,
      v_timezone, v_options, v_job.jobid),
    'notes', to_jsonb(v_notes));
end $$;

create or replace function public.messenger_import_cron(jobid bigint)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.import_cron(jobid) $$;

comment on function messenger.schedule_of_cron(text) is
  'A schedule of pg_cron in the form that messenger_schedule takes; null for @reboot. Raises SM_CRON if '
  'pg_cron requires both day fields to match.';
comment on function messenger.dollar_tag(text) is 'A dollar-quote tag that can quote this text.';
comment on function messenger.import_cron(bigint) is 'See public.messenger_import_cron.';
comment on function public.messenger_import_cron(bigint) is
  'Proposes a schedule for a job of pg_cron and changes nothing: {"job", "schedule" (arguments of messenger_schedule), '
  '"sql" (a script that creates the handler and the schedule and unschedules the job), "notes"}. Raises SM_NOT_FOUND '
  '(no such job, or the caller is not a member of its role), SM_CONFLICT (a job of Symphony Messenger, or a command '
  'that cannot run inside a function), SM_CRON (an expression that the bus does not support), SM_UNAVAILABLE (no '
  'pg_cron). Example: select messenger_import_cron(7) ->> ''sql'';';
revoke all on function
  messenger.schedule_of_cron(text),
  messenger.dollar_tag(text),
  messenger.import_cron(bigint),
  public.messenger_import_cron(bigint)
from public, anon, authenticated, service_role;
grant execute on function messenger.import_cron(bigint), public.messenger_import_cron(bigint) to service_role;

-- ---- 60_schedules/20_read_command.sql
-- Finds statements in a job's command that Postgres does not run inside a function, before such a job is imported.

-- Skips comments, literals and quoted names, as the server's own scanner does.
create or replace function messenger.leading_words(command text)
returns setof text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rest text := command;
  v_token text;
  v_words text[] := '{}'::text[];
begin
  while v_rest <> '' loop
    v_token := messenger.read_token(v_rest);
    if v_token = ';' then
      if v_words <> '{}' then
        return next array_to_string(v_words, ' ');
      end if;
      v_words := '{}';
    elsif v_token !~ '^(\s|--|/\*)' and cardinality(v_words) < 12 then
      v_words := v_words || upper(left(v_token, 100) collate "C");
    end if;
    v_rest := substr(v_rest, length(v_token) + 1);
  end loop;
  if v_words <> '{}' then
    return next array_to_string(v_words, ' ');
  end if;
end $$;

create or replace function messenger.read_token(sql text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_token text := substring(sql from '^(?:\s+|--[^\n]*)');
  v_delimiter text;
  v_end int := 3;
  v_depth int := 1;
begin
  if v_token is not null then
    return v_token;
  elsif starts_with(sql, '/*') then
    -- Comments nest.
    while v_depth > 0 and v_end <= length(sql) loop
      v_delimiter := substr(sql, v_end, 2);
      v_depth := v_depth + case v_delimiter when '/*' then 1 when '*/' then -1 else 0 end;
      v_end := v_end + case when v_delimiter in ('/*', '*/') then 2 else 1 end;
    end loop;
    return left(sql, v_end - 1);
  end if;
  v_delimiter := substring(sql from '^\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$');
  if v_delimiter is not null then
    v_end := strpos(substr(sql, length(v_delimiter) + 1), v_delimiter);
    return case when v_end = 0 then sql else left(sql, v_end + 2 * length(v_delimiter) - 1) end;
  end if;
  return coalesce(
    substring(sql from $e$^[eE]'(?:[^'\\]|\\.|'')*(?:'|$)$e$), substring(sql from $l$^'(?:[^']|'')*(?:'|$)$l$),
    substring(sql from '^"(?:[^"]|"")*(?:"|$)'),
    substring(sql from '^[A-Za-z_][A-Za-z0-9_$]*'), left(sql, 1));
end $$;

-- Covers the statements rejected by PreventInTransactionBlock and by plpgsql's EXECUTE, and COPY from or to the client.
create or replace function messenger.needs_no_transaction(command text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select substring(w.words
      from '^[A-Z]+(?: (?:TRANSACTION|DATABASE|SYSTEM|TABLESPACE|SUBSCRIPTION|(?:UNIQUE )?INDEX|ALL)\M)?')
    from messenger.leading_words(command) w(words)
    where w.words ~ ('^(VACUUM|BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE '
      'TRANSACTION|ALTER SYSTEM|DISCARD ALL'
        || '|(CREATE|DROP) (DATABASE|TABLESPACE|SUBSCRIPTION)|REINDEX (\( .* \) )?(DATABASE|SYSTEM)|CLUSTER( '
          'VERBOSE)?$)(\s|$)')
      or w.words ~ '^(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX( \(.*\))? (INDEX|TABLE|SCHEMA)) CONCURRENTLY(\s|$)'
      or w.words ~ '^REINDEX \( (.* )?CONCURRENTLY(\s|$)'
      or w.words ~ '^COPY .* (FROM STDIN|TO STDOUT)(\s|$)'
    limit 1);
end $$;

comment on function messenger.leading_words(text) is
  'The first words of each statement of an SQL text, in upper case, without comments.';
comment on function messenger.read_token(text) is
  'The first token of an SQL text: white space, a comment, a literal, a name, or one character.';
comment on function messenger.needs_no_transaction(text) is
  'The leading keywords of the first statement that Postgres does not run inside a function; null if there is none.';
revoke all on function
  messenger.leading_words(text),
  messenger.read_token(text),
  messenger.needs_no_transaction(text)
from public, anon, authenticated, service_role;

-- ---- 60_schedules/25_read_schedule.sql
-- Parses schedules: arguments become a row of messenger_schedules or an error that names the field.

-- pg_timezone_names reads every zone file (30 ms here), so a session caches the names it has
-- checked. Called only when a schedule is saved.
create or replace function messenger.check_timezone(timezone text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_checked text := coalesce(current_setting('messenger.checked_zones', true), '');
begin
  if timezone = 'UTC' or timezone = any (string_to_array(v_checked, ' ')) then
    return;
  end if;
  -- Postgres itself accepts Foo+99 and EST5EDT4. Three names of the list are abbreviations with a fixed offset.
  if timezone ~ '^[A-Za-z][A-Za-z0-9/_+-]*$'
    and timezone !~ '^(EST|MST|HST|Factory|localtime|posixrules|posix/.*|right/.*)$'
    and exists (select from pg_catalog.pg_timezone_names n where n.name = check_timezone.timezone) then
    perform set_config('messenger.checked_zones', right(concat_ws(' ', nullif(v_checked, ''), timezone), 1000), false);
    return;
  end if;
  perform messenger.raise_error('SM_TIMEZONE', format('"%s"', left(timezone, 60)));
end $$;

create or replace function messenger.read_whole(value jsonb, lowest bigint, highest bigint)
returns bigint
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(value) <> 'number' or value < to_jsonb(lowest) or value > to_jsonb(highest)
    or value::numeric % 1 <> 0 then
    return null;
  end if;
  return value::bigint;
end $$;

create or replace function messenger.read_options(options jsonb)
returns public.messenger_schedules
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules;
  v_option record;
  v_value jsonb;
  v_text text;
  v_is_valid boolean;
begin
  v_row.misfire := 'fire_once';
  v_row.misfire_grace_ms := 60000;
  v_row.catch_up_limit := 100;
  v_row.dst_gap := 'run_after';
  v_row.dst_overlap := 'first';
  v_row.overlap := 'allow';
  v_row.jitter_ms := 0;
  v_row.headers := '{}';
  if jsonb_typeof(options) <> 'object' then
    perform messenger.raise_error('SM_SCHEDULE', 'options must be a JSON object', 'pass {} for the defaults');
  end if;
  for v_option in select o.key, o.value from jsonb_each(options) o loop
    v_value := v_option.value;
    v_text := case when jsonb_typeof(v_value) = 'string' then v_value #>> '{}' end;
    -- Null removes a limit or bound. Options that have a default do not accept null.
    continue when v_value = 'null' and v_option.key in ('max_runs', 'starts_at', 'ends_at');
    case v_option.key
      when 'transport_name' then v_row.transport_name := v_text; v_is_valid := v_text is not null;
      when 'queue_name' then v_row.queue_name := v_text; v_is_valid := v_text is not null;
      when 'headers' then v_row.headers := v_value; v_is_valid := true;
      when 'enabled' then
        v_is_valid := jsonb_typeof(v_value) = 'boolean';
        v_row.enabled := v_value = 'true';
      when 'max_runs' then
        v_row.max_runs := messenger.read_whole(v_value, 1, 9007199254740991);
        v_is_valid := v_row.max_runs is not null;
      when 'starts_at' then
        v_row.starts_at := messenger.read_moment(v_value);
        v_is_valid := v_row.starts_at is not null;
      when 'ends_at' then
        v_row.ends_at := messenger.read_moment(v_value);
        v_is_valid := v_row.ends_at is not null;
      when 'misfire' then v_row.misfire := v_text; v_is_valid := v_text in ('fire_once', 'skip', 'catch_up');
      when 'misfire_grace_ms' then
        v_row.misfire_grace_ms := messenger.read_whole(v_value, 0, 31622400000);
        v_is_valid := v_row.misfire_grace_ms is not null;
      when 'catch_up_limit' then
        v_row.catch_up_limit := messenger.read_whole(v_value, 1, 1000)::int;
        v_is_valid := v_row.catch_up_limit is not null;
      when 'dst_gap' then v_row.dst_gap := v_text; v_is_valid := v_text in ('run_after', 'skip');
      when 'dst_overlap' then v_row.dst_overlap := v_text; v_is_valid := v_text in ('first', 'second', 'both');
      when 'overlap' then v_row.overlap := v_text; v_is_valid := v_text in ('allow', 'skip', 'replace');
      when 'jitter_ms' then
        v_row.jitter_ms := messenger.read_whole(v_value, 0, 31622400000);
        v_is_valid := v_row.jitter_ms is not null;
      else perform messenger.raise_error('SM_SCHEDULE', format('unknown option "%s"', left(v_option.key, 60)),
        'options are named as the columns of messenger_schedules');
    end case;
    if v_is_valid is not true then
      perform messenger.raise_error('SM_SCHEDULE', 'options.' || v_option.key, case
        when v_option.key in ('transport_name', 'queue_name') then 'pass a string'
        when v_option.key = 'enabled' then 'pass true or false'
        when v_option.key = 'max_runs' then 'pass a whole number from 1 to 9007199254740991, or null for no limit'
        when v_option.key in ('starts_at', 'ends_at') then 'pass an ISO 8601 moment with a zone, or null for no bound'
        when v_option.key = 'misfire' then 'use fire_once (default), skip or catch_up'
        when v_option.key = 'catch_up_limit' then 'pass a whole number from 1 to 1000; default: 100'
        when v_option.key = 'dst_gap' then 'use run_after (default) or skip'
        when v_option.key = 'dst_overlap' then 'use first (default), second or both'
        when v_option.key = 'overlap' then 'use allow (default), skip or replace'
        else 'pass a whole number of milliseconds from 0 to 31622400000 (366 days)'
        end);
    end if;
  end loop;
  if v_row.starts_at >= v_row.ends_at then
    perform messenger.raise_error('SM_SCHEDULE', 'options.ends_at must be later than options.starts_at',
      'change one of them, or leave it out');
  end if;
  return v_row;
end $$;

create or replace function messenger.read_schedule(schedule jsonb, timezone text, options jsonb, at timestamptz)
returns public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules := messenger.read_options(coalesce(options, '{}'));
  v_kinds text[];
  v_unknown text;
  v_run timestamptz;
  v_next timestamptz;
begin
  if schedule is null or jsonb_typeof(schedule) <> 'object' then
    perform messenger.raise_error('SM_SCHEDULE', 'the schedule must be a JSON object',
      'pass {"cron": ...}, {"interval": ms, "startAt"?} or {"at": moment}');
  end if;
  select array_agg(k.key) filter (where k.key in ('cron', 'interval', 'at')),
    min(k.key) filter (where k.key not in ('cron', 'interval', 'at')
      and not (k.key = 'startAt' and schedule ? 'interval'))
  into v_kinds, v_unknown from jsonb_object_keys(schedule) as k(key);
  if v_unknown is not null then
    perform messenger.raise_error('SM_SCHEDULE', format('unknown field "%s"', left(v_unknown, 60)),
      'use cron, at, or interval with startAt');
  elsif cardinality(v_kinds) is distinct from 1 then
    perform messenger.raise_error('SM_SCHEDULE', 'the schedule must have exactly one of cron, interval, at',
      'remove the others');
  end if;
  perform messenger.check_timezone(coalesce(timezone, 'UTC'));
  v_row.timezone := coalesce(timezone, 'UTC');
  v_row.schedule_config := schedule;
  v_row.schedule_type := case v_kinds[1] when 'at' then 'once' else v_kinds[1] end;
  v_row.created_at := date_trunc('milliseconds', at);

  case v_row.schedule_type
    when 'cron' then
      if jsonb_typeof(schedule -> 'cron') <> 'string' then
        perform messenger.raise_error('SM_CRON', 'cron must be a string');
      end if;
      v_run := (messenger.next_cron_run(
        messenger.parse_cron(schedule ->> 'cron'), v_row.timezone, greatest(at, v_row.starts_at), v_row.dst_gap,
        v_row.dst_overlap)).run_at;
      if v_run is null then
        perform messenger.raise_error('SM_CRON_NEVER', format('"%s"', left(schedule ->> 'cron', 100)));
      end if;
      -- The period of a cron expression is the shortest distance between its next ten runs.
      for v_turn in 1..case when v_row.jitter_ms > 0 then 10 else 0 end loop
        v_next := (messenger.next_run(v_row, v_run)).run_at;
        exit when v_next is null;
        if v_next - v_run < v_row.jitter_ms * interval '1 millisecond' then
          perform messenger.raise_error('SM_SCHEDULE', 'options.jitter_ms must be at most the period of the schedule',
            'use a smaller jitter_ms, or a longer period');
        end if;
        v_run := v_next;
      end loop;
    when 'interval' then
      if messenger.read_whole(schedule -> 'interval', 1000, 31622400000) is null then
        perform messenger.raise_error('SM_INTERVAL', left(schedule ->> 'interval', 40));
      elsif schedule ? 'startAt' and messenger.read_moment(schedule -> 'startAt') is null then
        perform messenger.raise_error('SM_SCHEDULE', 'startAt must be a moment with a zone',
          'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z');
      elsif v_row.jitter_ms > (schedule -> 'interval')::bigint then
        perform messenger.raise_error('SM_SCHEDULE', 'options.jitter_ms must be at most the period of the schedule',
            'use a smaller jitter_ms, or a longer period');
      end if;
      -- 60000.0 is a whole number, but the cast of its text to bigint fails.
      v_row.schedule_config := schedule || jsonb_build_object('interval', (schedule -> 'interval')::bigint);
    else
      if messenger.read_moment(schedule -> 'at') is null then
        perform messenger.raise_error('SM_SCHEDULE', 'at must be a moment with a zone',
          'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z');
      end if;
  end case;
  return v_row;
end $$;

comment on function messenger.check_timezone(text) is 'Raises SM_TIMEZONE if the name is not an IANA time zone.';
comment on function messenger.read_whole(jsonb, bigint, bigint) is
  'A JSON number as a whole number between lowest and highest; null for anything else.';
comment on function messenger.read_options(jsonb) is
  'Options of a schedule, named as its columns, with defaults for those left out; enabled, transport_name and '
  'queue_name stay null. Raises SM_SCHEDULE with the name of an invalid option.';
comment on function messenger.read_schedule(jsonb, text, jsonb, timestamptz) is
  'The columns of messenger_schedules that define when it runs. Raises SM_SCHEDULE, '
  'SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE.';
revoke all on function
  messenger.check_timezone(text),
  messenger.read_whole(jsonb, bigint, bigint),
  messenger.read_options(jsonb),
  messenger.read_schedule(jsonb, text, jsonb, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.check_timezone(text),
  messenger.read_whole(jsonb, bigint, bigint),
  messenger.read_options(jsonb),
  messenger.read_schedule(jsonb, text, jsonb, timestamptz)
to service_role;

-- ---- 60_schedules/30_expand_schedules.sql
-- Turns due schedules into messages: locks them, plans each separately, stores the messages in
-- chunks and advances all schedules in one statement.

-- The jitter is a hash of schedule and occurrence, so every computation of it gives the same value.
create or replace function messenger.scheduled_message(schedule public.messenger_schedules, due_at timestamptz)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_jitter interval := interval '0';
begin
  if schedule.jitter_ms > 0 then
    v_jitter := ('x' || left(md5(schedule.id || '/' || extract(epoch from due_at)),
      12))::bit(48)::bigint % (schedule.jitter_ms + 1) * interval '1 millisecond';
  end if;
  return jsonb_build_object('type', schedule.message_type, 'payload', schedule.body, 'transport',
    schedule.transport_name, 'queue', schedule.queue_name,
    'available_at', due_at + v_jitter, 'headers', schedule.headers
      || messenger.schedule_headers(schedule.name, due_at));
end $$;

-- The caller has locked the schedules.
create or replace function messenger.expand_locked_schedules(ids uuid[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule public.messenger_schedules;
  v_plan messenger.run_plan;
  v_due_at timestamptz;
  v_run timestamptz;
  v_messages jsonb[] := '{}'::jsonb[];
  v_schedules uuid[] := '{}'::uuid[];
  v_runs timestamptz[] := '{}'::timestamptz[];
  v_replaced uuid[] := '{}'::uuid[];
  v_bytes int := 0;
  v_planned int := 0;
  v_ids uuid[] := '{}'::uuid[];
  v_due_ats timestamptz[] := '{}'::timestamptz[];
  v_nexts timestamptz[] := '{}'::timestamptz[];
  v_failures text[] := '{}'::text[];
  v_stored bigint := 0;
  v_dispositions messenger.run_disposition[] := '{}'::messenger.run_disposition[];
begin
  for v_schedule in
    select s.* from unnest(ids) with ordinality as x(id, n)
    join public.messenger_schedules s on s.id = x.id order by x.n
  loop
    -- A large backlog would make one tick last for minutes. Schedules beyond the limit stay due.
    exit when v_planned >= 10000;
    v_due_at := v_schedule.next_run_at;
    v_plan := null;
    begin
      if v_schedule.last_error is not null then
        v_due_at := messenger.due_since(v_schedule);
      end if;
      v_plan := messenger.plan_runs(v_schedule, v_due_at, at);
      v_plan.runs := messenger.runs_to_fire(v_schedule, v_plan.runs);
      v_failures := v_failures || null::text;
    exception when others then
      v_plan.runs := '{}';
      v_failures := v_failures || left(sqlerrm, 1000);
    end;
    v_ids := v_ids || v_schedule.id;
    v_due_ats := v_due_ats || v_due_at;
    v_nexts := v_nexts || v_plan.next_run_at;
    v_planned := v_planned + cardinality(v_plan.runs);
    foreach v_run in array v_plan.runs loop
      if cardinality(v_messages) = 1000 or v_bytes > 4000000 then
        v_dispositions := v_dispositions || messenger.store_runs(v_messages, v_schedules, v_runs, v_replaced, at);
        v_messages := '{}'; v_schedules := '{}'; v_runs := '{}'; v_replaced := '{}'; v_bytes := 0;
      end if;
      v_messages := v_messages || messenger.scheduled_message(v_schedule, v_run);
      v_schedules := v_schedules || v_schedule.id;
      v_runs := v_runs || v_run;
      v_replaced := v_replaced || case when v_schedule.overlap = 'replace'
        then messenger.last_message(v_schedule.id) end;
      v_bytes := v_bytes + octet_length(v_schedule.body::text) + octet_length(v_schedule.headers::text) + 200;
    end loop;
  end loop;
  if v_messages <> '{}' then
    v_dispositions := v_dispositions || messenger.store_runs(v_messages, v_schedules, v_runs, v_replaced, at);
  end if;

  with planned as materialized (
    select p.id, p.due_at, p.next_run_at, coalesce(p.failure, f.error) as error,
      coalesce(f.failed_at, p.due_at) as failed_at,
      coalesce(f.stored, 0) as stored, f.last_run_at
    from unnest(v_ids, v_due_ats, v_nexts, v_failures) as p(id, due_at, next_run_at, failure)
    left join (
      select x.schedule_id, count(*) filter (where x.error is null) as stored, max(x.due_at)
        filter (where x.error is null) as last_run_at,
        max(x.error) as error, min(x.due_at) filter (where x.error is not null) as failed_at
      from unnest(v_dispositions) x group by x.schedule_id
    ) f on f.schedule_id = p.id
  ),
  put_off as (
    insert into messenger.schedule_backoffs as b (schedule_id, due_at)
    select p.id, p.failed_at from planned p where p.error is not null
    on conflict on constraint schedule_backoffs_pkey do update set due_at = excluded.due_at
  ),
  recovered as (
    delete from messenger.schedule_backoffs b where b.schedule_id in (select p.id from planned p where p.error is null)
  ),
  moved as (
    update public.messenger_schedules s
    set run_count = s.run_count + p.stored, last_run_at = greatest(s.last_run_at, p.last_run_at), last_error = p.error,
        updated_at = expand_locked_schedules.at,
        next_run_at = case when p.error is not null then expand_locked_schedules.at + interval '5 minutes'
          when s.run_count + p.stored >= s.max_runs then null else p.next_run_at end,
        enabled = p.error is not null or (p.next_run_at is not null
          and coalesce(s.run_count + p.stored < s.max_runs, true))
    from planned p
    where s.id = p.id
  )
  select sum(p.stored) into v_stored from planned p;
  return jsonb_build_object('expanded', coalesce(v_stored, 0));
end $$;

-- A schedule that fails while it is planned or stored gets the error in its own row. If that row cannot be written, the
-- schedule is set aside and none of its messages are stored.
create or replace function messenger.expand_schedules(at timestamptz, batch int, ends_at timestamptz default 'infinity')
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due text[] := messenger.row_ids(array(select s.id from messenger.due_schedules(at, batch) s
    order by s.next_run_at));
  v_chunk constant int := 200;
  v_figures jsonb;
begin
  for v_from in 1..cardinality(v_due) by v_chunk loop
    v_figures := messenger.add_figures(v_figures,
      messenger.write_each('schedules', 'public.messenger_schedules', v_due[v_from:v_from + v_chunk - 1], at, ends_at));
    exit when clock_timestamp() > ends_at;
  end loop;
  return coalesce((v_figures ->> 'expanded')::bigint, 0);
end $$;

comment on function messenger.scheduled_message(public.messenger_schedules, timestamptz) is
  'The message of an occurrence as a draft for dispatch.';
comment on function messenger.expand_locked_schedules(uuid[], timestamptz) is
  'Stores messages for the due occurrences of these schedules and advances the schedules. A schedule that fails gets '
  'last_error and is postponed by 5 minutes. Returns {"expanded": number of messages}.';
comment on function messenger.expand_schedules(timestamptz, int, timestamptz) is
  'Calls messenger.expand_locked_schedules for at most batch due schedules. A schedule that cannot be written is '
  'set aside. Returns the number of messages.';
revoke all on function
  messenger.scheduled_message(public.messenger_schedules, timestamptz),
  messenger.expand_locked_schedules(uuid[], timestamptz),
  messenger.expand_schedules(timestamptz, int, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 60_schedules/35_due_runs.sql
-- Selects the occurrences of a schedule that fire, and stores their messages with rows in messenger.occurrences.


-- fire_once: the latest due occurrence. catch_up: the latest catch_up_limit occurrences. skip: those within the grace
-- period, except that a run of occurrences closer together than the grace period is skipped as a whole if it began
-- before the period, as after an outage. At most 1000 per call; the rest stays due.
create or replace function messenger.plan_runs(schedule public.messenger_schedules, due_at timestamptz, at timestamptz)
returns messenger.run_plan
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grace constant interval := schedule.misfire_grace_ms * interval '1 millisecond';
  v_tiny constant interval := interval '1 microsecond';
  v_limit constant int := least(schedule.catch_up_limit, 1000);
  v_run timestamptz := due_at;
  v_next timestamptz;
  v_runs timestamptz[] := array[due_at];
  v_gap interval := interval '1 second';
begin
  if schedule.misfire = 'skip' then
    if due_at < at - v_grace then
      v_run := (messenger.next_run(schedule, at - v_grace - v_tiny)).run_at;
      if v_run <= at and (messenger.next_run(schedule, v_run - v_grace - v_tiny)).run_at < v_run then
        v_run := (messenger.next_run(schedule, at)).run_at;
      end if;
    end if;
    v_runs := '{}';
    while v_run <= at and cardinality(v_runs) < 1000 loop
      v_runs := v_runs || v_run;
      v_run := (messenger.next_run(schedule, v_run)).run_at;
    end loop;
    return row(v_runs, v_run)::messenger.run_plan;
  end if;

  v_next := (messenger.next_run(schedule, due_at)).run_at;
  if v_next <= at then
    v_run := messenger.last_run(schedule, at + v_tiny, due_at, v_gap);
    v_next := (messenger.next_run(schedule, v_run)).run_at;
    v_runs := array[v_run];
    while schedule.misfire = 'catch_up' and v_run > due_at and cardinality(v_runs) < v_limit loop
      v_run := messenger.last_run(schedule, v_run, due_at, v_gap);
      v_gap := make_interval(secs => extract(epoch from v_runs[1] - v_run)::double precision);
      v_runs := v_run || v_runs;
    end loop;
  end if;
  return row(v_runs, v_next)::messenger.run_plan;
end $$;

-- The schedule's row is locked, so no other session writes its occurrences.
create or replace function messenger.runs_to_fire(schedule public.messenger_schedules, runs timestamptz[])
returns timestamptz[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs timestamptz[] := array(
    select r.due_at from unnest(runs) as r(due_at)
    where not exists (select from messenger.occurrences o where o.schedule_id = schedule.id and o.due_at = r.due_at)
    order by r.due_at);
begin
  if schedule.overlap = 'skip' then
    v_runs := case when messenger.is_unfinished(messenger.last_message(schedule.id)) then '{}' else v_runs[1:1] end;
  elsif schedule.overlap = 'replace' then
    v_runs := v_runs[cardinality(v_runs):];
  end if;
  return case when schedule.max_runs is null then v_runs
    else v_runs[1:greatest(schedule.max_runs - schedule.run_count, 0)::int] end;
end $$;

create or replace function messenger.last_message(schedule_id uuid)
returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select o.message_id from messenger.occurrences o where o.schedule_id = last_message.schedule_id
    order by o.due_at desc limit 1);
end $$;

create or replace function messenger.is_unfinished(id uuid)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from public.messenger_messages m where m.id = is_unfinished.id and m.processed_at is null);
end $$;

-- A rejected message is returned as a row with an error. Only an exception of Postgres itself undoes the whole call.
create or replace function messenger.store_occurrences(messages jsonb[], schedules uuid[], runs timestamptz[])
returns table (ord int, error text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with stored as materialized (
    select s.ord, s.id, concat_ws(': ', s.error_code, s.error) as error, schedules[s.ord] as schedule_id,
    runs[s.ord] as due_at
    from messenger.store_messages(to_jsonb(messages), false, 'schedule', null) s
  ),
  entered as (
    insert into messenger.occurrences (schedule_id, due_at, message_id)
    select s.schedule_id, s.due_at, s.id from stored s where s.id is not null
  )
  -- A trigger of the project's own may have swallowed the row.
  select s.ord, case when s.id is null then coalesce(nullif(s.error, ''), 'the message was not stored') end
  from stored s;
end $$;

-- Takes back the message an occurrence is to replace, if it still waits. One
-- that a worker is just taking is not waited for.
create or replace function messenger.replace_message(id uuid, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_waiting uuid[] := array(
    select m.id from public.messenger_messages m where m.id = replace_message.id and m.status = 'pending'
    for no key update skip locked);
begin
  if v_waiting <> '{}' then
    perform messenger.fail_without_dead_letter(v_waiting, 'Cancelled', at);
  end if;
end $$;

create or replace function messenger.due_schedules(at timestamptz, batch int)
returns setof public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  return query
  select s.* from public.messenger_schedules s
  where s.enabled and s.next_run_at <= due_schedules.at
    and not messenger.is_set_aside('schedules', 'public.messenger_schedules', jsonb_build_object('id', s.id)::text,
      due_schedules.at)
  order by s.next_run_at limit batch
  for no key update skip locked;
end $$;

-- Used after a chunk was undone, so that only the faulty occurrence fails. Deferred constraints are checked here, or
-- they would fail the whole transaction at commit.
create or replace function messenger.store_alone(messages jsonb[], schedules uuid[], runs timestamptz[])
returns table (ord int, error text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_index in 1..cardinality(messages) loop
    begin
      select v_index, s.error into ord, error
      from messenger.store_occurrences(messages[v_index:v_index], schedules[v_index:v_index], runs[v_index:v_index]) s;
      set constraints all immediate;
    exception when others then
      ord := v_index;
      error := sqlerrm;
    end;
    return next;
  end loop;
end $$;

create or replace function messenger.store_runs(
  messages jsonb[], schedules uuid[], runs timestamptz[], replaced uuid[], at timestamptz
)
returns messenger.run_disposition[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dispositions messenger.run_disposition[];
begin
  begin
    v_dispositions := array(
      select row(schedules[s.ord], runs[s.ord], s.error)::messenger.run_disposition
      from messenger.store_occurrences(messages, schedules, runs) s order by s.ord);
    set constraints all immediate;
  exception when others then
    v_dispositions := array(
      select row(schedules[s.ord], runs[s.ord], s.error)::messenger.run_disposition
      from messenger.store_alone(messages, schedules, runs) s order by s.ord);
  end;
  perform messenger.replace_message(r.id, at)
  from unnest(replaced) with ordinality as r(id, ord)
  where r.id is not null and (v_dispositions[r.ord]).error is null;
  return v_dispositions;
end $$;

comment on function messenger.plan_runs(public.messenger_schedules, timestamptz, timestamptz) is
  'The occurrences from due_at to at that fire by the misfire policy, and the next one.';
comment on function messenger.runs_to_fire(public.messenger_schedules, timestamptz[]) is
  'The given occurrences without those already in messenger.occurrences, those beyond max_runs, '
  'and those held back by the overlap policy.';
comment on function messenger.last_message(uuid) is
  'The message id of the latest occurrence of a schedule; null if there is none.';
comment on function messenger.is_unfinished(uuid) is 'True if the message is pending or processing.';
comment on function messenger.store_occurrences(jsonb[], uuid[], timestamptz[]) is
  'Stores messages with their rows in messenger.occurrences. Returns one row per '
  'message: its index, and its error or null.';
comment on function messenger.store_alone(jsonb[], uuid[], timestamptz[]) is
  'As messenger.store_occurrences, but one by one; error also holds exceptions of Postgres.';
comment on function messenger.store_runs(jsonb[], uuid[], timestamptz[], uuid[], timestamptz) is
  'Stores up to 1000 occurrences, together or, if Postgres raises, one by one. '
  'Cancels the pending messages that they replace.';
comment on function messenger.replace_message(uuid, timestamptz) is 'Cancels the message if it is pending.';
comment on function messenger.due_schedules(timestamptz, int) is
  'Locks and returns at most batch due schedules that no other session has locked.';
revoke all on function
  messenger.plan_runs(public.messenger_schedules, timestamptz, timestamptz),
  messenger.runs_to_fire(public.messenger_schedules, timestamptz[]),
  messenger.last_message(uuid),
  messenger.is_unfinished(uuid),
  messenger.store_occurrences(jsonb[], uuid[], timestamptz[]),
  messenger.store_alone(jsonb[], uuid[], timestamptz[]),
  messenger.store_runs(jsonb[], uuid[], timestamptz[], uuid[], timestamptz),
  messenger.replace_message(uuid, timestamptz),
  messenger.due_schedules(timestamptz, int)
from public, anon, authenticated, service_role;

-- ---- 60_schedules/37_schedule_messages.sql
-- The headers of a scheduled message, and the moment since which a schedule is due.

-- After an error next_run_at is the next attempt; schedule_backoffs keeps the original due moment.
create or replace function messenger.due_since(schedule public.messenger_schedules)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select b.due_at from messenger.schedule_backoffs b where b.schedule_id = schedule.id), schedule.next_run_at);
end $$;

create or replace function messenger.schedule_headers(name text, due_at timestamptz)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('x-schedule', name, 'x-scheduled-for',
    to_char(due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
end $$;

comment on function messenger.due_since(public.messenger_schedules) is
  'The earliest due moment of a schedule that has not run yet.';
comment on function messenger.schedule_headers(text, timestamptz) is
  'The headers of a scheduled message: x-schedule (its name) and x-scheduled-for (ISO 8601, UTC, milliseconds).';
revoke all on function
  messenger.due_since(public.messenger_schedules),
  messenger.schedule_headers(text, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.due_since(public.messenger_schedules),
  messenger.schedule_headers(text, timestamptz)
to service_role;

-- ---- 60_schedules/40_next_run.sql
-- Computes when a schedule runs. The ticker, the preview and the checks of messenger_schedule all use these functions.

-- Moments are whole milliseconds, so that the header of a message identifies its occurrence exactly.
create or replace function messenger.next_run(schedule public.messenger_schedules, after timestamptz)
returns messenger.cron_run
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_config jsonb := schedule.schedule_config;
  v_after timestamptz := greatest(after, schedule.starts_at - interval '1 microsecond');
  v_run messenger.cron_run;
  v_anchor timestamptz;
  v_interval bigint;
  v_elapsed bigint;
begin
  case schedule.schedule_type
    when 'cron' then
      v_run := messenger.next_cron_run(messenger.parse_cron(v_config ->> 'cron'), schedule.timezone, v_after,
        schedule.dst_gap, schedule.dst_overlap);
    when 'interval' then
      -- Counted from the anchor in whole periods, so a late tick causes no drift.
      v_anchor := date_trunc('milliseconds',
        coalesce((v_config ->> 'startAt')::timestamptz, schedule.starts_at, schedule.created_at));
      v_interval := (v_config ->> 'interval')::bigint * 1000;
      v_elapsed := (extract(epoch from v_after - v_anchor) * 1000000)::bigint;
      v_run.run_at := v_anchor
        + case when v_elapsed < 0 then 0 else v_elapsed / v_interval + 1 end * (v_interval * interval '1 microsecond');
    else
      v_run.run_at := date_trunc('milliseconds', (v_config ->> 'at')::timestamptz);
      if v_run.run_at <= v_after then
        return null;
      end if;
  end case;
  return case when v_run.run_at <= coalesce(schedule.ends_at, 'infinity') then v_run end;
end $$;

-- Cron expressions cannot be evaluated backwards. next_run is monotone, so exponential steps and bisection find the
-- run. "gap" is a guess at the distance; with a good guess two evaluations suffice.
create or replace function messenger.last_run(
  schedule public.messenger_schedules, before timestamptz, earlier timestamptz, gap interval
)
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run timestamptz := earlier;
  v_high timestamptz := before;
  v_gap interval := gap;
  v_probe timestamptz;
  v_next timestamptz;
begin
  loop
    v_probe := before - v_gap;
    exit when v_probe <= earlier;
    v_next := (messenger.next_run(schedule, v_probe - interval '1 microsecond')).run_at;
    if v_next < before then
      v_run := v_next;
      exit;
    end if;
    v_high := v_probe;
    v_gap := v_gap * 4;
  end loop;
  loop
    v_next := (messenger.next_run(schedule, v_run)).run_at;
    exit when v_next is null or v_next >= before;
    v_run := v_next;
    v_probe := v_run + make_interval(secs => extract(epoch from v_high - v_run)::double precision / 2);
    v_next := (messenger.next_run(schedule, v_probe)).run_at;
    if v_next < before then
      v_run := v_next;
    else
      v_high := v_probe;
    end if;
  end loop;
  return v_run;
end $$;

-- A schedule does not repeat runs up to last_run_at. Only a schedule that runs once may start in the past.
create or replace function messenger.first_run(schedule public.messenger_schedules, at timestamptz)
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (messenger.next_run(schedule, case when schedule.schedule_type = 'once'
    then coalesce(schedule.last_run_at, '-infinity') else greatest(at, schedule.last_run_at) end)).run_at;
end $$;

comment on function messenger.next_run(public.messenger_schedules, timestamptz) is
  'The schedule''s first run later than a moment, between starts_at and '
  'ends_at (both inclusive); null if there is none.';
comment on function messenger.last_run(public.messenger_schedules, timestamptz, timestamptz, interval) is
  'The schedule''s last run before a moment. earlier is a run before it; gap is a guess at the distance.';
comment on function messenger.first_run(public.messenger_schedules, timestamptz) is
  'The first run of a schedule that is saved or resumed at this moment.';
revoke all on function
  messenger.next_run(public.messenger_schedules, timestamptz),
  messenger.last_run(public.messenger_schedules, timestamptz, timestamptz, interval),
  messenger.first_run(public.messenger_schedules, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.next_run(public.messenger_schedules, timestamptz),
  messenger.last_run(public.messenger_schedules, timestamptz, timestamptz, interval),
  messenger.first_run(public.messenger_schedules, timestamptz)
to service_role;

-- ---- 60_schedules/45_time_zones.sql
-- Maps wall-clock times to moments, including the days on which a zone changes its offset.

-- Around a change at instant T three series are searched: wall-clock times with the old offset before T, with the new
-- offset from T on, and, for fixed times in a gap, with the old offset continued after T. Each is evaluated once, so
-- the cost of a change does not depend on the number of runs in it. Timestamps are in UTC here: adding hours to them
-- gives the same result in every session.
create or replace function messenger.run_near_change(
  fields messenger.cron_fields, after timestamp, change timestamp, offset_before interval, offset_after interval,
  dst_gap text, dst_overlap text
)
returns messenger.cron_run
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_second constant interval := interval '1 second';
  v_from timestamp := greatest(after, change - v_second);
  v_before timestamp;
  v_moved timestamp;
  v_after timestamp;
  v_run timestamp;
begin
  if after < change then
    v_before := messenger.next_wall_time(fields, after + offset_before) - offset_before;
    if v_before >= change or (
      not fields.elapsed and dst_overlap = 'second' and v_before + offset_before >= change + offset_after) then
      v_before := null;
    end if;
  end if;
  if offset_after > offset_before and not fields.elapsed and dst_gap = 'run_after' then
    v_moved := messenger.next_wall_time(fields, v_from + offset_before) - offset_before;
    if v_moved + offset_before >= change + offset_after then
      v_moved := null;
    end if;
  end if;
  v_after := v_from + offset_after;
  if not fields.elapsed and dst_overlap = 'first' then
    v_after := greatest(v_after, change + offset_before - v_second);
  end if;
  v_after := messenger.next_wall_time(fields, v_after) - offset_after;

  v_run := least(v_before, v_moved, v_after);
  return row(v_run at time zone 'UTC', case
    when v_run = v_before and v_run + offset_before >= change + offset_after then 'first of the doubled hour'
    when v_run = v_before or (v_run = v_after and v_run + offset_after >= change + offset_before) then null
    when v_run = v_after then 'second of the doubled hour'
    when v_run = v_moved then 'moved'
  end)::messenger.cron_run;
end $$;

create or replace function messenger.find_change(timezone text, low timestamp, high timestamp)
returns timestamp
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_low timestamp := date_trunc('second', low);
  v_high timestamp := date_trunc('second', high) + interval '1 second';
  v_offset interval := ((v_low at time zone 'UTC') at time zone timezone) - v_low;
  v_middle timestamp;
begin
  while v_high - v_low > interval '1 second' loop
    v_middle := date_trunc('second', v_low + (v_high - v_low) / 2);
    if ((v_middle at time zone 'UTC') at time zone timezone) - v_middle = v_offset then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return v_high;
end $$;

-- The offset is compared with those 26 hours before and after, because no zone was ever moved by more than a day. Two
-- changes within that time are not supported. Each iteration returns a run or passes a change without runs, such as the
-- yearly one if fixed times in a gap are skipped.
create or replace function messenger.next_cron_run(
  fields messenger.cron_fields, timezone text, after timestamptz, dst_gap text, dst_overlap text
)
returns messenger.cron_run
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reach constant interval := interval '26 hours';
  v_after timestamp := after at time zone 'UTC';
  v_end constant timestamp := v_after + interval '41 years';
  v_offset interval;
  v_before interval;
  v_later interval;
  v_wall timestamp;
  v_run timestamp;
  v_from timestamp;
  v_change timestamp;
  v_found messenger.cron_run;
begin
  while v_after < v_end loop
    v_wall := (v_after at time zone 'UTC') at time zone timezone;
    v_offset := v_wall - v_after;
    v_before := ((v_after - v_reach) at time zone 'UTC') at time zone timezone - (v_after - v_reach);
    v_later := ((v_after + v_reach) at time zone 'UTC') at time zone timezone - (v_after + v_reach);
    v_run := v_after;
    v_from := v_after;
    if v_before = v_offset and v_later = v_offset then
      v_wall := messenger.next_wall_time(fields, v_wall);
      if v_wall is null then
        return null;
      end if;
      v_run := (v_wall at time zone timezone) at time zone 'UTC';
      v_offset := ((v_run at time zone 'UTC') at time zone timezone) - v_run;
      v_before := ((v_run - v_reach) at time zone 'UTC') at time zone timezone - (v_run - v_reach);
      v_later := ((v_run + v_reach) at time zone 'UTC') at time zone timezone - (v_run + v_reach);
      if v_before = v_offset and v_later = v_offset then
        return row(v_run at time zone 'UTC', null)::messenger.cron_run;
      end if;
      v_from := null;
    end if;
    if v_before <> v_offset then
      v_change := messenger.find_change(timezone, v_run - v_reach, v_run);
      v_later := v_offset;
    else
      v_change := messenger.find_change(timezone, v_run, v_run + v_reach);
    end if;
    v_found := messenger.run_near_change(
      fields, coalesce(v_from, greatest(v_after, v_change - v_reach * 2)), v_change, v_before, v_later, dst_gap,
      dst_overlap);
    if v_found.run_at is null or v_found.run_at at time zone 'UTC' <= v_change + v_reach then
      return v_found;
    end if;
    v_after := v_change + v_reach;
  end loop;
  return null;
end $$;

create or replace function messenger.cron_next(
  expression text, timezone text, after timestamptz, dst_gap text default 'run_after', dst_overlap text default 'first'
)
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run messenger.cron_run :=
    messenger.next_cron_run(messenger.parse_cron(expression), timezone, after, dst_gap, dst_overlap);
begin
  return v_run.run_at;
end $$;

comment on function messenger.run_near_change(
  messenger.cron_fields, timestamp, timestamp, interval, interval, text, text
) is
  'The first run after a moment that is close to a change of offset. Timestamps are in UTC.';
comment on function messenger.find_change(text, timestamp, timestamp) is
  'The instant between two instants of different offset at which the offset of a zone '
  'changes, to the second. Timestamps are in UTC.';
comment on function messenger.next_cron_run(messenger.cron_fields, text, timestamptz, text, text) is
  'The first run later than a moment, by the wall clock of a zone; null if there is none within 41 years. dst_gap: '
  'run_after or skip; dst_overlap: first, second or both; they apply to expressions with fixed hours only.';
comment on function messenger.cron_next(text, text, timestamptz, text, text) is
  'The first moment later than after at which the cron expression fires in the zone; null if there is none '
  'within 41 years. The zone is not validated.';
revoke all on function
  messenger.run_near_change(messenger.cron_fields, timestamp, timestamp, interval, interval, text, text),
  messenger.find_change(text, timestamp, timestamp),
  messenger.next_cron_run(messenger.cron_fields, text, timestamptz, text, text),
  messenger.cron_next(text, text, timestamptz, text, text)
from public, anon, authenticated;
grant execute on function
  messenger.run_near_change(messenger.cron_fields, timestamp, timestamp, interval, interval, text, text),
  messenger.find_change(text, timestamp, timestamp),
  messenger.next_cron_run(messenger.cron_fields, text, timestamptz, text, text),
  messenger.cron_next(text, text, timestamptz, text, text)
to service_role;

-- ---- 60_schedules/50_cron.sql
-- Parses cron expressions into masks and finds the next matching wall-clock time with them.

-- A mask is a text of 0 and 1, because one strpos call finds the next 1. Its first character stands for the lowest
-- value of the field. 7 is Sunday, as 0 is. A value that is listed twice is rejected, as in cron-parser.
create or replace function messenger.read_cron_field(field text, value text, lowest int, highest int, names text[])
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_width int := case field when 'weekday' then 7 else highest - lowest + 1 end;
  v_mask text;
  v_item text;
  v_parts text[];
  v_from int;
  v_to int;
  v_step int;
  v_union text := repeat('0', v_width);
begin
  if value = '*' or value = '?' then
    return repeat('1', v_width);
  end if;
  foreach v_item in array string_to_array(value, ',') loop
    v_parts := regexp_match(v_item, '^(?:([*?])|([0-9]{1,9}|[A-Z]{3})(?:-([0-9]{1,9}|[A-Z]{3}))?)(?:/([0-9]{1,9}))?$');
    if v_parts is null then
      perform messenger.raise_error('SM_CRON', format('%s "%s"', field, left(v_item, 40)));
    end if;
    if v_parts[1] is not null then
      v_from := lowest;
      v_to := highest;
    else
      v_from := case when v_parts[2] ~ '^[0-9]' then v_parts[2]::int
        else array_position(names, v_parts[2]) + lowest - 1 end;
      v_to := case when v_parts[3] ~ '^[0-9]' then v_parts[3]::int
        when v_parts[3] is not null then array_position(names, v_parts[3]) + lowest - 1
        when v_parts[4] is not null then highest else v_from end;
    end if;
    v_step := least(coalesce(v_parts[4]::int, 1), 100);
    if v_from is null or v_to is null or v_from < lowest or v_to > highest or v_from > v_to or v_step = 0 then
      perform messenger.raise_error('SM_CRON', format('%s "%s"', field, left(v_item, 40)));
    end if;
    if v_from = v_to then
      v_mask := overlay(repeat('0', v_width) placing '1' from (v_from - lowest) % v_width + 1 for 1);
    elsif v_step = 1 and v_to - lowest < v_width then
      v_mask := repeat('0', v_from - lowest) || repeat('1', v_to - v_from + 1)
        || repeat('0', v_width - 1 - v_to + lowest);
    else
      -- The pattern of the step from v_from on, cut after v_to. In weekdays the eighth character is Sunday again.
      v_mask := rpad(repeat('0', v_from - lowest)
        || left(repeat('1' || repeat('0', v_step - 1), (v_to - v_from) / v_step + 1), v_to - v_from + 1),
          greatest(v_width, highest - lowest + 1), '0');
      if length(v_mask) > v_width then
        v_mask := case when right(v_mask, 1) = '1' then '1' || substr(v_mask, 2, v_width - 1)
          else left(v_mask, v_width) end;
      end if;
    end if;
    if v_union = repeat('0', v_width) then
      v_union := v_mask;
    elsif (v_union::bit varying & v_mask::bit varying) <> repeat('0', v_width)::bit varying then
      perform messenger.raise_error('SM_CRON', format('%s "%s" names a value twice', field, left(value, 40)));
    else
      v_union := (v_union::bit varying | v_mask::bit varying)::text;
    end if;
  end loop;
  return v_union;
end $$;

create or replace function messenger.parse_cron(expression text)
returns messenger.cron_fields
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  -- In a Turkish collation upper('i') is a dotted capital, which no weekday name contains.
  v_expression text := upper(btrim(expression, E' \t\r\n') collate "C");
  v_parts text[];
  v_fields messenger.cron_fields;
  v_day text;
  v_weekday text;
  v_item text;
  v_last int;
begin
  if v_expression is null or octet_length(v_expression) > 1024 then
    perform messenger.raise_error('SM_CRON');
  end if;
  v_expression := case v_expression
    when '@YEARLY' then '0 0 1 1 *' when '@ANNUALLY' then '0 0 1 1 *' when '@MONTHLY' then '0 0 1 * *'
    when '@WEEKLY' then '0 0 * * 0'
    when '@DAILY' then '0 0 * * *' when '@MIDNIGHT' then '0 0 * * *' when '@HOURLY' then '0 * * * *'
    else v_expression end;
  v_parts := regexp_split_to_array(v_expression, '[ \t\r\n]+');
  if cardinality(v_parts) = 5 then
    v_parts := array_prepend('0', v_parts);
  elsif cardinality(v_parts) <> 6 then
    perform messenger.raise_error('SM_CRON', case when v_expression = '' then 'the expression is empty'
      when left(v_expression, 1) = '@' then quote_ident(left(lower(v_expression), 40))
      else cardinality(v_parts) || ' fields' end);
  end if;

  v_fields.seconds := messenger.read_cron_field('second', v_parts[1], 0, 59, null);
  v_fields.minutes := messenger.read_cron_field('minute', v_parts[2], 0, 59, null);
  v_fields.hours := messenger.read_cron_field('hour', v_parts[3], 0, 23, null);
  v_fields.months := messenger.read_cron_field('month', v_parts[5], 1, 12,
    '{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}');

  if v_parts[4] || ' ' || v_parts[6] ~ '(^|[, ]),|,( |$)' then
    perform messenger.raise_error('SM_CRON', format('"%s" has an empty element in a list', left(v_expression, 80)));
  end if;
  v_day := v_parts[4];
  v_fields.last_day := false;
  if strpos(v_day, 'L') > 0 then
    v_fields.last_day := true;
    if v_day <> 'L' then
      v_day := regexp_replace(v_day, '^L,|,L(?=,|$)', '');
    end if;
  end if;
  v_fields.days := case when v_day = 'L' then repeat('0', 31)
    else messenger.read_cron_field('day', v_day, 1, 31, null) end;

  v_weekday := v_parts[6];
  v_fields.nth := 0;
  v_fields.last_weekdays := '0000000';
  if strpos(v_weekday, '#') > 0 then
    if v_weekday !~ '^([*?]|[0-9]|[A-Z]{3})#[1-5]$' then
      perform messenger.raise_error('SM_CRON', format('weekday "%s"', left(v_weekday, 40)));
    end if;
    v_fields.nth := right(v_weekday, 1)::int;
    v_weekday := left(v_weekday, -2);
  elsif strpos(v_weekday, 'L') > 0 then
    foreach v_item in array string_to_array(v_weekday, ',') loop
      continue when v_item !~ '^([0-9]|[A-Z]{3})L$';
      v_last := strpos(messenger.read_cron_field('weekday', left(v_item, -1), 0, 7, '{SUN,MON,TUE,WED,THU,FRI,SAT}'),
        '1');
      v_fields.last_weekdays := overlay(v_fields.last_weekdays placing '1' from v_last for 1);
    end loop;
    v_weekday := array_to_string(array(
      select i.item from unnest(string_to_array(v_weekday, ',')) with ordinality as i(item, ord)
      where i.item !~ '^([0-9]|[A-Z]{3})L$' order by i.ord), ',');
  end if;
  v_fields.weekdays := case when v_weekday = '' and v_parts[6] <> '' then '0000000'
    else messenger.read_cron_field('weekday', v_weekday, 0, 7, '{SUN,MON,TUE,WED,THU,FRI,SAT}') end;

  -- If both day fields restrict, a day that matches either counts. If only one does, the other is ignored.
  if v_parts[6] in ('*', '?') then
    v_fields.weekdays := '0000000';
  elsif v_parts[4] in ('*', '?') then
    v_fields.days := repeat('0', 31);
  end if;
  v_fields.first_second := strpos(v_fields.seconds, '1') - 1;
  v_fields.first_minute := strpos(v_fields.minutes, '1') - 1;
  v_fields.first_hour := strpos(v_fields.hours, '1') - 1;
  v_fields.elapsed := v_parts[3] ~ '^[*?]' and strpos(substr(v_fields.hours, 2), '1') > 0
    or v_fields.hours = repeat('1', 24);
  return v_fields;
end $$;

-- Ends after 41 years: the 29th of February falls on a given weekday at least once every 40.
create or replace function messenger.next_cron_day(fields messenger.cron_fields, from_day date)
returns date
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first date := date_trunc('month', from_day::timestamp)::date;
  v_from int := from_day - v_first + 1;
  v_month int := extract(month from from_day)::int;
  v_skip int;
  v_length int;
  v_offset int;
  v_weekdays text;
  v_last_weekdays text;
  v_day int;
begin
  for v_turn in 1..500 loop
    v_skip := strpos(substr(fields.months || fields.months, v_month), '1') - 1;
    if v_skip > 0 then
      v_first := (v_first + v_skip * interval '1 month')::date;
      v_month := (v_month + v_skip - 1) % 12 + 1;
      v_from := 1;
    end if;
    exit when v_first > from_day + 14975;
    v_length := (v_first + interval '1 month')::date - v_first;
    -- 2000-01-02 was a Sunday.
    v_offset := ((v_first - date '2000-01-02') % 7 + 7) % 7;
    v_weekdays := substr(repeat(fields.weekdays, 6), v_offset + 1, v_length);
    if fields.nth > 0 then
      v_weekdays := repeat('0', fields.nth * 7 - 7) || substr(v_weekdays, fields.nth * 7 - 6, 7);
    end if;
    v_last_weekdays := repeat('0', v_length - 7) || substr(repeat(fields.last_weekdays, 6), v_offset + v_length - 6, 7);
    v_day := least(
      nullif(strpos(substr(fields.days, v_from, v_length - v_from + 1), '1'), 0),
      nullif(strpos(substr(v_weekdays, v_from), '1'), 0),
      nullif(strpos(substr(v_last_weekdays, v_from), '1'), 0),
      case when fields.last_day then v_length - v_from + 1 end);
    if v_day is not null then
      return v_first + (v_from + v_day - 2);
    end if;
    v_first := (v_first + interval '1 month')::date;
    v_month := v_month % 12 + 1;
    v_from := 1;
  end loop;
  return null;
end $$;

create or replace function messenger.next_wall_time(fields messenger.cron_fields, after timestamp)
returns timestamp
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from timestamp := date_trunc('second', after) + interval '1 second';
  v_today date := v_from::date;
  v_day date := messenger.next_cron_day(fields, v_today);
  v_time int;
  v_hour int;
  v_minute int;
  v_position int;
begin
  if v_day = v_today then
    v_time := extract(epoch from v_from - v_today::timestamp)::int;
    v_hour := v_time / 3600;
    v_minute := v_time / 60 % 60;
    if substr(fields.hours, v_hour + 1, 1) = '1' then
      if substr(fields.minutes, v_minute + 1, 1) = '1' then
        v_position := strpos(substr(fields.seconds, v_time % 60 + 1), '1');
        if v_position > 0 then
          return v_from + (v_position - 1) * interval '1 second';
        end if;
      end if;
      v_position := strpos(substr(fields.minutes, v_minute + 2), '1');
      if v_position > 0 then
        return v_today + make_interval(hours => v_hour, mins => v_minute + v_position, secs => fields.first_second);
      end if;
    end if;
    v_position := strpos(substr(fields.hours, v_hour + 2), '1');
    if v_position > 0 then
      return v_today + make_interval(hours => v_hour + v_position, mins => fields.first_minute,
        secs => fields.first_second);
    end if;
    v_day := messenger.next_cron_day(fields, v_today + 1);
  end if;
  return v_day + make_interval(hours => fields.first_hour, mins => fields.first_minute, secs => fields.first_second);
end $$;

comment on function messenger.read_cron_field(text, text, int, int, text[]) is
  'One field of a cron expression, in upper case, as a mask. Raises SM_CRON with the part that is not understood.';
comment on function messenger.parse_cron(text) is
  'A cron expression of 5 or 6 fields (seconds first), or @yearly, @annually, @monthly, @weekly, @daily, '
  '@midnight or @hourly, as masks. Raises SM_CRON.';
comment on function messenger.next_cron_day(messenger.cron_fields, date) is
  'The first matching day from from_day on; null if there is none within 41 years.';
comment on function messenger.next_wall_time(messenger.cron_fields, timestamp) is
  'The first matching wall-clock time later than after, ignoring changes of '
  'offset; null if there is none within 41 years.';
revoke all on function
  messenger.read_cron_field(text, text, int, int, text[]),
  messenger.parse_cron(text),
  messenger.next_cron_day(messenger.cron_fields, date),
  messenger.next_wall_time(messenger.cron_fields, timestamp)
from public, anon, authenticated;
grant execute on function
  messenger.read_cron_field(text, text, int, int, text[]),
  messenger.parse_cron(text),
  messenger.next_cron_day(messenger.cron_fields, date),
  messenger.next_wall_time(messenger.cron_fields, timestamp)
to service_role;

-- ---- 70_ticker/10_start.sql
-- Starts and stops the ticker, the pg_cron job symphony-clock.

create or replace function messenger.milliseconds(setting text)
returns numeric
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when setting ~ '^[0-9]+$' then setting::numeric
  else extract(epoch from setting::interval) * 1000 end $$;

-- A statement_timeout below 100 ms ends the job before its first tick. Sessions of pg_cron take the setting of the role
-- in this database, else that of the role, else that of the database.
create or replace function messenger.ticker_setting_fault(out cause text, out remedy text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting record;
begin
  select split_part(c.value, '=', 2) as value, s.setrole <> 0 as is_role, s.setdatabase <> 0 as is_database
  into v_setting
  from pg_catalog.pg_db_role_setting s cross join lateral unnest(s.setconfig) as c(value)
  where s.setrole in (0, (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user))
    and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
    and split_part(c.value, '=', 1) = 'statement_timeout'
  order by s.setrole = 0, s.setdatabase = 0
  limit 1;
  if messenger.milliseconds(v_setting.value) between 1 and 99 then
    cause := format('statement_timeout = %s of %s ends the job symphony-clock before its first tick', v_setting.value,
      case when v_setting.is_role then 'role ' || current_user else 'database ' || current_database() end);
    remedy := format('alter role %I%s set statement_timeout = %L', current_user,
      case when v_setting.is_role and v_setting.is_database
        then format(' in database %I', current_database()) else '' end, '2min');
  end if;
end $$;

create or replace function messenger.start(functions_url text, options jsonb)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := rtrim(functions_url, '/');
  v_options jsonb := coalesce(options, '{}');
  v_unknown text;
  v_settings messenger.settings;
  v_has_cron boolean := to_regclass('cron.job') is not null;
  v_secret record;
  v_wakeups_remedy text;
  v_clock_remedy text;
begin
  perform messenger.require_writable();
  if jsonb_typeof(v_options) <> 'object' then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'options must be a JSON object', 'pass {} to keep all settings');
  end if;
  select o.key into v_unknown from jsonb_object_keys(v_options) as o(key)
  where o.key not in ('max_workers', 'messages_per_worker', 'poll_interval', 'max_unfinished_per_user') limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'options.' || v_unknown,
      'the options are max_workers, messages_per_worker, poll_interval and max_unfinished_per_user');
  end if;
  perform messenger.check_start(v_url, v_options);

  v_secret := messenger.ensure_worker_secret();
  perform messenger.ensure_singletons(), messenger.ensure_transports(), messenger.ensure_own_types();
  update messenger.settings s
  set functions_url = coalesce(v_url, s.functions_url),
      clock_enabled = true,
      clock_changed_at = messenger.now(),
      max_workers = coalesce((v_options ->> 'max_workers')::numeric, s.max_workers),
      messages_per_worker = coalesce((v_options ->> 'messages_per_worker')::numeric, s.messages_per_worker),
      poll_interval = coalesce((v_options ->> 'poll_interval')::interval, s.poll_interval),
      max_unfinished_per_user = coalesce((v_options ->> 'max_unfinished_per_user')::numeric, s.max_unfinished_per_user)
  returning * into v_settings;
  if v_has_cron then
    perform cron.schedule('symphony-clock', messenger.job_schedule(), messenger.ticker_command());
    perform messenger.sync_handlers_job();
    v_clock_remedy := (select f.cause || ': ' || f.remedy from messenger.ticker_setting_fault() f);
  else
    v_clock_remedy := 'no pg_cron: create extension pg_cron, or let an external scheduler POST to the scheduler edge '
      'function once per '
      'minute';
  end if;

  v_wakeups_remedy := case
    when v_settings.functions_url is null
      then 'no functions URL: select messenger_start(''https://<project>.supabase.co/functions/v1'')'
    when to_regclass('net.http_request_queue') is null then 'no pg_net: create extension pg_net'
    when not v_secret.is_readable then v_secret.fault
    else 'pg_net cannot be called: ' || messenger.wakeup_fault()
  end;
  return jsonb_build_object(
    'clock', v_has_cron, 'wakeups', v_wakeups_remedy is null, 'functions_url', v_settings.functions_url,
    'worker_secret', v_secret.is_readable)
    || case when v_wakeups_remedy is null then '{}' else jsonb_build_object('wakeups_remedy', v_wakeups_remedy) end
    || case when v_clock_remedy is null then '{}' else jsonb_build_object('clock_remedy', v_clock_remedy) end;
end $$;

create or replace function messenger.stop()
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unscheduled bigint := 0;
begin
  perform messenger.require_writable();
  perform messenger.ensure_singletons();
  update messenger.settings s set clock_enabled = false,
    clock_changed_at = case when s.clock_enabled then messenger.now() else s.clock_changed_at end;
  if to_regclass('cron.job') is not null then
    perform cron.unschedule(j.jobid) from cron.job j where j.jobname in ('symphony-clock', 'symphony-handlers');
    get diagnostics v_unscheduled = row_count;
  end if;
  return jsonb_build_object('clock', false, 'unscheduled', v_unscheduled);
end $$;

create or replace function public.messenger_start(functions_url text default null, options jsonb default '{}')
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.start(functions_url, options) $$;

create or replace function public.messenger_stop()
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.stop() $$;

comment on function messenger.milliseconds(text) is
  'The value of a duration setting, as Postgres stores it, in milliseconds.';
comment on function messenger.ticker_setting_fault() is
  'The setting that stops the ticker and its remedy; both null if there is none.';
comment on function messenger.start(text, jsonb) is 'See public.messenger_start.';
comment on function messenger.stop() is 'See public.messenger_stop.';
comment on function public.messenger_start(text, jsonb) is
  'Starts the ticker and creates missing rows: the pg_cron job symphony-clock (and symphony-handlers while a type has '
  'an SQL handler), the worker secret in Vault, transports, types and settings. functions_url is the base URL of the '
  'edge functions; null keeps the stored URL, and without one no wake-ups are sent. options: max_workers, '
  'messages_per_worker, poll_interval (an interval), max_unfinished_per_user; those left out keep their values. '
  'Returns {"clock", "wakeups", "functions_url", "worker_secret", "wakeups_remedy"?, "clock_remedy"?}. Raises '
  'SM_SETTING, SM_UNKNOWN_FIELD, SM_UNAVAILABLE. Example: select '
  'messenger_start(''https://abcdefgh.supabase.co/functions/v1'', ''{"max_workers": 4}'');';
comment on function public.messenger_stop() is
  'Stops the ticker; a running job ends within a second. Messages stay, and workers that are '
  'called by other means still handle them. Returns {"clock": false, "unscheduled": number of '
  'pg_cron jobs}. Example: select messenger_stop();';
revoke all on function
  messenger.milliseconds(text),
  messenger.ticker_setting_fault(),
  messenger.start(text, jsonb),
  messenger.stop(),
  public.messenger_start(text, jsonb),
  public.messenger_stop()
from public, anon, authenticated, service_role;
grant execute on function
  messenger.start(text, jsonb),
  messenger.stop(),
  public.messenger_start(text, jsonb),
  public.messenger_stop()
to service_role;

-- ---- 70_ticker/20_tick.sql
-- The tick: the work of the ticker, once per second. Several ticks may run at the same time.

-- Another tick may hold the row in a transaction that stays open; then the error is not recorded, instead of waiting.
create or replace function messenger.note_step_error(step text, error text, sqlstate text, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if exists (select from messenger.step_errors e where e.step = note_step_error.step) then
    update messenger.step_errors e set error = left(note_step_error.error, 1000), sqlstate = note_step_error.sqlstate,
      at = note_step_error.at, failures = e.failures + 1,
      repeats = case when e.at > note_step_error.at - interval '5 minutes' then e.repeats + 1 else 1 end
    where e.step in (
      select x.step from messenger.step_errors x where x.step = note_step_error.step for update skip locked);
  else
    insert into messenger.step_errors (step, error, sqlstate, at) values (step, left(error, 1000), sqlstate, at)
    on conflict on constraint step_errors_pkey do nothing;
  end if;
  update messenger.clock c set last_error = left(step || ': ' || error, 1000), last_error_at = note_step_error.at
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
exception when others then
  raise log 'symphony: the error of step % of the tick could not be recorded: %', step, error;
end $$;

-- Each tick inserts a row of its own, so that no tick waits for the row of another.
create or replace function messenger.note_tick(
  at timestamptz, started_at timestamptz, slowest_step text, slowest interval
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.ticks (at, duration_ms, slowest_step, slowest_ms)
  values (note_tick.at, extract(epoch from clock_timestamp() - started_at) * 1000, note_tick.slowest_step,
    extract(epoch from slowest) * 1000);
  delete from messenger.ticks t
  where t.id in (
    select x.id from messenger.ticks x
    where x.at not between note_tick.at - interval '5 minutes' and note_tick.at + interval '5 minutes'
    for update skip locked);
  update messenger.clock c set last_tick_at = note_tick.at, ticks = c.ticks + 1
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  if not found and not exists (select from messenger.clock) then
    insert into messenger.clock (last_tick_at, ticks) values (note_tick.at, 1)
    on conflict on constraint clock_pkey do nothing;
  end if;
end $$;

-- After 900 ms each remaining step does one chunk: with a backlog everywhere there are still 55 ticks per minute, and
-- no step is left out. A failing step is undone alone; deferred constraints are checked within it. Steps skip locked
-- rows; lock_timeout covers locks that cannot be skipped, such as a table that the project is altering. Definer: it
-- reads Vault, calls pg_net and prunes pg_cron's rows, which service_role cannot.
create or replace function messenger.run_steps(batch int, without text[])
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '25ms'
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
  v_started_at timestamptz := clock_timestamp();
  v_figures jsonb := jsonb_build_object(
    'expanded', 0, 'failed', 0, 'rescued', 0, 'dead', 0, 'woken', 0, 'relayed', 0, 'pruned', 0);
  v_errors jsonb := '{}'::jsonb;
  v_step record;
  v_step_at timestamptz;
  v_result jsonb;
  v_error text;
  v_state text;
  v_slowest_step text;
  v_slowest interval := interval '0';
begin
  for v_step in select * from messenger.steps() s where s.name <> all (without) loop
    v_step_at := clock_timestamp();
    begin
      v_result := messenger.run_step(v_step.name, v_now, batch,
        least(v_step_at + v_step.budget, v_started_at + interval '900 ms'));
      set constraints all immediate;
      v_figures := messenger.add_figures(v_figures, v_result);
    exception when others or query_canceled or assert_failure then
      get stacked diagnostics v_error = message_text, v_state = returned_sqlstate;
      perform messenger.note_step_error(v_step.name, v_error, v_state, v_now);
      v_errors := v_errors || jsonb_build_object(v_step.name, v_error);
    end;
    if clock_timestamp() - v_step_at > v_slowest then
      v_slowest_step := v_step.name;
      v_slowest := clock_timestamp() - v_step_at;
    end if;
  end loop;
  begin
    perform messenger.note_tick(v_now, v_started_at, v_slowest_step, v_slowest);
  exception when others then
    perform messenger.note_step_error('note_tick', sqlerrm, sqlstate, v_now);
  end;
  return v_figures || case when v_errors = '{}' then '{}' else jsonb_build_object('errors', v_errors) end;
end $$;

create or replace function messenger.tick(batch int)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch int := coalesce(batch, 100);
begin
  perform messenger.require_writable();
  if v_batch not between 1 and 10000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'batch must be a number from 1 to 10000',
      remedy => 'default: 100');
  end if;
  return messenger.run_steps(
    v_batch, case when messenger.is_handlers_job_running() then '{sql_handlers}' else '{}' end::text[]);
end $$;

create or replace function public.messenger_tick(batch int default 100)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.tick(batch) $$;

-- The project may have locked the table, and its row may be missing. Because the job
-- is running, the ticker counts as enabled then.
create or replace function messenger.is_ticker_enabled()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((select s.clock_enabled from messenger.settings s), true);
exception when lock_not_available then
  return true;
end $$;

-- The command of the pg_cron job. A handler that hangs or ends its backend would stop the ticker, so SQL handlers run
-- in a job of their own wherever there is pg_cron.
create or replace function messenger.tick_or_note_error()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '25ms'
as $$
begin
  begin
    perform messenger.run_steps(
      100, case when to_regclass('cron.job') is null then '{}' else '{sql_handlers}' end::text[]);
  exception when others then
    perform messenger.note_step_error('tick', sqlerrm, sqlstate, messenger.now());
  end;
  return messenger.is_ticker_enabled();
end $$;

comment on function messenger.note_step_error(text, text, text, timestamptz) is
  'Records the error of a step of the tick.';
comment on function messenger.note_tick(timestamptz, timestamptz, text, interval) is
  'Records a tick with its duration and slowest step, and deletes ticks that are more than five minutes old.';
comment on function messenger.run_steps(int, text[]) is
  'Runs the steps of a tick, each in its own subtransaction, except those in without. '
  'Returns the figures of public.messenger_tick.';
comment on function messenger.tick(int) is 'See public.messenger_tick.';
comment on function public.messenger_tick(int) is
  'Runs one tick: requeues messages with expired leases, stores messages of due schedules, wakes workers, prunes, and '
  'runs SQL handlers if the job symphony-handlers is not running. batch: messages per chunk, 1 to 10000. Returns '
  'counts of messages: {"expanded" (stored by schedules), "failed" (expired or cancelled), "rescued" (requeued), '
  '"dead" (moved to the dead letters), "woken" (wake-ups sent), "relayed", "pruned"}, and "errors" by step if a step '
  'failed; the other steps still run. Raises SM_BATCH, SM_UNAVAILABLE. Example: select messenger_tick();';
comment on function messenger.is_ticker_enabled() is
  'True if messenger_start was called after the last messenger_stop.';
comment on function messenger.tick_or_note_error() is
  'Runs a tick and records its errors instead of raising them. Returns whether the ticker is still enabled.';
revoke all on function
  messenger.note_step_error(text, text, text, timestamptz),
  messenger.note_tick(timestamptz, timestamptz, text, interval),
  messenger.run_steps(int, text[]),
  messenger.tick(int),
  public.messenger_tick(int),
  messenger.is_ticker_enabled(),
  messenger.tick_or_note_error()
from public, anon, authenticated, service_role;
grant execute on function messenger.tick(int), public.messenger_tick(int) to service_role;

-- ---- 70_ticker/25_steps.sql
-- The steps of a tick: their order, their time budgets, and the function that each calls.

-- A step checks its time between two chunks and leaves the rest to the next tick. Messages become due before workers
-- are woken. User code runs last, and not in the ticker if pg_cron can run the job symphony-handlers.
create or replace function messenger.steps()
returns table (name text, budget interval)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  values ('rescue', interval '300 ms'), ('unblock', '50 ms'), ('route', '50 ms'), ('replays', '50 ms'),
    ('schedules', '300 ms'),
    ('overdue_handlers', '20 ms'), ('handlers_job', '20 ms'), ('wake', '50 ms'), ('roll_up', '150 ms'),
    ('roll_up_steps', '50 ms'),
    ('prune_messages', '150 ms'), ('prune_dead_letters', '150 ms'), ('prune_keys', '150 ms'),
    ('prune_occurrences', '150 ms'),
    ('prune_schedules', '50 ms'), ('prune_replays', '20 ms'), ('prune_workers', '20 ms'), ('prune_counts', '20 ms'),
    ('prune_metrics', '20 ms'), ('prune_wakeups', '20 ms'), ('prune_ordering_keys', '40 ms'),
    ('prune_locks', '20 ms'), ('prune_job_history', '20 ms'), ('set_aside', '20 ms'), ('sql_handlers', '500 ms')
$$;

create or replace function messenger.run_step(step text, at timestamptz, batch int, ends_at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  case step
    when 'rescue' then
      return (select jsonb_build_object('rescued', r.rescued, 'dead', r.dead, 'failed', r.finished)
        from messenger.rescue(at, ends_at) r);
    when 'unblock' then perform messenger.unblock_stuck(at, 1000, ends_at);
    when 'route' then perform messenger.route_due(at, 200, ends_at);
    when 'replays' then perform messenger.watch_replays(at, ends_at);
    when 'schedules' then return jsonb_build_object('expanded',
      messenger.expand_schedules(at, greatest(batch, 1000), ends_at));
    when 'overdue_handlers' then perform messenger.cancel_overdue_handlers();
    when 'handlers_job' then perform messenger.sync_handlers_job();
    when 'wake' then return jsonb_build_object('woken', messenger.wake(at));
    when 'roll_up' then perform messenger.roll_up(at, ends_at);
    when 'roll_up_steps' then perform messenger.roll_up_steps(at, ends_at);
    when 'prune_messages' then
      return messenger.prune(step, 'public.messenger_messages', 'find_finished_messages', at, 10 * batch, ends_at);
    when 'prune_dead_letters' then
      return messenger.prune(
        step, 'public.messenger_failed_messages', 'find_resolved_dead_letters', at, 10 * batch, ends_at);
    when 'prune_keys' then
      return messenger.prune(step, 'messenger.idempotency_keys', 'find_spent_keys', at, 10 * batch, ends_at);
    when 'prune_occurrences' then
      return messenger.prune(step, 'messenger.occurrences', 'find_old_occurrences', at, 10 * batch, ends_at);
    when 'prune_schedules' then
      return messenger.prune(step, 'public.messenger_schedules', 'find_fired_schedules', at, 10 * batch, ends_at);
    when 'prune_replays' then perform messenger.prune_replays(at, batch);
    when 'prune_workers' then perform messenger.prune_workers(at);
    when 'prune_counts' then perform messenger.prune_counts();
    when 'prune_metrics' then perform messenger.prune_metrics(at, 10 * batch);
    when 'prune_wakeups' then perform messenger.prune_wakeups(10 * batch);
    when 'prune_ordering_keys' then perform messenger.prune_ordering_keys(at, 20 * batch);
    when 'prune_locks' then perform messenger.prune_wakeup_locks(at, batch), messenger.prune_senders(at, 20 * batch);
    when 'prune_job_history' then perform messenger.prune_ticker_history()
      where (select c.ticks % 3600 = 0 from messenger.clock c);
    when 'set_aside' then perform messenger.forget_set_aside(at, batch);
    when 'sql_handlers' then perform messenger.run_sql_handlers(batch);
  end case;
  return null;
end $$;

comment on function messenger.steps() is 'The steps of a tick in their order, each with its time budget.';
comment on function messenger.run_step(text, timestamptz, int, timestamptz) is
  'Runs one step with this chunk size until about ends_at. Returns the figures '
  'it adds to the reply of the tick, or null.';
revoke all on function
  messenger.steps(),
  messenger.run_step(text, timestamptz, int, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 70_ticker/27_jobs.sql
-- The two pg_cron jobs: the ticker (symphony-clock) and the runner of SQL handlers (symphony-handlers).

-- Both commands are DO blocks, which may commit; a procedure with a pinned
-- search_path may not (tried). A run lasts about a minute.

-- pg_cron 1.5 and later accept seconds: a run that has ended, or whose backend was lost, is followed by another within
-- five seconds. Earlier versions start one per minute, and their launcher waits for the end of a running job before it
-- checks any other (pg_cron issue 200).
create or replace function messenger.job_schedule()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when exists (
      select from pg_catalog.pg_extension e
      where e.extname = 'pg_cron' and array[split_part(e.extversion, '.', 1)::int,
        substring(split_part(e.extversion, '.', 2) from '^[0-9]+')::int] >= '{1,5}')
    then '5 seconds' else '* * * * *' end
$$;

create or replace function messenger.job_ends_at(started_at timestamptz)
returns timestamptz
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select date_bin('1 minute', started_at + interval '10 seconds', '2000-01-01 00:00+00') + interval '59 seconds' $$;

-- While an SQL handler runs, the ticker keeps running: it cancels a handler that hangs, and an old launcher would not
-- start the ticker again before the handler has ended.
create or replace function messenger.may_end(ends_at timestamptz)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return clock_timestamp() >= ends_at and not exists (
    select from messenger.sql_runners r where r.message_id is not null
      and messenger.is_backend_alive(r.pid, r.backend_start));
exception when lock_not_available then
  return false;
end $$;

-- Overrides settings of the role or database that a job cannot run with. They apply from the next transaction on,
-- because the current one may be read only.
create or replace function messenger.prepare_job()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- In a stricter isolation level, a row changed since the snapshot raises an error where "skip locked" must continue.
  perform set_config('default_transaction_isolation', 'read committed', false),
    set_config('default_transaction_read_only', 'off', false);
  if current_setting('transaction_timeout', true) is not null then
    perform set_config('transaction_timeout', '0', false);
  end if;
end $$;

-- A DO block is one statement. statement_timeout fires once, counted from the start of the block, and cannot be set
-- again inside. Within a sleep it can be caught, and it does not fire again before the next statement. So the job
-- sleeps through it, from two seconds before. Returns the moment of the timeout, or null once it is over.
create or replace function messenger.outlive_statement_timeout(timeout_at timestamptz)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if timeout_at > clock_timestamp() + interval '2 seconds' then
    return timeout_at;
  elsif timeout_at is not null then
    perform pg_sleep(extract(epoch from timeout_at - clock_timestamp()) + 0.1);
  end if;
  return null;
exception when query_canceled then
  return null;
end $$;

-- A tick begins at each full second, or immediately if the previous one took longer.
create or replace function messenger.ticker_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_timeout_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := messenger.job_ends_at(clock_timestamp());
  v_next_at timestamptz;
begin
  perform messenger.prepare_job();
  commit;
  loop
    v_timeout_at := messenger.outlive_statement_timeout(v_timeout_at);
    commit;
    v_next_at := date_trunc('second', clock_timestamp()) + interval '1 second';
    exit when not messenger.tick_or_note_error();
    commit;
    exit when messenger.may_end(v_ends_at);
    perform pg_sleep(extract(epoch from v_next_at - clock_timestamp()));
  end loop;
end $$$job$
$command$;

-- A claim is committed before its handler runs. The job sleeps only if there is no work.
create or replace function messenger.handlers_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_timeout_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := messenger.job_ends_at(clock_timestamp());
  v_message messenger.claimed;
  v_goes_on boolean;
begin
  perform messenger.prepare_job();
  commit;
  loop
    v_timeout_at := messenger.outlive_statement_timeout(v_timeout_at);
    commit;
    v_goes_on := clock_timestamp() < v_ends_at and messenger.is_ticker_enabled();
    v_message := messenger.work_off(v_message, v_goes_on, v_timeout_at);
    commit;
    continue when v_message.id is not null;
    exit when not v_goes_on;
    perform pg_sleep(1);
  end loop;
end $$$job$
$command$;

-- The job is needed while a type has an SQL handler, while a function is subscribed to an
-- event, and until all stored events are handled.
create or replace function messenger.needs_handlers_job()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
  return exists (select from messenger.message_types k where k.sql_handler is not null and k.type <> 'symphony.event')
    or exists (select from messenger.subscriptions s where s.kind = 'function')
    or exists (select from public.messenger_messages m where m.transport_name = 'supabase' and m.queue_name = 'events'
      and m.processed_at is null);
end $$;

-- Definer: pg_cron runs a job as the role that scheduled it, which must be the owner. Unscheduling a job ends its
-- backend, so it waits until no handler runs.
create or replace function messenger.sync_handlers_job()
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_job record;
  v_is_wanted boolean;
begin
  if to_regclass('cron.job') is null then
    return;
  end if;
  select j.jobid, j.schedule, j.command into v_job from cron.job j where j.jobname = 'symphony-handlers';
  v_is_wanted := coalesce((select s.clock_enabled from messenger.settings s), false) and messenger.needs_handlers_job();
  if v_is_wanted and (v_job.command, v_job.schedule) is distinct from (messenger.handlers_command(),
    messenger.job_schedule()) then
    perform cron.schedule('symphony-handlers', messenger.job_schedule(), messenger.handlers_command());
  elsif v_job.jobid is not null and not v_is_wanted and messenger.may_end('-infinity') then
    perform cron.unschedule(v_job.jobid);
  end if;
end $$;

comment on function messenger.job_schedule() is
  'The schedule of both jobs: every five seconds if pg_cron accepts seconds, else every minute.';
comment on function messenger.job_ends_at(timestamptz) is 'When a run that started then ends: at second 59.';
comment on function messenger.may_end(timestamptz) is 'True if ends_at has passed and no SQL handler is running.';
comment on function messenger.prepare_job() is
  'Makes the session of a job read committed and writable, overriding settings of the role or database.';
comment on function messenger.outlive_statement_timeout(timestamptz) is
  'Sleeps through the statement_timeout of a job shortly before it fires. Returns the '
  'moment of the timeout, or null once it is over.';
comment on function messenger.ticker_command() is
  'The command of the pg_cron job symphony-clock: one tick per second, each in '
  'its own transaction. It contains no secret.';
comment on function messenger.handlers_command() is
  'The command of the pg_cron job symphony-handlers: runs SQL handlers, each message in '
  'its own transaction. It contains no secret.';
comment on function messenger.needs_handlers_job() is 'True if the job symphony-handlers has or may get work.';
comment on function messenger.sync_handlers_job() is
  'Schedules the job symphony-handlers while the ticker is enabled and the '
  'job is needed, and unschedules it otherwise.';
revoke all on function
  messenger.job_schedule(),
  messenger.job_ends_at(timestamptz),
  messenger.may_end(timestamptz),
  messenger.prepare_job(),
  messenger.outlive_statement_timeout(timestamptz),
  messenger.ticker_command(),
  messenger.handlers_command(),
  messenger.needs_handlers_job(),
  messenger.sync_handlers_job()
from public, anon, authenticated, service_role;

-- ---- 70_ticker/30_rescue.sql
-- Rescue: requeues messages with an expired lease and finishes expired messages, in all queues. A claim does the same
-- for the queues that it scans, so rescue matters where no worker polls.

-- The caller has locked the rows. The disposition of each is decided by the row as it is now.
create or replace function messenger.rescue_messages(ids uuid[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_dispositions text[];
  v_lost uuid[];
begin
  select array_agg(t.id), array_agg(t.disposition) into v_ids, v_dispositions
  from (
    select m.id, case
        when m.expires_at <= rescue_messages.at then 'expired'
        when m.cancel_requested_at is not null then 'cancelled'
        when m.retry_count >= m.max_retries then 'exhausted'
        else 'lost'
      end as disposition
    from public.messenger_messages m where m.id = any (ids)
    order by m.id
  ) t;
  perform messenger.finish_undeliverable(v_ids, v_dispositions, rescue_messages.at);
  v_lost := array(select x.id from unnest(v_ids, v_dispositions) as x(id, disposition) where x.disposition = 'lost');
  perform messenger.note_lost_leases(v_lost, 'retried', rescue_messages.at);
  update public.messenger_messages m
  set status = 'pending', available_at = rescue_messages.at, updated_at = rescue_messages.at, locked_at = null,
      locked_by = null, lock_expires_at = null,
      retry_count = m.retry_count + 1, lease_losses = m.lease_losses + 1, error_class = 'LeaseExpired',
      last_error = 'the lease ran out without an outcome'
  where m.id = any (v_lost);
  perform messenger.emit('retried', v_lost, rescue_messages.at);
  return jsonb_build_object('rescued', cardinality(v_lost), 'dead',
    cardinality(array_positions(v_dispositions, 'exhausted')),
    'failed', cardinality(array_positions(v_dispositions, 'expired'))
      + cardinality(array_positions(v_dispositions, 'cancelled')));
end $$;

-- Another tick may hold the cursor in a transaction that stays open; then the
-- next tick scans from the same position again.
create or replace function messenger.move_rescue_cursor(
  transport text, queue text, priority int, available_at timestamptz, id uuid
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_is_held boolean;
begin
  perform from messenger.rescue_cursors c
  where c.transport_name = transport and c.queue_name = queue and c.priority = move_rescue_cursor.priority
  for update skip locked;
  v_is_held := found;
  if id is null then
    delete from messenger.rescue_cursors c
    where v_is_held and c.transport_name = transport and c.queue_name = queue
      and c.priority = move_rescue_cursor.priority;
  elsif v_is_held then
    update messenger.rescue_cursors c set available_at = move_rescue_cursor.available_at, id = move_rescue_cursor.id
    where c.transport_name = transport and c.queue_name = queue and c.priority = move_rescue_cursor.priority;
  elsif not exists (
    select from messenger.rescue_cursors c where c.transport_name = transport and c.queue_name = queue
      and c.priority = move_rescue_cursor.priority) then
    insert into messenger.rescue_cursors
    values (transport, queue, move_rescue_cursor.priority, move_rescue_cursor.available_at, move_rescue_cursor.id)
    on conflict on constraint rescue_cursors_pkey do nothing;
  end if;
end $$;

-- Scans the first thousand due entries of each queue and priority, from the position where the last scan stopped, so
-- longer queues are scanned in turns. Queues are visited in random order: a queue whose messages use up the time of
-- every tick would otherwise starve the others.
create or replace function messenger.rescue(at timestamptz, ends_at timestamptz default 'infinity')
returns table (rescued bigint, dead bigint, finished bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_pair record;
  v_from messenger.rescue_cursors;
  v_seen int;
  v_last_at timestamptz;
  v_last_id uuid;
  v_ids uuid[];
  v_rows text[];
  v_figures jsonb;
begin
  <<queues>>
  for v_pair in select * from messenger.due_queues(at, halted => true) order by random() loop
    for v_priority in 1..10 loop
      select * into v_from from messenger.rescue_cursors c
      where c.transport_name = v_pair.transport_name and c.queue_name = v_pair.queue_name and c.priority = v_priority;

      with scanned as materialized (
        select m.id, m.available_at, m.status = 'processing' and m.lock_expires_at < rescue.at as is_lost,
          m.expires_at <= rescue.at as is_expired
        from public.messenger_messages m
        where m.transport_name = v_pair.transport_name and m.queue_name = v_pair.queue_name and m.priority = v_priority
          and m.processed_at is null and m.available_at <= rescue.at
          and (m.available_at, m.id) > (coalesce(v_from.available_at, '-infinity'),
            coalesce(v_from.id, '00000000-0000-0000-0000-000000000000'))
        order by m.available_at, m.id
        limit 1000
      ),
      taken as (
        select m.id
        from public.messenger_messages m
        where m.id = any (array(select s.id from scanned s where s.is_lost or s.is_expired))
          and (m.status = 'processing' and m.lock_expires_at < rescue.at
            or m.status = 'pending' and m.expires_at <= rescue.at)
        order by m.id
        for no key update skip locked
      )
      select (select count(*) from scanned),
        (select s.available_at from scanned s order by s.available_at desc, s.id desc limit 1),
        (select s.id from scanned s order by s.available_at desc, s.id desc limit 1), array_agg(t.id)
      into v_seen, v_last_at, v_last_id, v_ids
      from taken t;

      if v_seen = 1000 then
        perform messenger.move_rescue_cursor(
          v_pair.transport_name, v_pair.queue_name, v_priority, v_last_at, v_last_id);
      elsif v_from.id is not null then
        perform messenger.move_rescue_cursor(v_pair.transport_name, v_pair.queue_name, v_priority, null, null);
      end if;
      continue when v_ids is null;

      v_rows := messenger.without_set_aside('rescue', 'public.messenger_messages', messenger.row_ids(v_ids), rescue.at);
      v_figures := messenger.add_figures(
        v_figures, messenger.write_each('rescue', 'public.messenger_messages', v_rows, rescue.at, ends_at));
      exit queues when clock_timestamp() > ends_at;
    end loop;
  end loop queues;
  rescued := coalesce((v_figures ->> 'rescued')::bigint, 0);
  dead := coalesce((v_figures ->> 'dead')::bigint, 0);
  finished := coalesce((v_figures ->> 'failed')::bigint, 0);
  return next;
end $$;

comment on function messenger.rescue_messages(uuid[], timestamptz) is
  'Requeues messages, each with one more lost lease, or finishes those that are exhausted, expired or '
  'cancelled. Returns {"rescued", "dead", "failed"}.';
comment on function messenger.move_rescue_cursor(text, text, int, timestamptz, uuid) is
  'Stores the position at which the scan of a queue and priority stopped. A null id resets it to the start.';
comment on function messenger.rescue(timestamptz, timestamptz) is
  'Requeues messages with an expired lease (to be handed out alone from then on), moves exhausted ones to the '
  'dead letters and finishes expired and cancelled ones, in paused queues and disabled transports too. Stops '
  'between two priorities once ends_at has passed.';
revoke all on function
  messenger.rescue_messages(uuid[], timestamptz),
  messenger.move_rescue_cursor(text, text, int, timestamptz, uuid),
  messenger.rescue(timestamptz, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 70_ticker/35_unblock.sql
-- Unblocks ordering keys one by one if they cannot be unblocked together.

create or replace function messenger.unblock_keys(row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('unblocked', messenger.unblock_next(
    array(select jsonb_populate_record(null::messenger.order_key, x.row_id::jsonb) from unnest(row_ids) x(row_id)),
    at));
end $$;

create or replace function messenger.unblock_each(keys messenger.order_key[], at timestamptz, ends_at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows text[] := array(select to_jsonb(k)::text from unnest(keys) k);
begin
  v_rows := messenger.without_set_aside('unblock', 'messenger.order_key', v_rows, at);
  return coalesce(
    (messenger.write_each('unblock', 'messenger.order_key', v_rows, at, ends_at) ->> 'unblocked')::bigint, 0);
end $$;

comment on function messenger.unblock_keys(text[], timestamptz) is
  'messenger.unblock_next for ordering keys as JSON objects. Returns {"unblocked": number of messages}.';
comment on function messenger.unblock_each(messenger.order_key[], timestamptz, timestamptz) is
  'messenger.unblock_next for ordering keys. A key whose message cannot be written is set aside. '
  'Returns the number of messages unblocked.';
revoke all on function
  messenger.unblock_keys(text[], timestamptz),
  messenger.unblock_each(messenger.order_key[], timestamptz, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 70_ticker/45_roll_up.sql
-- Rolls up measurements: adds them to the metrics and deletes them.

-- While a transaction holds an old snapshot, rows that were rolled up cannot be vacuumed, and reading them all every
-- second would cost more and more. So only a range of blocks is read per tick.
create or replace function messenger.roll_up_range(
  out tail bigint, out sweep bigint, out blocks bigint, out chunk bigint
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  chunk := coalesce(nullif(current_setting('messenger.roll_up_blocks', true), '')::bigint, 2000);
  blocks := pg_relation_size('messenger.measurements') / current_setting('block_size')::int;
  tail := coalesce((select c.roll_up_tail from messenger.clock c), 0);
  sweep := coalesce((select c.roll_up_sweep from messenger.clock c), 0);
  -- The table is short enough to be read whole, or a crash or vacuum has truncated it.
  if blocks <= chunk or tail > blocks then
    tail := 0;
    sweep := 0;
  end if;
end $$;

create or replace function messenger.measurements_set_aside()
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg((s.row_id::jsonb ->> 'id')::bigint), '{}') from messenger.set_aside s
  where s.step = 'roll_up' and s.object = 'messenger.measurements'
$$;

-- The measurements are deleted and counted together or not at all.
create or replace function messenger.roll_up_rows(row_ids text[])
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_taken messenger.measurements[];
begin
  with taken as (
    delete from messenger.measurements m
    where m.id = any (array(select (x.row_id::jsonb ->> 'id')::bigint from unnest(row_ids) x(row_id)))
    returning m.*
  )
  select array_agg(row(t.*)::messenger.measurements) into v_taken from taken t;
  if v_taken is not null then
    perform messenger.add_metrics(v_taken);
    perform messenger.add_metric_errors(v_taken);
    perform messenger.count_deleted(v_taken);
  end if;
  return jsonb_build_object('rolled_up', coalesce(cardinality(v_taken), 0));
end $$;

-- Deletes and counts in one transaction, so each measurement counts once even after a crash.
create or replace function messenger.roll_up_ranges(
  tail_from tid, tail_to tid, sweep_from tid, sweep_to tid, aside bigint[]
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_taken messenger.measurements[];
begin
  with newest as (
    delete from messenger.measurements m where m.ctid >= tail_from and m.ctid < tail_to and m.id <> all (aside)
    returning m.*
  ),
  swept as (
    delete from messenger.measurements m where m.ctid >= sweep_from and m.ctid < sweep_to and m.id <> all (aside)
    returning m.*
  )
  select array_agg(row(t.*)::messenger.measurements) into v_taken
  from (select * from newest union all select * from swept) t;
  if v_taken is null then
    return 0;
  end if;
  perform messenger.add_metrics(v_taken);
  perform messenger.add_metric_errors(v_taken);
  perform messenger.count_deleted(v_taken);
  return cardinality(v_taken);
end $$;

-- Messages deleted on completion: a row of its own in each settle would cost 15 us.
create or replace function messenger.count_deleted(measurements messenger.measurements[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.pruned (transport_name, message_count, at)
  select p.transport_name, sum(p.deleted_count), max(p.at) from unnest(measurements) p
  where p.deleted_count > 0 group by p.transport_name;
end $$;

-- One roll-up runs at a time. Of a long table, the tail is read every second and the rest in turns, because a
-- session may still insert or commit a row there. A range that cannot be counted as a whole is counted row by
-- row; rows that cannot be counted are set aside.
create or replace function messenger.roll_up(
  at timestamptz default messenger.now(), ends_at timestamptz default 'infinity'
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_object constant text := 'messenger.measurements';
  v_range record;
  v_tail_from tid;
  v_tail_to tid;
  v_sweep_from tid;
  v_sweep_to tid;
  v_aside bigint[];
  v_rows text[];
  v_rolled_up bigint;
begin
  if not messenger.try_lock('roll_up') then
    return 0;
  end if;
  v_range := messenger.roll_up_range();
  v_tail_from := format('(%s,0)', v_range.tail)::tid;
  -- The table may have grown since it was measured.
  v_tail_to := case
    when v_range.tail + v_range.chunk >= v_range.blocks then '(4294967295,0)'::tid
    else format('(%s,0)', v_range.tail + v_range.chunk)::tid
  end;
  v_sweep_from := format('(%s,0)', v_range.sweep)::tid;
  v_sweep_to := format('(%s,0)', least(v_range.sweep + v_range.chunk, v_range.tail))::tid;
  v_aside := messenger.measurements_set_aside();

  begin
    v_rolled_up := messenger.roll_up_ranges(v_tail_from, v_tail_to, v_sweep_from, v_sweep_to, v_aside);
    set constraints all immediate;
  exception when others or assert_failure then
    v_rows := array(
      select jsonb_build_object('id', m.id)::text from messenger.measurements m
      where (m.ctid >= v_tail_from and m.ctid < v_tail_to or m.ctid >= v_sweep_from and m.ctid < v_sweep_to)
        and m.id <> all (v_aside)
      order by m.id limit 10000);
    v_rolled_up := coalesce(
      (messenger.write_each('roll_up', v_object, v_rows, at, ends_at) ->> 'rolled_up')::bigint, 0);
  end;
  v_rows := array(select s.row_id from messenger.set_aside s where s.step = 'roll_up' and s.object = v_object
    and s.retry_at <= roll_up.at order by s.retry_at limit 100);
  if v_rows <> '{}' then
    v_rolled_up := v_rolled_up
      + coalesce((messenger.write_each('roll_up', v_object, v_rows, at, ends_at) ->> 'rolled_up')::bigint, 0);
  end if;

  if v_range.blocks > v_range.chunk or v_range.tail + v_range.sweep > 0 then
    update messenger.clock c
    -- Sessions keep half-filled pages, and extend the table by many pages at once.
    set roll_up_tail = greatest(0, least(v_range.blocks - least(128, v_range.chunk / 2), v_range.tail + v_range.chunk)),
        roll_up_sweep = case
          when v_range.sweep + v_range.chunk < v_range.tail then v_range.sweep + v_range.chunk else 0 end
    where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  end if;
  return v_rolled_up;
end $$;

comment on function messenger.roll_up_range() is
  'The blocks to read: tail and sweep are the first blocks of two ranges, chunk the blocks '
  'per range, and blocks the size of the table.';
comment on function messenger.measurements_set_aside() is 'Ids of measurements that could not be counted.';
comment on function messenger.roll_up_rows(text[]) is
  'Adds the measurements with these keys to the metrics. Returns {"rolled_up": number}.';
comment on function messenger.roll_up_ranges(tid, tid, tid, tid, bigint[]) is
  'Adds the measurements of two ranges of blocks to the metrics, except those set aside. Returns their number.';
comment on function messenger.count_deleted(messenger.measurements[]) is
  'Adds the messages that were deleted on completion to messenger.pruned.';
comment on function messenger.roll_up(timestamptz, timestamptz) is
  'Adds new measurements to the metrics; a measurement that cannot be counted is set '
  'aside. Returns the number of measurements.';
revoke all on function
  messenger.roll_up_range(),
  messenger.measurements_set_aside(),
  messenger.roll_up_rows(text[]),
  messenger.roll_up_ranges(tid, tid, tid, tid, bigint[]),
  messenger.count_deleted(messenger.measurements[]),
  messenger.roll_up(timestamptz, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function messenger.roll_up_range(), messenger.measurements_set_aside() to service_role;

-- ---- 70_ticker/50_add_metrics.sql
-- Adds measurements to the metrics of their minutes and hours, of five minutes and days that
-- are already rolled up, and to the all-time sums.

-- Upper limits of the duration buckets: 1 ms, then each 2^(1/4) = 1.19 times the previous one, up to 13 hours. A
-- percentile read from them is at most 19 percent off.
create or replace function messenger.bucket_limit(bucket int)
returns double precision
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return power(2, bucket / 4.0);
end $$;

create or replace function messenger.add_counts(a bigint[], b bigint[])
returns bigint[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(array_agg(coalesce(x.a, 0) + coalesce(x.b, 0) order by x.n), '{}')
    from unnest(a, b) with ordinality as x(a, b, n));
end $$;

create or replace function messenger.summarize(measurements messenger.measurements[])
returns setof messenger.metrics
language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  return query
  with part as materialized (
    select date_bin('1 minute', p.at, '2000-01-01 00:00+00') as minute, p.transport_name, p.message_type, p.kind,
    p.message_count, p.durations, p.wait_count, p.waited
    from unnest(measurements) p
  ),
  -- The margin of 1e-9 keeps a power of two in its own bucket. Reported durations are clamped, NaN included.
  bucket as materialized (
    select d.minute, d.transport_name, d.message_type, d.bucket, count(*) as hits, sum(d.ms) as ms
    from (
      select p.minute, p.transport_name, p.message_type, m.ms,
        case when m.ms <= 1 then 0 else least(103,
          ceil(4 * ln(m.ms) / ln(2::double precision) - 1e-9))::int end as bucket
      from part p cross join lateral unnest(p.durations) x(ms)
      cross join lateral (select least(greatest(x.ms::double precision, 0), 1e9) as ms) m
    ) d
    group by d.minute, d.transport_name, d.message_type, d.bucket
  ),
  histogram as (
    select h.minute, h.transport_name, h.message_type, array_agg(h.hits order by h.bucket) as durations, sum(h.ms) as ms
    from (
      select b.minute, b.transport_name, b.message_type, b.bucket, sum(b.hits)::bigint as hits, sum(b.ms) as ms
      from (
        select * from bucket
        union all
        select e.minute, e.transport_name, e.message_type, generate_series(0, max(e.bucket)), 0, 0 from bucket e
        group by e.minute, e.transport_name, e.message_type
      ) b
      group by b.minute, b.transport_name, b.message_type, b.bucket
    ) h
    group by h.minute, h.transport_name, h.message_type
  ),
  figure as (
    select p.minute, p.transport_name, p.message_type,
      coalesce(sum(p.message_count) filter (where p.kind = 'dispatched'), 0) as dispatched,
      coalesce(sum(p.message_count) filter (where p.kind = 'completed'), 0) as completed,
      coalesce(sum(p.message_count) filter (where p.kind = 'retried'), 0) as retried,
      coalesce(sum(p.message_count) filter (where p.kind = 'dead'), 0) as dead,
      sum(p.wait_count) as wait_count, coalesce(date_part('epoch', sum(p.waited)) * 1000, 0) as waited_ms
    from part p
    group by p.minute, p.transport_name, p.message_type
  )
  select 60, f.minute, f.transport_name, f.message_type, f.dispatched, f.completed, f.retried, f.dead,
    coalesce(h.ms, 0), coalesce(h.durations, '{}'), f.wait_count, f.waited_ms,
    messenger.pack_histogram(h.durations)
  from figure f
  left join histogram h on h.minute = f.minute and h.transport_name = f.transport_name
    and h.message_type = f.message_type;
end $$;

-- A measurement that commits late may belong to a step that is already rolled up.
create or replace function messenger.steps_of(minute timestamptz, five_minutes_end timestamptz, days_end timestamptz)
returns table (step_seconds int, at timestamptz)
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  values (60, minute), (3600, date_bin('1 hour', minute, '2000-01-01 00:00+00'))
  union all
  select 300, date_bin('5 minutes', minute, '2000-01-01 00:00+00') where minute < five_minutes_end
  union all
  select 86400, date_bin('1 day', minute, '2000-01-01 00:00+00') where minute < days_end
$$;

create or replace function messenger.add_metrics(measurements messenger.measurements[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_five_minutes_end timestamptz := messenger.rolled_up_until(300);
  v_days_end timestamptz := messenger.rolled_up_until(86400);
begin
  with minute as materialized (select * from messenger.summarize(measurements)),
  -- Each type is a row that is never pruned and a line of every scrape:
  -- callers that invent types must not fill the table.
  name as materialized (
    select n.transport_name, n.message_type,
      case when t.at is not null then n.message_type
        when row_number() over (partition by t.at is null order by n.message_type)
          <= 500 - (select count(*) from messenger.metrics k where k.step_seconds = 0) then n.message_type
        else '(other)' end as name
    from (select distinct x.transport_name, x.message_type from minute x) n
    left join messenger.metrics t on t.step_seconds = 0 and t.at = '-infinity' and t.transport_name = n.transport_name
      and t.message_type = n.message_type
  ),
  stepped as (
    select s.step_seconds, s.at, n.transport_name, n.name as message_type, x.dispatched, x.completed, x.retried, x.dead,
      x.duration_ms, x.histogram,
      x.wait_count, x.waited_ms
    from minute x
    join name n on n.transport_name = x.transport_name and n.message_type = x.message_type
    cross join lateral (
      select 0 as step_seconds, '-infinity'::timestamptz as at
      union all
      select t.step_seconds, t.at from messenger.steps_of(x.at, v_five_minutes_end, v_days_end) t
    ) s
  )
  insert into messenger.metrics as m (
    step_seconds, at, transport_name, message_type, dispatched, completed, retried, dead, duration_ms, durations,
    wait_count, waited_ms, histogram)
  select f.step_seconds, f.at, f.transport_name, f.message_type, f.dispatched, f.completed, f.retried, f.dead,
    f.duration_ms,
    case when f.step_seconds = 0 then messenger.unpack_histogram(f.histogram) else '{}' end, f.wait_count, f.waited_ms,
    case when f.step_seconds > 0 then f.histogram end
  from (
    select s.step_seconds, s.at, s.transport_name, s.message_type, sum(s.dispatched) as dispatched,
      sum(s.completed) as completed,
      sum(s.retried) as retried, sum(s.dead) as dead, sum(s.duration_ms) as duration_ms,
      sum(s.wait_count) as wait_count,
      sum(s.waited_ms) as waited_ms, sum(s.histogram) as histogram
    from stepped s
    group by s.step_seconds, s.at, s.transport_name, s.message_type
  ) f
  on conflict on constraint metrics_pkey do update
  set dispatched = m.dispatched + excluded.dispatched, completed = m.completed + excluded.completed,
      retried = m.retried + excluded.retried,
      dead = m.dead + excluded.dead, duration_ms = m.duration_ms + excluded.duration_ms,
      durations = case when m.step_seconds = 0 then messenger.add_counts(m.durations, excluded.durations) else '{}' end,
      wait_count = m.wait_count + excluded.wait_count, waited_ms = m.waited_ms + excluded.waited_ms,
      histogram = case when m.step_seconds > 0
        then coalesce(m.histogram, messenger.pack_histogram(m.durations)) + excluded.histogram end;
end $$;

create or replace function messenger.add_metric_errors(measurements messenger.measurements[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_five_minutes_end timestamptz := messenger.rolled_up_until(300);
  v_days_end timestamptz := messenger.rolled_up_until(86400);
begin
  with failure as materialized (
    select s.step_seconds, s.at, p.message_type, p.error_class, sum(p.message_count) as error_count,
    (array_agg(p.error order by p.at desc))[1] as error, max(p.at) as last_at
    from unnest(measurements) p
    cross join lateral messenger.steps_of(date_bin('1 minute', p.at, '2000-01-01 00:00+00'), v_five_minutes_end,
      v_days_end) s
    where p.error_class is not null
    group by s.step_seconds, s.at, p.message_type, p.error_class
  ),
  -- Error classes are chosen by handlers, so their number is limited.
  ranked as (
    select f.*, case when e.at is not null then true else row_number() over (partition by f.step_seconds, f.at,
      e.at is null order by f.error_count desc)
        <= 99 - (select count(*) from messenger.metric_errors k where k.step_seconds = f.step_seconds
          and k.at = f.at) end as is_named
    from failure f
    left join messenger.metric_errors e on e.step_seconds = f.step_seconds and e.at = f.at
      and e.message_type = f.message_type and e.error_class = f.error_class
  )
  insert into messenger.metric_errors as m (step_seconds, at, message_type, error_class, error_count, error, last_at)
  select r.step_seconds, r.at, n.message_type, n.error_class, sum(r.error_count),
    (array_agg(r.error order by r.last_at desc))[1], max(r.last_at)
  from ranked r
  cross join lateral (select case when r.is_named then r.message_type else '(other)' end as message_type,
    case when r.is_named then r.error_class else '(other)' end as error_class) n
  group by r.step_seconds, r.at, n.message_type, n.error_class
  on conflict on constraint metric_errors_pkey do update
  set error_count = m.error_count + excluded.error_count, last_at = greatest(m.last_at, excluded.last_at),
      error = case when excluded.last_at >= m.last_at then excluded.error else m.error end;
end $$;

comment on function messenger.bucket_limit(int) is 'The upper limit of a bucket in ms; the first bucket is 0.';
comment on function messenger.add_counts(bigint[], bigint[]) is 'Adds two histograms; one may be shorter.';
comment on function messenger.steps_of(timestamptz, timestamptz, timestamptz) is
  'The steps that contain a minute: its own, its hour, and its five minutes and day if these are already rolled up.';
comment on function messenger.summarize(messenger.measurements[]) is
  'Measurements as rows of messenger.metrics, one per minute, transport and type.';
comment on function messenger.add_metrics(messenger.measurements[]) is
  'Adds measurements to the metrics of their minutes, hours and steps already rolled up, and to the all-time sums.';
comment on function messenger.add_metric_errors(messenger.measurements[]) is
  'Adds failed deliveries to the errors of their minutes, hours and steps already rolled up.';
revoke all on function
  messenger.bucket_limit(int),
  messenger.add_counts(bigint[], bigint[]),
  messenger.steps_of(timestamptz, timestamptz, timestamptz),
  messenger.summarize(messenger.measurements[]),
  messenger.add_metrics(messenger.measurements[]),
  messenger.add_metric_errors(messenger.measurements[])
from public, anon, authenticated, service_role;
grant execute on function messenger.bucket_limit(int), messenger.summarize(messenger.measurements[]) to service_role;

-- ---- 70_ticker/55_roll_up_steps.sql
-- Rolls minutes up to five minutes and hours to days once these are over, so that long ranges are read from few rows.

-- Steps are rolled up from the oldest on without a gap, so the newest row shows the progress. Where
-- nothing is rolled up, readers use the finer rows.
create or replace function messenger.rolled_up_until(step_seconds int)
returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select max(m.at) + make_interval(secs => rolled_up_until.step_seconds)
  from messenger.metrics m where m.step_seconds = rolled_up_until.step_seconds
$$;

-- Sums are clamped to the range of their columns: one row that cannot be added up would block all later ones.
create or replace function messenger.roll_up_step(step_seconds int, finer int, begins_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_variable
declare
  v_most constant numeric := 9223372036854775807;
  v_ends_at timestamptz := begins_at + make_interval(secs => step_seconds);
begin
  insert into messenger.metrics (
    step_seconds, at, transport_name, message_type, dispatched, completed, retried, dead, duration_ms, wait_count,
    waited_ms,
    histogram)
  select step_seconds, begins_at, m.transport_name, m.message_type,
    least(sum(m.dispatched), v_most), least(sum(m.completed), v_most), least(sum(m.retried), v_most),
    least(sum(m.dead), v_most),
    sum(m.duration_ms), least(sum(m.wait_count), v_most), sum(m.waited_ms),
    sum(coalesce(m.histogram, messenger.pack_histogram(m.durations)))
  from messenger.metrics m
  where m.step_seconds = finer and m.at >= begins_at and m.at < v_ends_at
  group by m.transport_name, m.message_type;

  -- An hour has at most 100 rows of errors, and a day too: the least frequent ones are merged.
  insert into messenger.metric_errors (step_seconds, at, message_type, error_class, error_count, error, last_at)
  select step_seconds, begins_at, n.message_type, n.error_class, least(sum(e.error_count), v_most),
    (array_agg(e.error order by e.last_at desc))[1], max(e.last_at)
  from (
    select m.message_type, m.error_class, sum(m.error_count) as error_count,
      (array_agg(m.error order by m.last_at desc))[1] as error, max(m.last_at) as last_at,
      row_number() over (order by sum(m.error_count) desc, m.message_type, m.error_class) as rank
    from messenger.metric_errors m
    where m.step_seconds = finer and m.at >= begins_at and m.at < v_ends_at
    group by m.message_type, m.error_class
  ) e
  cross join lateral (
    select case when e.rank <= 99 then e.message_type else '(other)' end as message_type,
      case when e.rank <= 99 then e.error_class else '(other)' end as error_class
  ) n
  group by n.message_type, n.error_class;
end $$;

-- An upgrade from 0.1.0 that converted a million rows would hold its locks for a minute. The newest rows come first,
-- because short ranges are read from minutes.
create or replace function messenger.pack_old_metrics(chunk int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_packed bigint;
begin
  update messenger.metrics m set histogram = messenger.pack_histogram(m.durations), durations = '{}'
  where m.ctid = any (array(
    select x.ctid from messenger.metrics x where x.step_seconds > 0 and x.histogram is null
    order by x.at desc limit chunk for update skip locked));
  get diagnostics v_packed = row_count;
  return v_packed;
end $$;

-- Runs under the lock of the roll-up, which adds to the same rows.
create or replace function messenger.roll_up_steps(at timestamptz, ends_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_pair record;
  v_length interval;
  v_from timestamptz;
begin
  if not messenger.try_lock('roll_up') then
    return;
  end if;
  while clock_timestamp() < ends_at and messenger.pack_old_metrics(200) = 200 loop
    null;
  end loop;
  for v_pair in select * from (values (300, 60), (86400, 3600)) p(step, finer) loop
    v_length := make_interval(secs => v_pair.step);
    loop
      select date_bin(v_length, min(m.at), '2000-01-01 00:00+00') into v_from
      from messenger.metrics m
      where m.step_seconds = v_pair.finer and m.at >= coalesce(messenger.rolled_up_until(v_pair.step), '-infinity');
      exit when v_from is null or v_from + v_length > roll_up_steps.at;
      perform messenger.roll_up_step(v_pair.step, v_pair.finer, v_from);
      exit when clock_timestamp() > ends_at;
    end loop;
  end loop;
end $$;

-- Hours are kept until their day is rolled up, even if the ticker has fallen behind. Without the planner settings every
-- tick reads all metrics: 50 ms for those of 20 types over a year.
create or replace function messenger.prune_metrics(at timestamptz, chunk int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_minutes_until timestamptz := at - interval '2 days';
  v_hours_until timestamptz := least(at - interval '90 days', coalesce(messenger.rolled_up_until(86400), '-infinity'));
  v_days_until timestamptz := at - interval '400 days';
begin
  delete from messenger.metrics m
  where m.ctid = any (array(
    select x.ctid
    from (
      values (60, v_minutes_until), (300, v_minutes_until), (3600, v_hours_until), (86400, v_days_until)
    ) k(step, until)
    join messenger.metrics x on x.step_seconds = k.step and x.at < k.until limit chunk for update of x skip locked));
  delete from messenger.metric_errors m
  where m.ctid = any (array(
    select x.ctid
    from (
      values (60, v_minutes_until), (300, v_minutes_until), (3600, v_hours_until), (86400, v_days_until)
    ) k(step, until)
    join messenger.metric_errors x on x.step_seconds = k.step and x.at < k.until limit chunk
    for update of x skip locked));
end $$;

comment on function messenger.rolled_up_until(int) is
  'Until when steps of five minutes (300) or days (86400) are rolled up; null if none are.';
comment on function messenger.roll_up_step(int, int, timestamptz) is
  'Adds up the rows of a finer step into one row per type of five minutes or a day.';
comment on function messenger.pack_old_metrics(int) is
  'Gives rows of release 0.1.0 their histogram, the newest first. Returns the number of rows.';
comment on function messenger.roll_up_steps(timestamptz, timestamptz) is
  'Rolls up complete five minutes and days, one after the other, until ends_at has passed.';
comment on function messenger.prune_metrics(timestamptz, int) is
  'Deletes minutes and five minutes older than 2 days, hours older than 90 days and days older than 400 days, at most '
  'chunk rows per call. The all-time sums stay.';
revoke all on function
  messenger.rolled_up_until(int),
  messenger.roll_up_step(int, int, timestamptz),
  messenger.pack_old_metrics(int),
  messenger.roll_up_steps(timestamptz, timestamptz),
  messenger.prune_metrics(timestamptz, int)
from public, anon, authenticated, service_role;
grant execute on function messenger.rolled_up_until(int) to service_role;

-- ---- 70_ticker/57_histograms.sql
-- Packs a histogram of durations into one number.

-- Postgres has no aggregate that adds arrays, and unnesting them takes half a second for 40,000 histograms. As digits
-- of one decimal fraction, 16 per element, sum() adds the same in 30 ms. Shorter histograms need no padding, since the
-- first element is the most significant one.
create or replace function messenger.pack_histogram(durations bigint[])
returns numeric
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select ('0.' || string_agg(lpad(least(d, 999999999999999)::text, 16, '0'), ''))::numeric
    from unnest(durations) d), 0);
end $$;

create or replace function messenger.unpack_histogram(histogram numeric)
returns bigint[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select m[1]::bigint from regexp_matches(split_part(histogram::text, '.', 2), '.{16}', 'g') m);
end $$;

comment on function messenger.pack_histogram(bigint[]) is
  'A histogram as a decimal fraction with 16 digits per element.';
comment on function messenger.unpack_histogram(numeric) is 'The histogram of such a fraction, or of a sum of them.';
revoke all on function
  messenger.pack_histogram(bigint[]),
  messenger.unpack_histogram(numeric)
from public, anon, authenticated, service_role;
grant execute on function messenger.pack_histogram(bigint[]), messenger.unpack_histogram(numeric) to service_role;

-- ---- 70_ticker/60_prune.sql
-- Prunes in chunks within the time of the step: finished messages past their retention, resolved dead letters, expired
-- idempotency keys, old occurrences, and schedules that have run once.

-- Continues from the position where the last scan stopped. The position moves past a chunk only once it was written as
-- a whole. Rows that must stay (unfinished messages, open dead letters) are visited by every scan, so each chunk of
-- them delays the next scan by a second, a hundred times what visiting it costs. Without the pause a million delayed
-- messages that are older than the retention cost 150 ms of every tick.
create or replace function messenger.prune(
  step text, object text, finder text, at timestamptz, batch int, ends_at timestamptz
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_longest_pause constant interval := '1 hour';
  v_figures jsonb;
  v_start messenger.scan_positions := (select p from messenger.scan_positions p where p.step = prune.step);
  v_after messenger.scan_positions := v_start;
  v_next messenger.scan_positions;
  v_row_ids text[];
begin
  -- A longer pause was stored before the database clock was set back.
  if num_nonnulls(v_start.at, v_start.id) = 0 and v_start.resume_at > at
    and v_start.resume_at <= at + v_longest_pause then
    return null;
  end if;
  v_after.resume_at := coalesce(case when num_nonnulls(v_start.at, v_start.id) > 0 then v_start.resume_at end, at);
  loop
    case finder
      when 'find_finished_messages' then
        select f.row_ids, null::timestamptz, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_finished_messages(v_after.id, at, batch) f;
      when 'find_resolved_dead_letters' then
        select f.row_ids, f.next_at, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_resolved_dead_letters(v_after.at, v_after.id, at, batch) f;
      when 'find_spent_keys' then
        select f.row_ids, f.next_at, null::uuid into v_row_ids, v_next.at, v_next.id
        from messenger.find_spent_keys(v_after.at, at, batch) f;
      when 'find_old_occurrences' then
        select f.row_ids, f.next_at, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_old_occurrences(v_after.at, v_after.id, at, batch) f;
      when 'find_fired_schedules' then
        select f.row_ids, f.next_at, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_fired_schedules(v_after.at, v_after.id, at, batch) f;
    end case;
    if v_row_ids <> '{}' then
      v_figures := messenger.add_figures(v_figures,
        messenger.write_each(step, object, messenger.without_set_aside(step, object, v_row_ids, at), at, ends_at));
    end if;
    exit when clock_timestamp() > ends_at;
    v_after.at := v_next.at;
    v_after.id := v_next.id;
    exit when num_nonnulls(v_after.at, v_after.id) = 0;
    v_after.resume_at := least(at + v_longest_pause,
      v_after.resume_at + greatest(0, 1 - cardinality(v_row_ids)::double precision / batch) * interval '1 second');
  end loop;
  if (v_after.at, v_after.id) is distinct from (v_start.at, v_start.id) or v_after.resume_at > at then
    perform messenger.move_scan(
      step, v_after.at, v_after.id, case when v_after.resume_at > at then v_after.resume_at end);
  end if;
  return v_figures;
end $$;

-- Scans the primary key, which is ordered by time, up to the first id that is too new for any retention. A chunk ends
-- after batch finished messages or five times as many visited ones: visiting costs 1 us, or 5 us if the message failed,
-- and deleting 10 us.
create or replace function messenger.find_finished_messages(
  after_id uuid, at timestamptz, batch int, out row_ids text[], out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_after uuid := coalesce(after_id, '00000000-0000-0000-0000-000000000000');
  -- Messages of a missing transport have the default.
  v_shortest interval := least('7 days', (select min((t.config ->> 'retention')::interval)
    from public.messenger_transports t));
  v_too_new uuid := messenger.first_id(at - v_shortest);
  v_last uuid := (
    select m.id from public.messenger_messages m where m.id > v_after and m.id < v_too_new
    order by m.id offset 5 * batch - 1 limit 1);
  v_ids uuid[] := array(
    select m.id
    from public.messenger_messages m
    left join (
      select x.name, find_finished_messages.at - coalesce((x.config ->> 'retention')::interval, '7 days') as finished_by
      from public.messenger_transports x
    ) t on t.name = m.transport_name
    where m.id > v_after and m.id < v_too_new and m.id <= coalesce(v_last, v_too_new)
      -- Without this condition unfinished messages would be joined, too.
      and m.processed_at is not null
      and m.processed_at < coalesce(t.finished_by, find_finished_messages.at - interval '7 days')
      -- A failed message stays while its dead letter is open. Without "offset 0" the planner may read all dead letters.
      and (m.status <> 'failed' or not exists (select from public.messenger_failed_messages f
        where f.message_id = m.id and f.resolved_at is null offset 0))
    order by m.id
    limit batch
    -- Rows locked by a foreign key of the project or by a retry are left to the next scan.
    for update of m skip locked);
begin
  row_ids := messenger.row_ids(v_ids);
  next_id := case when cardinality(v_ids) = batch then v_ids[batch] else v_last end;
end $$;

create or replace function messenger.delete_messages(ids uuid[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pruned bigint;
begin
  with gone as (
    delete from public.messenger_messages m where m.id = any (ids) returning m.id, m.transport_name
  ),
  forgotten as (
    delete from messenger.attempts a where a.message_id = any (array(select g.id from gone g))
  ),
  counted as (
    insert into messenger.pruned (transport_name, message_count, at)
    select g.transport_name, count(*), delete_messages.at from gone g group by g.transport_name
    returning message_count
  )
  select coalesce(sum(c.message_count), 0) into v_pruned from counted c;
  return jsonb_build_object('pruned', v_pruned);
end $$;

create or replace function messenger.find_resolved_dead_letters(
  after_at timestamptz, after_id uuid, at timestamptz, batch int,
  out row_ids text[], out next_at timestamptz, out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after_at timestamptz := coalesce(after_at, '-infinity');
  v_after_id uuid := coalesce(after_id, '00000000-0000-0000-0000-000000000000');
  v_shortest interval := (select min(coalesce((t.config ->> 'failed_retention')::interval, '30 days'))
    from public.messenger_transports t);
  v_chunk record;
begin
  with chunk as materialized (
    select f.id, f.resolved_at, f.resolved_at < find_resolved_dead_letters.at
      - coalesce((t.config ->> 'failed_retention')::interval, '30 days') as is_done
    from (
      select x.id, x.resolved_at, x.transport_name from public.messenger_failed_messages x
      where x.resolved_at is not null and (x.resolved_at, x.id) > (v_after_at, v_after_id)
        and x.resolved_at < find_resolved_dead_letters.at - least(v_shortest, interval '30 days')
      order by x.resolved_at, x.id limit batch
    ) f
    left join public.messenger_transports t on t.name = f.transport_name
  ),
  held as (
    select f.id from public.messenger_failed_messages f
    where f.id = any (array(select c.id from chunk c where c.is_done)) and f.resolved_at is not null
    order by f.id
    for update skip locked
  )
  select count(*) as seen, max(c.resolved_at) as last_at,
    (select c.id from chunk c order by c.resolved_at desc, c.id desc limit 1) as last_id,
    array(select h.id from held h) as ids
  into v_chunk
  from chunk c;
  row_ids := messenger.row_ids(v_chunk.ids);
  if v_chunk.seen = batch then
    next_at := v_chunk.last_at;
    next_id := v_chunk.last_id;
  end if;
end $$;

-- Expired keys of unfinished messages and open dead letters stay. The message is looked up by its id
-- alone: with "where processed_at is null" the planner may read the whole backlog per key (4 s for 5,000
-- keys beside 10,000 pending messages, now 30 ms).
create or replace function messenger.find_spent_keys(
  after_at timestamptz, at timestamptz, batch int, out row_ids text[], out next_at timestamptz
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seen record;
  v_held tid[];
begin
  -- With ties, because the keys of one batch expire at the same instant.
  select count(*) as keys, max(k.expires_at) as last, array_agg(k.row_id) filter (where k.is_spent) as ctids into v_seen
  from (
    select x.row_id, x.expires_at,
      coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = x.message_id), true)
      and not exists (select from public.messenger_failed_messages f where f.message_id = x.message_id
        and f.resolved_at is null) as is_spent
    from (
      select e.ctid as row_id, e.message_id, e.expires_at from messenger.idempotency_keys e
      where e.expires_at < find_spent_keys.at and e.expires_at > coalesce(after_at, '-infinity')
      order by e.expires_at fetch first (batch) rows with ties
    ) x
  ) k;
  next_at := case when v_seen.keys >= batch then v_seen.last end;
  row_ids := '{}';
  if v_seen.ctids is not null then
    -- Checked again under the lock: a dispatch may have taken over a key since.
    v_held := array(select x.ctid from messenger.idempotency_keys x where x.ctid = any (v_seen.ctids)
      and x.expires_at < find_spent_keys.at for update skip locked);
    row_ids := array(
      select jsonb_build_object('scope', k.scope, 'key', k.key)::text from messenger.idempotency_keys k
      where k.ctid = any (v_held)
        and coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = k.message_id),
          true)
        and not exists (select from public.messenger_failed_messages f where f.message_id = k.message_id
          and f.resolved_at is null));
  end if;
end $$;

comment on function messenger.prune(text, text, text, timestamptz, int, timestamptz) is
  'Deletes the rows that the finder selects from a table, in chunks of batch, until the end of the table or ends_at is '
  'reached. Does nothing if the last scan of the step left a pause that has not ended. Returns figures.';
comment on function messenger.find_finished_messages(uuid, timestamptz, int) is
  'Locks at most batch finished messages past their transport''s retention, among the next five times as many rows by '
  'id.';
comment on function messenger.delete_messages(uuid[], timestamptz) is
  'Deletes messages with their attempts and adds them to messenger.pruned. Returns {"pruned": number}.';
comment on function messenger.find_resolved_dead_letters(timestamptz, uuid, timestamptz, int) is
  'Locks resolved dead letters past their transport''s retention among the next batch of rows by resolved_at and id.';
comment on function messenger.find_spent_keys(timestamptz, timestamptz, int) is
  'Locks keys of finished or deleted messages among the next batch of expired idempotency keys.';
revoke all on function
  messenger.prune(text, text, text, timestamptz, int, timestamptz),
  messenger.find_finished_messages(uuid, timestamptz, int),
  messenger.delete_messages(uuid[], timestamptz),
  messenger.find_resolved_dead_letters(timestamptz, uuid, timestamptz, int),
  messenger.find_spent_keys(timestamptz, timestamptz, int)
from public, anon, authenticated, service_role;
grant execute on function messenger.delete_messages(uuid[], timestamptz) to service_role;

-- ---- 70_ticker/62_prune_schedules.sql
-- Finds fired one-off schedules and old occurrences for pruning.

-- A paused schedule has a next run and stays. The retention counts from updated_at, when the schedule fired:
-- last_run_at is the due moment, which may lie far back.
create or replace function messenger.find_fired_schedules(
  after_at timestamptz, after_id uuid, at timestamptz, batch int,
  out row_ids text[], out next_at timestamptz, out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk record;
begin
  with chunk as materialized (
    select s.id, s.updated_at,
      s.updated_at < find_fired_schedules.at - coalesce((t.config ->> 'retention')::interval, '7 days') as is_done
    from public.messenger_schedules s
    left join public.messenger_transports t on t.name = s.transport_name
    where s.schedule_type = 'once' and not s.enabled and s.next_run_at is null
      and (s.updated_at, s.id)
        > (coalesce(after_at, '-infinity'), coalesce(after_id, '00000000-0000-0000-0000-000000000000'))
    order by s.updated_at, s.id limit batch
  ),
  held as (
    select s.id from public.messenger_schedules s
    where s.id = any (array(select c.id from chunk c where c.is_done)) and not s.enabled and s.next_run_at is null
    order by s.id
    for update skip locked
  )
  select count(*) as seen, max(c.updated_at) as last_at,
    (select c.id from chunk c order by c.updated_at desc, c.id desc limit 1) as last_id,
    array(select h.id from held h) as ids
  into v_chunk
  from chunk c;
  row_ids := messenger.row_ids(v_chunk.ids);
  if v_chunk.seen = batch then
    next_at := v_chunk.last_at;
    next_id := v_chunk.last_id;
  end if;
end $$;

-- An occurrence stays while its message is unfinished, because the overlap policy reads
-- it, and until its schedule has moved past it.
create or replace function messenger.find_old_occurrences(
  after_at timestamptz, after_id uuid, at timestamptz, batch int,
  out row_ids text[], out next_at timestamptz, out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_after_at timestamptz := coalesce(after_at, '-infinity');
  v_after_id uuid := coalesce(after_id, '00000000-0000-0000-0000-000000000000');
  v_chunk record;
begin
  with chunk as materialized (
    select o.ctid as row_id, o.schedule_id, o.due_at,
      coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = o.message_id), true)
      and not exists (select from public.messenger_schedules s where s.id = o.schedule_id
        and s.next_run_at <= o.due_at) as is_done
    from messenger.occurrences o
    where o.due_at < find_old_occurrences.at - interval '7 days'
      and (o.due_at, o.schedule_id) > (v_after_at, v_after_id)
    order by o.due_at, o.schedule_id limit batch
  ),
  held as (
    select o.schedule_id, o.due_at from messenger.occurrences o
    where o.ctid = any (array(select c.row_id from chunk c where c.is_done))
    for update skip locked
  )
  select count(*) as seen, max(c.due_at) as last_at,
    (select c.schedule_id from chunk c order by c.due_at desc, c.schedule_id desc limit 1) as last_id,
    array(select jsonb_build_object('schedule_id', h.schedule_id, 'due_at', h.due_at)::text from held h) as row_ids
  into v_chunk
  from chunk c;
  row_ids := v_chunk.row_ids;
  if v_chunk.seen = batch then
    next_at := v_chunk.last_at;
    next_id := v_chunk.last_id;
  end if;
end $$;

comment on function messenger.find_fired_schedules(timestamptz, uuid, timestamptz, int) is
  'Locks schedules of type once that finished longer ago than their transport''s retention, among '
  'the next batch of rows by updated_at and id.';
comment on function messenger.find_old_occurrences(timestamptz, uuid, timestamptz, int) is
  'Locks occurrences older than 7 days that are no longer needed among the next batch of rows.';
revoke all on function
  messenger.find_fired_schedules(timestamptz, uuid, timestamptz, int),
  messenger.find_old_occurrences(timestamptz, uuid, timestamptz, int)
from public, anon, authenticated, service_role;

-- ---- 70_ticker/65_prune_side_tables.sql
-- Prunes small tables: workers, counts of pruned messages, and the rows of Symphony Messenger in pg_net and pg_cron.

create or replace function messenger.prune_workers(at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from messenger.workers w
  where w.worker in (select x.worker from messenger.workers x where x.polled_at < prune_workers.at - interval '1 hour'
    for update skip locked);
end $$;

-- Each deletion of messages appends a row. More than a hundred are merged into one per transport.
create or replace function messenger.prune_counts()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if (select count(*) from messenger.pruned) <= 100 then
    return;
  end if;
  with taken as (
    delete from messenger.pruned p
    where p.id in (select x.id from messenger.pruned x for update skip locked) returning *
  )
  insert into messenger.pruned (transport_name, message_count, at)
  select t.transport_name, sum(t.message_count), max(t.at) from taken t group by t.transport_name;
end $$;

-- pg_net deletes responses after pg_net.ttl (default: 6 hours, for all callers); those of wake-ups go after
-- one hour. Runs once per hour, not per tick: the table has no index on the id, so a scan reads all
-- responses of the project in that range of time.
create or replace function messenger.prune_wakeups(chunk int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pg_catalog.now();
  v_ids bigint[];
  v_from timestamptz;
  v_to timestamptz;
begin
  if not exists (select from (select b.at from messenger.wakeups b order by b.request_id limit 1) oldest
    where oldest.at < v_now - interval '2 hours') then
    return;
  end if;
  with gone as (
    delete from messenger.wakeups b
    where b.request_id = any (array(
      select x.request_id from messenger.wakeups x where x.at < v_now - interval '1 hour'
      order by x.request_id limit chunk for update skip locked))
    returning b.request_id, b.at
  )
  select array_agg(g.request_id), min(g.at), max(g.at) into v_ids, v_from, v_to from gone g;
  if v_ids is not null and to_regclass('net._http_response') is not null then
    if has_table_privilege('net._http_response', 'delete') then
      -- A response may arrive long after its wake-up if pg_net was held up; pg_net's own pruning then deletes it.
      delete from net._http_response r
      where r.created between v_from and v_to + interval '10 minutes' and r.id in (select i from unnest(v_ids) i);
    end if;
  end if;
end $$;

-- pg_cron never prunes its history. Only runs of our own commands are deleted: by command, because a job that was
-- stopped and started has another id, and including runs that were cut off and have no end_time. The table is indexed
-- by run only, so this runs once per hour.
create or replace function messenger.prune_ticker_history()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('cron.job_run_details') is not null then
    delete from cron.job_run_details d
    where d.command ~ '^\s*do \$\$.*messenger\.(tick_or_note_error|work_off)\('
      and coalesce(d.end_time, d.start_time) < pg_catalog.now() - interval '1 day';
  end if;
end $$;

comment on function messenger.prune_workers(timestamptz) is 'Deletes workers that have not polled for an hour.';
comment on function messenger.prune_counts() is
  'Merges the counts of pruned messages once there are more than a hundred rows.';
comment on function messenger.prune_wakeups(int) is
  'Deletes wake-ups that are more than an hour old, with pg_net''s responses to them.';
comment on function messenger.prune_ticker_history() is
  'Deletes rows of cron.job_run_details of Symphony Messenger''s jobs that are older than a day.';
revoke all on function
  messenger.prune_workers(timestamptz),
  messenger.prune_counts(),
  messenger.prune_wakeups(int),
  messenger.prune_ticker_history()
from public, anon, authenticated, service_role;

-- ---- 70_ticker/70_wake_for_backlog.sql
-- Wakes workers for due messages, from the tick.

create or replace function messenger.wake(at timestamptz)
returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_settings messenger.settings;
  v_pair record;
  v_due record;
  v_has_unpolled boolean := false;
  v_backlog bigint := 0;
  v_has_unregistered boolean := false;
  v_active int := 0;
  v_wanted int;
  v_woken int := 0;
  v_sql_types text[] := array(select h.type from messenger.sql_handlers() h);
  v_transports text[] := '{}'::text[];
  v_queues text[] := '{}'::text[];
begin
  select * into v_settings from messenger.settings;
  if v_settings.functions_url is null then
    return 0;
  end if;
  for v_pair in select * from messenger.due_queues(at) loop
    -- An unregistered type may have no handler: for such types alone a worker is woken once per minute only, or an idle
    -- project would pay for a call per second.
    for v_due in
      select due.message_type, count(*) as backlog,
        exists (select from messenger.message_types k where k.type = due.message_type) as is_registered,
        messenger.active_workers(v_pair.transport_name, v_pair.queue_name, due.message_type,
          '1 second') as active_workers
      from (
        select head.message_type
        from generate_series(10, 1, -1) as level(priority)
        cross join lateral (
          select m.message_type from public.messenger_messages m
          where m.transport_name = v_pair.transport_name and m.queue_name = v_pair.queue_name
            and m.priority = level.priority
            and m.processed_at is null and m.available_at <= wake.at
            and (m.status = 'pending' or m.lock_expires_at < wake.at)
            and m.message_type <> all (v_sql_types)
          order by m.available_at, m.id
          limit v_settings.max_workers * v_settings.messages_per_worker
        ) head
        limit v_settings.max_workers * v_settings.messages_per_worker
      ) due
      group by due.message_type
    loop
      v_transports := v_transports || v_pair.transport_name;
      v_queues := v_queues || v_pair.queue_name;
      if v_due.is_registered then
        v_backlog := v_backlog + v_due.backlog;
        v_active := greatest(v_active, v_due.active_workers);
        v_has_unpolled := v_has_unpolled or v_due.active_workers = 0;
      else
        v_has_unregistered := v_has_unregistered or v_due.active_workers = 0;
      end if;
    end loop;
  end loop;

  perform messenger.make_wakeup_locks(v_transports, v_queues, at);
  v_wanted := least(v_settings.max_workers, ceil(v_backlog::numeric / v_settings.messages_per_worker)) - v_active;
  -- The active workers may all be for other types.
  if v_has_unpolled then
    v_wanted := greatest(v_wanted, 1);
  elsif v_backlog = 0 and v_has_unregistered then
    update messenger.clock c set unregistered_wakeup_at = wake.at
    where c.singleton in (select x.singleton from messenger.clock x for update skip locked)
      and (c.unregistered_wakeup_at is null
        or c.unregistered_wakeup_at not between wake.at - interval '1 minute' and wake.at);
    v_wanted := found::int;
  end if;
  while v_woken < v_wanted loop
    exit when not messenger.send_wakeup();
    v_woken := v_woken + 1;
  end loop;
  return v_woken;
end $$;

comment on function messenger.wake(timestamptz) is
  'Sends wake-ups for due messages: as many workers as the backlog needs, less the active ones, and none if nothing is '
  'due. Returns the number of wake-ups sent.';
revoke all on function messenger.wake(timestamptz) from public, anon, authenticated, service_role;

-- ---- 70_ticker/75_send_wakeups.sql
-- Wake-ups: calls through pg_net that wake workers. They carry no data. A lost wake-up delays a message until the next
-- tick: a second, or a minute for a type that no code has registered.

-- Definer: only the owner may read the secret and call pg_net. Any role of the project can lock pg_net's queue for any
-- time, so after 100 ms of waiting the wake-up is not sent.
create or replace function messenger.send_wakeup()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_url text := (select s.functions_url from messenger.settings s);
  v_secret record;
begin
  if v_url is null or to_regclass('net.http_request_queue') is null then
    return false;
  end if;
  v_secret := messenger.read_secret('symphony_worker_secret');
  if v_secret.secret is null then
    return false;
  end if;
  insert into messenger.wakeups (request_id) values (net.http_post(
    url := v_url || '/worker', body := '{}'::jsonb,
    headers := jsonb_build_object('content-type', 'application/json', 'authorization', 'Bearer ' || v_secret.secret),
    timeout_milliseconds := 5000));
  return true;
end $$;

-- Used by dispatches: a failing wake-up must not fail the dispatch. Health tests pg_net itself
-- (messenger.wakeup_fault).
create or replace function messenger.try_send_wakeup()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return messenger.send_wakeup();
exception when others then
  raise log 'symphony: the wake-up could not be sent: %', sqlerrm;
  return false;
end $$;

-- Queues a request as send_wakeup does and rolls it back. A lock held by another transaction is not a fault of pg_net.
create or replace function messenger.wakeup_fault()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_id bigint;
  v_is_queued boolean;
begin
  if to_regclass('net.http_request_queue') is null or current_setting('transaction_read_only') = 'on' then
    return null;
  end if;
  begin
    v_id := net.http_post(url := 'http://127.0.0.1:9/', body := '{}'::jsonb, timeout_milliseconds := 1000);
    v_is_queued := exists (select from net.http_request_queue q where q.id = v_id);
    raise exception using errcode = 'SM000';
  exception
    when sqlstate 'SM000' then
      return case when not v_is_queued then 'its queue drops requests' end;
    when others then
      return case when not messenger.is_lock_error(sqlstate) then sqlerrm end;
  end;
end $$;

-- Sends nothing if a worker of this type is active on the queue or another transaction is sending a wake-up for it. A
-- dispatch without keys updates no shared row and waits for no other dispatch. The setting messenger.woken ends with
-- the transaction or savepoint, as the wake-up does, so a transaction with a thousand dispatches sends one.
create or replace function messenger.wake_worker(transport text, queue text, type text)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pair text := transport || '/' || queue;
  v_woken text := coalesce(current_setting('messenger.woken', true), '');
begin
  if v_pair = any (string_to_array(v_woken, ' ')) or messenger.active_workers(transport, queue, type, '0') > 0 then
    return false;
  end if;
  -- A separate IF: a query in the first one would cost every dispatch, here only those that would
  -- send. Types with an SQL handler need no worker.
  if exists (select from messenger.queues q where q.transport_name = wake_worker.transport
    and q.queue_name = wake_worker.queue and q.paused_at is not null)
    or exists (select from messenger.sql_handlers() h where h.type = wake_worker.type) then
    return false;
  end if;
  -- Without a row the wake-up is sent, because a dispatch must not wait for another one that inserts the row.
  perform from messenger.wakeup_locks l where l.transport_name = wake_worker.transport
    and l.queue_name = wake_worker.queue for update skip locked;
  if not found then
    if exists (select from messenger.wakeup_locks l where l.transport_name = wake_worker.transport
      and l.queue_name = wake_worker.queue) then
      return false;
    end if;
  end if;
  perform set_config('messenger.woken', concat_ws(' ', nullif(v_woken, ''), v_pair), true);
  perform pg_notify('messenger', v_pair);
  return messenger.try_send_wakeup();
end $$;

create or replace function messenger.active_workers(transport text, queue text, type text, grace interval)
returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(*)::int
    from messenger.workers w left join messenger.settings s on true
    -- A poll in the future was recorded before the database clock was set back; the worker may no longer exist.
    where w.polled_at > messenger.now() - greatest(2 * coalesce(s.poll_interval, '50 ms'), grace)
      and w.polled_at <= messenger.now()
      and (w.transport_name is null or w.transport_name = transport)
      and (w.queues is null or queue = any (w.queues))
      and (w.types is null or type = any (w.types))
  );
end $$;

create or replace function messenger.make_wakeup_locks(transports text[], queues text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.wakeup_locks (transport_name, queue_name, made_at)
  select distinct q.transport, q.queue, make_wakeup_locks.at from unnest(transports, queues) as q(transport, queue)
  order by 1, 2
  on conflict on constraint wakeup_locks_pkey do nothing;
end $$;

create or replace function messenger.prune_wakeup_locks(at timestamptz, chunk int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pruned bigint;
begin
  delete from messenger.wakeup_locks l
  where l.ctid = any (array(
    select x.ctid from messenger.wakeup_locks x where x.made_at < prune_wakeup_locks.at - interval '1 day' limit chunk
    for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

comment on function messenger.make_wakeup_locks(text[], text[], timestamptz) is
  'Inserts the rows through which dispatches to these queues share a wake-up.';
comment on function messenger.prune_wakeup_locks(timestamptz, int) is
  'Deletes at most chunk rows that are a day old. Returns their number.';
revoke all on function
  messenger.make_wakeup_locks(text[], text[], timestamptz),
  messenger.prune_wakeup_locks(timestamptz, int)
from public, anon, authenticated, service_role;
comment on function messenger.send_wakeup() is
  'Queues one POST to the worker edge function with pg_net, sent at commit. Returns false without a '
  'functions URL, pg_net or a readable secret.';
comment on function messenger.try_send_wakeup() is 'messenger.send_wakeup, but false if that raises.';
comment on function messenger.wakeup_fault() is
  'Why pg_net cannot be called; null if it can, or if it is not installed.';
comment on function messenger.wake_worker(text, text, text) is
  'Wakes a worker for a message type of a queue by pg_net and NOTIFY messenger, if none is '
  'active. Returns whether a wake-up was sent.';
comment on function messenger.active_workers(text, text, text, interval) is
  'The number of workers that polled this queue for this type within two poll intervals, or '
  'within the grace period if that is longer.';
revoke all on function
  messenger.send_wakeup(),
  messenger.wakeup_fault(),
  messenger.try_send_wakeup(),
  messenger.wake_worker(text, text, text),
  messenger.active_workers(text, text, text, interval)
from public, anon, authenticated, service_role;
grant execute on function messenger.wake_worker(text, text, text) to service_role;

-- ---- 70_ticker/80_worker_secret.sql
-- The secret with which the ticker authenticates to the edge functions worker and scheduler. It is stored in Vault and
-- grants nothing else, because any SQL role may read pg_net's queue.

-- A secret cannot be read if it was encrypted with another key of Vault, as in a database restored into another
-- project: Vault then raises, or decrypts to null.
create or replace function messenger.read_secret(name text, out is_there boolean, out secret text, out fault text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  is_there := false;
  if to_regclass('vault.decrypted_secrets') is null then
    return;
  end if;
  is_there := exists (select from vault.secrets s where s.name = read_secret.name);
  if is_there then
    select nullif(s.decrypted_secret, '') into secret from vault.decrypted_secrets s where s.name = read_secret.name;
    fault := case when secret is null then 'it decrypts to nothing' end;
  end if;
exception when others then
  fault := sqlerrm;
end $$;

-- Definer, so that service_role needs no rights on Vault. Each secret is read separately: one
-- that cannot be decrypted must not hide the other.
create or replace function messenger.worker_secret_digests()
returns text[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select encode(sha256(convert_to(r.secret, 'UTF8')), 'hex')
    from unnest(array['symphony_worker_secret', 'symphony_worker_secret_next']) with ordinality as s(name, n)
    cross join lateral messenger.read_secret(s.name) r
    where r.secret is not null
    order by s.n
  );
end $$;

create or replace function public.messenger_worker_secret_digests()
returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select messenger.worker_secret_digests() $$;

-- Digests are compared, so the duration of a comparison reveals nothing about the secret.
create or replace function public.messenger_check_worker_secret(secret text)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    encode(sha256(convert_to(messenger_check_worker_secret.secret, 'UTF8')),
      'hex') = any (messenger.worker_secret_digests()), false)
$$;

-- Generated here and never shown: 244 random bits from the server's strong random source. A secret that cannot be read
-- is replaced, but only by one that can.
create or replace function messenger.ensure_worker_secret(out is_readable boolean, out fault text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := 'symphony_worker_secret';
  v_secret record := messenger.read_secret(v_name);
begin
  is_readable := v_secret.secret is not null;
  if is_readable or to_regclass('vault.secrets') is null then
    fault := case when not is_readable then 'there is no Vault: create extension supabase_vault' end;
    return;
  end if;
  begin
    delete from vault.secrets s where s.name = v_name;
    perform vault.create_secret(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), v_name,
      'Symphony Messenger: authenticates the ticker to the edge functions worker and scheduler');
    v_secret := messenger.read_secret(v_name);
    is_readable := v_secret.secret is not null;
    if not is_readable then
      raise exception '%', v_secret.fault;
    end if;
  exception when others then
    fault := 'Vault cannot store the worker secret: ' || sqlerrm;
  end;
end $$;

comment on function messenger.worker_secret_digests() is 'See public.messenger_worker_secret_digests.';
comment on function public.messenger_worker_secret_digests() is
  'SHA-256 digests, in lower-case hex, of the worker secrets in Vault: symphony_worker_secret and, during a '
  'rotation, symphony_worker_secret_next. Edge functions compare a caller''s secret with them. Example: '
  'select messenger_worker_secret_digests();';
comment on function public.messenger_check_worker_secret(text) is
  'True if the secret is stored in Vault as symphony_worker_secret or, during a rotation, as '
  'symphony_worker_secret_next; otherwise false. Example: select messenger_check_worker_secret(''...'');';
comment on function messenger.read_secret(text) is
  'A secret of Vault by name: is_there, secret (its value, or null) and fault (why it cannot be read, or null).';
comment on function messenger.ensure_worker_secret() is
  'Creates the worker secret if there is none that can be read. Returns is_readable and, if it is false, fault.';
revoke all on function
  messenger.read_secret(text),
  messenger.worker_secret_digests(),
  public.messenger_worker_secret_digests(),
  public.messenger_check_worker_secret(text),
  messenger.ensure_worker_secret()
from public, anon, authenticated, service_role;
grant execute on function
  messenger.worker_secret_digests(),
  public.messenger_worker_secret_digests(),
  public.messenger_check_worker_secret(text)
to service_role;

-- ---- 70_ticker/85_set_aside.sql
-- Writes rows so that one that cannot be written does not block the others: it is found
-- by bisection, set aside and tried again later.

create or replace function messenger.row_ids(ids uuid[])
returns text[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when ids = '{}' then '{}' else array(
    select jsonb_build_object('id', x.id)::text from unnest(ids) with ordinality as x(id, n) order by x.n) end;
end $$;

create or replace function messenger.uuids_of(row_ids text[])
returns uuid[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select (x.row_id::jsonb ->> 'id')::uuid from unnest(row_ids) with ordinality as x(row_id, n)
    order by x.n);
end $$;

-- A null argument counts as no figures.
create or replace function messenger.add_figures(a jsonb, b jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if a is null or b is null or b = '{}' then
    return coalesce(a, b);
  end if;
  return a || (select coalesce(jsonb_object_agg(x.key, x.value::bigint + coalesce((a ->> x.key)::bigint, 0)), '{}')
    from jsonb_each_text(b) x);
end $$;

-- Callers test the rows they are about to write, not every row they scan.
create or replace function messenger.is_set_aside(step text, object text, row_id text, at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from messenger.set_aside s
    where s.step = is_set_aside.step and s.object = is_set_aside.object and s.row_id = is_set_aside.row_id
      and s.retry_at > is_set_aside.at)
$$;

create or replace function messenger.without_set_aside(step text, object text, row_ids text[], at timestamptz)
returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if row_ids = '{}' or not exists (select from messenger.set_aside s where s.step = without_set_aside.step) then
    return row_ids;
  end if;
  return array(
    select x.row_id from unnest(row_ids) with ordinality as x(row_id, n)
    where not messenger.is_set_aside(step, object, x.row_id, at)
    order by x.n);
end $$;

create or replace function messenger.key_join(object regclass)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('(select r.* from unnest($1) as x(row_id) cross join lateral jsonb_populate_record(null::%s, '
    'x.row_id::jsonb) r) k where %s',
    object, string_agg(format('t.%1$I = k.%1$I', a.attname), ' and '))
  from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
  where i.indrelid = object and i.indisprimary
$$;

-- The caller has checked the conditions and locked the rows.
create or replace function messenger.delete_rows(object text, row_ids text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
  execute format('delete from %s t using %s', object::regclass, messenger.key_join(object::regclass)) using row_ids;
end $$;

-- A step without a function of its own deletes the rows.
create or replace function messenger.write_rows(step text, object text, row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  case step
    when 'rescue' then return messenger.rescue_messages(messenger.uuids_of(row_ids), at);
    when 'unblock' then return messenger.unblock_keys(row_ids, at);
    when 'replays' then return messenger.watch_replay(row_ids, at);
    when 'schedules' then return messenger.expand_locked_schedules(messenger.uuids_of(row_ids), at);
    when 'prune_messages' then return messenger.delete_messages(messenger.uuids_of(row_ids), at);
    when 'roll_up' then return messenger.roll_up_rows(row_ids);
    else
      perform messenger.delete_rows(object, row_ids);
      return '{}'::jsonb;
  end case;
end $$;

create or replace function messenger.set_row_aside(
  step text, object text, row_id text, error text, sqlstate text, at timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  insert into messenger.set_aside as s (step, object, row_id, error, sqlstate, at, retry_at)
  values (step, object, row_id, left(error, 1000), sqlstate, at, at + interval '1 minute')
  on conflict on constraint set_aside_pkey do update
  set error = excluded.error, sqlstate = excluded.sqlstate, at = excluded.at, attempts = s.attempts + 1,
      retry_at = excluded.at + least(interval '1 hour', interval '1 minute' * power(2, least(s.attempts, 10)));
end $$;

-- All rows are written together first. A failing range is undone and halved until the faulty row
-- is alone: at most ten failures per thousand rows. Halves that succeed stay written, so a tick
-- that runs out of time has still made progress.
create or replace function messenger.write_each(
  step text, object text, row_ids text[], at timestamptz, ends_at timestamptz
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_figures jsonb := '{}'::jsonb;
  v_written jsonb;
  v_from int[] := array[1];
  v_to int[] := array[cardinality(row_ids)];
  v_depth int := 1;
  v_first int;
  v_last int;
  v_is_narrowing boolean;
  v_error text;
  v_state text;
  v_has_set_aside boolean;
begin
  if row_ids = '{}' then
    return '{}'::jsonb;
  end if;
  v_has_set_aside := exists (select from messenger.set_aside s where s.step = write_each.step);
  while v_depth > 0 loop
    v_first := v_from[v_depth];
    v_last := v_to[v_depth];
    v_depth := v_depth - 1;
    v_is_narrowing := false;
    begin
      v_written := messenger.write_rows(step, object, row_ids[v_first:v_last], at);
      set constraints all immediate;
      if v_has_set_aside then
        delete from messenger.set_aside s where s.step = write_each.step and s.object = write_each.object
          and s.row_id = any (row_ids[v_first:v_last]);
      end if;
      v_figures := messenger.add_figures(v_figures, v_written);
    exception when others or assert_failure then
      get stacked diagnostics v_error = message_text, v_state = returned_sqlstate;
      -- Errors of memory, disk or shutdown are not caused by a row.
      if left(v_state, 2) in ('53', '57', '58') then
        raise;
      elsif v_first < v_last then
        v_is_narrowing := true;
        v_from[v_depth + 1] := (v_first + v_last + 1) / 2;
        v_to[v_depth + 1] := v_last;
        v_from[v_depth + 2] := v_first;
        v_to[v_depth + 2] := (v_first + v_last + 1) / 2 - 1;
        v_depth := v_depth + 2;
      else
        perform messenger.set_row_aside(step, object, row_ids[v_first], v_error, v_state, at);
        -- Each wait for a lock costs lock_timeout, and the lock may be on a table that all rows need.
        exit when messenger.is_lock_error(v_state);
      end if;
    end;
    exit when not v_is_narrowing and clock_timestamp() > ends_at;
  end loop;
  return v_figures;
end $$;

create or replace function messenger.is_lock_error(sqlstate text)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select sqlstate in ('55P03', '40P01', '40001') $$;

-- Records of deleted rows go, and those whose step has not tried the row for an hour. The keys of a type without a
-- table, such as messenger.order_key, cannot be looked up.
create or replace function messenger.forget_set_aside(at timestamptz, batch int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row record;
  v_join text;
  v_exists boolean;
  v_forgotten bigint := 0;
begin
  for v_row in
    select s.step, s.object, s.row_id, s.retry_at from messenger.set_aside s
    where s.retry_at <= forget_set_aside.at order by s.retry_at limit batch for update skip locked
  loop
    v_exists := v_row.retry_at > at - interval '1 hour';
    v_join := messenger.key_join(to_regclass(v_row.object));
    if v_exists and v_join is not null then
      execute format('select exists (select from %s t, %s)', v_row.object::regclass, v_join) into v_exists
        using array[v_row.row_id];
    end if;
    if not v_exists then
      delete from messenger.set_aside s where s.step = v_row.step and s.object = v_row.object
        and s.row_id = v_row.row_id;
      v_forgotten := v_forgotten + 1;
    end if;
  end loop;
  return v_forgotten;
end $$;

comment on function messenger.row_ids(uuid[]) is 'Ids as keys in the form of messenger.set_aside: {"id": ...}.';
comment on function messenger.uuids_of(text[]) is 'The ids of such keys.';
comment on function messenger.add_figures(jsonb, jsonb) is 'Adds two JSON objects of whole numbers key by key.';
comment on function messenger.is_set_aside(text, text, text, timestamptz) is
  'True if the row is set aside for this step and its retry is not due yet.';
comment on function messenger.without_set_aside(text, text, text[], timestamptz) is
  'The given keys without those that are set aside for this step.';
comment on function messenger.key_join(regclass) is
  'SQL that joins a table t with the rows whose keys are in $1, by the primary key; null if there is no primary key.';
comment on function messenger.delete_rows(text, text[]) is 'Deletes the rows of a table with these keys.';
comment on function messenger.write_rows(text, text, text[], timestamptz) is
  'Does the work of a step on these rows of a table. Returns figures for the reply of the tick.';
comment on function messenger.set_row_aside(text, text, text, text, text, timestamptz) is
  'Sets a row aside: the retry is due after a minute, then after twice the previous delay, at most an hour.';
comment on function messenger.write_each(text, text, text[], timestamptz, timestamptz) is
  'messenger.write_rows for rows of which some cannot be written: those are set aside, the others are written. Stops '
  'between two attempts once ends_at has passed.';
comment on function messenger.is_lock_error(text) is
  'True if this SQLSTATE means that another transaction was in the way.';
comment on function messenger.forget_set_aside(timestamptz, int) is
  'Deletes at most batch records of rows that are gone or no longer wanted. Returns their number.';
revoke all on function
  messenger.row_ids(uuid[]),
  messenger.uuids_of(text[]),
  messenger.add_figures(jsonb, jsonb),
  messenger.is_set_aside(text, text, text, timestamptz),
  messenger.without_set_aside(text, text, text[], timestamptz),
  messenger.key_join(regclass),
  messenger.delete_rows(text, text[]),
  messenger.write_rows(text, text, text[], timestamptz),
  messenger.set_row_aside(text, text, text, text, text, timestamptz),
  messenger.write_each(text, text, text[], timestamptz, timestamptz),
  messenger.is_lock_error(text),
  messenger.forget_set_aside(timestamptz, int)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/05_types.sql
-- Composite types of monitoring.

do $$
begin
  if to_regtype('messenger.check_result') is null then
    create type messenger.check_result as (status text, detail text, remedy text, figures jsonb);
  end if;
end $$;
comment on type messenger.check_result is
  'The result of a health check: status (healthy, degraded or unhealthy), detail, remedy (how to fix it; shown unless '
  'healthy) and figures (the numbers behind it, a JSON object).';

do $$
begin
  if to_regtype('messenger.reason') is null then
    create type messenger.reason as (rank int, reason text, detail text, remedy text);
  end if;
end $$;
comment on type messenger.reason is
  'A reason of messenger_explain: rank (below 90: it delays the message, the lowest first; 90: nothing delays '
  'it; from 100 on: additional information), reason (the name of its function), detail, remedy (SQL or a '
  'command to run; null if nothing needs fixing).';

do $$
begin
  if to_regtype('messenger.figures') is null then
    create type messenger.figures as (
      dispatched bigint, completed bigint, retried bigint, dead bigint, duration_ms double precision,
      durations bigint[], wait_count bigint, waited_ms double precision
    );
  end if;
end $$;
comment on type messenger.figures is 'Sums of rows of messenger.metrics.';

-- ---- 80_monitoring/10_views.sql
-- The three summary views: exact, and read by people. Programs that poll call messenger_status.
create or replace view public.messenger_queue_depth
with (security_invoker = true)
as
select transport_name, queue_name, status, count(*) as message_count, min(created_at) as oldest_message,
  max(created_at) as newest_message
from public.messenger_messages
group by transport_name, queue_name, status;

create or replace view public.messenger_failed_summary
with (security_invoker = true)
as
select transport_name, queue_name, count(*) as failed_count, min(failed_at) as first_failure,
  max(failed_at) as last_failure
from public.messenger_failed_messages
where resolved_at is null
group by transport_name, queue_name;

create or replace view public.messenger_schedules_summary
with (security_invoker = true)
as
select transport_name, message_type, schedule_type, count(*) as schedule_count, count(*)
  filter (where enabled) as enabled_count,
  min(next_run_at) filter (where enabled) as next_run
from public.messenger_schedules
group by transport_name, message_type, schedule_type;

comment on view public.messenger_queue_depth is
  'Messages by transport, queue and status. Counts every row, so it is not for polling.';
comment on view public.messenger_failed_summary is 'Open dead letters by transport and queue.';
comment on view public.messenger_schedules_summary is
  'Schedules by transport, message type and schedule type, with the next run of the enabled ones.';
revoke all on
  public.messenger_queue_depth,
  public.messenger_failed_summary,
  public.messenger_schedules_summary
from public, anon, authenticated, service_role;
grant select on
  public.messenger_queue_depth,
  public.messenger_failed_summary,
  public.messenger_schedules_summary
to service_role;

-- ---- 80_monitoring/20_health.sql
-- Health: one function per check, found by its name: messenger.health_<name>(at timestamptz) returns setof
-- messenger.check_result. A check that raises must not hide the others, and an empty list of checks is unhealthy.
create or replace function messenger.health_checks()
returns table (name text, status text, detail text, remedy text, figures jsonb)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_check record;
begin
  for v_check in select * from messenger.own_functions('health', 'timestamp with time zone',
    'messenger.check_result') loop
    begin
      return query execute format('select $1, c.status, c.detail, case when c.status <> ''healthy'' then c.remedy '
        'end, c.figures from %s($2) c', v_check.function)
        using v_check.name, v_now;
    exception when others then
      return query select v_check.name, 'unhealthy', 'the check itself failed: ' || sqlerrm,
        'select * from messenger_verify() where state <> ''ok''', '{}'::jsonb;
    end;
  end loop;
  if not found then
    return query select 'checks', 'unhealthy',
      'no health check function belongs to the owner of messenger.settings',
      'give all objects of schema messenger to one role, or run the migration again as their owner', '{}'::jsonb;
  end if;
end $$;

create or replace function messenger.health()
returns jsonb
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'status', case
      when bool_or(c.status = 'unhealthy') then 'unhealthy'
      when bool_or(c.status = 'degraded') then 'degraded'
      else 'healthy'
    end,
    'checks', jsonb_agg(jsonb_strip_nulls(to_jsonb(c)) order by c.name),
    'timestamp', messenger.now(),
    'metrics', messenger.queue_figures()
  )
  from messenger.health_checks() c
$$;

create or replace function public.messenger_health()
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.health() where messenger.require_primary() $$;

comment on function messenger.health_checks() is 'One row per check: name, status, detail, remedy, figures.';
comment on function messenger.health() is 'See public.messenger_health.';
comment on function public.messenger_health() is
  'Runs all health checks: {"status", "checks": [{name, status, detail, remedy?, figures}], "timestamp", "metrics" '
  '(the queue of messenger_status)}. status is healthy, degraded or unhealthy; the overall status is the worst of all '
  'checks. Raises SM_UNAVAILABLE on a read replica. Example: select messenger_health() ->> ''status'';';
revoke all on function
  messenger.health_checks(),
  messenger.health(),
  public.messenger_health()
from public, anon, authenticated, service_role;
grant execute on function messenger.health(), public.messenger_health() to service_role;

-- ---- 80_monitoring/22_health_clock.sql
-- Health checks of the ticker: its ticks, their steps, and the pg_cron jobs.

-- Only full minutes during which the ticker was enabled throughout and ticks were recorded.
create or replace function messenger.ticks_per_minute(at timestamptz, out minutes int, out per_minute numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_to timestamptz := date_bin('1 minute', at, '2000-01-01 00:00+00');
  v_from timestamptz := date_bin('1 minute', interval '59.999999 seconds' + greatest(
    (select min(t.at) from messenger.ticks t), (select s.clock_changed_at from messenger.settings s),
    v_to - interval '3 minutes'), '2000-01-01 00:00+00');
begin
  minutes := greatest(0, extract(epoch from v_to - v_from) / 60);
  if minutes > 0 then
    per_minute := trim_scale(round((select count(*) from messenger.ticks t where t.at >= v_from
      and t.at < v_to)::numeric / minutes, 1));
  end if;
end $$;

-- Compares the last tick with the current time, so a ticker that stopped without an error is found too. The number of
-- ticks is checked only if pg_cron runs the ticker; an external scheduler has its own interval.
create or replace function messenger.health_clock(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings messenger.settings := (select s from messenger.settings s);
  v_last timestamptz := messenger.last_tick_at(at);
  v_seconds numeric := round(extract(epoch from at - v_last));
  v_pace record := messenger.ticks_per_minute(at);
  v_fault record;
  v_slowest record;
  v_result messenger.check_result;
begin
  v_result.figures := jsonb_build_object('seconds', v_seconds, 'ticks', (select c.ticks from messenger.clock c),
    'ticks_per_minute', v_pace.per_minute);
  v_result.detail := coalesce('last tick ' || v_seconds || ' s ago', 'no tick yet');
  v_result.status := 'healthy';
  if messenger.is_ticker_stopped(at) then
    select * into v_fault from messenger.ticker_fault();
    v_result.detail := v_result.detail || ': ' || v_fault.cause;
    v_result.remedy := v_fault.remedy;
    -- pg_cron starts a job at a full minute.
    v_result.status := case
      when v_settings.clock_enabled and v_settings.clock_changed_at > at - interval '70 seconds' then 'degraded'
      when (v_settings.clock_enabled or v_settings.clock_changed_at is null) and v_seconds < 100 then 'degraded'
      else 'unhealthy' end;
  elsif v_pace.per_minute is not null then
    v_result.detail := v_result.detail || format(
      ', %s ticks per minute in the last %s full minutes', v_pace.per_minute, v_pace.minutes);
    if v_pace.per_minute < 55 and messenger.is_ticker_scheduled() then
      select t.slowest_step, t.slowest_ms into v_slowest from messenger.ticks t
      where t.at > health_clock.at - interval '4 minutes' order by t.slowest_ms desc nulls last limit 1;
      select * into v_fault from messenger.ticker_setting_fault();
      v_result.status := 'degraded';
      v_result.detail := v_result.detail || ', at least 55 are expected: ' || coalesce(v_fault.cause,
        format('the slowest step was %s with %s ms', v_slowest.slowest_step, v_slowest.slowest_ms));
      v_result.remedy := coalesce(v_fault.remedy,
        'select * from messenger.ticks order by duration_ms desc limit 5; select * from cron.job_run_details order by '
        'runid desc limit 5');
    end if;
  end if;
  return next v_result;
end $$;

-- A lock conflict or two are normal on a busy database: the next tick does the work.
create or replace function messenger.health_clock_errors(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result messenger.check_result;
  v_last timestamptz;
begin
  select max(e.at), string_agg(format('%s: %s (%s times)', e.step, e.error, e.failures), '; ' order by e.at desc)
  into v_last, v_result.detail
  from (
    select * from messenger.step_errors x
    where x.at > health_clock_errors.at - interval '5 minutes'
      and (x.repeats >= 3 or not messenger.is_lock_error(x.sqlstate))
    order by x.at desc limit 5
  ) e;
  v_result.status := case when v_last is null then 'healthy' else 'degraded' end;
  v_result.detail := coalesce(v_result.detail, 'none in 5 minutes');
  v_result.remedy := 'fix the cause that the error names; the step is retried every second, and the other steps run: '
    'select * from messenger.step_errors';
  v_result.figures := jsonb_build_object('seconds',
    round(extract(epoch from at - coalesce(v_last, (select max(e.at) from messenger.step_errors e)))));
  return next v_result;
end $$;

-- A lock conflict is attributed to the row only after three attempts.
create or replace function messenger.health_set_aside(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest messenger.set_aside;
  v_result messenger.check_result;
  v_rows record;
begin
  select * into v_rows
  from messenger.count_rows('select from messenger.set_aside s where s.attempts >= 3 or not '
    'messenger.is_lock_error(s.sqlstate)');
  select * into v_newest from messenger.set_aside s where s.attempts >= 3 or not messenger.is_lock_error(s.sqlstate)
  order by s.at desc, s.row_id limit 1;
  v_result.status := case when v_newest.step is null then 'healthy' else 'degraded' end;
  v_result.detail := case when v_newest.step is null then 'none'
    else format('%s%s rows could not be written and were set aside, the newest %s of %s in step %s: %s',
      case when v_rows.estimated then 'about ' else '' end, v_rows.n,
      v_newest.row_id, v_newest.object, v_newest.step, v_newest.error) end;
  v_result.remedy := 'change the trigger, constraint or value that the error names; the rows are retried '
    'automatically, or immediately after: '
    || 'update messenger.set_aside set retry_at = messenger.now()';
  v_result.figures := jsonb_build_object('rows', v_rows.n, 'seconds',
    round(extract(epoch from health_set_aside.at - v_newest.at)));
  return next v_result;
end $$;

-- A run that has ended is followed by another within two seconds; pg_cron starts the first one at a full minute.
create or replace function messenger.health_sql_handlers(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings messenger.settings := (select s from messenger.settings s);
  v_job record;
  v_run record;
  v_result messenger.check_result;
begin
  if to_regclass('cron.job') is null or not coalesce(v_settings.clock_enabled, false)
    or not messenger.needs_handlers_job() then
    return;
  end if;
  select j.jobid, j.active into v_job from cron.job j where j.jobname = 'symphony-handlers';
  select d.status, d.return_message, d.start_time into v_run
  from (select * from cron.job_run_details x order by x.runid desc limit 1000) d where d.jobid = v_job.jobid
  order by d.runid desc limit 1;
  v_result.status := 'degraded';
  v_result.figures := jsonb_build_object(
    'runners', (select count(*) from messenger.sql_runners r where messenger.is_backend_alive(r.pid, r.backend_start)),
    'seconds', round(extract(epoch from health_sql_handlers.at - v_run.start_time)));
  if v_job.jobid is null then
    v_result.detail := 'types have SQL handlers, but pg_cron has no job symphony-handlers';
    v_result.remedy := 'select messenger_start()';
  elsif not v_job.active then
    v_result.detail := 'the job symphony-handlers is inactive';
    v_result.remedy := format('select cron.alter_job(%s, active => true)', v_job.jobid);
  elsif v_run.status = 'failed' and not messenger.is_handlers_job_running() then
    v_result.detail := 'the last run of the job symphony-handlers failed: '
      || left(coalesce(v_run.return_message, 'without a message'), 500);
    v_result.remedy := format('select start_time, status, return_message from cron.job_run_details where jobid = %s '
      'order by runid desc limit 5', v_job.jobid);
  else
    v_result.status := 'healthy';
    v_result.detail := case when messenger.is_handlers_job_running() then 'the job symphony-handlers is running'
      else 'the job symphony-handlers is scheduled' end;
  end if;
  return next v_result;
end $$;

create or replace function messenger.health_test_clock(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select 'degraded', 'a test clock is installed, so messenger.now() can differ from the real time',
    'in a test database this is intended; in any other, run the migration again', '{}'::jsonb
  where to_regclass('messenger.test_clock') is not null
$$;

comment on function messenger.ticks_per_minute(timestamptz) is
  'Ticks per minute in the last full minutes (at most three); per_minute is null if there was no full minute.';
comment on function messenger.health_clock(timestamptz) is
  'Seconds since the last tick: degraded from 70, unhealthy from 100 or after messenger_stop; degraded while the '
  'ticker starts, and below 55 ticks per minute if pg_cron runs it.';
comment on function messenger.health_clock_errors(timestamptz) is
  'A step of the tick failed within 5 minutes: degraded. Lock conflicts count from the third in a row on.';
comment on function messenger.health_set_aside(timestamptz) is 'A row that a step could not write: degraded.';
comment on function messenger.health_sql_handlers(timestamptz) is
  'The job symphony-handlers is needed but missing, inactive or failing: '
  'degraded. Returns no row if the job is not needed.';
comment on function messenger.health_test_clock(timestamptz) is 'Degraded if a test clock is installed.';
revoke all on function
  messenger.ticks_per_minute(timestamptz),
  messenger.health_clock(timestamptz),
  messenger.health_clock_errors(timestamptz),
  messenger.health_set_aside(timestamptz),
  messenger.health_sql_handlers(timestamptz),
  messenger.health_test_clock(timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/23_health_messages.sql
-- Health checks of messages: whether due messages are claimed, by which workers, and how many become dead letters.
create or replace function messenger.health_oldest_due(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_oldest record;
  v_seconds numeric;
begin
  select head.id, greatest(head.available_at,
    messenger.runs_since(q.transport_name, q.queue_name, health_oldest_due.at)) as since into v_oldest
  from messenger.due_queues(health_oldest_due.at) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.id, m.available_at from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
      and m.processed_at is null
      and m.available_at <= health_oldest_due.at and (m.status = 'pending' or m.lock_expires_at < health_oldest_due.at)
    order by m.available_at, m.id limit 1
  ) head
  order by since limit 1;
  v_seconds := round(extract(epoch from health_oldest_due.at - v_oldest.since));
  return query select
    case when coalesce(v_seconds, 0) < 60 then 'healthy' when v_seconds < 600 then 'degraded' else 'unhealthy' end,
    coalesce('the oldest due message has waited ' || v_seconds || ' s', 'nothing is due'),
    format('select * from messenger_explain(%L)', v_oldest.id),
    jsonb_build_object('seconds', v_seconds);
end $$;

-- Scans the oldest messages of each queue and priority: a type without a handler stays while others are
-- completed, so its messages move to the front. At most 1000 per queue and priority, fewer if there are many
-- queues, so that at most about ten thousand rows are read.
create or replace function messenger.due_types(at timestamptz, age interval)
returns table (transport_name text, queue_name text, message_type text, oldest_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_sql_types text[] := array(select h.type from messenger.sql_handlers() h where h.handler is not null);
  v_depth int := (select least(1000, greatest(5, 10000 / 10 / greatest(count(*), 1)))
    from messenger.due_queues(due_types.at));
begin
  return query
  select q.transport_name, q.queue_name, head.message_type, greatest(min(head.available_at), q.since)
  from (select a.*, messenger.runs_since(a.transport_name, a.queue_name, due_types.at) as since
    from messenger.due_queues(due_types.at) a) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.message_type, m.available_at from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
      and m.processed_at is null
      and m.available_at < due_types.at - age and (m.status = 'pending' or m.lock_expires_at < due_types.at)
    order by m.available_at, m.id limit v_depth
  ) head
  where head.message_type <> all (v_sql_types) and coalesce(q.since < due_types.at - age, true)
  group by q.transport_name, q.queue_name, head.message_type, q.since;
end $$;

create or replace function messenger.health_no_handler(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'degraded' end,
    coalesce('no worker of the last minute handles ' || left(string_agg(lost.name, ', ' order by lost.name), 1000),
      'all due types have a handler'),
    'deploy a worker whose packs define these types, or set an SQL handler; the messages wait until then',
      jsonb_build_object('types', count(*))
  from (
    select distinct quote_ident(d.message_type) as name from messenger.due_types(health_no_handler.at, '10 seconds') d
    where messenger.active_workers(d.transport_name, d.queue_name, d.message_type, '1 minute') = 0
      -- Without any active worker, types that code has registered are the concern of the check workers.
      and (exists (select from messenger.workers w where w.polled_at > health_no_handler.at - interval '1 minute'
        and w.polled_at <= health_no_handler.at and w.worker !~ '^sql-[0-9]+$')
        or d.message_type not in (
          select alias.type from messenger.message_types k cross join lateral unnest(k.type || k.aliases) as alias(type)
          where k.sql_handler is null and alias.type is not null))
  ) lost
$$;

-- The runner of SQL handlers claims as messenger.sql_worker() and is not counted as a worker.
create or replace function messenger.health_workers(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_active bigint;
  v_seconds numeric;
  v_result messenger.check_result;
begin
  select count(*) into v_active from messenger.workers w
  where w.polled_at > health_workers.at - interval '1 minute' and w.polled_at <= health_workers.at
    and w.worker !~ '^sql-[0-9]+$';
  if v_active = 0 then
    v_seconds := (select round(extract(epoch from health_workers.at - min(d.oldest_at)))
      from messenger.due_types(health_workers.at, '30 seconds') d);
  end if;
  v_result.status := case when v_seconds is null then 'healthy' else 'unhealthy' end;
  v_result.detail := v_active || ' active within the last minute'
    || case when v_seconds is not null then ', and a message has been due for ' || v_seconds || ' s'
      when v_active = 0 then ', and no message is waiting' else '' end;
  v_result.remedy := coalesce(messenger.call_worker(),
    'select messenger_start(''https://<project>.supabase.co/functions/v1'')');
  v_result.figures := jsonb_build_object('awake', v_active, 'seconds', v_seconds);
  return next v_result;
end $$;

create or replace function messenger.health_transports(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'degraded' end,
    coalesce('disabled, so dispatches are rejected and messages wait: ' || string_agg(t.name, ', ' order by t.name),
      'no transport in use is disabled'),
    format('select messenger_put_transport(%L, enabled => true)', min(t.name)), jsonb_build_object('disabled', count(*))
  from public.messenger_transports t
  where not t.enabled and (t.name = 'supabase' or exists (select from messenger.message_types k
    where k.transport_name = t.name))
$$;

create or replace function messenger.health_dead_letters(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when c.n = 0 then 'healthy' else 'degraded' end,
    case when c.estimated then 'about ' else '' end || c.n || ' open',
    'select message_type, error, attempts from messenger_failed_messages where resolved_at is null',
    jsonb_build_object('open', c.n)
  from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c
$$;

comment on function messenger.due_types(timestamptz, interval) is
  'Message types without an SQL handler at the front of running queues that have been due for longer '
  'than age, each with its oldest due moment.';
comment on function messenger.health_oldest_due(timestamptz) is
  'Seconds that the oldest due message has waited: degraded from 60, unhealthy from 600.';
comment on function messenger.health_no_handler(timestamptz) is
  'A type that has been due for 10 s and that no SQL handler and no worker of the last minute takes: degraded. Types '
  'registered by code count only if another worker was active.';
comment on function messenger.health_workers(timestamptz) is
  'A message has been due for 30 s and no worker has polled within a minute: unhealthy.';
comment on function messenger.health_transports(timestamptz) is
  'A disabled transport that is the default or the route of a registered type: degraded.';
comment on function messenger.health_dead_letters(timestamptz) is 'Any open dead letter: degraded.';
revoke all on function
  messenger.due_types(timestamptz, interval),
  messenger.health_oldest_due(timestamptz),
  messenger.health_no_handler(timestamptz),
  messenger.health_workers(timestamptz),
  messenger.health_transports(timestamptz),
  messenger.health_dead_letters(timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/24_health_tables.sql
-- Health checks of tables: required rows and rights, registered types, failing schedules, and growth.

-- A restore without data or a TRUNCATE removes required rows. The tick inserts the row of messenger.clock again.
create or replace function messenger.health_own_rows(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'unhealthy' end,
    coalesce('missing: ' || string_agg(m.name, ', ' order by m.name), 'all required rows exist'),
    'select messenger_start(); -- creates them again; pass the functions URL if it was lost',
    jsonb_build_object('missing', count(*))
  from (
    select 'transport ' || d.name as name from unnest(array['supabase', 'sync']) as d(name)
    where not exists (select from public.messenger_transports t where t.name = d.name)
    union all
    select 'message type ' || d.type from unnest(array['symphony.event', 'symphony.webhook']) as d(type)
    where not exists (select from messenger.message_types k where k.type = d.type)
    union all
    select 'messenger.settings' where not exists (select from messenger.settings) and messenger.is_ticker_scheduled()
  ) m
$$;

-- Default privileges of the project grant anon and authenticated all rights on tables restored
-- from a dump; only the migration revokes them.
create or replace function messenger.health_rights(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'unhealthy' end,
    coalesce('PUBLIC, anon or authenticated have rights that this release does not grant, on '
      || left(string_agg(x.name, ', ' order by x.name), 500),
      'PUBLIC, anon and authenticated have only the rights of this release'),
    'run the migration of this release again: it revokes all other rights',
    jsonb_build_object('relations', count(*))
  from (
    select distinct c.relname as name
    from pg_catalog.pg_class c, aclexplode(c.relacl) a
    where (c.relnamespace = 'messenger'::regnamespace
        or c.relnamespace = 'public'::regnamespace and starts_with(c.relname, 'messenger_'))
      and c.relkind in ('r', 'v', 'S')
      and (a.grantee = 0 or a.grantee in (
        select r.oid from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated')))
  ) x
$$;

-- Each worker reports the types it takes. Their routes, retries and allowed
-- dispatchers apply only once they are registered.
create or replace function messenger.health_registration(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'degraded' end,
    coalesce('workers take types that are not registered, so their routes, retries and permissions do not apply: '
      || left(string_agg(u.type, ', ' order by u.type), 1000),
      'all types taken by workers of the last minute are registered'),
    'look for the rejected definition in the worker''s log; a worker registers its types when it starts',
    jsonb_build_object('types', count(*))
  from (
    select t.type
    from messenger.workers w cross join lateral unnest(w.types) as t(type)
    where w.polled_at > health_registration.at - interval '1 minute' and w.polled_at <= health_registration.at
    except
    select k.type from messenger.message_types k
    except
    select a.type from messenger.message_types k cross join lateral unnest(k.aliases) as a(type)
  ) u
$$;

create or replace function messenger.health_schedules(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when f.n = 0 then 'healthy' else 'degraded' end,
    case when f.n = 0 then 'no schedule fails'
      else format('%s fail and are retried every 5 minutes, the latest %s: %s', f.n, f.names[1],
        left(f.errors[1], 300)) end,
    'select name, last_error, next_run_at from messenger_schedules where enabled and last_error is not null',
    jsonb_build_object('failing', f.n)
  from (
    select count(*) as n, array_agg(s.name order by s.updated_at desc, s.name) as names,
      array_agg(s.last_error order by s.updated_at desc, s.name) as errors
    from public.messenger_schedules s where s.enabled and s.last_error is not null
  ) f
$$;

-- Tables that only an operator or a worker can shrink.
create or replace function messenger.growth_limits()
returns table (name text, rows_query text, most bigint, remedy text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  values
    ('open dead letters', 'select from public.messenger_failed_messages f where f.resolved_at is null', 10000::bigint,
      'select * from messenger_failed_summary; then retry them with messenger_retry_failed, '
      'or discard them with messenger_discard_failed'),
    ('unfinished messages', 'select from public.messenger_messages m where m.processed_at is null', 100000,
      'select * from messenger_queue_depth; raise max_workers, or reduce the rate of dispatches'),
    ('schedules that run once', 'select from public.messenger_schedules s where s.schedule_type = ''once''', 10000,
      'dispatch with a delay instead of a schedule; schedules that have run are deleted after their transport''s '
      'retention'),
    ('wake-ups', 'select from messenger.wakeups b', 50000,
      'select * from messenger.step_errors where step = ''prune_wakeups''; find out why workers are woken so often')
$$;

create or replace function messenger.check_growth()
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit record;
  v_count record;
  v_result messenger.check_result := row('healthy', null, null, '{}'::jsonb);
begin
  for v_limit in select * from messenger.growth_limits() loop
    select * into v_count from messenger.count_rows(v_limit.rows_query);
    v_result.figures := v_result.figures || jsonb_build_object(translate(v_limit.name, ' -', '__'), v_count.n);
    if v_count.n > v_limit.most then
      v_result.status := 'degraded';
      v_result.detail := concat_ws('; ', v_result.detail, format('%s%s %s, more than %s',
        case when v_count.estimated then 'about ' else '' end, v_count.n, v_limit.name, v_limit.most));
      v_result.remedy := concat_ws('; ', v_result.remedy, v_limit.remedy);
    end if;
  end loop;
  v_result.detail := coalesce(v_result.detail, 'no table has more rows than expected');
  return next v_result;
end $$;

create or replace function messenger.health_growth(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.check_growth() $$;

comment on function messenger.health_own_rows(timestamptz) is
  'A required transport, type or row of settings is missing: unhealthy.';
comment on function messenger.health_rights(timestamptz) is
  'anon, authenticated or PUBLIC have a right on a whole table of Symphony Messenger: unhealthy.';
comment on function messenger.health_registration(timestamptz) is
  'A worker of the last minute takes a type that is not registered: degraded.';
comment on function messenger.health_schedules(timestamptz) is 'A schedule fails: degraded.';
comment on function messenger.growth_limits() is
  'The tables of messenger.health_growth: the query for their rows, the highest expected number, and the remedy.';
comment on function messenger.check_growth() is 'See messenger.health_growth.';
comment on function messenger.health_growth(timestamptz) is
  'A table has more rows than messenger.growth_limits allows: degraded.';
revoke all on function
  messenger.check_growth(),
  messenger.health_own_rows(timestamptz),
  messenger.health_rights(timestamptz),
  messenger.health_registration(timestamptz),
  messenger.health_schedules(timestamptz),
  messenger.growth_limits(),
  messenger.health_growth(timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/25_health_wakeups.sql
-- Health checks of wake-ups: the functions URL, pg_net, and the secrets in Vault.

-- Counts the wake-ups of five minutes; pg_net does not record which caller made a request. The newest
-- response counts whatever its age, or a wrong URL would look healthy while nothing is due. A wake-up that is
-- neither queued nor answered after a minute was dropped: pg_net removes it from the queue when it sends, and
-- stores a response or an error within seconds.
create or replace function messenger.wakeup_figures()
returns table (sent bigint, answered bigint, failed bigint, failed_share numeric, stuck bigint, dropped bigint,
  has_newest_failed boolean, newest_at timestamptz, last_failure text, is_unreachable boolean)
language sql
set search_path = pg_catalog, pg_temp
as $$
  with wakeup as materialized (
    select x.*, x.sent_at > pg_catalog.now() - interval '5 minutes' as is_recent
    from messenger.wakeup_responses('2 hours') x
  ),
  newest as (select w.* from wakeup w where w.answered_at is not null order by w.request_id desc limit 1),
  failure as (
    select coalesce(w.error, 'HTTP ' || w.status_code) as text,
      w.status_code is null and w.error collate "C" !~* 'time' as is_unreachable
    from wakeup w where w.has_failed order by w.request_id desc limit 1
  )
  select count(*) filter (where w.is_recent), count(w.answered_at) filter (where w.is_recent),
    count(*) filter (where w.has_failed and w.is_recent),
    round(count(*) filter (where w.has_failed and w.is_recent)::numeric
      / nullif(count(w.answered_at) filter (where w.is_recent), 0), 3),
    count(*) filter (where w.is_queued and w.sent_at < pg_catalog.now() - interval '30 seconds'),
    -- If pg_net keeps responses for less than five minutes, a missing response proves nothing.
    count(*) filter (where w.is_recent and w.answered_at is null and not w.is_queued
      and w.sent_at < pg_catalog.now() - interval '1 minute'
      and coalesce(current_setting('pg_net.ttl', true), '6 hours')::interval >= interval '5 minutes'),
    coalesce((select n.has_failed from newest n), false), (select n.answered_at from newest n),
    (select left(f.text, 300) from failure f),
    coalesce((select f.is_unreachable from failure f), false)
  from wakeup w
$$;

create or replace function messenger.check_pg_net()
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := (select s.functions_url from messenger.settings s);
  v_start constant text := 'select messenger_start(''https://<project>.supabase.co/functions/v1'')';
  v_fault text := messenger.wakeup_fault();
  v_wakeups record;
  v_result messenger.check_result;
begin
  select * into v_wakeups from messenger.wakeup_figures();
  v_result.figures := jsonb_build_object('wakeups', v_wakeups.sent, 'answered', v_wakeups.answered,
    'failed', v_wakeups.failed,
    'failed_share', v_wakeups.failed_share, 'dropped', v_wakeups.dropped);
  v_result.status := 'degraded';
  if v_url is null then
    v_result.detail := 'no functions URL';
    v_result.remedy := v_start;
  elsif to_regclass('net.http_request_queue') is null then
    v_result.detail := 'no pg_net';
    v_result.remedy := 'create extension pg_net';
  elsif v_fault is not null then
    v_result.detail := 'pg_net cannot be called, so no worker is woken: ' || left(v_fault, 300);
    v_result.remedy := 'fix the cause that the error names: a right of the owner of schema messenger on schema net, '
      'a trigger on net.http_request_queue, or pg_net itself';
  elsif v_wakeups.stuck > 0 then
    v_result.detail := v_wakeups.stuck || ' wake-ups have not been sent for 30 s';
    v_result.remedy := 'select net.worker_restart()';
  elsif v_wakeups.failed_share > 0.2 then
    v_result.detail := format(
      '%s of %s wake-ups of the last 5 minutes failed%s: %s', v_wakeups.failed, v_wakeups.answered,
      case when v_wakeups.has_newest_failed then ', the last with'
        else ', but the newest succeeded; the last failure' end,
      v_wakeups.last_failure);
    v_result.status := case when v_wakeups.has_newest_failed and v_wakeups.failed_share > 0.5 then 'unhealthy'
      else 'degraded' end;
  elsif v_wakeups.answered = 0 and v_wakeups.has_newest_failed then
    v_result.detail := format('the last wake-up, answered at %s, failed: %s',
      messenger.moment(v_wakeups.newest_at, pg_catalog.now()), v_wakeups.last_failure);
    v_result.status := 'unhealthy';
  elsif v_wakeups.dropped > 0.2 * v_wakeups.sent then
    v_result.detail := format('%s of %s wake-ups of the last 5 minutes were neither sent nor answered: '
      'something removes them from pg_net''s queue', v_wakeups.dropped, v_wakeups.sent);
    v_result.remedy := 'look for triggers on net.http_request_queue and for jobs that empty the tables of schema net, '
      'then select net.worker_restart()';
  else
    v_result.status := 'healthy';
    v_result.detail := v_url;
  end if;
  v_result.remedy := coalesce(v_result.remedy, case
    when v_wakeups.is_unreachable then format('the functions URL %s is not reachable; set another: %s', v_url, v_start)
    else '401: the worker''s secret differs from the one in Vault; 404: deploy the worker, or correct the functions '
      'URL; '
      'otherwise look into the worker''s log' end);
  return next v_result;
end $$;

create or replace function messenger.health_pg_net(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.check_pg_net() $$;

create or replace function messenger.health_worker_secret(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    case when w.secret is null then 'unhealthy' when n.fault is not null then 'degraded' else 'healthy' end,
    case when w.fault is not null then 'in Vault, but it cannot be decrypted: ' || left(w.fault, 300)
      when w.secret is null then 'not in Vault'
      when n.fault is not null
        then 'symphony_worker_secret_next is in Vault, but it cannot be decrypted: ' || left(n.fault, 300)
      else 'in Vault' end,
    case when w.secret is null then 'select messenger_start()'
      else 'delete from vault.secrets where name = ''symphony_worker_secret_next''; then start the rotation again' end,
    jsonb_build_object('secrets', (w.secret is not null)::int + (n.secret is not null)::int)
  from messenger.read_secret('symphony_worker_secret') w, messenger.read_secret('symphony_worker_secret_next') n
$$;

create or replace function messenger.health_webhook_secrets(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(u.name) = 0 then 'healthy' else 'degraded' end,
    coalesce('webhooks are not sent, because Vault has no readable secret named '
      || string_agg(distinct u.name, ', '), 'all secrets can be decrypted'),
    'delete the secret of that name from Vault and store it again with vault.create_secret; the receiver of the '
    'webhook has its value',
    jsonb_build_object('unreadable', count(distinct u.name))
  from messenger.subscriptions s
  left join lateral (
    select s.secret_name as name from messenger.read_secret(s.secret_name) r where r.secret is null
  ) u on true
  where s.kind = 'webhook' and s.enabled
  having count(*) > 0
$$;

comment on function messenger.wakeup_figures() is
  'Counts of the wake-ups of five minutes, and the result of the newest one of two hours.';
comment on function messenger.check_pg_net() is 'See messenger.health_pg_net.';
comment on function messenger.health_pg_net(timestamptz) is
  'The wake-ups of 5 minutes: degraded without a functions URL or pg_net, if pg_net cannot be called or drops '
  'wake-ups, if one has not been sent for 30 s, or if more than 20 percent failed; unhealthy if more than 50 percent '
  'failed and the newest did too, or if the newest of 2 hours failed.';
comment on function messenger.health_worker_secret(timestamptz) is
  'Unhealthy if Vault has no worker secret that can be decrypted.';
comment on function messenger.health_webhook_secrets(timestamptz) is
  'A webhook whose secret is missing or cannot be decrypted: degraded. Returns no row without webhooks.';
revoke all on function
  messenger.check_pg_net(),
  messenger.wakeup_figures(),
  messenger.health_pg_net(timestamptz),
  messenger.health_worker_secret(timestamptz),
  messenger.health_webhook_secrets(timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/26_health_error_rate.sql
-- Health check of deliveries: the share that fails.
create or replace function messenger.error_rate(at timestamptz)
returns table (ended bigint, failed bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  v_from timestamptz := date_bin('1 minute', at - interval '5 minutes', '2000-01-01 00:00+00');
begin
  return query
  select coalesce(sum(m.completed + m.retried + m.dead), 0)::bigint, coalesce(sum(m.retried + m.dead), 0)::bigint
  from (
    select * from messenger.metrics r
    where r.step_seconds = 60 and r.at >= v_from and r.at < v_from + interval '6 minutes'
    union all
    select * from messenger.not_rolled_up(v_from, v_from + interval '6 minutes')
  ) m;
end $$;

create or replace function messenger.health_error_rate(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when r.ended < 20 or r.failed <= 0.2 * r.ended then 'healthy'
      when r.failed <= 0.5 * r.ended then 'degraded'
      else 'unhealthy'
    end,
    r.failed || ' of ' || r.ended || ' deliveries within 5 minutes failed',
    'select jsonb_pretty(messenger_metrics(5) -> ''errors'')',
    jsonb_build_object('ended', r.ended, 'failed', r.failed, 'share', round(r.failed / nullif(r.ended, 0)::numeric, 3))
  from messenger.error_rate(health_error_rate.at) r
$$;
comment on function messenger.error_rate(timestamptz) is
  'Deliveries that ended within the last five minutes, and how many of them failed.';
comment on function messenger.health_error_rate(timestamptz) is
  'The share of deliveries within 5 minutes that failed, if there were at least 20: degraded '
  'above 20 percent, unhealthy above 50 percent.';
revoke all on function
  messenger.error_rate(timestamptz),
  messenger.health_error_rate(timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/28_status.sql
-- Status: the numbers of messages, dead letters, workers. Exact up to ten thousand and estimated
-- above, so that it may be polled every second.

-- Unfinished messages are counted in the hot index, which has no others;
-- finished ones are counted only if that is cheap.
create or replace function messenger.queue_figures()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
  v_depth bigint;
  v_processing bigint;
  v_completed record;
  v_failed record;
  v_estimated boolean;
begin
  select count(*), count(*) filter (where x.status = 'processing') into v_depth, v_processing
  from (select m.status from public.messenger_messages m where m.processed_at is null limit 10001) x;
  v_estimated := v_depth > 10000;
  if v_estimated then
    v_depth := greatest(
      v_depth, messenger.estimate_rows('select from public.messenger_messages m where m.processed_at is null'));
    -- A processing message was claimed from the front of its queue and stays there in the index.
    select count(*) filter (where head.status = 'processing') into v_processing
    from (select d.*, count(*) over () as pairs from messenger.all_due_queues(v_now) d) q
    cross join generate_series(1, 10) as level(priority)
    cross join lateral (
      select m.status from public.messenger_messages m
      where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
        and m.processed_at is null
        and m.available_at <= v_now
      order by m.available_at, m.id
      limit greatest(10, 1000 / q.pairs)
    ) head;
  end if;
  select * into v_completed
  from messenger.count_rows('select from public.messenger_messages m where m.status = ''completed''');
  select * into v_failed
  from messenger.count_rows('select from public.messenger_messages m where m.status = ''failed''');
  return jsonb_build_object('depth', v_depth, 'pending', v_depth - v_processing, 'processing', v_processing,
    'completed', v_completed.n,
    'failed', v_failed.n, 'estimated', v_estimated or v_completed.estimated or v_failed.estimated);
end $$;

create or replace function messenger.status()
returns jsonb
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'queue', messenger.queue_figures(),
    'dead_letters',
    (select c.n
      from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c),
    'transports',
    (select jsonb_agg(jsonb_build_object('name', t.name, 'type', t.type, 'enabled', t.enabled) order by t.name)
      from public.messenger_transports t),
    'workers', (
      select coalesce(jsonb_agg(jsonb_build_object('worker', w.worker, 'started_at', w.started_at, 'polled_at',
        w.polled_at) order by w.polled_at desc), '[]')
      from messenger.workers w where w.polled_at > messenger.now() - interval '1 minute'
    ),
    'clock', (select jsonb_build_object('enabled', coalesce(s.clock_enabled, false), 'last_tick_at', c.last_tick_at,
      'ticks', c.ticks, 'last_error', c.last_error, 'last_error_at', c.last_error_at)
              from (select) one left join messenger.settings s on true left join messenger.clock c on true),
    'replays', (
      select coalesce(jsonb_agg(to_jsonb(r)), '[]') from messenger.replay_report() r
      where coalesce(r.finished_at, messenger.now()) > messenger.now() - interval '1 day'
    ),
    'functions_url', (select s.functions_url from messenger.settings s),
    'pruned', (select coalesce(sum(p.message_count), 0) from messenger.pruned p),
    'timestamp', messenger.now()
  )
$$;

create or replace function public.messenger_status()
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.status() where messenger.require_primary() $$;

comment on function messenger.queue_figures() is
  'Messages by state: {"depth" (unfinished), "pending", "processing", "completed", "failed", '
  '"estimated"}; exact if none of them is above 10,000.';
comment on function messenger.status() is 'See public.messenger_status.';
comment on function public.messenger_status() is
  'The state of the installation: queue (depth, pending, processing, completed, failed; estimated: some numbers are '
  'above 10,000 and estimates of the planner), dead_letters (open; an estimate above 10,000), transports, workers (of '
  'the last minute), clock (the ticker), replays (of the last day), functions_url, pruned, timestamp. Raises '
  'SM_UNAVAILABLE on a read replica. Example: select messenger_status() -> ''queue'';';
revoke all on function
  messenger.queue_figures(),
  messenger.status(),
  public.messenger_status()
from public, anon, authenticated, service_role;
grant execute on function messenger.status(), public.messenger_status() to service_role;

-- ---- 80_monitoring/30_explain.sql
-- Explain: why a message is not running. One function per reason, found by its name: messenger.reason_<name>(message
-- public.messenger_messages, at timestamptz) returns setof messenger.reason.

create or replace function messenger.unknown_message(id uuid)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 0, 'unknown', 'there is no message with this id'
      || case when f.id is null then ': it was never dispatched to this database, its transaction was rolled back, or '
        'it finished and was pruned'
              else format(' any more; its dead letter of %s still exists',
                messenger.moment(f.failed_at, messenger.now())) end,
    case when f.resolved_at is null and f.id is not null
      then format('select * from messenger_retry_failed(array[%L::uuid])', f.id) end
  from (select) one
  left join lateral (
    select x.id, x.failed_at, x.resolved_at from public.messenger_failed_messages x
    where x.message_id = unknown_message.id order by x.resolved_at nulls first limit 1
  ) f on true
$$;

-- Definer: reasons read Vault, pg_net and pg_cron. A reason that raises must not hide the others.
create or replace function messenger.explain(id uuid)
returns table (reason text, detail text, remedy text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_column
declare
  v_id uuid := id;
  v_now timestamptz := messenger.now();
  v_message public.messenger_messages;
  v_function record;
  v_found messenger.reason[];
  v_reasons messenger.reason[] := array[]::messenger.reason[];
begin
  v_message := (select m from public.messenger_messages m where m.id = v_id);
  if v_message.id is null then
    return query select r.reason, r.detail, r.remedy from messenger.unknown_message(v_id) r;
    return;
  end if;
  for v_function in select * from messenger.own_functions('reason',
    'public.messenger_messages, timestamp with time zone', 'messenger.reason') loop
    begin
      execute format('select array_agg(r) from %s($1, $2) r', v_function.function) into v_found using v_message, v_now;
    exception when others then
      v_found := array[row(95, 'unexplained', v_function.function || ' raised: ' || sqlerrm,
        'select * from messenger_verify() where state <> ''ok''')::messenger.reason];
    end;
    v_reasons := v_reasons || v_found;
  end loop;
  return query select r.reason, r.detail, r.remedy
    from unnest(v_reasons) with ordinality as r(rank, reason, detail, remedy, n) order by r.rank, r.n;
end $$;

create or replace function public.messenger_explain(id uuid)
returns table (reason text, detail text, remedy text)
language sql
set search_path = pg_catalog, pg_temp
as $$ select e.* from messenger.require_primary(), messenger.explain(id) e $$;

comment on function messenger.explain(uuid) is 'See public.messenger_explain.';
comment on function public.messenger_explain(uuid) is
  'Why a message is not running, or how it ended: one row per reason with reason (a name, see '
  'docs/troubleshooting.md), detail and remedy (SQL or a command to run; null if nothing needs fixing). The reason '
  'that delays the message comes first. Returns the reason unknown if there is no such message. Raises SM_UNAVAILABLE '
  'on a read replica. Example: select * from messenger_explain(''01890a5d-ac96-774b-bcce-b302099a8057'');';
comment on function messenger.unknown_message(uuid) is
  'The reason for an id without a message, with its dead letter if there is one.';
revoke all on function
  messenger.explain(uuid),
  public.messenger_explain(uuid),
  messenger.unknown_message(uuid)
from public, anon, authenticated, service_role;
grant execute on function messenger.explain(uuid), public.messenger_explain(uuid) to service_role;

-- ---- 80_monitoring/31_reasons_end.sql
-- Reasons of messages that have finished.
create or replace function messenger.dispatch_again(id uuid)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('select d.* from messenger_messages m, messenger_dispatch(m.message_type, m.body, queue => '
    'm.queue_name, priority => m.priority, '
    'ordering_key => m.ordering_key, transport => m.transport_name, max_retries => m.max_retries, metadata => '
    'm.metadata) d where m.id = %L', dispatch_again.id)
$$;

create or replace function messenger.reason_completed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'completed', format('completed at %s with delivery %s', messenger.moment(message.processed_at, at),
    message.retry_count + 1), null
  where message.status = 'completed'
$$;

create or replace function messenger.reason_failed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'failed',
    format('failed permanently at %s after %s deliveries: %s: %s', messenger.moment(message.processed_at, at),
      message.retry_count, coalesce(message.error_class, 'Error'),
      left(coalesce(message.last_error, 'no text'), 300))
      || case when f.id is null then '; it has no open dead letter' else '; dead letter ' || f.id end,
    case when f.id is null then messenger.dispatch_again(message.id)
      else format('select * from messenger_retry_failed(array[%L::uuid])', f.id) end
  from (select) one
  left join public.messenger_failed_messages f on f.message_id = message.id and f.resolved_at is null
  where message.status = 'failed' and coalesce(message.error_class, '') not in ('Expired', 'Cancelled', 'Discarded')
    and not (message.error_class = 'InvalidPayload' and message.created_by is not null and f.id is null)
$$;

create or replace function messenger.reason_invalid_payload(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'invalid_payload',
    format('its payload does not match the schema of its type: %s; it was dispatched by a user, so it failed at %s '
      'without a dead letter',
      left(coalesce(message.last_error, 'no text'), 300), messenger.moment(message.processed_at, at)),
    'correct the payload in the user''s application, and dispatch a new message'
  where message.status = 'failed' and message.error_class = 'InvalidPayload' and message.created_by is not null
    and not exists (select from public.messenger_failed_messages f where f.message_id = message.id
      and f.resolved_at is null)
$$;

create or replace function messenger.reason_expired(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'expired', format('expired at %s without having been handled', messenger.moment(message.expires_at, at)),
    messenger.dispatch_again(message.id)
  where message.status = 'failed' and message.error_class = 'Expired'
$$;

create or replace function messenger.reason_cancelled(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'cancelled', format('cancelled at %s', messenger.moment(message.processed_at, at)),
    messenger.dispatch_again(message.id)
  where message.status = 'failed' and message.error_class = 'Cancelled'
$$;

create or replace function messenger.reason_discarded(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'discarded',
    format('failed permanently at %s (%s), and its dead letter was discarded',
      messenger.moment(message.processed_at, at), left(coalesce(message.last_error, 'no text'), 300)),
    messenger.dispatch_again(message.id)
  where message.status = 'failed' and message.error_class = 'Discarded'
$$;

comment on function messenger.dispatch_again(uuid) is
  'SQL that dispatches a copy of a message without its idempotency key, delay, expiry and headers.';
comment on function messenger.reason_completed(public.messenger_messages, timestamptz) is
  'Reason: the message is completed.';
comment on function messenger.reason_failed(public.messenger_messages, timestamptz) is
  'Reason: the message has used all its retries, or failed permanently.';
comment on function messenger.reason_invalid_payload(public.messenger_messages, timestamptz) is
  'Reason: a user dispatched it with a payload that does not match the schema of its type.';
comment on function messenger.reason_expired(public.messenger_messages, timestamptz) is
  'Reason: the message expired before it was handled.';
comment on function messenger.reason_cancelled(public.messenger_messages, timestamptz) is
  'Reason: the message was cancelled.';
comment on function messenger.reason_discarded(public.messenger_messages, timestamptz) is
  'Reason: the message failed, and its dead letter was discarded.';
revoke all on function
  messenger.dispatch_again(uuid),
  messenger.reason_completed(public.messenger_messages, timestamptz),
  messenger.reason_failed(public.messenger_messages, timestamptz),
  messenger.reason_expired(public.messenger_messages, timestamptz),
  messenger.reason_cancelled(public.messenger_messages, timestamptz),
  messenger.reason_discarded(public.messenger_messages, timestamptz),
  messenger.reason_invalid_payload(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/32_reasons_lease.sql
-- Reasons of messages that a worker holds or has lost, or whose row is locked.
create or replace function messenger.reason_running(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 40, 'running',
    format('worker %s has been running it since %s (delivery %s of %s); its lease ends at %s',
      quote_ident(message.locked_by), messenger.moment(message.locked_at, at),
      message.retry_count + 1, message.max_retries + 1, messenger.moment(message.lock_expires_at, at)),
    null
  where message.status = 'processing' and message.lock_expires_at >= at
$$;

create or replace function messenger.reason_lease_lost(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 40, 'lease_lost',
    format('the lease of worker %s expired at %s: the worker stopped, hung or was too slow; ',
      quote_ident(message.locked_by), messenger.moment(message.lock_expires_at, at))
      || case when message.cancel_requested_at is not null then 'the next tick cancels the message, as requested'
        when message.retry_count >= message.max_retries
          then 'this was the last delivery, and the next claim or tick moves it to the dead letters'
        else format('the next claim of its queue takes it as delivery %s of %s, or the next tick requeues it',
          message.retry_count + 2, message.max_retries + 1) end,
    'select messenger_tick()'
  where message.status = 'processing' and message.lock_expires_at < at
$$;

create or replace function messenger.reason_cancel_requested(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 41, 'cancel_requested',
    format('cancellation was requested at %s; the worker is notified with its next heartbeat, and a completion still '
      'counts', messenger.moment(message.cancel_requested_at, at)),
    case when message.lock_expires_at < at then 'select messenger_tick()' end
  where message.status = 'processing' and message.cancel_requested_at is not null
$$;

create or replace function messenger.reason_alone(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 110, 'alone',
    format('its lease expired %s times, so it may have crashed its worker: it is handed out alone, with no other '
      'message in flight', message.lease_losses),
    format('select at, worker, error from messenger.attempts where message_id = %L order by fence', message.id)
  where message.status = 'pending' and message.lease_losses > 0
$$;

-- Claims skip a locked row. Its xmax is then the transaction that holds the lock, if
-- that is still running; reading it takes no lock.
create or replace function messenger.reason_locked(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 35, 'locked',
    format('process %s (%s) has locked its row in a transaction open since %s, so claims skip it', l.pid,
      coalesce(nullif(a.application_name, ''), 'no name'),
      messenger.moment(a.xact_start, pg_catalog.clock_timestamp())),
    format('select pg_terminate_backend(%s, 5000)', l.pid)
  from public.messenger_messages m
  join pg_catalog.pg_locks l on l.locktype = 'transactionid' and l.transactionid = m.xmax and l.granted
  left join pg_catalog.pg_stat_activity a on a.pid = l.pid
  where m.id = message.id and messenger.is_waiting(message, at) and l.pid <> pg_backend_pid()
$$;

comment on function messenger.reason_running(public.messenger_messages, timestamptz) is
  'Reason: a worker is running the message.';
comment on function messenger.reason_lease_lost(public.messenger_messages, timestamptz) is
  'Reason: the lease of its worker has expired, and no other worker has claimed it.';
comment on function messenger.reason_cancel_requested(public.messenger_messages, timestamptz) is
  'Reason: cancellation was requested while a worker runs it.';
comment on function messenger.reason_alone(public.messenger_messages, timestamptz) is
  'Additional information: after a lost lease the message is handed out alone.';
comment on function messenger.reason_locked(public.messenger_messages, timestamptz) is
  'Reason: another transaction holds a lock on its row.';
revoke all on function
  messenger.reason_locked(public.messenger_messages, timestamptz),
  messenger.reason_running(public.messenger_messages, timestamptz),
  messenger.reason_lease_lost(public.messenger_messages, timestamptz),
  messenger.reason_cancel_requested(public.messenger_messages, timestamptz),
  messenger.reason_alone(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/33_reasons_order.sql
-- Reasons of messages that wait for another one of their ordering key.
create or replace function messenger.reason_ordering_key(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_first record;
  v_before bigint;
begin
  if message.status <> 'pending' or message.available_at < 'infinity' or message.ordering_key is null then
    return;
  end if;
  select m.id, m.status, m.available_at, m.locked_by, m.locked_at into v_first from public.messenger_messages m
  where m.transport_name = message.transport_name and m.queue_name = message.queue_name
    and m.ordering_key = message.ordering_key and m.processed_at is null
  order by m.ordering_seq, m.available_at, m.id
  limit 1;
  if v_first.id <> message.id then
    select count(*) into v_before
    from (
      select from public.messenger_messages m
      where m.transport_name = message.transport_name and m.queue_name = message.queue_name
        and m.ordering_key = message.ordering_key and m.processed_at is null
        and m.ordering_seq <= message.ordering_seq and m.id <> message.id
      limit 10001
    ) x;
    return query select 30, 'ordering_key',
      format('waits for %s earlier messages of its ordering key %s; the first is %s, which %s',
        case when v_before > 10000 then 'more than 10000' else v_before::text end,
        quote_literal(message.ordering_key), v_first.id,
        case when v_first.status = 'processing' then format('worker %s has been running since %s',
          quote_ident(v_first.locked_by), messenger.moment(v_first.locked_at, at))
          when v_first.available_at = 'infinity' then 'is blocked itself'
          else 'becomes due at ' || messenger.moment(v_first.available_at, at) end),
      format('select * from messenger_explain(%L)', v_first.id);
  elsif not messenger.is_held_by_dead_letter(message.transport_name, message.queue_name, message.ordering_key) then
    -- Its predecessor finished while it was stored, or it was stored under repeatable read or serializable.
    return query select 30, 'ordering_key',
      format('no earlier message of ordering key %s is unfinished: the next tick unblocks it',
        quote_literal(message.ordering_key)),
      'select messenger_tick()';
  end if;
end $$;

create or replace function messenger.reason_ordering_dead_letter(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 29, 'ordering_dead_letter',
    format('the dead letter %s of its ordering key %s (failed at %s) blocks it, because transport %s has '
      'ordering_dead_letter = block; retry or discard the dead letter', f.id, quote_literal(message.ordering_key),
      messenger.moment(f.failed_at, at), message.transport_name),
    format('select * from messenger_retry_failed(array[%L::uuid])', f.id)
  from public.messenger_transports t
  join public.messenger_failed_messages f on f.transport_name = t.name and f.queue_name = message.queue_name
    and f.resolved_at is null
  join public.messenger_messages m on m.id = f.message_id and m.ordering_key = message.ordering_key
  where t.name = message.transport_name and t.config ->> 'ordering_dead_letter' = 'block'
    and message.status = 'pending' and message.available_at = 'infinity'
  order by m.ordering_seq
  limit 1
$$;

comment on function messenger.reason_ordering_key(public.messenger_messages, timestamptz) is
  'Reason: an earlier message of its ordering key has not finished.';
comment on function messenger.reason_ordering_dead_letter(public.messenger_messages, timestamptz) is
  'Reason: a dead letter blocks its ordering key, because the transport is configured so.';
revoke all on function
  messenger.reason_ordering_key(public.messenger_messages, timestamptz),
  messenger.reason_ordering_dead_letter(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/34_reasons_worker.sql
-- Reasons of due messages that no worker takes, and of those that are about to be taken.

-- A worker for a type registered by code may be idle: it gets ten seconds to poll.
create or replace function messenger.reason_no_handler(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_others text;
begin
  if not messenger.is_handed_out(message, at)
    or exists (select from messenger.sql_handlers() h where h.type = message.message_type)
    or messenger.active_workers(message.transport_name, message.queue_name, message.message_type, '1 minute') > 0 then
    return;
  end if;
  select string_agg(format('%s (transport %s, queues %s, types %s)', w.worker, coalesce(w.transport_name, 'any'),
    coalesce(array_to_string(w.queues, ' '), 'any'),
    coalesce(left(array_to_string(w.types, ' '), 200), 'any')), ', ') into v_others
  from (
    select x.* from messenger.workers x
    where x.polled_at > reason_no_handler.at - interval '1 minute' and x.polled_at <= reason_no_handler.at
      and x.worker !~ '^sql-[0-9]+$'
    order by x.polled_at desc limit 5
  ) w;
  if v_others is not null and message.available_at < at - interval '10 seconds'
    or not exists (select from messenger.message_types k where message.message_type = any (k.type || k.aliases)) then
    return query select 50, 'no_handler',
      format('no worker of the last minute takes type %s from queue %s of transport %s; ',
        quote_ident(message.message_type), message.queue_name, message.transport_name)
        || coalesce('active workers: ' || v_others, 'no code has registered the type')
        || '; define the type in a pack (packs/) and deploy it (locally, saving the file is enough)',
      'supabase functions deploy worker';
  end if;
end $$;

create or replace function messenger.reason_sql_handler_gone(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 50, 'sql_handler_gone',
    format('its SQL handler %s(jsonb) does not exist, or its result type or owner is wrong; set it again, or set null '
      'so that workers handle the type', k.sql_handler),
    format('select messenger.set_sql_handler(%L, null)', k.type)
  from messenger.sql_handlers() h
  join messenger.message_types k on h.type = any (k.type || k.aliases) and k.sql_handler is not null
  where h.type = message.message_type and h.handler is null and messenger.is_waiting(message, at)
$$;

-- An active worker needs no ticker. Without one, the ticker must wake a worker or run the SQL handler.
create or replace function messenger.reason_clock_stopped(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last timestamptz := (select c.last_tick_at from messenger.clock c);
  v_fault record;
begin
  if messenger.is_waiting(message, at) and messenger.is_ticker_stopped(at) then
    select * into v_fault from messenger.ticker_fault();
    return query select
      case when messenger.active_workers(message.transport_name, message.queue_name, message.message_type,
        '5 seconds') > 0
        and not exists (select from messenger.sql_handlers() h where h.type = message.message_type) then 105
          else 55 end,
      'clock_stopped', coalesce('the last tick was at ' || messenger.moment(v_last, at), 'the ticker has never run')
        || ': ' || v_fault.cause, v_fault.remedy;
  end if;
end $$;

-- An edge worker polls while it finds messages and for a few seconds more; after that a wake-up must start one.
create or replace function messenger.needs_wakeup(message public.messenger_messages, at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select messenger.is_handed_out(message, at)
    and not exists (select from messenger.sql_handlers() h where h.type = message.message_type)
    and messenger.active_workers(message.transport_name, message.queue_name, message.message_type, '5 seconds') = 0
$$;

create or replace function messenger.reason_no_wakeups(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not messenger.needs_wakeup(message, at) then
    return;
  elsif not exists (select from messenger.settings s where s.functions_url is not null) then
    return query select 60, 'no_wakeups', 'no worker polls, and none can be woken: there is no functions URL',
      'select messenger_start(''https://<project>.supabase.co/functions/v1'')';
  elsif to_regclass('net.http_request_queue') is null then
    return query select 60, 'no_wakeups', 'no worker polls, and none can be woken: there is no pg_net',
      'create extension pg_net';
  elsif not messenger.has_worker_secret() then
    return query select 60, 'no_wakeups',
      'no worker polls, and none can be woken: the worker secret is not in Vault, or cannot be decrypted',
        'select messenger_start()';
  end if;
end $$;

create or replace function messenger.reason_worker_unreachable(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wakeups record;
  v_reply record;
  v_fault text;
begin
  if not messenger.needs_wakeup(message, at) then
    return;
  end if;
  select count(*) as stuck, min(b.sent_at) as since into v_wakeups from messenger.wakeup_responses('1 hour') b
  where b.is_queued and b.sent_at < pg_catalog.now() - interval '10 seconds';
  if v_wakeups.stuck > 0 then
    return query select 61, 'worker_unreachable', format('pg_net has not sent %s wake-ups, the oldest queued at %s',
      v_wakeups.stuck, messenger.moment(v_wakeups.since, pg_catalog.now())),
      'select net.worker_restart()';
    return;
  end if;
  select * into v_reply from messenger.wakeup_responses('1 hour') b
  where b.answered_at is not null order by b.request_id desc limit 1;
  if v_reply.has_failed then
    v_fault := case
      when v_reply.status_code in (401, 403) then 'secret'
      when v_reply.status_code = 404 then 'missing'
      when v_reply.status_code is null and v_reply.error collate "C" !~* 'time' then 'address'
      else 'worker'
    end;
    return query select 61, 'worker_unreachable',
      format('the last wake-up (%s/worker) was answered %s at %s: %s',
        (select s.functions_url from messenger.settings s),
        coalesce('HTTP ' || v_reply.status_code, left(quote_literal(v_reply.error), 300)),
        messenger.moment(v_reply.answered_at, pg_catalog.now()),
        case v_fault
          when 'secret' then 'the worker''s secret differs from the one in Vault'
          when 'missing' then 'the worker is not deployed there, or the functions URL is wrong'
          when 'address' then 'the functions URL is not reachable'
          else 'see the worker''s log'
        end),
      case v_fault
        when 'secret' then 'supabase secrets unset SYMPHONY_WORKER_SECRET'
        when 'missing' then 'supabase functions deploy worker'
        when 'address' then 'select messenger_start(''https://<project>.supabase.co/functions/v1'')'
        else messenger.call_worker()
      end;
  end if;
end $$;

create or replace function messenger.reason_no_worker(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wakeup record;
  v_reply text;
begin
  if not messenger.needs_wakeup(message, at) or exists (select from messenger.reason_no_wakeups(message, at))
    or exists (select from messenger.reason_worker_unreachable(message, at))
    or exists (select from messenger.reason_no_handler(message, at)) then
    return;
  end if;
  select * into v_wakeup from messenger.wakeup_responses('1 hour') b order by b.request_id desc limit 1;
  v_reply := case when v_wakeup.request_id is null then 'no wake-up was sent within the last hour'
    else format('the last wake-up was sent at %s and ', messenger.moment(v_wakeup.sent_at, pg_catalog.now()))
      || coalesce('got HTTP ' || v_wakeup.status_code, 'has no response yet') end;
  return query select case when v_wakeup.sent_at > pg_catalog.now() - interval '5 seconds' then 70 else 62 end,
    'no_worker', format('no worker has polled its queue for its type within 5 s; %s', v_reply), messenger.call_worker();
end $$;

create or replace function messenger.reason_ready(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_active int := messenger.active_workers(message.transport_name, message.queue_name, message.message_type,
    '5 seconds');
  v_has_handler boolean := exists (select from messenger.sql_handlers() h where h.type = message.message_type
    and h.handler is not null);
begin
  if not messenger.is_handed_out(message, at) or messenger.due_before(message, at) > 0 then
    return;
  elsif v_has_handler and not messenger.is_ticker_stopped(reason_ready.at) then
    return query select 90, 'ready', format('due since %s and first in its queue: its SQL handler runs within a second',
      messenger.moment(message.available_at, at)), null::text;
  elsif v_active > 0 and not v_has_handler then
    return query select 90, 'ready',
      format('due since %s and first in its queue; workers that polled for its type within 5 s: %s',
        messenger.moment(message.available_at, at), v_active), null::text;
  end if;
end $$;

comment on function messenger.reason_no_handler(public.messenger_messages, timestamptz) is
  'Reason: no active worker takes its type, or no code has registered the type.';
comment on function messenger.reason_sql_handler_gone(public.messenger_messages, timestamptz) is
  'Reason: its type has an SQL handler that cannot be called.';
comment on function messenger.reason_clock_stopped(public.messenger_messages, timestamptz) is
  'Reason: the ticker is stopped. Additional information while a worker polls.';
comment on function messenger.needs_wakeup(public.messenger_messages, timestamptz) is
  'True if the message is due and no worker polls for it.';
comment on function messenger.reason_no_wakeups(public.messenger_messages, timestamptz) is
  'Reason: no worker polls, and wake-ups cannot be sent.';
comment on function messenger.reason_worker_unreachable(public.messenger_messages, timestamptz) is
  'Reason: the last wake-up failed, or pg_net does not send wake-ups.';
comment on function messenger.reason_no_worker(public.messenger_messages, timestamptz) is
  'Reason: no worker polls for it, although wake-ups are sent and received.';
comment on function messenger.reason_ready(public.messenger_messages, timestamptz) is 'Nothing delays the message.';
revoke all on function
  messenger.reason_no_handler(public.messenger_messages, timestamptz),
  messenger.reason_sql_handler_gone(public.messenger_messages, timestamptz),
  messenger.reason_clock_stopped(public.messenger_messages, timestamptz),
  messenger.needs_wakeup(public.messenger_messages, timestamptz),
  messenger.reason_no_wakeups(public.messenger_messages, timestamptz),
  messenger.reason_worker_unreachable(public.messenger_messages, timestamptz),
  messenger.reason_no_worker(public.messenger_messages, timestamptz),
  messenger.reason_ready(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/35_reasons_queue.sql
-- Reasons of messages whose queue or transport hands nothing out, or that wait for others in their queue.
create or replace function messenger.reason_paused(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'paused', format('queue %s of transport %s is paused since %s', q.queue_name, q.transport_name,
    messenger.moment(q.paused_at, at)),
    format('select messenger_resume(%L, %L)', q.transport_name, q.queue_name)
  from messenger.queues q
  where q.transport_name = message.transport_name and q.queue_name = message.queue_name and q.paused_at is not null
    and messenger.is_waiting(message, at)
$$;

create or replace function messenger.reason_transport_disabled(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'transport_disabled', format('transport %s is disabled; it was last changed at %s', t.name,
    messenger.moment(t.updated_at, at)),
    format('update messenger_transports set enabled = true where name = %L', t.name)
  from public.messenger_transports t
  where t.name = message.transport_name and not t.enabled and messenger.is_waiting(message, at)
$$;

create or replace function messenger.reason_transport_missing(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'transport_missing', format('transport %s does not exist any more', message.transport_name),
    format('insert into messenger_transports (name, type) values (%L, ''supabase'')', message.transport_name)
  where messenger.is_waiting(message, at) and not exists (select from public.messenger_transports t
    where t.name = message.transport_name)
$$;

create or replace function messenger.reason_transport_type(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'transport_type',
    format('transport %s is of type %s: no worker takes its messages from this database', t.name, t.type),
    format('update messenger_transports set type = ''supabase'' where name = %L', t.name)
  from public.messenger_transports t
  where t.name = message.transport_name and t.type not in ('supabase', 'sync') and messenger.is_waiting(message, at)
$$;

-- Reads one index range per priority, as a claim does. The number of entries is limited, not only the count: processing
-- messages and finished ones that are not vacuumed yet are in the range too.
create or replace function messenger.due_before(message public.messenger_messages, at timestamptz)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  return (
    select count(*) filter (where x.status = 'pending' or x.lock_expires_at < due_before.at)
    from (
      select head.* from generate_series(10, message.priority, -1) as level(priority)
      cross join lateral (
        select m.status, m.lock_expires_at from public.messenger_messages m
        where m.transport_name = message.transport_name and m.queue_name = message.queue_name
          and m.priority = level.priority
          and m.processed_at is null and m.available_at <= due_before.at
          and (m.available_at, m.id)
            < (case when level.priority = message.priority then message.available_at else 'infinity' end, message.id)
        order by m.available_at, m.id
        limit 10001
      ) head
      limit 10001
    ) x
  );
end $$;

create or replace function messenger.reason_waiting_turn(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before bigint;
begin
  if not messenger.is_handed_out(message, at) then
    return;
  end if;
  v_before := messenger.due_before(message, at);
  if v_before > 0 then
    return query select 80, 'waiting_turn',
      format('due messages before it in queue %s of transport %s: %s; workers that polled for its type within 5 s: %s',
        message.queue_name, message.transport_name,
        case when v_before > 10000 then 'more than 10000' else v_before::text end,
        messenger.active_workers(message.transport_name, message.queue_name, message.message_type, '5 seconds')),
      case when message.priority < 10
        then format('update messenger_messages set priority = 10 where id = %L and status = ''pending''', message.id)
        else format('select messenger_start(options => ''{"max_workers": %s}'')',
          (select least(100, 2 * s.max_workers) from messenger.settings s)) end;
  end if;
end $$;

comment on function messenger.reason_paused(public.messenger_messages, timestamptz) is 'Reason: its queue is paused.';
comment on function messenger.reason_transport_disabled(public.messenger_messages, timestamptz) is
  'Reason: its transport is disabled.';
comment on function messenger.reason_transport_missing(public.messenger_messages, timestamptz) is
  'Reason: its transport was deleted.';
comment on function messenger.reason_transport_type(public.messenger_messages, timestamptz) is
  'Reason: its transport is of a type whose messages are not claimed from this database.';
comment on function messenger.due_before(public.messenger_messages, timestamptz) is
  'The number of due messages before it in its queue, among the first 10001 entries of the index.';
comment on function messenger.reason_waiting_turn(public.messenger_messages, timestamptz) is
  'Reason: other messages of its queue come first.';
revoke all on function
  messenger.reason_paused(public.messenger_messages, timestamptz),
  messenger.reason_transport_disabled(public.messenger_messages, timestamptz),
  messenger.reason_transport_missing(public.messenger_messages, timestamptz),
  messenger.reason_transport_type(public.messenger_messages, timestamptz),
  messenger.due_before(public.messenger_messages, timestamptz),
  messenger.reason_waiting_turn(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/36_reasons_time.sql
-- Reasons of messages that are not due yet, or that have expired.
create or replace function messenger.make_due(id uuid)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'update messenger_messages set available_at = messenger.now() where id = %L and status = ''pending''', make_due.id)
$$;

-- A failed delivery leaves an attempt with the fence of the message; a snooze leaves none.
create or replace function messenger.reason_delayed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 30, 'delayed',
    format('not before %s', messenger.moment(message.available_at, at))
      || case when replay.id is null then ', as it was dispatched'
        else format(': retried from the dead letters at %s per second', replay.per_second) end,
    messenger.make_due(message.id)
  from (select) one
  left join (
    select r.id, r.per_second from messenger.replays r join messenger.replayed x on x.replay_id = r.id
      and x.message_id = message.id and x.fence = message.fence
    where r.finished_at is null limit 1
  ) replay on true
  where message.status = 'pending' and message.available_at > at and message.available_at < 'infinity'
    and (message.fence = 0 or replay.id is not null)
$$;

create or replace function messenger.reason_backing_off(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 30, 'backing_off',
    format('delivery %s of %s failed at %s: %s: %s; the next one is due at %s',
      message.retry_count, message.max_retries + 1, messenger.moment(a.at, reason_backing_off.at),
      a.error_class, left(coalesce(a.error, 'no text'), 300),
      messenger.moment(message.available_at, reason_backing_off.at)),
    messenger.make_due(message.id)
  from messenger.attempts a
  where a.message_id = message.id and a.fence = message.fence
    and message.status = 'pending' and message.available_at > reason_backing_off.at
    and message.available_at < 'infinity'
$$;

create or replace function messenger.reason_snoozed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 30, 'snoozed', format('snoozed by delivery %s: not before %s', message.fence,
    messenger.moment(message.available_at, at)), messenger.make_due(message.id)
  where message.status = 'pending' and message.available_at > at and message.available_at < 'infinity'
    and message.fence > 0
    and not exists (select from messenger.attempts a where a.message_id = message.id and a.fence = message.fence)
    and not exists (
      select from messenger.replays r join messenger.replayed x on x.replay_id = r.id and x.message_id = message.id
        and x.fence = message.fence
      where r.finished_at is null)
$$;

create or replace function messenger.reason_expires(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when message.expires_at > at
    and (message.available_at < message.expires_at or message.available_at = 'infinity') then 110 else 25 end,
    'expires',
    case when message.expires_at <= at then format('expired at %s: the next claim or tick finishes it as expired',
      messenger.moment(message.expires_at, at))
      else format('expires at %s', messenger.moment(message.expires_at, at))
        || case when message.available_at >= message.expires_at and message.available_at < 'infinity'
          then ', before it becomes due' else ', unless a worker has claimed it by then' end end,
    format('update messenger_messages set expires_at = null where id = %L and processed_at is null', message.id)
  where messenger.is_waiting(message, at) and message.expires_at is not null
$$;

comment on function messenger.make_due(uuid) is 'SQL that makes a pending message due immediately.';
comment on function messenger.reason_delayed(public.messenger_messages, timestamptz) is
  'Reason: it was dispatched with a delay, or its retry from the dead letters is due later.';
comment on function messenger.reason_backing_off(public.messenger_messages, timestamptz) is
  'Reason: its last delivery failed, and the next one is due later.';
comment on function messenger.reason_snoozed(public.messenger_messages, timestamptz) is
  'Reason: its handler snoozed it.';
comment on function messenger.reason_expires(public.messenger_messages, timestamptz) is
  'Reason: it has expired, or expires before it is due; otherwise additional information.';
revoke all on function
  messenger.make_due(uuid),
  messenger.reason_delayed(public.messenger_messages, timestamptz),
  messenger.reason_backing_off(public.messenger_messages, timestamptz),
  messenger.reason_snoozed(public.messenger_messages, timestamptz),
  messenger.reason_expires(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/38_message_facts.sql
-- Facts about one message that several reasons use.

create or replace function messenger.moment(moment timestamptz, at timestamptz)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(moment.moment at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
    || case when seconds < 0 then ' (in ' || age || ')' else ' (' || age || ' ago)' end
  from (select extract(epoch from moment.at - moment.moment) as seconds) s,
    lateral (select case when abs(seconds) < 120 then round(abs(seconds)) || ' s'
      when abs(seconds) < 7200 then round(abs(seconds) / 60) || ' min'
      when abs(seconds) < 172800 then round(abs(seconds) / 3600) || ' h'
      else round(abs(seconds) / 86400) || ' days' end as age) a
$$;

create or replace function messenger.is_waiting(message public.messenger_messages, at timestamptz)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select message.status = 'pending' or message.status = 'processing' and message.lock_expires_at < at $$;

create or replace function messenger.is_handed_out(message public.messenger_messages, at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select messenger.is_waiting(message, at) and message.available_at <= at and coalesce(message.expires_at > at, true)
    and exists (select from public.messenger_transports t where t.name = message.transport_name and t.enabled
      and t.type in ('supabase', 'sync'))
    and not exists (select from messenger.queues q where q.transport_name = message.transport_name
      and q.queue_name = message.queue_name and q.paused_at is not null)
$$;

comment on function messenger.moment(timestamptz, timestamptz) is
  'A moment as text: in UTC, and how long ago or ahead it is.';
comment on function messenger.is_waiting(public.messenger_messages, timestamptz) is
  'True if the message is unfinished and no worker has a valid lease on it.';
comment on function messenger.is_handed_out(public.messenger_messages, timestamptz) is
  'True if the next claim for its queue and type may take it.';
revoke all on function
  messenger.moment(timestamptz, timestamptz),
  messenger.is_waiting(public.messenger_messages, timestamptz),
  messenger.is_handed_out(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/40_counters.sql
-- Counters and gauges for monitoring systems that scrape: all-time sums, which never decrease, and current values.
create or replace function public.messenger_counters()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_counters jsonb;
begin
  perform messenger.require_primary();
  -- As of the last tick: with measurements that are not rolled up yet the counters
  -- could decrease, which scrapers take for a restart.
  select jsonb_agg(jsonb_build_object('transport', m.transport_name, 'type', m.message_type, 'dispatched', m.dispatched,
    'completed', m.completed,
    'retried', m.retried, 'dead', m.dead, 'duration_ms_sum', round(m.duration_ms::numeric, 3),
    'duration_ms_buckets', (
      select jsonb_agg(jsonb_build_object('le', messenger.bucket_limit(l.bucket)::numeric, 'count',
        (select coalesce(sum(d), 0) from unnest(m.durations[1:l.bucket + 1]) d)) order by l.bucket)
      from generate_series(0, 100, 4) as l(bucket)),
    'deliveries', (select coalesce(sum(d), 0) from unnest(m.durations) d)
  ) order by m.transport_name, m.message_type)
  into v_counters
  from messenger.metrics m
  where m.step_seconds = 0;
  return jsonb_build_object('counters', coalesce(v_counters, '[]'), 'queues',
    public.messenger_list_queues() -> 'queues',
    'dead_letters',
    (select c.n
      from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c),
    'workers_awake', (select count(*) from messenger.workers w left join messenger.settings s on true
      where w.polled_at > messenger.now() - greatest(2 * s.poll_interval, '1 second')
        and w.polled_at <= messenger.now()),
    'clock_lag_seconds', (select extract(epoch from messenger.now() - c.last_tick_at) from messenger.clock c));
end $$;

comment on function public.messenger_counters() is
  'Counters and gauges for scrapers: {"counters": [{transport, type, dispatched, completed, retried, dead, deliveries, '
  'duration_ms_sum, duration_ms_buckets: [{le (ms), count (cumulative)}]}], "queues" (as in messenger_list_queues), '
  '"dead_letters" (open), "workers_awake" (active workers), "clock_lag_seconds" (since the last tick; null before the '
  'first)}. Raises SM_UNAVAILABLE on a read replica. Example: select messenger_counters() -> ''clock_lag_seconds'';';
revoke all on function public.messenger_counters() from public, anon, authenticated;
grant execute on function public.messenger_counters() to service_role;

-- ---- 80_monitoring/42_metrics.sql
-- Metrics of a range of time: totals, shares, durations, by type, by
-- transport, the most frequent errors, and a time series.

-- Durations are assumed to be spread evenly within a bucket.
create or replace function messenger.percentiles(durations bigint[], shares double precision[])
returns numeric[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_total double precision := (select sum(d) from unnest(durations) d);
  v_seen double precision := 0;
  v_bucket int := -1;
  v_hits bigint;
  v_next int := 1;
  v_wanted double precision := shares[1] * v_total;
  v_percentiles numeric[] := array[]::numeric[];
begin
  foreach v_hits in array durations loop
    v_bucket := v_bucket + 1;
    continue when v_hits = 0;
    while v_seen + v_hits >= v_wanted loop
      v_percentiles[v_next] := round((case v_bucket
        when 0 then (v_wanted - v_seen) / v_hits
        when 103 then messenger.bucket_limit(102)
        else messenger.bucket_limit(v_bucket - 1)
          + (messenger.bucket_limit(v_bucket) - messenger.bucket_limit(v_bucket - 1)) * (v_wanted - v_seen) / v_hits
      end)::numeric, 3);
      v_next := v_next + 1;
      v_wanted := shares[v_next] * v_total;
    end loop;
    v_seen := v_seen + v_hits;
  end loop;
  return v_percentiles;
end $$;

create or replace function messenger.describe_figures(of messenger.figures)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_timed bigint := (select sum(d) from unnest(of.durations) d);
  v_percentiles numeric[] := messenger.percentiles(of.durations, '{0.5, 0.95, 0.99}');
begin
  return jsonb_build_object(
    'processed', of.completed + of.dead, 'succeeded', of.completed, 'failed', of.dead, 'retried', of.retried,
    'dispatched', of.dispatched,
    'averageProcessingTime', round((of.duration_ms / nullif(v_timed, 0))::numeric, 3),
    'p50ProcessingTime', v_percentiles[1],
    'p95ProcessingTime', v_percentiles[2], 'p99ProcessingTime', v_percentiles[3]);
end $$;

create or replace function public.messenger_metrics(
  minutes int default 60, from_time timestamptz default null, to_time timestamptz default null
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set work_mem = '64MB'
set jit = off
as $$
declare
  v_minute interval := interval '1 minute';
  v_origin timestamptz := timestamptz '2000-01-01 00:00+00';
  v_now timestamptz := messenger.now();
  v_from timestamptz;
  v_to timestamptz := coalesce(to_time, v_now);
  v_kept constant text := 'minutes are kept for 2 days, hours for 90 days, days for 400 days';
  v_least_step int := 60;
  v_hours_from timestamptz;
  v_seconds double precision;
  v_step int;
  v_reply jsonb;
begin
  perform messenger.require_primary();
  if coalesce(minutes, 60) not between 1 and 525600 then
    perform messenger.raise_error('SM_FILTER',
      message => 'minutes must be a whole number from 1 to 525600 (365 days)',
      remedy => v_kept);
  end if;
  v_from := coalesce(from_time, v_to - coalesce(minutes, 60) * v_minute);
  if not isfinite(v_from) or not isfinite(v_to) or v_from >= v_to or v_to - v_from > interval '366 days' then
    perform messenger.raise_error('SM_FILTER',
      message => 'from_time must be before to_time, by at most 366 days',
      remedy => v_kept);
  end if;
  v_from := date_bin(v_minute, v_from, v_origin);
  v_to := date_bin(v_minute, v_to - interval '1 microsecond', v_origin) + v_minute;
  -- Minutes may be pruned after 2 days and hours after 90: older ranges are read from hours or days.
  if v_from < v_now - interval '47 hours' then
    v_least_step := 3600;
    v_hours_from := date_bin('1 day', v_now - interval '89 days', v_origin);
    if v_from < v_hours_from and v_from < messenger.rolled_up_until(86400) then
      v_least_step := 86400;
    end if;
    v_from := date_bin(v_least_step * interval '1 second', v_from, v_origin);
  end if;
  if v_to < v_now - interval '47 hours' then
    v_step := case when v_to < v_hours_from then v_least_step else 3600 end;
    v_to := v_step * interval '1 second'
      + date_bin(v_step * interval '1 second', v_to - interval '1 microsecond', v_origin);
  end if;
  v_seconds := date_part('epoch', v_to - v_from);
  -- Ranges longer than a day use hours, and longer than 15 days use days, so that at most about 70,000 rows are read
  -- for 200 types. The first step may begin before the range, so 179 whole steps.
  v_step := (
    select min(s) from unnest(array[60, 300, 600, 3600, 7200, 86400, 172800, 259200]) s
    where s * 179 >= v_seconds and s >= v_least_step and (s >= 3600 or v_seconds <= 86400 + 60));

  -- Grouping sets are hashed only if work_mem suffices for the estimated groups, far more than there are;
  -- sorting took twice as long. Histograms are most of the work: each row is added twice, to its type and to its
  -- point of the series; the rest are sums of sums.
  with cell as materialized (
    select m.transport_name, m.message_type, m.point, sum(m.dispatched) as dispatched, sum(m.completed) as completed,
      sum(m.retried) as retried,
      sum(m.dead) as dead, sum(m.duration_ms) as duration_ms, sum(m.wait_count) as wait_count,
      sum(m.waited_ms) as waited_ms,
      sum(m.histogram) as histogram
    from (
      select r.transport_name, r.message_type, r.dispatched, r.completed, r.retried, r.dead, r.duration_ms,
        r.wait_count, r.waited_ms,
        date_bin(v_step * interval '1 second', r.at, v_origin) as point,
        coalesce(r.histogram, messenger.pack_histogram(r.durations)) as histogram
      from (
        select x.* from messenger.range_parts(v_from, v_to, v_step) w
        join messenger.metrics x on x.step_seconds = w.step_seconds and x.at >= w.begins_at and x.at < w.ends_at
        union all
        select * from messenger.not_rolled_up(v_from, v_to)
      ) r
      offset 0 -- otherwise each expression is evaluated once per grouping set
    ) m
    group by grouping sets ((m.transport_name, m.message_type), (m.point))
  ),
  total as materialized (
    select case grouping(c.message_type, c.transport_name) when 3 then 'all' when 1 then 'type'
      else 'transport' end as kind,
      c.message_type, c.transport_name, null as point, sum(c.dispatched) as dispatched, sum(c.completed) as completed,
      sum(c.retried) as retried,
      sum(c.dead) as dead, sum(c.duration_ms) as duration_ms, sum(c.wait_count) as wait_count,
      sum(c.waited_ms) as waited_ms,
      sum(c.histogram) as histogram
    from cell c
    where c.point is null
    group by grouping sets ((), (c.message_type), (c.transport_name))
    union all
    select 'point', c.message_type, c.transport_name, c.point, c.dispatched, c.completed, c.retried, c.dead,
      c.duration_ms, c.wait_count, c.waited_ms, c.histogram
    from cell c
    where c.point is not null
  ),
  described as materialized (
    select t.kind, t.message_type, t.transport_name, t.point, f.*, messenger.describe_figures(s.figures) as figures
    from total t
    cross join lateral (
      select row(coalesce(t.dispatched, 0), coalesce(t.completed, 0), coalesce(t.retried, 0), coalesce(t.dead, 0),
        coalesce(t.duration_ms, 0),
        messenger.unpack_histogram(t.histogram), coalesce(t.wait_count, 0),
        coalesce(t.waited_ms, 0))::messenger.figures as figures
      offset 0
    ) s
    cross join lateral (select (s.figures).*) f
  ),
  curve as (
    select jsonb_agg(jsonb_build_object('at', p.at, 'dispatched', coalesce(d.dispatched, 0), 'completed',
      coalesce(d.completed, 0),
      'failed', coalesce(d.retried + d.dead, 0), 'retried', coalesce(d.retried, 0), 'dead', coalesce(d.dead, 0), 'p50',
      d.figures -> 'p50ProcessingTime',
      'p95', d.figures -> 'p95ProcessingTime', 'averageWait',
      round((d.waited_ms / nullif(d.wait_count, 0))::numeric, 3)) order by p.at) as points
    from generate_series(date_bin(v_step * interval '1 second', v_from, v_origin), v_to - interval '1 microsecond',
      v_step * interval '1 second') as p(at)
    left join described d on d.kind = 'point' and d.point = p.at
  )
  select jsonb_build_object(
    'from', v_from, 'to', v_to,
    'totalProcessed', d.figures -> 'processed', 'totalSucceeded', d.figures -> 'succeeded',
    'totalFailed', d.figures -> 'failed',
    'totalDispatched', d.figures -> 'dispatched', 'totalRetried', d.figures -> 'retried',
    'averageProcessingTime', d.figures -> 'averageProcessingTime', 'p50ProcessingTime',
    d.figures -> 'p50ProcessingTime',
    'p95ProcessingTime', d.figures -> 'p95ProcessingTime', 'p99ProcessingTime', d.figures -> 'p99ProcessingTime',
    'averageWait', round((d.waited_ms / nullif(d.wait_count, 0))::numeric, 3),
    'successRate', round(d.completed / nullif(d.completed + d.dead, 0)::numeric, 4), 'failureRate',
    round(d.dead / nullif(d.completed + d.dead, 0)::numeric, 4),
    'byMessageType', (select coalesce(jsonb_object_agg(x.message_type, x.figures), '{}') from described x
      where x.kind = 'type'),
    'byTransport', (select coalesce(jsonb_object_agg(x.transport_name, x.figures), '{}') from described x
      where x.kind = 'transport'),
    'errors', (
      select coalesce(jsonb_agg(jsonb_build_object('errorClass', e.error_class, 'messageType', e.message_type, 'error',
        e.error, 'count', e.error_count, 'lastAt', e.last_at)
        order by e.error_count desc, e.last_at desc), '[]')
      from messenger.measured_errors(v_from, v_to) e
    ),
    'stepSeconds', v_step, 'series', c.points)
  into v_reply
  from described d cross join curve c
  where d.kind = 'all';
  return v_reply;
end $$;

comment on function messenger.percentiles(bigint[], double precision[]) is
  'Durations in ms below which these shares (0 to 1, ascending) of a histogram lie, each at most 19 percent '
  'or 1 ms off; empty for an empty histogram.';
comment on function messenger.describe_figures(messenger.figures) is
  'The figures of one type or transport in the form of messenger_metrics.';
comment on function public.messenger_metrics(int, timestamptz, timestamptz) is
  'Metrics of the last minutes (1 to 525600), or from from_time to to_time, extended to whole minutes: totals, rates '
  '(0 to 1), durations and waits in ms (percentiles at most 19 percent or 1 ms off), byMessageType, byTransport, '
  'errors (the ten most frequent), series (at most 180 points of stepSeconds each). processed = completed + dead; '
  'expired and cancelled messages count as neither. Minutes are kept for 2 days, hours for 90 days and days (UTC) for '
  '400 days: an older range is extended to whole hours or days. Raises SM_FILTER for an invalid range, SM_UNAVAILABLE '
  'on a read replica. Example: select messenger_metrics(60) -> ''p95ProcessingTime'';';
revoke all on function
  messenger.percentiles(bigint[], double precision[]),
  messenger.describe_figures(messenger.figures),
  public.messenger_metrics(int, timestamptz, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.percentiles(bigint[], double precision[]),
  messenger.describe_figures(messenger.figures),
  public.messenger_metrics(int, timestamptz, timestamptz)
to service_role;

-- ---- 80_monitoring/44_metric_ranges.sql
-- Selects the rows for the metrics of a range of time: the coarsest steps that are rolled up, finer ones at the edges,
-- and measurements that are not rolled up yet.

-- For 366 days, 23 hours and 59 minutes: days, then the hours, five minutes and minutes before and after them.
create or replace function messenger.range_parts(from_time timestamptz, to_time timestamptz, longest int)
returns table (step_seconds int, begins_at timestamptz, ends_at timestamptz)
language plpgsql stable rows 5
set search_path = pg_catalog, pg_temp
as $$
declare
  v_origin constant timestamptz := timestamptz '2000-01-01 00:00+00';
  v_left tstzmultirange := tstzmultirange(tstzrange(from_time, to_time));
  v_length interval;
  v_until timestamptz;
  v_gap tstzrange;
begin
  foreach step_seconds in array array[86400, 3600, 300, 60] loop
    continue when step_seconds > longest;
    v_length := make_interval(secs => step_seconds);
    -- Minutes and hours exist from the first measurement on.
    v_until := case when step_seconds in (60, 3600) then 'infinity'
      else coalesce(messenger.rolled_up_until(step_seconds), '-infinity') end;
    for v_gap in select g from unnest(v_left) g loop
      begins_at := date_bin(v_length, lower(v_gap) - interval '1 microsecond', v_origin) + v_length;
      ends_at := date_bin(v_length, least(upper(v_gap), v_until), v_origin);
      if begins_at < ends_at then
        return next;
        v_left := v_left - tstzmultirange(tstzrange(begins_at, ends_at));
      end if;
    end loop;
  end loop;
end $$;

-- Without a running ticker measurements accumulate: at most the first 20,000 are read.
create or replace function messenger.not_rolled_up_rows()
returns setof messenger.measurements
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_tail tid := (select format('(%s,0)', r.tail)::tid from messenger.roll_up_range() r);
  v_aside bigint[] := messenger.measurements_set_aside();
begin
  return query select m.* from messenger.measurements m where m.ctid >= v_tail and m.id <> all (v_aside) limit 20000;
end $$;

create or replace function messenger.not_rolled_up(from_time timestamptz, to_time timestamptz)
returns setof messenger.metrics
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select s.*
  from messenger.summarize(array(
    select m from messenger.not_rolled_up_rows() m where m.at >= from_time and m.at < to_time)) s
$$;

create or replace function messenger.measured_errors(from_time timestamptz, to_time timestamptz)
returns table (error_class text, message_type text, error text, error_count bigint, last_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
  select e.error_class, e.message_type, (array_agg(e.error order by e.last_at desc))[1], sum(e.error_count)::bigint,
    max(e.last_at)
  from (
    select m.error_class, m.message_type, m.error, m.error_count, m.last_at
    from messenger.range_parts(from_time, to_time, 86400) w
    join messenger.metric_errors m on m.step_seconds = w.step_seconds and m.at >= w.begins_at and m.at < w.ends_at
    union all
    select x.error_class, x.message_type, x.error, x.message_count, x.at from messenger.not_rolled_up_rows() x
    where x.error_class is not null and x.at >= from_time and x.at < to_time
  ) e
  group by e.error_class, e.message_type
  order by 4 desc, 5 desc
  limit 10
$$;

comment on function messenger.range_parts(timestamptz, timestamptz, int) is
  'Splits a range of whole minutes into spans, each to be read from rows of one step: the '
  'coarsest possible, at most longest seconds.';
comment on function messenger.not_rolled_up_rows() is 'Measurements that no tick has rolled up yet, at most 20,000.';
comment on function messenger.not_rolled_up(timestamptz, timestamptz) is
  'Measurements of a range of time that are not rolled up yet, as metrics of their minutes.';
comment on function messenger.measured_errors(timestamptz, timestamptz) is
  'The ten most frequent errors of a range of whole minutes.';
revoke all on function
  messenger.range_parts(timestamptz, timestamptz, int),
  messenger.not_rolled_up_rows(),
  messenger.not_rolled_up(timestamptz, timestamptz),
  messenger.measured_errors(timestamptz, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.range_parts(timestamptz, timestamptz, int),
  messenger.not_rolled_up_rows(),
  messenger.not_rolled_up(timestamptz, timestamptz),
  messenger.measured_errors(timestamptz, timestamptz)
to service_role;

-- ---- 80_monitoring/50_list_failed.sql
-- Lists dead letters by page, newest first, and returns a single one in full.
create or replace function messenger.dead_letter_conditions(filter jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return concat_ws(' and ',
    case filter ->> 'resolved' when 'true' then 'f.resolved_at is not null' else 'f.resolved_at is null' end,
    case when filter ? 'transport' then 'f.transport_name = $1 ->> ''transport''' end,
    case when filter ? 'queue' then 'f.queue_name = $1 ->> ''queue''' end,
    case when filter ? 'type' then 'f.message_type = $1 ->> ''type''' end,
    case when filter ? 'error_class' then 'f.error_class = $1 ->> ''error_class''' end,
    case when filter ? 'from' then 'f.failed_at >= ($1 ->> ''from'')::timestamptz' end,
    case when filter ? 'to' then 'f.failed_at < ($1 ->> ''to'')::timestamptz' end);
end $$;

create or replace function public.messenger_list_failed(
  filter jsonb default '{}', cursor text default null, skip int default 0, max int default 50
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_sort = off
set jit = off
as $$
declare
  v_filter jsonb := coalesce(filter, '{}');
  v_max int := messenger.check_page(coalesce(max, 50));
  v_skip int := coalesce(skip, 0);
  v_conditions text;
  v_position jsonb;
  v_rows jsonb;
  v_more boolean;
  v_last jsonb;
  v_total record;
begin
  perform messenger.check_filter(v_filter, '{transport,queue,type,error_class}', '{from,to}', '{resolved}');
  if v_skip not between 0 and 10000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'skip must be a number from 0 to 10000',
      remedy => 'pass next_cursor of the previous page as cursor instead');
  end if;
  v_conditions := messenger.dead_letter_conditions(v_filter);
  v_position := coalesce(messenger.read_cursor('failed', v_filter, cursor),
    '["infinity", "00000000-0000-0000-0000-000000000000"]');
  execute format($query$
    select coalesce(jsonb_agg(to_jsonb(r) - 'n' order by r.n) filter (where r.n <= $4), '[]'), count(*) > $4
    from (
      select row_number() over (order by f.failed_at desc, f.id) as n, f.id, f.message_id, f.transport_name,
        f.queue_name, f.message_type, left(f.error, 500) as error, f.error_class,
        jsonb_array_length(f.attempts) as attempt_count, f.retry_count, f.max_retries, f.failed_at, f.created_at,
        f.idempotency_key, f.resolved_at, f.resolution
      from (
        select * from (
          select * from public.messenger_failed_messages f
          where f.failed_at <= ($2 ->> 0)::timestamptz
            and (f.failed_at < ($2 ->> 0)::timestamptz or f.id > ($2 ->> 1)::uuid)
          order by f.failed_at desc, f.id limit messenger.scan_limit()
        ) f
        where %s offset $3 limit $4 + 1
      ) f
    ) r$query$, v_conditions)
  into v_rows, v_more using v_filter, v_position, v_skip, v_max;
  if v_more then
    v_last := jsonb_build_array(v_rows -> -1 -> 'failed_at', v_rows -> -1 -> 'id');
  else
    select jsonb_build_array(f.failed_at, f.id) into v_last
    from public.messenger_failed_messages f
    where f.failed_at <= (v_position ->> 0)::timestamptz
      and (f.failed_at < (v_position ->> 0)::timestamptz or f.id > (v_position ->> 1)::uuid)
    order by f.failed_at desc, f.id offset messenger.scan_limit() - 1 limit 1;
  end if;
  select * into v_total from messenger.count_rows('select from public.messenger_failed_messages f where '
    || v_conditions, v_filter);
  return jsonb_build_object('messages', v_rows, 'next_cursor',
    case when v_last is not null then messenger.write_cursor('failed', v_filter, v_last) end,
    'searched_to', case when not v_more then v_last -> 0 end, 'total', v_total.n, 'estimated', v_total.estimated);
end $$;

create or replace function public.messenger_get_failed(id uuid)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select to_jsonb(f) from public.messenger_failed_messages f where f.id = messenger_get_failed.id $$;

comment on function messenger.dead_letter_conditions(jsonb) is
  'A filter of messenger_list_failed as SQL conditions on "f"; its values are read from $1.';
comment on function public.messenger_list_failed(jsonb, text, int, int) is
  'Dead letters without bodies, traces and attempts, newest first: {"messages", "next_cursor", "searched_to", "total", '
  '"estimated"}. filter: transport, queue, type, error_class, from and to (failed_at; to is exclusive), resolved '
  '(true: retried or discarded ones; default: open ones). skip (0 to 10000) leaves out the first rows, max is 1 to '
  '1000. As in messenger_list_messages, a call scans at most 20,000 rows. Raises SM_FILTER, SM_UNKNOWN_FIELD, '
  'SM_BATCH. Example: select messenger_list_failed(''{"queue": "email"}'', max => 20);';
comment on function public.messenger_get_failed(uuid) is
  'One dead letter with all its columns; null if there is none. Example: select '
  'messenger_get_failed(''01890a5d-ac96-774b-bcce-b302099a8057'');';
revoke all on function
  messenger.dead_letter_conditions(jsonb),
  public.messenger_list_failed(jsonb, text, int, int),
  public.messenger_get_failed(uuid)
from public, anon, authenticated;
grant execute on function
  messenger.dead_letter_conditions(jsonb),
  public.messenger_list_failed(jsonb, text, int, int),
  public.messenger_get_failed(uuid)
to service_role;

-- ---- 80_monitoring/52_list_messages.sql
-- Lists messages by page, newest first, and returns a single one in full.

-- Ids begin with milliseconds since 1970, so earlier moments have no ids.
create or replace function messenger.first_id(at timestamptz)
returns uuid
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select (messenger.id_prefix(greatest(at, '1970-01-01 00:00:00+00')) || '0000000000000000')::uuid $$;

-- Only the fields present in the filter become conditions, so that the planner sees them.
create or replace function messenger.message_conditions(filter jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return concat_ws(' and ', 'true',
    case when filter ? 'status' then 'm.status = $1 ->> ''status''' end,
    case when filter ->> 'status' in ('pending', 'processing') then 'm.processed_at is null' end,
    case when filter ? 'type' then 'm.message_type = $1 ->> ''type''' end,
    case when filter ? 'transport' then 'm.transport_name = $1 ->> ''transport''' end,
    case when filter ? 'queue' then 'm.queue_name = $1 ->> ''queue''' end,
    case when filter ? 'error_class' then 'm.error_class = $1 ->> ''error_class''' end,
    case when filter ? 'idempotency_key' then 'm.idempotency_key = $1 ->> ''idempotency_key''' end,
    case when filter ? 'ordering_key' then 'm.ordering_key = $1 ->> ''ordering_key''' end,
    case when filter ? 'created_by' then 'm.created_by = ($1 ->> ''created_by'')::uuid' end,
    case when filter ? 'id' then 'm.id = ($1 ->> ''id'')::uuid' end,
    -- Ids begin with their moment of creation. created_at decides within a margin of a minute.
    case when
      filter ? 'from'
        then 'm.id >= messenger.first_id(($1 ->> ''from'')::timestamptz - interval ''1 minute'') and m.created_at >= '
          '($1 ->> ''from'')::timestamptz' end,
    case when
      filter ? 'to'
        then 'm.id < messenger.first_id(($1 ->> ''to'')::timestamptz + interval ''1 minute'') and m.created_at < ($1 '
          '->> ''to'')::timestamptz' end);
end $$;

-- A filter that few messages match would scan all of them: a call scans this many and returns how far back it got.
create or replace function messenger.scan_limit()
returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 20000 $$;

-- The messages of an idempotency key are found by the key: those older than the scanned range are returned early and
-- excluded from later pages as "shown".
create or replace function messenger.find_messages(
  filter jsonb, before uuid, shown uuid[], wanted int, out ids uuid[], out searched_to uuid, out early uuid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_conditions text := messenger.message_conditions(filter) || ' and m.id <> all ($5)';
  v_before uuid := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  v_scanned text;
  v_shown uuid[] := coalesce(shown, '{}');
begin
  early := '{}';
  -- Unfinished messages are few beside the finished ones, except for a backlog.
  if filter ->> 'status' in ('pending', 'processing')
     and (
       select count(*) from (
         select from public.messenger_messages m where m.processed_at is null limit messenger.scan_limit() + 1) x
     ) <= messenger.scan_limit() then
    -- Without "offset 0" the planner would scan the primary key with all finished messages.
    execute format('select array(select x.id from (select m.id from public.messenger_messages m where m.processed_at '
      'is null and %s offset 0) x where x.id < $2
      order by x.id desc limit $3)', v_conditions) into ids using filter, v_before, wanted, null, v_shown;
    return;
  end if;

  v_scanned := concat_ws(' and ', 'm.id < $2',
    case when filter ? 'id' then 'm.id = ($1 ->> ''id'')::uuid' end,
    case when filter ? 'created_by' then 'm.created_by = ($1 ->> ''created_by'')::uuid' end,
    case when
      filter ? 'from' then 'm.id >= messenger.first_id(($1 ->> ''from'')::timestamptz - interval ''1 minute'')' end,
    case when filter ? 'to' then 'm.id < messenger.first_id(($1 ->> ''to'')::timestamptz + interval ''1 minute'')' end);
  execute format('select array(select m.id from (select * from public.messenger_messages m where %s order by m.id '
    'desc limit $4) m where %s limit $3)', v_scanned, v_conditions)
  into ids using filter, v_before, wanted, messenger.scan_limit(), v_shown;
  if cardinality(ids) < wanted then
    execute format('select m.id from public.messenger_messages m where %s order by m.id desc offset $3 limit 1',
      v_scanned)
    into searched_to using filter, v_before, messenger.scan_limit() - 1;
  end if;
  if searched_to is not null and filter ? 'idempotency_key' then
    execute format($query$
      select array(
        select m.id from public.messenger_messages m
        where m.id = any (array(select k.message_id from messenger.idempotency_keys k
          where k.key = $1 ->> 'idempotency_key' and k.scope in ('service', $1 ->> 'created_by')))
          and m.id < $2 and %s order by m.id desc limit $3)$query$, v_conditions)
    into early using filter, searched_to, wanted - 1 - cardinality(ids), null, v_shown;
    ids := ids || early;
  end if;
end $$;

create or replace function public.messenger_list_messages(
  filter jsonb default '{}', cursor text default null, max int default 50
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_filter jsonb := coalesce(filter, '{}');
  v_max int := messenger.check_page(coalesce(max, 50));
  v_position uuid[];
  v_page record;
  v_rows jsonb;
  v_last jsonb;
  v_total record;
begin
  perform messenger.check_filter(v_filter, '{status,type,transport,queue,error_class,idempotency_key,ordering_key}',
    '{from,to}', '{}', '{id,created_by}');
  if v_filter ->> 'status' not in ('pending', 'processing', 'completed', 'failed') then
    perform messenger.raise_error('SM_FILTER', 'filter.status must be pending, processing, completed or failed',
      'leave it out to list messages of every status');
  end if;
  -- The id before which the page starts, then the ids that were returned early.
  v_position := array(select p::uuid
    from jsonb_array_elements_text(messenger.read_cursor('messages', v_filter, cursor)) p);
  select f.ids, f.searched_to, f.early into v_page
  from messenger.find_messages(v_filter, v_position[1], v_position[2:], v_max + 1) f;
  if cardinality(v_page.ids) > v_max then
    v_last := to_jsonb(v_page.ids[v_max] || v_position[2:]);
  elsif v_page.searched_to is not null then
    v_last := to_jsonb(v_page.searched_to || v_position[2:] || v_page.early);
  end if;
  select coalesce(jsonb_agg(to_jsonb(r) order by r.id desc), '[]') into v_rows
  from (
    select m.id, m.message_type, m.transport_name, m.queue_name, m.priority, m.status,
      nullif(m.available_at, 'infinity') as available_at,
      m.available_at = 'infinity' as blocked, m.scheduled_at, m.created_at, m.processed_at, m.retry_count,
      m.max_retries, m.error_class,
      left(m.last_error, 200) as last_error, m.locked_by, m.lock_expires_at, m.cancel_requested_at, m.ordering_key,
      m.idempotency_key, m.created_by
    from public.messenger_messages m where m.id = any (v_page.ids[1:v_max])
  ) r;
  select * into v_total from messenger.count_rows('select from public.messenger_messages m where '
    || messenger.message_conditions(v_filter), v_filter);
  return jsonb_build_object('messages', v_rows, 'next_cursor',
    case when v_last is not null then messenger.write_cursor('messages', v_filter, v_last) end,
    'searched_to', (select m.created_at from public.messenger_messages m where m.id = v_page.searched_to),
    'total', v_total.n, 'estimated', v_total.estimated);
end $$;

create or replace function public.messenger_get_message(id uuid)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select to_jsonb(m)
    || jsonb_build_object('available_at', nullif(m.available_at, 'infinity'), 'blocked', m.available_at = 'infinity',
      'attempts', (
        select coalesce(jsonb_agg(to_jsonb(a) - 'message_id' order by a.fence), '[]') from messenger.attempts a
        where a.message_id = m.id),
      'dead_letters', (
        select coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'failed_at', f.failed_at, 'resolved_at', f.resolved_at,
          'resolution', f.resolution) order by f.failed_at desc), '[]')
        from public.messenger_failed_messages f where f.message_id = m.id))
  from public.messenger_messages m
  where m.id = messenger_get_message.id
$$;

comment on function messenger.first_id(timestamptz) is 'The lowest id that a message created at this moment can have.';
comment on function messenger.message_conditions(jsonb) is
  'A filter of messenger_list_messages as SQL conditions on "m"; its values are read from $1.';
comment on function messenger.scan_limit() is 'The number of rows that one call of a list scans at most.';
comment on function messenger.find_messages(jsonb, uuid, uuid[], int) is
  'Ids of messages that match a filter, newest first, older than before and not in shown. searched_to: the last id '
  'scanned if the scan ended before wanted ids were found; early: those among ids that are older than it.';
comment on function public.messenger_list_messages(jsonb, text, int) is
  'Messages without their bodies, newest first: {"messages", "next_cursor", "searched_to", "total", "estimated"}. '
  'filter: id, status, type, transport, queue, error_class, idempotency_key, ordering_key, created_by, from and to '
  '(created_at; to is exclusive). max: 1 to 1000. A call scans at most 20,000 messages; if the page is not full '
  'then, searched_to is the moment reached and next_cursor continues from there. total is exact up to 10,000 and '
  'estimated above. Raises SM_FILTER, SM_UNKNOWN_FIELD, SM_BATCH. Example: select '
  'messenger_list_messages(''{"status": "failed", "type": "SendEmail"}'');';
comment on function public.messenger_get_message(uuid) is
  'One message with all its columns, "blocked" (true: it waits for its predecessor of the ordering key; available_at '
  'is then null), "attempts" (failed deliveries since its last end) and "dead_letters"; null if there is none. '
  'Example: select messenger_get_message(''01890a5d-ac96-774b-bcce-b302099a8057'');';
revoke all on function
  messenger.first_id(timestamptz),
  messenger.message_conditions(jsonb),
  messenger.scan_limit(),
  messenger.find_messages(jsonb, uuid, uuid[], int),
  public.messenger_list_messages(jsonb, text, int),
  public.messenger_get_message(uuid)
from public, anon, authenticated;
grant execute on function
  messenger.first_id(timestamptz),
  messenger.message_conditions(jsonb),
  messenger.scan_limit(),
  messenger.find_messages(jsonb, uuid, uuid[], int),
  public.messenger_list_messages(jsonb, text, int),
  public.messenger_get_message(uuid)
to service_role;

-- ---- 80_monitoring/54_list_queues.sql
-- Lists queues with the numbers of their messages, and workers with the queues they poll.

-- As messenger.due_queues, which finds the queues with due messages among thousands in 30 ms, but always all of them: a
-- session that also ticks continues its own scan.
create or replace function messenger.all_due_queues(
  at timestamptz, only_transport text default null, only_queues text[] default null
)
returns table (transport_name text, queue_name text)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select q.transport_name, q.queue_name
  from public.messenger_transports t
  cross join lateral messenger.due_queues(at, t.name, only_queues, halted => true, max_queues => 1000000) q
  where only_transport is null or t.name = only_transport
$$;

-- A processing message stays at the front of its queue in the index, so only the
-- first entries of each queue and priority are read.
create or replace function messenger.running_messages(
  depth int, only_transport text default null, only_queues text[] default null
)
returns table (transport_name text, queue_name text, locked_by text)
language sql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  select q.transport_name, q.queue_name, head.locked_by
  from messenger.all_due_queues(messenger.now(), only_transport, only_queues) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.locked_by from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
      and m.processed_at is null
      and m.available_at <= messenger.now()
    order by m.available_at, m.id limit depth
  ) head
  where head.locked_by is not null
$$;

create or replace function messenger.queue_figures_of(transport text, queue text)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
  v_seen record;
  v_all bigint;
  v_due bigint;
  v_blocked bigint;
  v_oldest timestamptz;
  v_args jsonb := jsonb_build_object('transport', transport, 'queue', queue, 'now', v_now);
  v_rows text := 'select from public.messenger_messages m where m.transport_name = $1 ->> ''transport'' and '
    'm.queue_name = $1 ->> ''queue'' and m.processed_at is null';
begin
  select count(*) as n, count(*) filter (where m.status = 'processing') as processing, count(*)
    filter (where m.available_at = 'infinity') as blocked,
    count(*) filter (where m.status = 'pending' and m.available_at <= v_now) as due
  into v_seen
  from (
    select m.status, m.available_at from public.messenger_messages m
    where m.transport_name = queue_figures_of.transport and m.queue_name = queue_figures_of.queue
      and m.processed_at is null limit 10001
  ) m;
  select min(head.available_at) into v_oldest
  from generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.available_at from public.messenger_messages m
    where m.transport_name = queue_figures_of.transport and m.queue_name = queue_figures_of.queue
      and m.priority = level.priority and m.processed_at is null
      and m.available_at <= v_now and m.status = 'pending'
    order by m.available_at, m.id limit 1
  ) head;
  if v_seen.n > 10000 then
    v_blocked := (select count(*) from (
      select from public.messenger_messages m where m.transport_name = queue_figures_of.transport
        and m.queue_name = queue_figures_of.queue
        and m.ordering_key is not null and m.processed_at is null and m.available_at = 'infinity' limit 10001) x);
    v_seen.processing := (select count(*)
      from messenger.running_messages(1000, queue_figures_of.transport, array[queue_figures_of.queue]));
    v_all := greatest(v_seen.n, v_seen.due + v_blocked + v_seen.processing, messenger.estimate_rows(v_rows, v_args));
    -- Processing messages were due.
    v_due := messenger.estimate_rows(v_rows || ' and m.available_at <= ($1 ->> ''now'')::timestamptz', v_args)
      - v_seen.processing;
    v_due := greatest(v_seen.due, least(v_due, v_all - v_blocked - v_seen.processing));
  else
    v_all := v_seen.n;
    v_due := v_seen.due;
    v_blocked := v_seen.blocked;
  end if;
  return jsonb_build_object('pending', v_all - v_seen.processing, 'due', v_due, 'delayed',
    greatest(0, v_all - v_seen.processing - v_due - v_blocked),
    'blocked', v_blocked, 'processing', v_seen.processing, 'oldest_due_at', v_oldest, 'estimated', v_seen.n > 10000);
end $$;

create or replace function messenger.has_many_queues()
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  with recursive pair as (
    (select m.transport_name, m.queue_name from public.messenger_messages m where m.processed_at is null
     order by m.transport_name desc, m.queue_name desc limit 1)
    union all
    select n.transport_name, n.queue_name
    from pair p
    cross join lateral (
      select m.transport_name, m.queue_name from public.messenger_messages m
      where m.processed_at is null and (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
      order by m.transport_name desc, m.queue_name desc limit 1
    ) n
  )
  select count(*) > 64 from (select from pair limit 65) p
$$;

-- With many queues one scan of the unfinished messages is faster than a call per queue: 0.1 s against 1 s for 100,000
-- messages in 5,000 queues.
create or replace function messenger.figures_by_queue(at timestamptz)
returns table (transport_name text, queue_name text, figures jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
#variable_conflict use_column
begin
  if messenger.has_many_queues()
    and messenger.estimate_rows('select from public.messenger_messages m where m.processed_at is null') < 1000000 then
    return query
    select q.transport_name, q.queue_name, jsonb_build_object('pending', q.n - q.processing, 'due', q.due,
      'delayed', q.n - q.processing - q.due - q.blocked, 'blocked', q.blocked, 'processing', q.processing,
      'oldest_due_at', q.oldest_due_at, 'estimated', false)
    from (
      select m.transport_name, m.queue_name, count(*) as n,
        count(*) filter (where m.status = 'processing') as processing,
        count(*) filter (where m.available_at = 'infinity') as blocked,
        count(*) filter (where m.status = 'pending' and m.available_at <= figures_by_queue.at) as due,
        min(m.available_at) filter (where m.status = 'pending' and m.available_at <= figures_by_queue.at)
          as oldest_due_at
      from public.messenger_messages m
      where m.processed_at is null
      group by m.transport_name, m.queue_name
    ) q
    join public.messenger_transports t on t.name = q.transport_name and t.type in ('supabase', 'sync');
  else
    return query
    select a.transport_name, a.queue_name, messenger.queue_figures_of(a.transport_name, a.queue_name)
    from messenger.active_queues(null, null, true) a;
  end if;
end $$;

-- The planner overestimates the cost of functions and would compile the plan with JIT, for half a second.
create or replace function public.messenger_list_queues()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
begin
  -- First, because a replica cannot even plan a query of an unlogged table.
  perform messenger.require_primary();
  return (
    with queue as materialized (
      select coalesce(f.transport_name, p.transport_name) as transport_name,
        coalesce(f.queue_name, p.queue_name) as queue_name, p.queue_name as recorded_name, p.paused_at,
        coalesce(f.figures, messenger.queue_figures_of(p.transport_name, p.queue_name)) as figures
      from messenger.figures_by_queue(v_now) f
      full join messenger.queues p on p.transport_name = f.transport_name and p.queue_name = f.queue_name
      where f.queue_name is not null or p.paused_at is not null
    ),
    -- The queues of a transport that were never paused have one moment in common.
    run as materialized (
      select d.*, messenger.runs_since(d.transport_name, d.recorded_name, v_now) as runs_since
      from (select distinct q.transport_name, q.recorded_name from queue q) d
    ),
    worker as materialized (
      select w.transport_name, w.queues from messenger.workers w left join messenger.settings s on true
      where w.polled_at > v_now - greatest(2 * s.poll_interval, '1 second') and w.polled_at <= v_now
    )
    select jsonb_build_object('queues', coalesce(jsonb_agg(
      jsonb_build_object('transport_name', q.transport_name, 'queue_name', q.queue_name, 'paused_at', q.paused_at,
        'transport_enabled', t.enabled,
        'runs_since', r.runs_since,
        'awake_workers', (
          select count(*) from worker w
          where (w.transport_name is null or w.transport_name = q.transport_name)
            and (w.queues is null or q.queue_name = any (w.queues))))
      || q.figures order by q.transport_name, q.queue_name), '[]'))
    from queue q
    join run r on r.transport_name = q.transport_name and r.recorded_name is not distinct from q.recorded_name
    left join public.messenger_transports t on t.name = q.transport_name
  );
end $$;

create or replace function public.messenger_list_workers()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  -- First, because a replica cannot even plan a query of an unlogged table.
  perform messenger.require_primary();
  return (
    select jsonb_build_object('workers', coalesce(jsonb_agg(
      to_jsonb(w) || jsonb_build_object('awake', w.polled_at > messenger.now()
        - greatest(2 * s.poll_interval, '1 second'), 'processing', coalesce(r.n, 0))
      order by w.polled_at desc, w.worker), '[]'))
    from messenger.workers w left join messenger.settings s on true
    left join (select m.locked_by, count(*) as n from messenger.running_messages(1000) m group by m.locked_by) r
      on r.locked_by = w.worker
    where w.polled_at > messenger.now() - interval '1 hour'
  );
end $$;

comment on function messenger.all_due_queues(timestamptz, text, text[]) is
  'Queues that hold a due message, paused ones and those of disabled transports included.';
comment on function messenger.has_many_queues() is 'Whether more than 64 queues hold unfinished messages.';
comment on function messenger.figures_by_queue(timestamptz) is
  'The queues with unfinished messages, each with figures as of messenger.queue_figures_of.';
comment on function messenger.running_messages(int, text, text[]) is
  'Messages that are being processed, among the first depth entries of each queue and priority.';
comment on function messenger.queue_figures_of(text, text) is
  'Unfinished messages of a queue: {"pending" (due + delayed + blocked), "due", "delayed", "blocked" (waiting for '
  'their predecessor), "processing", "oldest_due_at", "estimated"}; exact up to 10,000.';
comment on function public.messenger_list_queues() is
  'Queues that have unfinished messages or are paused: {"queues": [{transport_name, queue_name, paused_at, '
  'transport_enabled, runs_since (when the queue was last resumed or its transport last changed), pending, due, '
  'delayed, blocked, processing, oldest_due_at, estimated, awake_workers (active workers)}]}. Raises SM_UNAVAILABLE on '
  'a read replica. Example: select messenger_list_queues() -> ''queues'';';
comment on function public.messenger_list_workers() is
  'Workers that polled within the last hour, the latest first: {"workers": [{worker, transport_name, queues, types '
  '(null: all), started_at, polled_at, awake (true: active), processing}]}. Raises SM_UNAVAILABLE on a read replica. '
  'Example: select messenger_list_workers() -> ''workers'';';
revoke all on function
  messenger.all_due_queues(timestamptz, text, text[]),
  messenger.has_many_queues(),
  messenger.figures_by_queue(timestamptz),
  messenger.running_messages(int, text, text[]),
  messenger.queue_figures_of(text, text),
  public.messenger_list_queues(),
  public.messenger_list_workers()
from public, anon, authenticated;
grant execute on function
  messenger.all_due_queues(timestamptz, text, text[]),
  messenger.has_many_queues(),
  messenger.figures_by_queue(timestamptz),
  messenger.running_messages(int, text, text[]),
  messenger.queue_figures_of(text, text),
  public.messenger_list_queues(),
  public.messenger_list_workers()
to service_role;

-- ---- 80_monitoring/56_list_schedules.sql
-- Lists schedules by page, in order of their names, each with its last message.
create or replace function public.messenger_list_schedules(
  filter jsonb default '{}', cursor text default null, max int default 100
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_filter jsonb := coalesce(filter, '{}');
  v_max int := messenger.check_page(coalesce(max, 100));
  v_conditions text;
  v_after text;
  v_rows jsonb;
  v_total record;
begin
  perform messenger.check_filter(v_filter, '{type,name}', '{}', '{enabled}');
  v_conditions := concat_ws(' and ', 'true',
    case when v_filter ? 'type' then 's.message_type = $1 ->> ''type''' end,
    case when v_filter ? 'name' then 'starts_with(s.name, $1 ->> ''name'')' end,
    case when v_filter ? 'enabled' then 's.enabled = ($1 ->> ''enabled'')::boolean' end);
  v_after := messenger.read_cursor('schedules', v_filter, cursor) #>> '{}';
  execute format($query$
    select coalesce(jsonb_agg(to_jsonb(s) || jsonb_build_object('last_message_id', o.message_id, 'last_message_status',
      m.status) order by s.name), '[]')
    from (
      select * from public.messenger_schedules s where ($2 is null or s.name > $2) and %s order by s.name limit $3
    ) s
    left join lateral (select x.message_id from messenger.occurrences x where x.schedule_id = s.id
      order by x.due_at desc limit 1) o on true
    left join public.messenger_messages m on m.id = o.message_id$query$, v_conditions)
  into v_rows using v_filter, v_after, v_max + 1;
  select * into v_total from messenger.count_rows('select from public.messenger_schedules s where ' || v_conditions,
    v_filter);
  return jsonb_build_object(
    'schedules', case when jsonb_array_length(v_rows) > v_max then v_rows - v_max else v_rows end,
    'next_cursor', case when jsonb_array_length(v_rows) > v_max then messenger.write_cursor('schedules', v_filter,
      v_rows -> v_max - 1 -> 'name') end,
    'total', v_total.n, 'estimated', v_total.estimated);
end $$;

comment on function public.messenger_list_schedules(jsonb, text, int) is
  'Schedules in order of their names: {"schedules": [columns of messenger_schedules, last_message_id, '
  'last_message_status], "next_cursor", "total", "estimated"}. filter: type, enabled, name (a prefix). max: 1 to 1000. '
  'Raises SM_FILTER, SM_UNKNOWN_FIELD, SM_BATCH. Example: select messenger_list_schedules(''{"enabled": true}'');';
revoke all on function public.messenger_list_schedules(jsonb, text, int) from public, anon, authenticated;
grant execute on function public.messenger_list_schedules(jsonb, text, int) to service_role;

-- ---- 80_monitoring/60_audit.sql
-- Checks the invariants of the schema, which hold in every snapshot under any load.
create or replace function public.messenger_audit()
returns table (invariant text, violations bigint)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with message as materialized (
    select m.id, m.status, m.error_class, m.created_by, m.fence, m.retry_count, m.max_retries, m.processed_at,
      m.locked_at, m.locked_by, m.lock_expires_at,
      m.idempotency_key, m.available_at, m.updated_at, m.ordering_key, m.ordering_seq, m.transport_name, m.queue_name,
      m.headers ->> 'x-scheduled-for' as scheduled_for,
      m.headers ->> 'x-schedule' as schedule
    from public.messenger_messages m
  ),
  dead_letter as materialized (
    select f.message_id, count(*) as open from public.messenger_failed_messages f
    where f.resolved_at is null group by f.message_id
  )
  select 'I2 a message that failed for good has exactly one open dead letter, and only those have',
    (select count(*) from message m full join dead_letter l on l.message_id = m.id
     -- A user's message with an invalid payload has no dead letter; release 0.1.0 created one.
     where coalesce(m.status = 'failed' and m.error_class = 'InvalidPayload' and m.created_by is not null
       and coalesce(l.open, 1) = 1, false) is false
       and (m.status = 'failed' and coalesce(m.error_class, '') not in ('Expired', 'Cancelled',
         'Discarded')) is distinct from (l.open = 1 and l.open is not null))
  union all
  select 'I3 processing if and only if there is a lease',
    (select count(*) from message m where (m.status = 'processing') is distinct from (m.locked_by is not null
      and m.lock_expires_at is not null and m.locked_at is not null))
  union all
  select 'I4 an unfinished message with an idempotency key is the one its key names',
    (select count(*) from message m where m.idempotency_key is not null and m.processed_at is null
     and not exists (select from messenger.idempotency_keys k where k.message_id = m.id and k.key = m.idempotency_key))
  union all
  select 'I5 retry_count is at most max_retries + 1, and fence at least retry_count',
    (select count(*) from message m where m.retry_count > m.max_retries + 1 or m.fence < m.retry_count)
  union all
  select 'I6 no recorded attempt has a higher fence than its message',
    (select count(*) from messenger.attempts a join message m on m.id = a.message_id where a.fence > m.fence)
  union all
  select 'I7 processed_at is set exactly on finished messages',
    (select count(*) from message m
      where (m.processed_at is null) is distinct from (m.status in ('pending', 'processing')))
  union all
  select 'I8 no lease is overdue by more than two minutes while the ticker runs',
    (select count(*) from message m, messenger.clock c
     where m.status = 'processing' and m.lock_expires_at < messenger.now() - interval '2 minutes'
       and c.last_tick_at > messenger.now() - interval '10 seconds')
  union all
  -- A race may leave a message blocked; the ticker unblocks it within a second.
  select 'I9 at most one message of an ordering key is in flight, and a blocked one waits for a predecessor or a dead '
    'letter',
    (select count(*) from (
       select m.transport_name, m.queue_name, m.ordering_key, count(*)
         filter (where m.status = 'processing') as in_flight,
         bool_and(m.available_at = 'infinity')
           and max(m.updated_at) < messenger.now() - interval '10 seconds' as is_stuck
       from message m
       where m.ordering_key is not null and m.processed_at is null
       group by m.transport_name, m.queue_name, m.ordering_key
     ) x, messenger.clock c
     where x.in_flight > 1
       or x.is_stuck and c.last_tick_at > messenger.now() - interval '10 seconds'
         and not messenger.is_held_by_dead_letter(x.transport_name, x.queue_name, x.ordering_key))
  union all
  -- A new schedule may reuse a name and have an occurrence at the same moment. messenger.occurrences records
  -- for 7 days which schedule a message belongs to.
  select 'I10 one message for each occurrence of a schedule',
    (select count(*) from (
       select from messenger.occurrences o left join message m on m.id = o.message_id
       group by o.message_id
       having count(*) > 1
         or bool_or(m.scheduled_for <> to_char(o.due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
     ) x)
    + (select count(*) from (
       select from message m left join messenger.occurrences o on o.message_id = m.id
       where m.schedule is not null
         and m.scheduled_for > to_char((messenger.now() - interval '6 days') at time zone 'UTC', 'YYYY-MM-DD')
       group by m.schedule, m.scheduled_for
       having count(*) > 1 and count(*) > count(o.message_id)
     ) x)
$$;

comment on function public.messenger_audit() is
  'Checks the invariants I2 to I10 in one snapshot: one row per invariant with its text and the number of rows '
  'that violate it, which must be 0. I1 (every acknowledged message is a row or was pruned after it had finished) '
  'is not included: dispatch keeps no record of the ids it has returned other than the rows themselves, because a '
  'shared counter would serialize dispatches, so only the clients that hold the ids can check it. Example: select '
  '* from messenger_audit() where violations > 0;';
revoke all on function public.messenger_audit() from public, anon, authenticated, service_role;
grant execute on function public.messenger_audit() to service_role;

-- ---- 80_monitoring/70_filters.sql
-- Arguments of lists: filters, which are strictly typed, and cursors, which point to the end of a page.

create or replace function messenger.check_filter(
  filter jsonb, texts text[], times text[] default '{}', booleans text[] default '{}', ids text[] default '{}'
)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invalid text;
begin
  if filter is null or jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object', 'pass {} to select all');
  end if;
  select k into v_invalid from jsonb_object_keys(filter) k
  where k <> all (texts || times || booleans || ids) order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_invalid, 100),
      'the fields are ' || array_to_string(texts || times || booleans || ids, ', '));
  end if;
  select f.key into v_invalid from jsonb_each(filter) f
  where case
    when f.key = any (booleans) then jsonb_typeof(f.value) <> 'boolean'
    when f.key = any (times) then messenger.read_moment(f.value) is null
    when f.key = any (ids) then jsonb_typeof(f.value) <> 'string'
      or f.value #>> '{}' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    else jsonb_typeof(f.value) <> 'string'
  end
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_invalid, case
      when v_invalid = any (booleans) then 'pass true or false'
      when v_invalid = any (times) then 'pass an ISO 8601 moment with a zone, for example 2030-01-31T09:00:00Z'
      when v_invalid = any (ids) then 'pass a UUID'
      else 'pass a string' end);
  end if;
  if messenger.read_moment(filter -> 'to') <= messenger.read_moment(filter -> 'from') then
    perform messenger.raise_error('SM_FILTER', 'filter.to must be later than filter.from',
      'change one of them, or leave it out');
  end if;
end $$;

create or replace function messenger.check_page(max int)
returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if max not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'max must be a number from 1 to 1000',
      remedy => 'use next_cursor to read more rows');
  end if;
  return max;
end $$;

-- A cursor is bound to its list and filter: with another filter it would silently leave rows out.
create or replace function messenger.write_cursor(list text, filter jsonb, page_end jsonb)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return rtrim(translate(encode(
    convert_to(jsonb_build_object('list', list, 'filter', md5(filter::text), 'position', page_end)::text, 'UTF8'),
    'base64'), E'+/\n', '-_'), '=');
end $$;

create or replace function messenger.read_cursor(list text, filter jsonb, cursor text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor jsonb;
  v_is_valid boolean;
begin
  if cursor is null then
    return null;
  end if;
  begin
    v_cursor := convert_from(decode(rpad(translate(cursor, '-_', '+/'), (length(cursor) + 3) / 4 * 4, '='), 'base64'),
      'UTF8')::jsonb;
    -- Callers can forge a cursor, so its position is checked to have the list's own form.
    case list
      when 'messages' then v_is_valid := (select bool_and(p::uuid is not null)
        from jsonb_array_elements_text(v_cursor -> 'position') p);
      when 'failed' then v_is_valid := (v_cursor -> 'position' ->> 0)::timestamptz is not null
        and (v_cursor -> 'position' ->> 1)::uuid is not null;
      else v_is_valid := jsonb_typeof(v_cursor -> 'position') = 'string';
    end case;
  exception when data_exception or program_limit_exceeded then
    v_is_valid := false;
  end;
  if v_is_valid is not true or v_cursor ->> 'list' is distinct from list
    or v_cursor ->> 'filter' is distinct from md5(filter::text) then
    perform messenger.raise_error('SM_FILTER', 'the cursor does not belong to this list and filter',
      'start again without a cursor');
  end if;
  return v_cursor -> 'position';
end $$;

comment on function messenger.check_filter(jsonb, text[], text[], text[], text[]) is
  'Raises SM_UNKNOWN_FIELD for a key that is not listed, SM_FILTER for a value of another '
  'type or if "to" is not later than "from".';
comment on function messenger.check_page(int) is
  'Raises SM_BATCH for page sizes other than 1 to 1000; returns the size.';
comment on function messenger.write_cursor(text, jsonb, jsonb) is
  'The end of a page as opaque text, bound to its list and filter.';
comment on function messenger.read_cursor(text, jsonb, text) is
  'The position in a cursor. Raises SM_FILTER if the cursor is malformed or belongs to another list or filter.';
revoke all on function
  messenger.check_filter(jsonb, text[], text[], text[], text[]),
  messenger.check_page(int),
  messenger.write_cursor(text, jsonb, jsonb),
  messenger.read_cursor(text, jsonb, text)
from public, anon, authenticated;
grant execute on function
  messenger.check_filter(jsonb, text[], text[], text[], text[]),
  messenger.check_page(int),
  messenger.write_cursor(text, jsonb, jsonb),
  messenger.read_cursor(text, jsonb, text)
to service_role;

-- ---- 80_monitoring/75_count_rows.sql
-- Counts rows: exactly while that is cheap, otherwise as the planner estimates.

-- A client that polls must not cost a scan of a million rows each time. The planner is queried twice: for the cost of
-- finding bound rows and, if that is too high or there are more, for the number of rows. 15,000 of its cost units were
-- a full read of 130,000 messages: 30 ms from memory, 80 ms from disk. It assumes that conditions are independent:
-- "processed_at is null and status = ..." is estimated at a tenth of the real number, each condition alone is not.
create or replace function messenger.count_rows(query text, args jsonb default '{}', bound int default 10000)
returns table (n bigint, estimated boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = on
set enable_bitmapscan = on
set enable_sort = on
set jit = off
as $$
declare
  v_bounded text := format('select count(*) from (select from (%s) q limit %s) x', query, bound + 1);
  v_plan json;
begin
  n := 0;
  execute 'explain (format json) ' || v_bounded into v_plan using args;
  if (v_plan -> 0 -> 'Plan' ->> 'Total Cost')::float <= 15000 then
    execute v_bounded into n using args;
    estimated := n > bound;
  else
    estimated := true;
  end if;
  if estimated then
    n := greatest(n, messenger.estimate_rows(query, args));
  end if;
  return next;
end $$;

create or replace function messenger.estimate_rows(query text, args jsonb default '{}')
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan json;
begin
  execute 'explain (format json) ' || query into v_plan using args;
  return (v_plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric::bigint;
end $$;

comment on function messenger.count_rows(text, jsonb, int) is
  'The number of rows of a query: exact up to bound, estimated above it or if counting would be too expensive. The '
  'query is executed as it is, with $1 for args: pass untrusted values in args, never in the text.';
comment on function messenger.estimate_rows(text, jsonb) is
  'The planner''s estimate of the number of rows of a query; $1 is args.';
revoke all on function
  messenger.count_rows(text, jsonb, int),
  messenger.estimate_rows(text, jsonb)
from public, anon, authenticated;
grant execute on function messenger.count_rows(text, jsonb, int), messenger.estimate_rows(text, jsonb) to service_role;

-- ---- 80_monitoring/80_external_state.sql
-- The state of wake-ups in pg_net, of the worker secret in Vault and of the ticker in pg_cron, for health and explain.

-- Moments are the server's, as in pg_net, not those of messenger.now().
create or replace function messenger.wakeup_responses(since interval)
returns table (request_id bigint, sent_at timestamptz, answered_at timestamptz, status_code int, error text,
  has_failed boolean, is_queued boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
begin
  if to_regclass('net._http_response') is null or to_regclass('net.http_request_queue') is null then
    return query select b.request_id, b.at, null::timestamptz, null::int, null::text, false, false
      from messenger.wakeups b where b.at > pg_catalog.now() - since;
    return;
  end if;
  -- Neither of pg_net's tables has an index on the id. A queue of more than 10000
  -- requests is stuck, so its first rows suffice.
  return query
  select b.request_id, b.at, r.created, r.status_code,
    case when r.timed_out then coalesce(r.error_msg, 'timed out') else r.error_msg end,
    coalesce(r.timed_out, false) or r.error_msg is not null or coalesce(r.status_code >= 400, false), q.id is not null
  from messenger.wakeups b
  left join net._http_response r on r.id = b.request_id and r.created >= pg_catalog.now() - since
  left join (select x.id from net.http_request_queue x limit 10000) q on q.id = b.request_id
  where b.at > pg_catalog.now() - since
  order by b.request_id desc;
end $$;

create or replace function messenger.has_worker_secret()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select r.secret is not null from messenger.read_secret('symphony_worker_secret') r);
end $$;

create or replace function messenger.call_worker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('curl -i -X POST ''%s/worker?wait=1'' -H "apikey: $SUPABASE_SECRET_KEY"',
    replace(s.functions_url, '''', '''\'''''))
  from messenger.settings s where s.functions_url is not null
$$;

-- Faults are tested in the order of the requirements, the most basic first.
create or replace function messenger.ticker_fault(out cause text, out remedy text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_enabled boolean := coalesce((select s.clock_enabled from messenger.settings s), false);
  v_error text := (select c.last_error from messenger.clock c
    where c.last_error_at > greatest(c.last_tick_at, messenger.now() - interval '10 seconds'));
  v_job record;
  v_run record;
begin
  if v_error is not null then
    cause := 'each tick fails: ' || left(v_error, 500);
    remedy := 'select messenger_tick()';
    return;
  elsif to_regclass('cron.job') is null then
    cause := 'there is no pg_cron, and no external scheduler calls the scheduler edge function';
    remedy := 'create extension pg_cron; select messenger_start()';
    return;
  end if;
  select j.jobid, j.active into v_job from cron.job j where j.jobname = 'symphony-clock';
  if v_job.jobid is null or not v_enabled then
    cause := case when v_enabled then 'pg_cron has no job symphony-clock' else 'the ticker was not started' end;
    remedy := 'select messenger_start()';
    return;
  elsif not v_job.active then
    cause := 'the job symphony-clock is inactive';
    remedy := format('select cron.alter_job(%s, active => true)', v_job.jobid);
    return;
  end if;
  -- pg_cron never prunes its history, and only the run id is indexed.
  select d.status, d.return_message, a.pid into v_run
  from (select * from cron.job_run_details x order by x.runid desc limit 1000) d
  left join pg_catalog.pg_stat_activity a on a.pid = d.job_pid and d.status in ('starting', 'running')
    and a.query like '%tick_or_note_error%'
  where d.jobid = v_job.jobid
  order by d.runid desc limit 1;
  if v_run.pid is not null then
    cause := format('the job symphony-clock runs in process %s, and its tick does not end', v_run.pid);
    remedy := format('select pg_cancel_backend(%s)', v_run.pid);
  elsif (select f.cause from messenger.ticker_setting_fault() f) is not null then
    select f.* into cause, remedy from messenger.ticker_setting_fault() f;
  elsif v_run.status = 'failed' then
    cause := 'the last run of the job symphony-clock failed: '
      || left(coalesce(v_run.return_message, 'without a message'), 500);
    remedy := format('select start_time, status, return_message from cron.job_run_details where jobid = %s order by '
      'runid desc limit 5', v_job.jobid);
  elsif v_run.status is null then
    cause := 'pg_cron starts the job symphony-clock within a minute, unless its launcher has stopped';
    remedy := 'select messenger_tick(); -- once; if there is no tick within the next minute, restart the database';
  else
    cause := 'pg_cron no longer runs the job symphony-clock: its launcher has stopped until the database is restarted';
    remedy := 'select messenger_tick(); -- once, and restart the database';
  end if;
end $$;

-- An open transaction that has ticked holds the row of messenger.clock; other ticks are recorded in messenger.ticks.
create or replace function messenger.last_tick_at(at timestamptz)
returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(
    (select c.last_tick_at from messenger.clock c),
    (select max(t.at) from messenger.ticks t where t.at <= last_tick_at.at))
$$;

create or replace function messenger.is_ticker_scheduled()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('cron.job') is null then
    return false;
  end if;
  return exists (select from cron.job j where j.jobname = 'symphony-clock' and j.active);
end $$;

-- Stopped by messenger_stop without a later tick, or no tick for 70 seconds. After
-- messenger_stop a running job ends within a second.
create or replace function messenger.is_ticker_stopped(at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(tick.last_at <= is_ticker_stopped.at - interval '70 seconds', true)
    or coalesce(not s.clock_enabled and tick.last_at < s.clock_changed_at + interval '3 seconds'
      and is_ticker_stopped.at >= s.clock_changed_at + interval '3 seconds', false)
  from messenger.last_tick_at(is_ticker_stopped.at) as tick(last_at) left join messenger.settings s on true
$$;

comment on function messenger.last_tick_at(timestamptz) is 'The moment of the last tick; null if there was none.';
comment on function messenger.is_ticker_scheduled() is 'True if pg_cron has the job symphony-clock and it is active.';
comment on function messenger.is_ticker_stopped(timestamptz) is
  'True if the ticker was stopped, or has not run for 70 seconds.';
comment on function messenger.wakeup_responses(interval) is
  'Wake-ups sent within since, newest first, with pg_net''s response: status_code or error. is_queued: not sent yet.';
comment on function messenger.has_worker_secret() is 'True if the worker secret is in Vault and can be read.';
comment on function messenger.call_worker() is
  'A shell command that runs a worker and prints its response; null without a functions URL.';
comment on function messenger.ticker_fault() is
  'Why the ticker does not run, assuming that it does not, and the remedy.';
revoke all on function
  messenger.wakeup_responses(interval),
  messenger.has_worker_secret(),
  messenger.call_worker(),
  messenger.last_tick_at(timestamptz),
  messenger.is_ticker_scheduled(),
  messenger.ticker_fault(),
  messenger.is_ticker_stopped(timestamptz)
from public, anon, authenticated, service_role;

-- ---- 80_monitoring/85_own_functions.sql
-- Finds health checks and reasons by their function names: adding one takes a file with one function.

-- The callers run as the owner of schema messenger, so functions of other owners are not called.
create or replace function messenger.own_functions(prefix text, arguments text, result regtype)
returns table (name text, function regproc)
language sql stable
set search_path = pg_catalog, pg_temp
-- Type names are compared as text.
set quote_all_identifiers = off
as $$
  select substr(p.proname, length(prefix) + 2), p.oid::regproc
  from pg_catalog.pg_proc p
  where p.pronamespace = 'messenger'::regnamespace and starts_with(p.proname, prefix || '_') and p.prokind = 'f'
    and p.prorettype = result and oidvectortypes(p.proargtypes) = arguments
    and p.proowner = (select c.relowner from pg_catalog.pg_class c where c.oid = 'messenger.settings'::regclass)
  order by p.proname
$$;

comment on function messenger.own_functions(text, text, regtype) is
  'Functions <prefix>_<name> of schema messenger with these argument types and this result type, in order of their '
  'names. Only functions of the schema''s own owner.';
revoke all on function messenger.own_functions(text, text, regtype) from public, anon, authenticated, service_role;

-- ---- 85_rollout/10_flags.sql
-- Feature flags with a percentage of subjects, for moving traffic from an old system to this one step by step.
create table if not exists messenger.flags (
  name text not null,
  percent int not null,
  updated_by text,
  updated_at timestamptz not null default messenger.now(),
  constraint flags_pkey primary key (name),
  constraint flags_name_check check (name ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'),
  constraint flags_percent_check check (percent between 0 and 100),
  constraint flags_updated_by_check check (length(updated_by) <= 200)
);
comment on table messenger.flags is
  'Flags by name: the percentage of subjects for which they are on. A flag here '
  'overrides the environment variable of its name.';
comment on column messenger.flags.name is
  'Name of the flag: a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens.';
comment on column messenger.flags.percent is 'Percentage of subjects for which the flag is on, 0 to 100.';
comment on column messenger.flags.updated_by is 'Who set it: the id of a user, or the name of a key; null: unknown.';
comment on column messenger.flags.updated_at is 'When it was set.';

-- A subject's bucket from 0 to 99 depends on the flag and the subject only: a higher percentage adds subjects and
-- removes none, and another flag selects other subjects first.
create or replace function messenger.enabled(flag text, subject text)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(abs(hashtextextended(subject, hashtextextended(f.name, 0)) % 100) < f.percent, f.percent = 100)
    from messenger.flags f where f.name = enabled.flag
  );
end $$;

create or replace function public.messenger_set_flag(name text, percent int, updated_by text default null)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row jsonb;
begin
  perform messenger.require_writable();
  if name is null or name !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.raise_error('SM_FILTER',
      message => 'the flag name is missing or malformed',
      remedy => 'use a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens');
  elsif percent is null or percent not between 0 and 100 then
    perform messenger.raise_error('SM_BATCH',
      message => 'percent must be a whole number from 0 to 100',
      remedy => '0 turns the flag off, 100 turns it on for all');
  end if;
  insert into messenger.flags as f (name, percent, updated_by, updated_at)
  values (messenger_set_flag.name, messenger_set_flag.percent,
    left(messenger_set_flag.updated_by, 200), messenger.now())
  on conflict on constraint flags_pkey do update set percent = excluded.percent, updated_by = excluded.updated_by,
    updated_at = excluded.updated_at
  returning to_jsonb(f) into v_row;
  return v_row;
end $$;

comment on function messenger.enabled(text, text) is
  'True if the flag is on for the subject. A subject that is on stays on when the percentage is raised. A null subject '
  'is on at 100 percent only. Null if the flag is not set; the environment variable then decides.';
comment on function public.messenger_set_flag(text, int, text) is
  'Sets a flag to a percentage from 0 to 100 and returns {"name", "percent", "updated_by", "updated_at"}. Raises '
  'SM_FILTER for a malformed name, SM_BATCH for another percentage. Example: select '
  'messenger_set_flag(''EMAIL_QUEUE'', 25, ''ops'');';
alter table messenger.flags enable row level security;
drop policy if exists service_only on messenger.flags;
create policy service_only on messenger.flags for all to anon, authenticated using (false) with check (false);
revoke all on messenger.flags from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.flags to service_role;
revoke all on function
  messenger.enabled(text, text),
  public.messenger_set_flag(text, int, text)
from public, anon, authenticated;
grant execute on function messenger.enabled(text, text), public.messenger_set_flag(text, int, text) to service_role;

-- ---- generated from manifest.json
-- The catalog of this release, generated from manifest.json.
create or replace function messenger.expected_manifest()
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $function$ select $manifest$[
["column","messenger.attempts.at","timestamp with time zone not null"],
["column","messenger.attempts.duration_ms","bigint"],
["column","messenger.attempts.error","text"],
["column","messenger.attempts.error_class","text"],
["column","messenger.attempts.error_trace","text"],
["column","messenger.attempts.fence","bigint not null"],
["column","messenger.attempts.message_id","uuid not null"],
["column","messenger.attempts.worker","text"],
["column","messenger.clock.last_error","text"],
["column","messenger.clock.last_error_at","timestamp with time zone"],
["column","messenger.clock.last_tick_at","timestamp with time zone"],
["column","messenger.clock.order_after","messenger.order_key"],
["column","messenger.clock.roll_up_sweep","bigint not null default 0"],
["column","messenger.clock.roll_up_tail","bigint not null default 0"],
["column","messenger.clock.singleton","boolean not null default true"],
["column","messenger.clock.ticks","bigint not null default 0"],
["column","messenger.clock.unregistered_wakeup_at","timestamp with time zone"],
["column","messenger.delivery_settings.deleting","text[] not null"],
["column","messenger.delivery_settings.halted","text[] not null"],
["column","messenger.delivery_settings.has_subscribers","boolean not null"],
["column","messenger.delivery_settings.singleton","boolean not null default true"],
["column","messenger.flags.name","text not null"],
["column","messenger.flags.percent","integer not null"],
["column","messenger.flags.updated_at","timestamp with time zone not null default messenger.now()"],
["column","messenger.flags.updated_by","text"],
["column","messenger.idempotency_keys.expires_at","timestamp with time zone not null"],
["column","messenger.idempotency_keys.fingerprint","bytea not null"],
["column","messenger.idempotency_keys.key","text not null"],
["column","messenger.idempotency_keys.message_id","uuid not null"],
["column","messenger.idempotency_keys.message_type","text not null"],
["column","messenger.idempotency_keys.queue_name","text not null"],
["column","messenger.idempotency_keys.scope","text not null"],
["column","messenger.idempotency_keys.transport_name","text not null"],
["column","messenger.locks.name","text not null"],
["column","messenger.measurements.at","timestamp with time zone not null"],
["column","messenger.measurements.deleted_count","integer not null default 0"],
["column","messenger.measurements.durations","real[]"],
["column","messenger.measurements.error","text"],
["column","messenger.measurements.error_class","text"],
["column","messenger.measurements.id","bigint not null"],
["column","messenger.measurements.kind","text not null"],
["column","messenger.measurements.message_count","integer not null default 1"],
["column","messenger.measurements.message_type","text not null"],
["column","messenger.measurements.transport_name","text not null"],
["column","messenger.measurements.wait_count","integer not null default 0"],
["column","messenger.measurements.waited","interval"],
["column","messenger.message_types.aliases","text[] not null default '{}'::text[]"],
["column","messenger.message_types.dispatchable_by","text not null default 'service'::text"],
["column","messenger.message_types.max_retries","integer not null default 3"],
["column","messenger.message_types.priority","integer"],
["column","messenger.message_types.queue_name","text"],
["column","messenger.message_types.registered_at","timestamp with time zone not null default messenger.now()"],
["column","messenger.message_types.retry_delay_ms","bigint not null default 1000"],
["column","messenger.message_types.retry_jitter","double precision not null default 0.2"],
["column","messenger.message_types.retry_max_delay_ms","bigint not null default 600000"],
["column","messenger.message_types.retry_multiplier","double precision not null default 2"],
["column","messenger.message_types.sql_handler","text"],
["column","messenger.message_types.timeout_ms","bigint"],
["column","messenger.message_types.transport_name","text"],
["column","messenger.message_types.type","text not null"],
["column","messenger.metric_errors.at","timestamp with time zone not null"],
["column","messenger.metric_errors.error","text"],
["column","messenger.metric_errors.error_class","text not null"],
["column","messenger.metric_errors.error_count","bigint not null"],
["column","messenger.metric_errors.last_at","timestamp with time zone not null"],
["column","messenger.metric_errors.message_type","text not null"],
["column","messenger.metric_errors.step_seconds","integer not null"],
["column","messenger.metrics.at","timestamp with time zone not null"],
["column","messenger.metrics.completed","bigint not null default 0"],
["column","messenger.metrics.dead","bigint not null default 0"],
["column","messenger.metrics.dispatched","bigint not null default 0"],
["column","messenger.metrics.duration_ms","double precision not null default 0"],
["column","messenger.metrics.durations","bigint[] not null default '{}'::bigint[]"],
["column","messenger.metrics.histogram","numeric"],
["column","messenger.metrics.message_type","text not null"],
["column","messenger.metrics.retried","bigint not null default 0"],
["column","messenger.metrics.step_seconds","integer not null"],
["column","messenger.metrics.transport_name","text not null"],
["column","messenger.metrics.wait_count","bigint not null default 0"],
["column","messenger.metrics.waited_ms","double precision not null default 0"],
["column","messenger.occurrences.due_at","timestamp with time zone not null"],
["column","messenger.occurrences.message_id","uuid not null"],
["column","messenger.occurrences.schedule_id","uuid not null"],
["column","messenger.ordering_keys.check_at","timestamp with time zone not null"],
["column","messenger.ordering_keys.ordering_key","text not null"],
["column","messenger.ordering_keys.queue_name","text not null"],
["column","messenger.ordering_keys.transport_name","text not null"],
["column","messenger.pruned.at","timestamp with time zone not null default messenger.now()"],
["column","messenger.pruned.id","bigint not null"],
["column","messenger.pruned.message_count","bigint not null"],
["column","messenger.pruned.transport_name","text not null"],
["column","messenger.queues.paused_at","timestamp with time zone"],
["column","messenger.queues.queue_name","text not null"],
["column","messenger.queues.resumed_at","timestamp with time zone"],
["column","messenger.queues.transport_name","text not null"],
["column","messenger.replayed.dead_letter_id","uuid not null"],
["column","messenger.replayed.due_at","timestamp with time zone not null"],
["column","messenger.replayed.fence","bigint not null"],
["column","messenger.replayed.message_id","uuid not null"],
["column","messenger.replayed.outcome","text"],
["column","messenger.replayed.replay_id","uuid not null"],
["column","messenger.replays.completed","integer not null default 0"],
["column","messenger.replays.dead","integer not null default 0"],
["column","messenger.replays.finished_at","timestamp with time zone"],
["column","messenger.replays.id","uuid not null default messenger.new_id()"],
["column","messenger.replays.lapsed","integer not null default 0"],
["column","messenger.replays.per_second","integer not null"],
["column","messenger.replays.returned","integer not null default 0"],
["column","messenger.replays.started_at","timestamp with time zone not null"],
["column","messenger.replays.stop_reason","text"],
["column","messenger.replays.stopped_at","timestamp with time zone"],
["column","messenger.replays.total","integer not null"],
["column","messenger.rescue_cursors.available_at","timestamp with time zone not null"],
["column","messenger.rescue_cursors.id","uuid not null"],
["column","messenger.rescue_cursors.priority","integer not null"],
["column","messenger.rescue_cursors.queue_name","text not null"],
["column","messenger.rescue_cursors.transport_name","text not null"],
["column","messenger.scan_positions.at","timestamp with time zone"],
["column","messenger.scan_positions.id","uuid"],
["column","messenger.scan_positions.resume_at","timestamp with time zone"],
["column","messenger.scan_positions.step","text not null"],
["column","messenger.schedule_backoffs.due_at","timestamp with time zone not null"],
["column","messenger.schedule_backoffs.schedule_id","uuid not null"],
["column","messenger.senders.check_at","timestamp with time zone not null"],
["column","messenger.senders.user_id","uuid not null"],
["column","messenger.set_aside.at","timestamp with time zone not null"],
["column","messenger.set_aside.attempts","integer not null default 1"],
["column","messenger.set_aside.error","text not null"],
["column","messenger.set_aside.object","text not null"],
["column","messenger.set_aside.retry_at","timestamp with time zone not null"],
["column","messenger.set_aside.row_id","text not null"],
["column","messenger.set_aside.sqlstate","text not null"],
["column","messenger.set_aside.step","text not null"],
["column","messenger.settings.clock_changed_at","timestamp with time zone"],
["column","messenger.settings.clock_enabled","boolean not null default false"],
["column","messenger.settings.functions_url","text"],
["column","messenger.settings.max_unfinished_per_user","integer not null default 1000"],
["column","messenger.settings.max_workers","integer not null default 4"],
["column","messenger.settings.messages_per_worker","integer not null default 100"],
["column","messenger.settings.poll_interval","interval not null default '00:00:00.05'::interval"],
["column","messenger.settings.singleton","boolean not null default true"],
["column","messenger.sql_runners.backend_start","timestamp with time zone not null"],
["column","messenger.sql_runners.cancelled_at","timestamp with time zone"],
["column","messenger.sql_runners.deadline","timestamp with time zone"],
["column","messenger.sql_runners.message_id","uuid"],
["column","messenger.sql_runners.message_type","text"],
["column","messenger.sql_runners.pid","integer not null"],
["column","messenger.step_errors.at","timestamp with time zone not null"],
["column","messenger.step_errors.error","text not null"],
["column","messenger.step_errors.failures","bigint not null default 1"],
["column","messenger.step_errors.repeats","integer not null default 1"],
["column","messenger.step_errors.sqlstate","text not null"],
["column","messenger.step_errors.step","text not null"],
["column","messenger.subscriptions.created_at","timestamp with time zone not null default messenger.now()"],
["column","messenger.subscriptions.disabled_reason","text"],
["column","messenger.subscriptions.enabled","boolean not null default true"],
["column","messenger.subscriptions.event","text not null"],
["column","messenger.subscriptions.function_name","text"],
["column","messenger.subscriptions.id","uuid not null default messenger.new_id()"],
["column","messenger.subscriptions.kind","text not null default \nCASE\n    WHEN url IS NULL THEN 'function'::text\n    ELSE 'webhook'::text\nEND"],
["column","messenger.subscriptions.message_type","text"],
["column","messenger.subscriptions.secret_name","text"],
["column","messenger.subscriptions.url","text"],
["column","messenger.ticks.at","timestamp with time zone not null"],
["column","messenger.ticks.duration_ms","integer not null"],
["column","messenger.ticks.id","bigint not null"],
["column","messenger.ticks.slowest_ms","integer"],
["column","messenger.ticks.slowest_step","text"],
["column","messenger.wakeup_locks.made_at","timestamp with time zone not null default messenger.now()"],
["column","messenger.wakeup_locks.queue_name","text not null"],
["column","messenger.wakeup_locks.transport_name","text not null"],
["column","messenger.wakeups.at","timestamp with time zone not null default now()"],
["column","messenger.wakeups.request_id","bigint not null"],
["column","messenger.workers.polled_at","timestamp with time zone not null"],
["column","messenger.workers.queues","text[]"],
["column","messenger.workers.started_at","timestamp with time zone not null"],
["column","messenger.workers.transport_name","text"],
["column","messenger.workers.types","text[]"],
["column","messenger.workers.worker","text not null"],
["column","public.messenger_failed_messages.attempts","jsonb not null default '[]'::jsonb"],
["column","public.messenger_failed_messages.body","jsonb not null"],
["column","public.messenger_failed_messages.created_at","timestamp with time zone not null"],
["column","public.messenger_failed_messages.created_by","uuid"],
["column","public.messenger_failed_messages.error","text"],
["column","public.messenger_failed_messages.error_class","text"],
["column","public.messenger_failed_messages.error_trace","text"],
["column","public.messenger_failed_messages.failed_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_failed_messages.headers","jsonb not null default '{}'::jsonb"],
["column","public.messenger_failed_messages.id","uuid not null default messenger.new_id()"],
["column","public.messenger_failed_messages.idempotency_key","text"],
["column","public.messenger_failed_messages.max_retries","integer not null"],
["column","public.messenger_failed_messages.message_id","uuid not null"],
["column","public.messenger_failed_messages.message_type","text not null"],
["column","public.messenger_failed_messages.metadata","jsonb not null default '{}'::jsonb"],
["column","public.messenger_failed_messages.queue_name","text not null"],
["column","public.messenger_failed_messages.resolution","text"],
["column","public.messenger_failed_messages.resolved_at","timestamp with time zone"],
["column","public.messenger_failed_messages.retry_count","integer not null"],
["column","public.messenger_failed_messages.transport_name","text not null"],
["column","public.messenger_messages.available_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_messages.body","jsonb not null default '{}'::jsonb"],
["column","public.messenger_messages.cancel_requested_at","timestamp with time zone"],
["column","public.messenger_messages.created_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_messages.created_by","uuid"],
["column","public.messenger_messages.error_class","text"],
["column","public.messenger_messages.expires_at","timestamp with time zone"],
["column","public.messenger_messages.fence","bigint not null default 0"],
["column","public.messenger_messages.headers","jsonb not null default '{}'::jsonb"],
["column","public.messenger_messages.id","uuid not null default messenger.new_id()"],
["column","public.messenger_messages.idempotency_key","text"],
["column","public.messenger_messages.last_error","text"],
["column","public.messenger_messages.lease_losses","integer not null default 0"],
["column","public.messenger_messages.lock_expires_at","timestamp with time zone"],
["column","public.messenger_messages.locked_at","timestamp with time zone"],
["column","public.messenger_messages.locked_by","text"],
["column","public.messenger_messages.max_retries","integer not null default 3"],
["column","public.messenger_messages.message_type","text not null"],
["column","public.messenger_messages.metadata","jsonb not null default '{}'::jsonb"],
["column","public.messenger_messages.ordering_key","text"],
["column","public.messenger_messages.ordering_seq","bigint"],
["column","public.messenger_messages.priority","integer not null default 5"],
["column","public.messenger_messages.processed_at","timestamp with time zone"],
["column","public.messenger_messages.progress","jsonb"],
["column","public.messenger_messages.queue_name","text not null default 'default'::text"],
["column","public.messenger_messages.result","jsonb"],
["column","public.messenger_messages.retry_count","integer not null default 0"],
["column","public.messenger_messages.scheduled_at","timestamp with time zone"],
["column","public.messenger_messages.status","text not null default 'pending'::text"],
["column","public.messenger_messages.transport_name","text not null default 'supabase'::text"],
["column","public.messenger_messages.unrouted","text[]"],
["column","public.messenger_messages.updated_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_schedules.body","jsonb not null default '{}'::jsonb"],
["column","public.messenger_schedules.catch_up_limit","integer not null default 100"],
["column","public.messenger_schedules.created_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_schedules.dst_gap","text not null default 'run_after'::text"],
["column","public.messenger_schedules.dst_overlap","text not null default 'first'::text"],
["column","public.messenger_schedules.enabled","boolean not null default true"],
["column","public.messenger_schedules.ends_at","timestamp with time zone"],
["column","public.messenger_schedules.headers","jsonb not null default '{}'::jsonb"],
["column","public.messenger_schedules.id","uuid not null default gen_random_uuid()"],
["column","public.messenger_schedules.jitter_ms","bigint not null default 0"],
["column","public.messenger_schedules.last_error","text"],
["column","public.messenger_schedules.last_run_at","timestamp with time zone"],
["column","public.messenger_schedules.max_runs","bigint"],
["column","public.messenger_schedules.message_type","text not null"],
["column","public.messenger_schedules.misfire","text not null default 'fire_once'::text"],
["column","public.messenger_schedules.misfire_grace_ms","bigint not null default 60000"],
["column","public.messenger_schedules.name","text not null"],
["column","public.messenger_schedules.next_run_at","timestamp with time zone"],
["column","public.messenger_schedules.overlap","text not null default 'allow'::text"],
["column","public.messenger_schedules.queue_name","text not null default 'default'::text"],
["column","public.messenger_schedules.run_count","bigint not null default 0"],
["column","public.messenger_schedules.schedule_config","jsonb not null"],
["column","public.messenger_schedules.schedule_type","text not null"],
["column","public.messenger_schedules.starts_at","timestamp with time zone"],
["column","public.messenger_schedules.timezone","text not null default 'UTC'::text"],
["column","public.messenger_schedules.transport_name","text not null default 'supabase'::text"],
["column","public.messenger_schedules.updated_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_transports.config","jsonb not null default '{}'::jsonb"],
["column","public.messenger_transports.created_at","timestamp with time zone not null default messenger.now()"],
["column","public.messenger_transports.enabled","boolean not null default true"],
["column","public.messenger_transports.id","uuid not null default gen_random_uuid()"],
["column","public.messenger_transports.name","text not null"],
["column","public.messenger_transports.type","text not null"],
["column","public.messenger_transports.updated_at","timestamp with time zone not null default messenger.now()"],
["constraint","messenger.attempts.attempts_pkey","PRIMARY KEY (message_id, fence)"],
["constraint","messenger.clock.clock_pkey","PRIMARY KEY (singleton)"],
["constraint","messenger.clock.clock_singleton_check","CHECK (singleton)"],
["constraint","messenger.delivery_settings.delivery_settings_pkey","PRIMARY KEY (singleton)"],
["constraint","messenger.delivery_settings.delivery_settings_singleton_check","CHECK (singleton)"],
["constraint","messenger.flags.flags_name_check","CHECK (name ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'::text)"],
["constraint","messenger.flags.flags_percent_check","CHECK (percent >= 0 AND percent <= 100)"],
["constraint","messenger.flags.flags_pkey","PRIMARY KEY (name)"],
["constraint","messenger.flags.flags_updated_by_check","CHECK (length(updated_by) <= 200)"],
["constraint","messenger.idempotency_keys.idempotency_keys_pkey","PRIMARY KEY (scope, key)"],
["constraint","messenger.locks.locks_pkey","PRIMARY KEY (name)"],
["constraint","messenger.measurements.measurements_pkey","PRIMARY KEY (id)"],
["constraint","messenger.message_types.message_types_aliases_check","CHECK (array_to_string(aliases, ' '::text) !~ '(^| )symphony\\.'::text)"],
["constraint","messenger.message_types.message_types_dispatchable_check","CHECK (dispatchable_by = ANY (ARRAY['service'::text, 'user'::text]))"],
["constraint","messenger.message_types.message_types_pkey","PRIMARY KEY (type)"],
["constraint","messenger.message_types.message_types_retry_check","CHECK (max_retries >= 0 AND max_retries <= 100 AND retry_delay_ms >= 0 AND retry_delay_ms <= '86400000000'::bigint AND retry_multiplier >= 1::double precision AND retry_multiplier <= 100::double precision AND retry_max_delay_ms >= 0 AND retry_max_delay_ms <= '86400000000'::bigint AND retry_jitter >= 0::double precision AND retry_jitter <= 1::double precision)"],
["constraint","messenger.message_types.message_types_route_check","CHECK (queue_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text AND priority >= 1 AND priority <= 10)"],
["constraint","messenger.message_types.message_types_sql_handler_check","CHECK (sql_handler ~ '^([a-z_][a-z0-9_]*|\"([^\"]|\"\")+\")\\.([a-z_][a-z0-9_]*|\"([^\"]|\"\")+\")$'::text)"],
["constraint","messenger.message_types.message_types_timeout_check","CHECK (timeout_ms > 0)"],
["constraint","messenger.message_types.message_types_type_check","CHECK (type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'::text)"],
["constraint","messenger.metric_errors.metric_errors_pkey","PRIMARY KEY (step_seconds, at, message_type, error_class)"],
["constraint","messenger.metric_errors.metric_errors_step_check","CHECK (step_seconds = ANY (ARRAY[60, 300, 3600, 86400]))"],
["constraint","messenger.metrics.metrics_pkey","PRIMARY KEY (step_seconds, at, transport_name, message_type)"],
["constraint","messenger.metrics.metrics_step_check","CHECK (step_seconds = ANY (ARRAY[0, 60, 300, 3600, 86400]))"],
["constraint","messenger.occurrences.occurrences_pkey","PRIMARY KEY (schedule_id, due_at)"],
["constraint","messenger.ordering_keys.ordering_keys_pkey","PRIMARY KEY (transport_name, queue_name, ordering_key)"],
["constraint","messenger.pruned.pruned_pkey","PRIMARY KEY (id)"],
["constraint","messenger.queues.queues_pkey","PRIMARY KEY (transport_name, queue_name)"],
["constraint","messenger.replayed.replayed_outcome_check","CHECK (outcome = ANY (ARRAY['completed'::text, 'dead'::text, 'lapsed'::text, 'returned'::text]))"],
["constraint","messenger.replayed.replayed_pkey","PRIMARY KEY (replay_id, message_id)"],
["constraint","messenger.replays.replays_pkey","PRIMARY KEY (id)"],
["constraint","messenger.replays.replays_stop_check","CHECK ((stopped_at IS NULL) = (stop_reason IS NULL))"],
["constraint","messenger.rescue_cursors.rescue_cursors_pkey","PRIMARY KEY (transport_name, queue_name, priority)"],
["constraint","messenger.scan_positions.scan_positions_pkey","PRIMARY KEY (step)"],
["constraint","messenger.schedule_backoffs.schedule_backoffs_pkey","PRIMARY KEY (schedule_id)"],
["constraint","messenger.senders.senders_pkey","PRIMARY KEY (user_id)"],
["constraint","messenger.set_aside.set_aside_pkey","PRIMARY KEY (step, object, row_id)"],
["constraint","messenger.settings.settings_functions_url_check","CHECK (functions_url ~ '^https?://[^\\s]+[^/\\s]$'::text)"],
["constraint","messenger.settings.settings_numbers_check","CHECK (max_workers >= 1 AND max_workers <= 100 AND messages_per_worker >= 1 AND messages_per_worker <= 100000 AND poll_interval >= '00:00:00.001'::interval AND poll_interval <= '00:01:00'::interval AND max_unfinished_per_user >= 0)"],
["constraint","messenger.settings.settings_pkey","PRIMARY KEY (singleton)"],
["constraint","messenger.settings.settings_singleton_check","CHECK (singleton)"],
["constraint","messenger.sql_runners.sql_runners_message_check","CHECK (num_nonnulls(message_id, message_type, deadline) = ANY (ARRAY[0, 3]))"],
["constraint","messenger.sql_runners.sql_runners_pkey","PRIMARY KEY (pid)"],
["constraint","messenger.step_errors.step_errors_pkey","PRIMARY KEY (step)"],
["constraint","messenger.subscriptions.subscriptions_disabled_check","CHECK (NOT enabled OR disabled_reason IS NULL)"],
["constraint","messenger.subscriptions.subscriptions_event_check","CHECK (event = ANY (ARRAY['completed'::text, 'failed'::text, 'dead'::text, 'retried'::text]))"],
["constraint","messenger.subscriptions.subscriptions_key","UNIQUE NULLS NOT DISTINCT (event, message_type, function_name, url)"],
["constraint","messenger.subscriptions.subscriptions_message_type_check","CHECK (message_type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'::text AND NOT starts_with(message_type, 'symphony.'::text))"],
["constraint","messenger.subscriptions.subscriptions_pkey","PRIMARY KEY (id)"],
["constraint","messenger.subscriptions.subscriptions_secret_name_check","CHECK (starts_with(secret_name, 'symphony_webhook_'::text))"],
["constraint","messenger.subscriptions.subscriptions_target_check","CHECK (num_nonnulls(function_name, url) = 1 AND (url IS NULL) = (secret_name IS NULL))"],
["constraint","messenger.ticks.ticks_pkey","PRIMARY KEY (id)"],
["constraint","messenger.wakeup_locks.wakeup_locks_pkey","PRIMARY KEY (transport_name, queue_name)"],
["constraint","messenger.wakeups.wakeups_pkey","PRIMARY KEY (request_id)"],
["constraint","messenger.workers.workers_pkey","PRIMARY KEY (worker)"],
["constraint","public.messenger_failed_messages.messenger_failed_messages_pkey","PRIMARY KEY (id)"],
["constraint","public.messenger_failed_messages.messenger_failed_messages_resolution_check","CHECK ((resolved_at IS NULL) = (resolution IS NULL) AND (resolution = ANY (ARRAY['retried'::text, 'discarded'::text])))"],
["constraint","public.messenger_messages.messenger_messages_check","CHECK (messenger.is_valid_message(body, status, priority, processed_at, locked_at, locked_by, lock_expires_at, max_retries, retry_count, fence, lease_losses))"],
["constraint","public.messenger_messages.messenger_messages_pkey","PRIMARY KEY (id)"],
["constraint","public.messenger_schedules.messenger_schedules_body_check","CHECK (jsonb_typeof(body) = 'object'::text AND jsonb_typeof(headers) = 'object'::text)"],
["constraint","public.messenger_schedules.messenger_schedules_config_check","CHECK (jsonb_typeof(schedule_config) = 'object'::text)"],
["constraint","public.messenger_schedules.messenger_schedules_name_key","UNIQUE (name)"],
["constraint","public.messenger_schedules.messenger_schedules_numbers_check","CHECK (run_count >= 0 AND max_runs > 0 AND misfire_grace_ms >= 0 AND catch_up_limit >= 1 AND jitter_ms >= 0)"],
["constraint","public.messenger_schedules.messenger_schedules_pkey","PRIMARY KEY (id)"],
["constraint","public.messenger_schedules.messenger_schedules_policies_check","CHECK ((misfire = ANY (ARRAY['fire_once'::text, 'skip'::text, 'catch_up'::text])) AND (dst_gap = ANY (ARRAY['run_after'::text, 'skip'::text])) AND (dst_overlap = ANY (ARRAY['first'::text, 'second'::text, 'both'::text])) AND (overlap = ANY (ARRAY['allow'::text, 'skip'::text, 'replace'::text])))"],
["constraint","public.messenger_schedules.messenger_schedules_type_check","CHECK (schedule_type = ANY (ARRAY['once'::text, 'cron'::text, 'interval'::text]))"],
["constraint","public.messenger_transports.messenger_transports_config_check","CHECK (jsonb_typeof(config) = 'object'::text AND concat_ws('|'::text, config ->> 'retention'::text, config ->> 'failed_retention'::text, config ->> 'idempotency_window'::text) !~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\\s*(ago\\s*)?([|]|$)'::text AND COALESCE(((config ->> 'retention'::text)::interval) >= '00:00:00'::interval AND ((config ->> 'retention'::text)::interval) <= '100 years'::interval, true) AND COALESCE(((config ->> 'failed_retention'::text)::interval) >= '00:00:00'::interval AND ((config ->> 'failed_retention'::text)::interval) <= '100 years'::interval, true) AND COALESCE(((config ->> 'idempotency_window'::text)::interval) >= '00:00:00'::interval AND ((config ->> 'idempotency_window'::text)::interval) <= '1 year'::interval, true) AND COALESCE((config ->> 'ordering_dead_letter'::text) = ANY (ARRAY['block'::text, 'continue'::text]), true))"],
["constraint","public.messenger_transports.messenger_transports_name_check","CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text)"],
["constraint","public.messenger_transports.messenger_transports_name_key","UNIQUE (name)"],
["constraint","public.messenger_transports.messenger_transports_pkey","PRIMARY KEY (id)"],
["constraint","public.messenger_transports.messenger_transports_type_check","CHECK (type = ANY (ARRAY['sync'::text, 'supabase'::text, 'redis'::text, 'rabbitmq'::text, 'sqs'::text]))"],
["function","messenger.active_queues(only_transport text, only_queues text[], halted boolean)","returns TABLE(transport_name text, queue_name text) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source 8b41993e380c5d3a866d86711c9fc6ea"],
["function","messenger.active_workers(transport text, queue text, type text, grace interval)","returns integer language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 83f0a9638927595feda8095bd700610c"],
["function","messenger.add_counts(a bigint[], b bigint[])","returns bigint[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 4a4161543f348ac1a5cd57ef67e603d0"],
["function","messenger.add_figures(a jsonb, b jsonb)","returns jsonb language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 1e856efa2dec1398e1d8098749cd064c"],
["function","messenger.add_metric_errors(measurements messenger.measurements[])","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 84328137f2beac3cf9c5a0926cecf897"],
["function","messenger.add_metrics(measurements messenger.measurements[])","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 620c81d2673ae1c32ced6ad4a89b37b1"],
["function","messenger.add_worker(worker text, transport text, queues text[], types text[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",lock_timeout=10ms} source 7ceb566dd2025c00835add2727a89f45"],
["function","messenger.all_due_queues(at timestamp with time zone, only_transport text, only_queues text[])","returns TABLE(transport_name text, queue_name text) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 46ed84a6bf29c9cfe8ca7f5ed53e42d4"],
["function","messenger.announce(ids uuid[], events text[])","returns void language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",lock_timeout=100ms} source e655f535f7bbc9955aaecf44aa3a962a"],
["function","messenger.begin_poll(worker text, transport text, queues text[], types text[], at timestamp with time zone, poll text)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c8ff582514eab4230545096b5c77bac5"],
["function","messenger.bound_waits()","returns text language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0ef5374c499d186830425c52c6435af6"],
["function","messenger.bucket_limit(bucket integer)","returns double precision language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source c6a96a481296c4887c9347ccd7840a69"],
["function","messenger.business_function(function_name text)","returns regprocedure language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 7cb872873229014a15aea0c1032a97fe"],
["function","messenger.call_worker()","returns text language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 1113bda06428f809c65bd4ea2dbf4879"],
["function","messenger.caller_id()","returns uuid language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 5923fbc449193c8f5da1f3ad88e4e33f"],
["function","messenger.cancel_overdue_handlers()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 4ebaf9ec35fda633816f77394da57258"],
["function","messenger.cap_results(results jsonb[])","returns jsonb[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 963098758c4c0b308bf29714a379e6bc"],
["function","messenger.cap_size(value jsonb)","returns jsonb language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source c2574e3333fc9f2330c050f4e7634d54"],
["function","messenger.check_claim(worker text, lease interval, queues text[])","returns void language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source b33f4c4070954c0afe41029f1f006afe"],
["function","messenger.check_deferred(at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 3f2d7c85365f1e95c60f3bd0bad3fece"],
["function","messenger.check_filter(filter jsonb, texts text[], times text[], booleans text[], ids text[])","returns void language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source fca49d79850f306ff4bc311abb951b2f"],
["function","messenger.check_growth()","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2c472e2b24fb37e958308b3a7e969efc"],
["function","messenger.check_page(max integer)","returns integer language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 9ecc3d854f3ec182305061f19d313c8e"],
["function","messenger.check_pg_net()","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0de97ebecc762565906e2574a54ebc10"],
["function","messenger.check_queue(transport text, queue text)","returns void language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source c02507b3c54f23778f51974e886706d9"],
["function","messenger.check_start(functions_url text, options jsonb)","returns void language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 5b031e8697f7df4c7f3c9a102a245392"],
["function","messenger.check_subscription(event text, message_type text)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 6b15888ba8baaa98b720f7a4c3a54106"],
["function","messenger.check_timezone(timezone text)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7d411be4cc9255c2e315e6c52d1284c3"],
["function","messenger.check_types(types jsonb)","returns void language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source c735f6a94ec88d7cc5b42b67c53a6fa7"],
["function","messenger.claim_carefully(worker text, batch integer, lease interval, transport text, queues text[], types text[], at timestamp with time zone)","returns messenger.claimed[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,jit=off,plan_cache_mode=force_generic_plan} source ef948099bba46d367570582662c88c67"],
["function","messenger.claim_for_runner()","returns messenger.claimed language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 751dba4f464d47381e4d097fcfc5520e"],
["function","messenger.claim_messages(worker text, batch integer, lease interval, transport text, queues text[], types text[])","returns messenger.claimed[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_hashjoin=off,enable_mergejoin=off,enable_sort=off,jit=off,max_parallel_workers_per_gather=0,plan_cache_mode=force_generic_plan} source 7084e4ba4d47e450e436a08cceb992d3"],
["function","messenger.claim_one(message_id uuid, worker text, lease interval)","returns TABLE(id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority integer, retry_count integer, max_retries integer, fence bigint, lock_expires_at timestamp with time zone, created_at timestamp with time zone, solo boolean) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source f9a83ddbdb247ddbdaedf8d1bbafd131"],
["function","messenger.clip(value text, bytes integer)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source e05ff2230f3b946bd7ef4a6b52c97de8"],
["function","messenger.complete(ids uuid[], fences bigint[], durations double precision[], results jsonb[], dispositions text[], may_delete boolean, at timestamp with time zone)","returns bigint[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 297f490cb3a541176ad41f33f1ffba72"],
["function","messenger.count_deleted(measurements messenger.measurements[])","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source bd7d5e2474266efaf78b4731563a15b6"],
["function","messenger.count_rows(query text, args jsonb, bound integer)","returns TABLE(n bigint, estimated boolean) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=on,enable_bitmapscan=on,enable_sort=on,jit=off} source 22e8d8a9b205254fe11be0350e258b5e"],
["function","messenger.cron_next(expression text, timezone text, after timestamp with time zone, dst_gap text, dst_overlap text)","returns timestamp with time zone language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source f62ee954701550053a80f5d9d8e44761"],
["function","messenger.dead_letter_conditions(filter jsonb)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 5811d2e123b2330f34ee756c95a732e7"],
["function","messenger.defer_constraints()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 980e8f333087af706fb3c7451a7ac811"],
["function","messenger.delete_messages(ids uuid[], at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 1a6d0492336e416339f66928e103c71a"],
["function","messenger.delete_rows(object text, row_ids text[])","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_hashjoin=off,enable_mergejoin=off} source 9e3d52bd3a4158d6efaeeb53f1f1bf95"],
["function","messenger.deliver_event(event jsonb)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 57daaeab8389465c5a4da40c2bb036b2"],
["function","messenger.derive_delivery_settings()","returns void language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 96b59e53c319a78e0f98cb99e52416c9"],
["function","messenger.describe_figures(of messenger.figures)","returns jsonb language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source e084638af21eb7d3755005cb59e09811"],
["function","messenger.disable_webhook(subscription uuid, reason text)","returns boolean language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 6627e74b7f3b538f6e6c130c164f9eaf"],
["function","messenger.dispatch_again(id uuid)","returns text language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 91c00a86dfb2565bac247b3f2b924760"],
["function","messenger.dollar_tag(quoted text)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 969490b18d072ba1bddd94df56e35c95"],
["function","messenger.draft_fields()","returns jsonb language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 1d62819a2d67583199a7845a0541ad8a"],
["function","messenger.drop_keys(ids uuid[], at timestamp with time zone)","returns integer language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,jit=off} source c47c9191af961adccacad1f5e718a6e2"],
["function","messenger.due_before(message public.messenger_messages, at timestamp with time zone)","returns bigint language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source f596b95afb687e41034b56f115a9969b"],
["function","messenger.due_queues(at timestamp with time zone, only_transport text, only_queues text[], runnable boolean, only_types text[], halted boolean, max_queues integer)","returns TABLE(transport_name text, queue_name text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off,plan_cache_mode=force_generic_plan} source f72426d32b4daff28bc83f1ea9f2820b"],
["function","messenger.due_schedules(at timestamp with time zone, batch integer)","returns SETOF public.messenger_schedules language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source c6cd10a72f903d8f2b3a719315b27716"],
["function","messenger.due_since(schedule public.messenger_schedules)","returns timestamp with time zone language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source cf6b95b3f98ea90d13088de34ae5525a"],
["function","messenger.due_types(at timestamp with time zone, age interval)","returns TABLE(transport_name text, queue_name text, message_type text, oldest_at timestamp with time zone) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source 7ce9bfea9760ee9a8c1a7b52575c2006"],
["function","messenger.emit(event text, ids uuid[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,jit=off} source 5f565eeb3021102b1583342ac672a087"],
["function","messenger.enabled(flag text, subject text)","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 83c6188621db8c956915a463f45ac4a0"],
["function","messenger.ensure_own_types()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source e1b3defb922c4966920735f6fa301c4d"],
["function","messenger.ensure_singletons()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 97d0d58d7f91d2ba6c0686f6975516fd"],
["function","messenger.ensure_transports()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2a158c78c8ebed3ac1a629fa60e68cba"],
["function","messenger.ensure_worker_secret(OUT is_readable boolean, OUT fault text)","returns record language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source a903a214fa11c6e4ad793a92623db8dc"],
["function","messenger.error_class_of(error_class text)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 2a0039747517f3276877a43bad10caf1"],
["function","messenger.error_codes()","returns TABLE(code text, status integer, message text, hint text) language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 4ccf6282da192c577dbbff7adfed3de0"],
["function","messenger.error_rate(at timestamp with time zone)","returns TABLE(ended bigint, failed bigint) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 322e5fbaf5eb3fc135d48f9097cb6c04"],
["function","messenger.estimate_rows(query text, args jsonb)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 9c8cbf90cfbfcbc341d00ed776eab362"],
["function","messenger.exceeds(value jsonb, bytes integer)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 0a497b2eff89af5771f7a721ce1811ec"],
["function","messenger.exchange_rows(ids uuid[], fences bigint[], durations double precision[], results jsonb[], others jsonb, worker text, batch integer, lease interval, transport text, queues text[], types text[])","returns TABLE(settled_id uuid, outcome text, available_at timestamp with time zone, id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority integer, retry_count integer, max_retries integer, fence bigint, lock_expires_at timestamp with time zone, created_at timestamp with time zone, solo boolean) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_hashjoin=off,enable_mergejoin=off,enable_sort=off,jit=off,max_parallel_workers_per_gather=0,plan_cache_mode=force_generic_plan} source c274b3527eb31299bf01a15cf76620b1"],
["function","messenger.expand_locked_schedules(ids uuid[], at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a1de27e30a8bd74c4bf421d0853e35f2"],
["function","messenger.expand_schedules(at timestamp with time zone, batch integer, ends_at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source cd5f17825e5e4a90d5320708eae301ec"],
["function","messenger.expected_manifest()","returns jsonb language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source generated"],
["function","messenger.explain(id uuid)","returns TABLE(reason text, detail text, remedy text) language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",quote_all_identifiers=off} source 35b3a48d51b4e3b91b65c98e0e90cedc"],
["function","messenger.fail_without_dead_letter(ids uuid[], error_class text, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ad35349acf0ad9409a1a6f0b4a4b6ad0"],
["function","messenger.figures_by_queue(at timestamp with time zone)","returns TABLE(transport_name text, queue_name text, figures jsonb) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,max_parallel_workers_per_gather=0,jit=off} source 8c2af7204d92a9c2f5750e39c9a5da45"],
["function","messenger.find_change(timezone text, low timestamp without time zone, high timestamp without time zone)","returns timestamp without time zone language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 10c51930dca066f653bbe6ec0ecbd191"],
["function","messenger.find_due(transport text, queue text, batch integer, types text[], at timestamp with time zone, may_be_solo boolean, careful boolean, OUT places tid[], OUT is_solo boolean)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off,max_parallel_workers_per_gather=0,plan_cache_mode=force_generic_plan} source ae76edabfae59a6dacf961c3bc99f4b3"],
["function","messenger.find_finished_messages(after_id uuid, at timestamp with time zone, batch integer, OUT row_ids text[], OUT next_id uuid)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,jit=off} source 17577dec7b9a948aff834edfd8c075e0"],
["function","messenger.find_fired_schedules(after_at timestamp with time zone, after_id uuid, at timestamp with time zone, batch integer, OUT row_ids text[], OUT next_at timestamp with time zone, OUT next_id uuid)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 735add9a1c5286889264b4950d7ba2b1"],
["function","messenger.find_messages(filter jsonb, before uuid, shown uuid[], wanted integer, OUT ids uuid[], OUT searched_to uuid, OUT early uuid[])","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,jit=off} source 81370a13b579e1574283d014b6df0408"],
["function","messenger.find_old_occurrences(after_at timestamp with time zone, after_id uuid, at timestamp with time zone, batch integer, OUT row_ids text[], OUT next_at timestamp with time zone, OUT next_id uuid)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",TimeZone=UTC} source 2da5702cef9c7d9bf7c891e2bafd720c"],
["function","messenger.find_owned_function(function_name text)","returns regprocedure language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source bdad2e3ece33e28efaeaa2ba675f5307"],
["function","messenger.find_resolved_dead_letters(after_at timestamp with time zone, after_id uuid, at timestamp with time zone, batch integer, OUT row_ids text[], OUT next_at timestamp with time zone, OUT next_id uuid)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c056b00af264533add8bd29e96504b7a"],
["function","messenger.find_spent_keys(after_at timestamp with time zone, at timestamp with time zone, batch integer, OUT row_ids text[], OUT next_at timestamp with time zone)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 64d0c05cba8850a42ed8a3e2361776f1"],
["function","messenger.fingerprint(body jsonb)","returns bytea language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 2c6d2d8ab4a979c1a766c02c4cae66b0"],
["function","messenger.finish_undeliverable(ids uuid[], dispositions text[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ab5445cc2da5b15b9f4a63f7d7ec0bd0"],
["function","messenger.finish_undeliverable_singly(ids uuid[], dispositions text[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 220b6d2cbc2c2385b92dee4472b0fde6"],
["function","messenger.first_id(at timestamp with time zone)","returns uuid language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 674d4919bed701c6dacfcc50792841e8"],
["function","messenger.first_run(schedule public.messenger_schedules, at timestamp with time zone)","returns timestamp with time zone language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 236fd4306cbf3b99e31c9f9704891a54"],
["function","messenger.forget_set_aside(at timestamp with time zone, batch integer)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source b745d2da6abca7582298ec9a80a3d125"],
["function","messenger.give_way_to_restored_transport()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 6a9c3f19ae6b074ea93fe5235c7217ce"],
["function","messenger.give_way_to_restored_type()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 94195e683ec3b5f424c1dfcd3250abe9"],
["function","messenger.growth_limits()","returns TABLE(name text, rows_query text, most bigint, remedy text) language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 1ddce48c17d88b78f70d305fbb620337"],
["function","messenger.guard_own_types()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 64569f6e3da0ca93388dc971101f93c7"],
["function","messenger.handle_message(message messenger.claimed, cut_at timestamp with time zone)","returns text language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",lock_timeout=2s} source b0d4e1c9681a70cd11c0035a31edcb1b"],
["function","messenger.handler_timeout(type text)","returns interval language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 1ff9659946ab5af424bd7eb4ef73a083"],
["function","messenger.handlers_command()","returns text language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 10839cadaa1fcd41251da26577ddf21f"],
["function","messenger.has_many_queues()","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source a34af22f153ebcab66973971ba5be1f6"],
["function","messenger.has_out_of_range_number(value jsonb)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 4f1f7f6bf03450a211495125c7c0e790"],
["function","messenger.has_worker_secret()","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source aec70ad27a977408c5874e975dd45c65"],
["function","messenger.health()","returns jsonb language sql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 5977f0357006928438eaafc8b1f74279"],
["function","messenger.health_checks()","returns TABLE(name text, status text, detail text, remedy text, figures jsonb) language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",quote_all_identifiers=off} source f3334859d60f6bc30e1bec73ecd0bc58"],
["function","messenger.health_clock(at timestamp with time zone)","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source aff47f8508708d4ba0fda46fdbc1ba9d"],
["function","messenger.health_clock_errors(at timestamp with time zone)","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 943b675cfcd27c76c0f53fc0c29a65d2"],
["function","messenger.health_dead_letters(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source e4193b1344756d4317e08489fa3f72e1"],
["function","messenger.health_error_rate(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source adb62669e396807bd80c2c726da82d29"],
["function","messenger.health_growth(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a6716f6d311d359f91209877ff7a6664"],
["function","messenger.health_no_handler(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 98aa5e059f37a74220ed6c2a57582aab"],
["function","messenger.health_oldest_due(at timestamp with time zone)","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,jit=off} source e4be9107cf65a2244df4c619bddf87f8"],
["function","messenger.health_own_rows(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ed658446e2e94db24440cbf305c137d3"],
["function","messenger.health_pg_net(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source f31f312c9426723d61eb7e288aa6e07d"],
["function","messenger.health_registration(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source b37737c4597536fb0e51c30292036c4a"],
["function","messenger.health_rights(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source b2e3a228fdf7d0611270555bc79aa3c2"],
["function","messenger.health_schedules(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 52fb4bdbbc583088b22af3a3f7b52572"],
["function","messenger.health_set_aside(at timestamp with time zone)","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2fd4971129cde963384979aca7250f10"],
["function","messenger.health_sql_handlers(at timestamp with time zone)","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c74ffcb1d0025e266bf33386ff197ea7"],
["function","messenger.health_test_clock(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source f8b3f36a5c6f4966a7545836ae28977a"],
["function","messenger.health_transports(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 10a42cfd54e09b5c3d6cd28305880e5b"],
["function","messenger.health_webhook_secrets(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a4aa61ed3dca11e6cadf4a5f7c121630"],
["function","messenger.health_worker_secret(at timestamp with time zone)","returns SETOF messenger.check_result language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 8f49f83aceb644c72883fbdf578218a9"],
["function","messenger.health_workers(at timestamp with time zone)","returns SETOF messenger.check_result language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c71723bdf9ca841c0247ecf2cdfc26b0"],
["function","messenger.hmac_sha256(data bytea, key bytea)","returns bytea language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 3fb0cafcbe26a68035c38c750d1c2b15"],
["function","messenger.hold_outcomes(ids uuid[], fences bigint[], kinds text[], rest messenger.outcome[])","returns text[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c098854112952946070ed56f1ab617c2"],
["function","messenger.id_prefix(at timestamp with time zone)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 65dbab6e73ef14e98187a08ea441052a"],
["function","messenger.id_random()","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 48dbad83b171bbdc3315fe55bf2ba09a"],
["function","messenger.import_cron(jobid bigint)","returns jsonb language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source afd186b18fc3fbe24a14bf8594ca1ffd"],
["function","messenger.in_order(claimed messenger.claimed[])","returns messenger.claimed[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source da4c4aaf15c3804f6b3589b328c6ca81"],
["function","messenger.is_api_call()","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 4e88fe8f3d03aa61cd2b5d4eff4ff3ec"],
["function","messenger.is_backend_alive(pid integer, backend_start timestamp with time zone)","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a36fd3c69515475ec5b9ed1c21ee8c4b"],
["function","messenger.is_handed_out(message public.messenger_messages, at timestamp with time zone)","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 4a62562837876d9510d94d44759d27cf"],
["function","messenger.is_handlers_job_running()","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source f753d792c68409e9564f44526e636d52"],
["function","messenger.is_held_by_dead_letter(transport text, queue text, ordering_key text)","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 4ea8d199f43e52db62bcabd4e83d40f4"],
["function","messenger.is_lock_error(sqlstate text)","returns boolean language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source c76624d4d90a1381e128fe09e5b53d2e"],
["function","messenger.is_plain_payload(payload jsonb)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 30a40d05bc42a3753fd71c74d9940acd"],
["function","messenger.is_row_error(sqlstate text)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 81f79332b70d1aa8edfa97b77cad3c19"],
["function","messenger.is_set_aside(step text, object text, row_id text, at timestamp with time zone)","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 40e140a5df0b0b40751fc4b8c523e6ac"],
["function","messenger.is_setting(value jsonb, kind text, lowest numeric, highest numeric)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source bb1eef7130c87fc062e3662d548895b9"],
["function","messenger.is_ticker_enabled()","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 464703eb0a50e36595c6f783670ef8e8"],
["function","messenger.is_ticker_scheduled()","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source efad4bcdc4246b04ac3782b080654ffc"],
["function","messenger.is_ticker_stopped(at timestamp with time zone)","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 452210cba84167fc4b79333050d11639"],
["function","messenger.is_too_deep(value jsonb)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source ec12e71ba76f819940c5fdd5eba77b6e"],
["function","messenger.is_unfinished(id uuid)","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source ed0812a5940b1268e8e028fac929c4d7"],
["function","messenger.is_valid_message(body jsonb, status text, priority integer, processed_at timestamp with time zone, locked_at timestamp with time zone, locked_by text, lock_expires_at timestamp with time zone, max_retries integer, retry_count integer, fence bigint, lease_losses integer)","returns boolean language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 53e46b749d6624f749744e0ed8f4cbee"],
["function","messenger.is_waiting(message public.messenger_messages, at timestamp with time zone)","returns boolean language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 8c59686cb835e1b8f2efb074e6125576"],
["function","messenger.job_ends_at(started_at timestamp with time zone)","returns timestamp with time zone language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 1ac8fe4ff6e0fcf5285fcf9da7a543c1"],
["function","messenger.job_schedule()","returns text language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 12ccab47b5c37d78e670ab8d4b275a25"],
["function","messenger.key_join(object regclass)","returns text language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 8b69edd96a4c82a927dd2d29335c4889"],
["function","messenger.known_queues(only_transport text, only_queues text[], again boolean, at timestamp with time zone, only_types text[])","returns text[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 834ec2b9fc2aa4e2bcb1f56feb1145e6"],
["function","messenger.last_message(schedule_id uuid)","returns uuid language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 2d41fce7738de16a21a3cf0aeac17722"],
["function","messenger.last_run(schedule public.messenger_schedules, before timestamp with time zone, earlier timestamp with time zone, gap interval)","returns timestamp with time zone language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 1511d368667e43543722b7143ebd90a4"],
["function","messenger.last_tick_at(at timestamp with time zone)","returns timestamp with time zone language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 8ea3c7bf5bd5c85c48a6e9f5b730b724"],
["function","messenger.leading_words(command text)","returns SETOF text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 774e34494d5eea79a95987f1e7661607"],
["function","messenger.lock_dead_letters(ids uuid[], filter jsonb, max integer)","returns uuid[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a3a98b0456f4897eb01040566a978adb"],
["function","messenger.lock_message(message_id uuid)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 5e09e2210673df4416f50e9079aee5c7"],
["function","messenger.lock_order_keys(keys messenger.order_key[])","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 96ff3c368f27297c963b37bff05e2a7d"],
["function","messenger.lock_sender(user_id uuid, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source d906501a714b0ec1af1647e79a9d2c35"],
["function","messenger.make_due(id uuid)","returns text language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 39b9c6c8f55bc9f441e8a0f2be58c4a6"],
["function","messenger.make_wakeup_locks(transports text[], queues text[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 4fc95a0365603e19fc171706625841c7"],
["function","messenger.manifest()","returns TABLE(kind text, object text, definition text) language sql stable invoker {\"search_path=pg_catalog, pg_temp\",quote_all_identifiers=off,\"DateStyle=ISO, MDY\",IntervalStyle=postgres,TimeZone=UTC,extra_float_digits=1} source ee566028c83abe346feabdcddd5e3cff"],
["function","messenger.may_end(ends_at timestamp with time zone)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 4898f05ba49e221ce0f074fe520843ee"],
["function","messenger.measure_failures(kind text, ids uuid[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 036ac6194a0166b245ecb44dd2952e68"],
["function","messenger.measured_errors(from_time timestamp with time zone, to_time timestamp with time zone)","returns TABLE(error_class text, message_type text, error text, error_count bigint, last_at timestamp with time zone) language sql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off} source 53557697297451469d6ad9653da967d0"],
["function","messenger.measurements_set_aside()","returns bigint[] language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source b56ebcf71237ad7be937d4b4a5414d1a"],
["function","messenger.message_conditions(filter jsonb)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 5e8e5aa6af4d16844516de91f46e40e1"],
["function","messenger.messages_set_aside(at timestamp with time zone)","returns uuid[] language plpgsql stable definer {\"search_path=pg_catalog, pg_temp\"} source 30b106047fd9a88d893f3fae52cb868e"],
["function","messenger.milliseconds(setting text)","returns numeric language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 9dfff64789eb85014d2c4b8adc2ec8bd"],
["function","messenger.moment(moment timestamp with time zone, at timestamp with time zone)","returns text language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 0e29f8e82fc71c26e273343f924343ee"],
["function","messenger.move_rescue_cursor(transport text, queue text, priority integer, available_at timestamp with time zone, id uuid)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source d691588e439da406dccdf1beb6ade7e3"],
["function","messenger.move_scan(step text, at timestamp with time zone, id uuid, resume_at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 3def33c09b04b280c5335e8c33b7dc66"],
["function","messenger.move_to_dead_letters(ids uuid[], at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0f0bcde489a520b92ff01330d182e590"],
["function","messenger.needs_handlers_job()","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off} source bf08a9e88840343470d809aead6677c6"],
["function","messenger.needs_no_transaction(command text)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source f2c38e53c006e501bd59d81b1103c673"],
["function","messenger.needs_wakeup(message public.messenger_messages, at timestamp with time zone)","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a8a94a77ccad2b71e5ff65ad9ff8bb82"],
["function","messenger.new_id()","returns uuid language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 3f93a2c3993193c0022fc25599847686"],
["function","messenger.next_cron_day(fields messenger.cron_fields, from_day date)","returns date language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 65e3942ba323b01eaf32fdfad8d11ab4"],
["function","messenger.next_cron_run(fields messenger.cron_fields, timezone text, after timestamp with time zone, dst_gap text, dst_overlap text)","returns messenger.cron_run language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 7e839a4ef1184cf62c32067ea0887d49"],
["function","messenger.next_run(schedule public.messenger_schedules, after timestamp with time zone)","returns messenger.cron_run language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source bdf864d609ca903060f95111c3fc2508"],
["function","messenger.next_wall_time(fields messenger.cron_fields, after timestamp without time zone)","returns timestamp without time zone language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 9cb9c6cb7a4e399e7562227e7369a54f"],
["function","messenger.not_rolled_up(from_time timestamp with time zone, to_time timestamp with time zone)","returns SETOF messenger.metrics language sql stable invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 049a3cbb3c75b5f4030abe552aad0f43"],
["function","messenger.not_rolled_up_rows()","returns SETOF messenger.measurements language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off} source 1a61c287fe31ea0a8035f90b25db6041"],
["function","messenger.note_lost_leases(ids uuid[], kind text, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source bfaca24d011ee0bd2bc1d476be6c100d"],
["function","messenger.note_poll(worker text, transport text, queues text[], types text[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2e690196b554883f481d8a76a6d1433b"],
["function","messenger.note_run(message messenger.claimed, timeout interval)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 11d42e122014072cc030cd6496b09377"],
["function","messenger.note_runner()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 599cc5eda33205fabdfd316932fdc2ea"],
["function","messenger.note_step_error(step text, error text, sqlstate text, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 9335dbcba2c4c04c766bb4d681d6e395"],
["function","messenger.note_tick(at timestamp with time zone, started_at timestamp with time zone, slowest_step text, slowest interval)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 65f00c3d052ef14acfdfb78dc62243be"],
["function","messenger.now()","returns timestamp with time zone language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2f1659b6f5238444936619ebae0dc4b4"],
["function","messenger.off(id uuid)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source cca216a0ebc34101c23ee8dbfd778ccf"],
["function","messenger.on(event text, function_name text, message_type text)","returns uuid language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",quote_all_identifiers=off} source db510bc6433db71dc9bb5af0b52a5cfd"],
["function","messenger.on_webhook(event text, url text, secret_name text, message_type text)","returns uuid language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 3a5857998b0a847f0a88067b2e9035c7"],
["function","messenger.open_fields(element jsonb)","returns text[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 1d79af68d894c377938aa34c24e95f40"],
["function","messenger.order_keys(ids uuid[])","returns messenger.order_key[] language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a78e4758a57423495df247653e192c27"],
["function","messenger.outcome_of_error(sqlstate text, error text)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 0b9bcb7af9966998c3112ce281c68345"],
["function","messenger.outlive_statement_timeout(timeout_at timestamp with time zone)","returns timestamp with time zone language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 63e24dcf4ab4afb07e02fefb29c05016"],
["function","messenger.own_functions(prefix text, arguments text, result regtype)","returns TABLE(name text, function regproc) language sql stable invoker {\"search_path=pg_catalog, pg_temp\",quote_all_identifiers=off} source 785ffbfbd2e2d3483f4ff61301b6d106"],
["function","messenger.owned_function(name text)","returns regprocedure language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source ffd3aa912f2c2e899aa830ca16b42ff9"],
["function","messenger.pack_histogram(durations bigint[])","returns numeric language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 16f48e3af17986fdc3ec83237513bc66"],
["function","messenger.pack_old_metrics(chunk integer)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off} source 9f539cc6bde433737ce3d83f693db3e9"],
["function","messenger.parse_cron(expression text)","returns messenger.cron_fields language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 543f76e940f5ace8eb494ce1c465c3b6"],
["function","messenger.percentiles(durations bigint[], shares double precision[])","returns numeric[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source b2e413d25e04664b80666c3ee6c8781e"],
["function","messenger.plan_runs(schedule public.messenger_schedules, due_at timestamp with time zone, at timestamp with time zone)","returns messenger.run_plan language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 0925d2546db644552c914fe272647cd7"],
["function","messenger.prepare_job()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7ed2db3015bcd4175cdc4af40a9539b2"],
["function","messenger.prune(step text, object text, finder text, at timestamp with time zone, batch integer, ends_at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a3e371f048c3ea22c10ff02c7a8be44f"],
["function","messenger.prune_counts()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 9c399e0582a1cee3073295a268ada4b0"],
["function","messenger.prune_metrics(at timestamp with time zone, chunk integer)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off} source 95438effdb18337badb0635470fe54d9"],
["function","messenger.prune_ordering_keys(at timestamp with time zone, chunk integer)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off} source 9b11a13b769790528e0faf0e2670945a"],
["function","messenger.prune_replays(at timestamp with time zone, chunk integer)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 44490931acd8e9b550b8c3ef97aaf6e1"],
["function","messenger.prune_senders(at timestamp with time zone, chunk integer)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,jit=off} source 4179642c40cfa96573970b55f23d4759"],
["function","messenger.prune_ticker_history()","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c3855c79bb8bcd3d2e365b545a0000de"],
["function","messenger.prune_wakeup_locks(at timestamp with time zone, chunk integer)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7ff20b13092f54071f0e478678e4d745"],
["function","messenger.prune_wakeups(chunk integer)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source f8d6fcf39d55cc79bb153e691cdf2020"],
["function","messenger.prune_workers(at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a9042f63d184ceb78611dbeff94500a9"],
["function","messenger.queue_figures()","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source c08fbd57e577442a0210d7aa1a22e059"],
["function","messenger.queue_figures_of(transport text, queue text)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,jit=off} source 740e3617b0e5f0348b2ad5f9127c5590"],
["function","messenger.raise_error(code text, what text, remedy text, message text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 834c42c031d4506f980d03b5192eefb4"],
["function","messenger.raise_invalid_message(rule text, actual json)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 4be4ec77f07a09ca974305a40932bf5b"],
["function","messenger.range_parts(from_time timestamp with time zone, to_time timestamp with time zone, longest integer)","returns TABLE(step_seconds integer, begins_at timestamp with time zone, ends_at timestamp with time zone) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 282c18df34fd6e6b453bc7688a67a6fb"],
["function","messenger.read_cron_field(field text, value text, lowest integer, highest integer, names text[])","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 9a9719c918913d5338b48ea9a8165c20"],
["function","messenger.read_cursor(list text, filter jsonb, cursor text)","returns jsonb language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 09f48770761657920fe0ccfaacab20eb"],
["function","messenger.read_drafts(messages jsonb, at timestamp with time zone)","returns SETOF messenger.draft language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_hashjoin=off,enable_mergejoin=off,enable_seqscan=off,jit=off} source ac50df2fdd8d7b6b3e7df3efeb900df3"],
["function","messenger.read_interval(value jsonb, longest interval)","returns interval language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 1222ab0d106884579514f12372879907"],
["function","messenger.read_milliseconds(value jsonb, longest numeric)","returns double precision language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 07b3fbd73cfd5d3176e28b80d047b0e0"],
["function","messenger.read_moment(value jsonb)","returns timestamp with time zone language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source c1c2e3c4a2dfc209bd7933322efdab9d"],
["function","messenger.read_options(options jsonb)","returns public.messenger_schedules language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 748fcaa5a51f2cde8def6c18fc55e787"],
["function","messenger.read_outcomes(outcomes jsonb)","returns messenger.outcome[] language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 405292d83fbed93c739e3e87a87d7297"],
["function","messenger.read_schedule(schedule jsonb, timezone text, options jsonb, at timestamp with time zone)","returns public.messenger_schedules language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 83722121180e3e8f298982738e40e0d3"],
["function","messenger.read_schedule_message(name text, type text, payload jsonb, schedule public.messenger_schedules, at timestamp with time zone)","returns public.messenger_schedules language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source bbe879649d74498bf3522a7e9694c26f"],
["function","messenger.read_secret(name text, OUT is_there boolean, OUT secret text, OUT fault text)","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 6172255857eaaefa4f136fd9664cb4b1"],
["function","messenger.read_token(sql text)","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 308ba511beb67be7162554f0cea0f34b"],
["function","messenger.read_watermark(setting text, at timestamp with time zone, OUT ends_at timestamp with time zone, OUT times timestamp with time zone[], OUT ids uuid[])","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 4b8f72ab91c04e16f4f5f61363a63f46"],
["function","messenger.read_whole(value jsonb, lowest bigint, highest bigint)","returns bigint language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 1890ada83557571aed2c3fdaa4c4d56d"],
["function","messenger.reason_alone(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 6a293b179d56c0affc0ac004c325af48"],
["function","messenger.reason_backing_off(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 0f50840f758aea03d5d441311ba88834"],
["function","messenger.reason_cancel_requested(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 8a0ba6669f9fd8e7dd3e9a4d56b5311a"],
["function","messenger.reason_cancelled(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source ba126363a5a8b244a6d69b76415a0684"],
["function","messenger.reason_clock_stopped(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 021d5510c0bb02418752856505376b9a"],
["function","messenger.reason_completed(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source ce2695ef1c94a39df89abcec6a7b9d51"],
["function","messenger.reason_delayed(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source c37e93b34cbbc7b04944f404ffffb538"],
["function","messenger.reason_discarded(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 65426f097b1da4d8a8e9d3f8136e6134"],
["function","messenger.reason_expired(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 07bf0eded2f8c811402d2641b3cd04c9"],
["function","messenger.reason_expires(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source be02480633cda52b73857d23ffa34e13"],
["function","messenger.reason_failed(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 03b997dae5a07c7c5c6475281501d185"],
["function","messenger.reason_invalid_payload(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 10a7fc2ad92ffa9256795261f2069b4b"],
["function","messenger.reason_lease_lost(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source fd6410daac761bc3b5a7568ea8f3190f"],
["function","messenger.reason_locked(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 1ac2bef490a02f34dddff149e55af4ac"],
["function","messenger.reason_no_handler(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 02df22610839f851b01311c70ae4deca"],
["function","messenger.reason_no_wakeups(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 3b284caaaba2173c4cba7cc30117312c"],
["function","messenger.reason_no_worker(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source f5207f243e5776a4fec09915eca21573"],
["function","messenger.reason_ordering_dead_letter(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source d5463105e60a9b052c312a15b1f40680"],
["function","messenger.reason_ordering_key(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,jit=off} source edf5ac3ff30941f409fea25e03d81c9c"],
["function","messenger.reason_paused(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a995dc6c35f0bc5a410da54f45846619"],
["function","messenger.reason_ready(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source fd410de115550d049cceeaa763b2b964"],
["function","messenger.reason_running(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a19001e3b348d65ceea8655f4fe1c0ba"],
["function","messenger.reason_snoozed(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source c1a599bc599380f9f9f6a7b488039720"],
["function","messenger.reason_sql_handler_gone(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source cd082e241650a63eb21e13ee1cd9d137"],
["function","messenger.reason_transport_disabled(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a024e94a11d89f168539bcaa722680e2"],
["function","messenger.reason_transport_missing(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 869aa37e288375df93a4c7f95b6b9093"],
["function","messenger.reason_transport_type(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a2962123d2399746655a66e4cdc0d274"],
["function","messenger.reason_waiting_turn(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source db869858c5390f9f7dfa9624bd12327e"],
["function","messenger.reason_worker_unreachable(message public.messenger_messages, at timestamp with time zone)","returns SETOF messenger.reason language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 347895fada007bef92f66311961c389a"],
["function","messenger.refresh_delivery_settings()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7100680f80603c6afd5e0f1b74528dd3"],
["function","messenger.reject_message(error_code text, ord integer, single boolean, subject text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a4edd69b3b0bf9763e65fb63d305f020"],
["function","messenger.reject_setting(code text, field text, value jsonb, wanted text)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source cf5fc428adb938d539c60a56d619d0cd"],
["function","messenger.reject_waits(lock_timeout text, error text)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 289d24fd7141b8a3ff742892703d4af2"],
["function","messenger.release()","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 15598d36338a12b5c30cdac6f1411514"],
["function","messenger.replace_message(id uuid, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source b4ba72ae2b69210bc9c8eb5718de936e"],
["function","messenger.replay_report()","returns TABLE(id uuid, started_at timestamp with time zone, per_second integer, total integer, completed integer, dead integer, lapsed integer, returned integer, remaining integer, stopped_at timestamp with time zone, stop_reason text, finished_at timestamp with time zone) language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 05cd1fc8d2d0a005d47b9ee9b5e77f36"],
["function","messenger.requeue(dead_letters uuid[], payload jsonb, per_second integer, at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 3652f046483b6402bc6bff05d21e5ad1"],
["function","messenger.requeue_in_order(ids uuid[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7cf6f8ebf332986a0f4b0b66730f4161"],
["function","messenger.require_primary()","returns boolean language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 8ced5e51426a43d3c37adda3540dd64c"],
["function","messenger.require_writable()","returns void language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a49b14f80c3bc76529c5c6802bb44dd5"],
["function","messenger.rescue(at timestamp with time zone, ends_at timestamp with time zone)","returns TABLE(rescued bigint, dead bigint, finished bigint) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source dc0130ef74084f1103a9b8ccafe2c78f"],
["function","messenger.rescue_messages(ids uuid[], at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 9cfacf44c54a0b0a95c0a9a513af6f86"],
["function","messenger.retry_delay(message_type text, failures integer)","returns interval language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0cc1d54d769be4dc68b1bb01d7a73a15"],
["function","messenger.return_replayed(replay_id uuid, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source bef6d518e966309a513bdea4f31a9ec2"],
["function","messenger.revise(message_id uuid, draft messenger.draft, at timestamp with time zone, OUT available_at timestamp with time zone, OUT error_code text)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 86bb7721689349af4445c8e087f35c02"],
["function","messenger.roll_up(at timestamp with time zone, ends_at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,jit=off} source dfdb7184154f3c30412b283915bb63b2"],
["function","messenger.roll_up_range(OUT tail bigint, OUT sweep bigint, OUT blocks bigint, OUT chunk bigint)","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 501fd44a0b194142cfb1e090f93ea4d9"],
["function","messenger.roll_up_ranges(tail_from tid, tail_to tid, sweep_from tid, sweep_to tid, aside bigint[])","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,jit=off} source ef0ab71dcfe024ae56857679afb9a915"],
["function","messenger.roll_up_rows(row_ids text[])","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source ea8b3ae94a9f8183989594a31a0530f5"],
["function","messenger.roll_up_step(step_seconds integer, finer integer, begins_at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,jit=off} source c49607a60154d6e7d69121889dbe8756"],
["function","messenger.roll_up_steps(at timestamp with time zone, ends_at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off} source 6c1d472e00476ec7bb731f0ba80c1607"],
["function","messenger.rolled_up_until(step_seconds integer)","returns timestamp with time zone language sql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off} source bde2a3472ff5424b27335d480ad8fc49"],
["function","messenger.route_due(at timestamp with time zone, chunk integer, ends_at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source b22d95bb650e206a68324695661c7c52"],
["function","messenger.route_messages(types text[], chunk integer, at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off} source 147a6c8ee11b4f08706a7f6471c4864b"],
["function","messenger.row_ids(ids uuid[])","returns text[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source bd8c1977bc012f0aa90a0c99cb024314"],
["function","messenger.run_near_change(fields messenger.cron_fields, after timestamp without time zone, change timestamp without time zone, offset_before interval, offset_after interval, dst_gap text, dst_overlap text)","returns messenger.cron_run language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 00fc4f2c7a8398a7fa8dd825ba324dee"],
["function","messenger.run_sql_handlers(batch integer)","returns TABLE(completed bigint, failed bigint, released bigint) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source b9c5b061fbc604c33533c08a33fe388d"],
["function","messenger.run_step(step text, at timestamp with time zone, batch integer, ends_at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source d19a84a09ac74b8bfe58a875721df88d"],
["function","messenger.run_steps(batch integer, without text[])","returns jsonb language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",lock_timeout=25ms,jit=off} source b670bbf8ed76c35df31586fc22cf7697"],
["function","messenger.running_messages(depth integer, only_transport text, only_queues text[])","returns TABLE(transport_name text, queue_name text, locked_by text) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source 5a1f606cdf4c7526bc62c2ae4ff61971"],
["function","messenger.runs_since(transport text, queue text, at timestamp with time zone)","returns timestamp with time zone language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source e3a7b70a997b4e78822219fa69fb95a0"],
["function","messenger.runs_to_fire(schedule public.messenger_schedules, runs timestamp with time zone[])","returns timestamp with time zone[] language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source b686da166bc6cf5729d4353499fe3784"],
["function","messenger.scan_due_queues(at timestamp with time zone, only_transport text, runnable boolean, only_types text[], below_transport text, below_queue text, max_queues integer)","returns TABLE(transport_name text, queue_name text) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off,plan_cache_mode=force_generic_plan} source 00b2dff9bf3fb4f60c52b33f3766e2e3"],
["function","messenger.scan_limit()","returns integer language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 29bcb01f7baff17c888c5ba927eeab46"],
["function","messenger.schedule_headers(name text, due_at timestamp with time zone)","returns jsonb language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 85a7e9cc46b4fb1ddb1775b3bd78872d"],
["function","messenger.schedule_of_cron(schedule text)","returns jsonb language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 74c6c577d0ec144ec12b99f64362de3d"],
["function","messenger.scheduled_message(schedule public.messenger_schedules, due_at timestamp with time zone)","returns jsonb language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source d01bc21dc5216c912630c2e8830ef1aa"],
["function","messenger.send_wakeup()","returns boolean language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",lock_timeout=100ms} source fd7b97e66e65b1493a3bf94a999a8a96"],
["function","messenger.set_message_aside(message_id uuid, error text, sqlstate text, at timestamp with time zone)","returns void language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 91ea9f808cdf638ef3a08de745a06ebb"],
["function","messenger.set_row_aside(step text, object text, row_id text, error text, sqlstate text, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 5ceea9c23b1ebbdfd7a768ecb52ba5fc"],
["function","messenger.set_sql_handler(type text, function_name text)","returns regprocedure language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",quote_all_identifiers=off} source 149c94908259bee7fda348dd8494e61e"],
["function","messenger.settle_arrays(ids uuid[], fences bigint[], kinds text[], durations double precision[], results jsonb[], rest messenger.outcome[], at timestamp with time zone, is_part boolean)","returns messenger.settled[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 5e5a13cadbaf3c76d5890b26920fcfdb"],
["function","messenger.settle_completed(ids uuid[], fences bigint[], durations double precision[], results jsonb[], at timestamp with time zone)","returns messenger.settled[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",lock_timeout=50ms} source 2bbf214dca915702f6afb68b74798caf"],
["function","messenger.settle_in_parts(outcomes jsonb, ids uuid[])","returns messenger.settled[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ed0d963beb4e80a3659f6e040609e7e8"],
["function","messenger.settle_locked(outcomes jsonb, settled messenger.settled[])","returns messenger.settled[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 127b43e72bc5a59c620b0aac41ead4b8"],
["function","messenger.settle_outcomes(outcomes jsonb, is_part boolean)","returns messenger.settled[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off,max_parallel_workers_per_gather=0,plan_cache_mode=force_generic_plan,lock_timeout=50ms} source 0cf6fc9bb86572ba32a4b8f1e13d457b"],
["function","messenger.settle_rest(ids uuid[], rest messenger.outcome[], ords bigint[], dispositions text[], at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off} source 519cedca4a29f6da0035872daba7f83d"],
["function","messenger.sign_webhook(subscription uuid, id uuid, body text)","returns TABLE(url text, signed_at bigint, signature text) language plpgsql stable definer {\"search_path=pg_catalog, pg_temp\"} source 4ecbb44451da095fbad61c860e92fb9d"],
["function","messenger.sql_handlers()","returns TABLE(type text, handler regprocedure) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 775aa5c6c8ea5d80faba46db58817dfc"],
["function","messenger.sql_queues(types text[])","returns text[] language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 05764d911121759b60673dae101f9b15"],
["function","messenger.sql_types()","returns text[] language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 53ea5467923cf09ec413c29163b40b85"],
["function","messenger.sql_worker()","returns text language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 34de4d4ad50609b56338c335f0fb6f22"],
["function","messenger.start(functions_url text, options jsonb)","returns jsonb language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 6c03dbdd7db02cd291a5a85b7f6490ce"],
["function","messenger.status()","returns jsonb language sql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 98280a643021ab33cbf84008823b634b"],
["function","messenger.steps()","returns TABLE(name text, budget interval) language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source dfe065811f4f2ca4e0352de928674fb2"],
["function","messenger.steps_of(minute timestamp with time zone, five_minutes_end timestamp with time zone, days_end timestamp with time zone)","returns TABLE(step_seconds integer, at timestamp with time zone) language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 8b526ecdab3657287350a234820b0716"],
["function","messenger.stop()","returns jsonb language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 6bba53ec5e5bb865245d0c574becbcfd"],
["function","messenger.stop_scan()","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 018c3f65d4e63f8a1a794dadc1eff6af"],
["function","messenger.store_alone(messages jsonb[], schedules uuid[], runs timestamp with time zone[])","returns TABLE(ord integer, error text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 96fc363d81cb6ecdae5904b1a496699d"],
["function","messenger.store_draft(draft messenger.draft, new_id uuid, sender uuid, at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 108790827d7c7c8b714ecdbd863b69bf"],
["function","messenger.store_events(event text, events text[], ids uuid[], at timestamp with time zone)","returns boolean language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",TimeZone=UTC,enable_seqscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off} source 58aceee5bc857cbaa578a0bcebff09ed"],
["function","messenger.store_in_turn(messages jsonb, atomic boolean, scope text, sender uuid, single boolean, at timestamp with time zone)","returns TABLE(ord integer, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamp with time zone, error_code text, error text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 6169dc902a2e9a6b8df0aed372da792a"],
["function","messenger.store_messages(messages jsonb, atomic boolean, scope text, sender uuid, single boolean)","returns TABLE(ord integer, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamp with time zone, error_code text, error text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ec786651274280cdc20ffed6acdab839"],
["function","messenger.store_occurrences(messages jsonb[], schedules uuid[], runs timestamp with time zone[])","returns TABLE(ord integer, error text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 160240ac0e6bdc95ae67f9a5b325d4f5"],
["function","messenger.store_plain(types text[], payloads jsonb[], stamp jsonb, sender uuid)","returns messenger.dispatched[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_hashjoin=off,enable_mergejoin=off,jit=off,max_parallel_workers_per_gather=0,plan_cache_mode=force_generic_plan} source 2fe0c99ba449a7c4a25a0b9579964af1"],
["function","messenger.store_plain_batch(messages jsonb, sender uuid)","returns messenger.dispatched[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_mergejoin=off,jit=off,max_parallel_workers_per_gather=0} source b776c555ae31edb6c6bcb7fdca1e78dc"],
["function","messenger.store_runs(messages jsonb[], schedules uuid[], runs timestamp with time zone[], replaced uuid[], at timestamp with time zone)","returns messenger.run_disposition[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 72624f05ab209648f1f7ec46fb1eb55b"],
["function","messenger.store_watermark(setting text, ends_at timestamp with time zone, from_times timestamp with time zone[], from_ids uuid[], batch integer, ctids tid[], took interval, at timestamp with time zone, lowest integer)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ea80863f2c4231338f8b44f0749ddafc"],
["function","messenger.summarize(measurements messenger.measurements[])","returns SETOF messenger.metrics language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 572a31bff294742f2f3cd993f53dc051"],
["function","messenger.sync_handlers_job()","returns void language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 00fac71e8ff46a5757066827d2aeee9a"],
["function","messenger.take(ctids tid[], worker text, lease interval, at timestamp with time zone)","returns messenger.claimed[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source cdedc469bafc51e8d28066c02bdaa8e7"],
["function","messenger.take_due(transport text, queue text, batch integer, types text[], worker text, lease interval, at timestamp with time zone, OUT claimed messenger.claimed[], OUT is_plain boolean)","returns record language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 21421c80169bedfc3b48aa468ed286a1"],
["function","messenger.take_key(scope text, draft messenger.draft, new_id uuid, sender uuid, store boolean, at timestamp with time zone)","returns TABLE(taken boolean, is_stored boolean, passed_on uuid, message_id uuid, status text, transport text, queue text, available_at timestamp with time zone, error_code text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0bf4733c50e09389236ed0940e94b12a"],
["function","messenger.take_keys_back(dead_letters uuid[], at timestamp with time zone)","returns uuid[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 32c3dc11125705da83bda7f191b28b23"],
["function","messenger.take_singly(ctids tid[], worker text, lease interval, at timestamp with time zone)","returns messenger.claimed[] language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7eec3c17cfb7b89a614b973d55da8b82"],
["function","messenger.take_turns(ords integer[], ids uuid[], transports text[], queues text[], keys text[], moments timestamp with time zone[], are_stored boolean[])","returns TABLE(ord integer, seq bigint, available_at timestamp with time zone) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off,plan_cache_mode=force_generic_plan} source b7cb40574c881fc190c5f2aacee44209"],
["function","messenger.tick(batch integer)","returns jsonb language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 449d42d70d6b60da93e3f31378919f0f"],
["function","messenger.tick_or_note_error()","returns boolean language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\",lock_timeout=25ms} source 20479c490e068ce00d2c736550ba3273"],
["function","messenger.ticker_command()","returns text language sql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 28c0edc0ed11c090f8c25bfb0c80712c"],
["function","messenger.ticker_fault(OUT cause text, OUT remedy text)","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 8a22a635c3a764e08f4fc9db60d74187"],
["function","messenger.ticker_setting_fault(OUT cause text, OUT remedy text)","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 1f9fa8d791079ba8cdef396cb760dcba"],
["function","messenger.ticks_per_minute(at timestamp with time zone, OUT minutes integer, OUT per_minute numeric)","returns record language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 8bbac544113651fb7e40b03f50aa9b79"],
["function","messenger.try_lock(name text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2d58a5980cc5cad902551d190e09c1d7"],
["function","messenger.try_send_wakeup()","returns boolean language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 1b3535f345b08013273eb4bad83b1598"],
["function","messenger.unblock_each(keys messenger.order_key[], at timestamp with time zone, ends_at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 6a36eeedc05f6a920d9ddbdef4216e1f"],
["function","messenger.unblock_keys(row_ids text[], at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 00269f619c47069cf702c1ae0b4c2565"],
["function","messenger.unblock_next(keys messenger.order_key[], at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 633ee1ff114570883ec6c5d409ea0fdf"],
["function","messenger.unblock_stuck(at timestamp with time zone, chunk integer, ends_at timestamp with time zone)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source 7e745ddf96080f80bb2d01f0df90ab69"],
["function","messenger.unbound_waits(lock_timeout text)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c539728048558e349efc17a038cd1345"],
["function","messenger.unknown_message(id uuid)","returns SETOF messenger.reason language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 698f2759b20d3e52e4485cf315ce211c"],
["function","messenger.unpack_histogram(histogram numeric)","returns bigint[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source d012777bccd1cdfe81e87c0d5436e2d8"],
["function","messenger.user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb)","returns TABLE(id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamp with time zone) language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 2975e17cc260b9f2c4e8be3529fcd63b"],
["function","messenger.uuids_of(row_ids text[])","returns uuid[] language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source 2acdda31e6e5b0818d8e223bf1838881"],
["function","messenger.verify()","returns TABLE(kind text, object text, state text, detail text) language sql stable definer {\"search_path=pg_catalog, pg_temp\"} source 19cd1dcbc62e83e8b40d319ea2ed39a9"],
["function","messenger.wake(at timestamp with time zone)","returns integer language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off} source 70b312e11ccc33c71049164e3b17e5ea"],
["function","messenger.wake_worker(transport text, queue text, type text)","returns boolean language plpgsql volatile definer {\"search_path=pg_catalog, pg_temp\"} source 8fed3f24680b1106b6e6ebf3c15b3087"],
["function","messenger.wakeup_fault()","returns text language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",lock_timeout=100ms} source b51524d1f10c90629f8840f5df227282"],
["function","messenger.wakeup_figures()","returns TABLE(sent bigint, answered bigint, failed bigint, failed_share numeric, stuck bigint, dropped bigint, has_newest_failed boolean, newest_at timestamp with time zone, last_failure text, is_unreachable boolean) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a7f1ae026d6ecabae333dc70ddeab78b"],
["function","messenger.wakeup_responses(since interval)","returns TABLE(request_id bigint, sent_at timestamp with time zone, answered_at timestamp with time zone, status_code integer, error text, has_failed boolean, is_queued boolean) language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 1c40e1ffcc5f25bd11c5d662295f9bd4"],
["function","messenger.wall_time_in_gap(moment timestamp with time zone, timezone text)","returns timestamp without time zone language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 0975b89e81d63be77ddac2b361f3780d"],
["function","messenger.watch_replay(row_ids text[], at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 58ce0ab81dceed072f9dfbc6fff428ab"],
["function","messenger.watch_replays(at timestamp with time zone, ends_at timestamp with time zone)","returns void language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 36d0c8d1b5c8f3b2331a3dd3a3af6715"],
["function","messenger.watermark_setting(transport text, queue text, types text[])","returns text language plpgsql immutable invoker {\"search_path=pg_catalog, pg_temp\"} source fd6a880abd9b978aec4255466d508522"],
["function","messenger.webhook_keys(secret_name text)","returns SETOF bytea language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 4d6e8e960e071b1a657de93e27e68ff8"],
["function","messenger.without_set_aside(step text, object text, row_ids text[], at timestamp with time zone)","returns text[] language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 2343ca0a5510520467bee9553ff3bbe5"],
["function","messenger.work_off(message messenger.claimed, goes_on boolean, cut_at timestamp with time zone)","returns messenger.claimed language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0102a51be02365aba2ce3be080cd0cf0"],
["function","messenger.worker_secret_digests()","returns text[] language plpgsql stable definer {\"search_path=pg_catalog, pg_temp\"} source 4e21711b74df5bb3d1c74e032f609446"],
["function","messenger.write_cursor(list text, filter jsonb, page_end jsonb)","returns text language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 6b3059f77722b60ad7d273f1bd50cd4e"],
["function","messenger.write_each(step text, object text, row_ids text[], at timestamp with time zone, ends_at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 64d47b9ff82d77698693e8a28acd81bf"],
["function","messenger.write_rows(step text, object text, row_ids text[], at timestamp with time zone)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 1a121c11aab69bd1bd679c930cd5bf23"],
["function","public.messenger_audit()","returns TABLE(invariant text, violations bigint) language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 873619ad1d62f85bd7e92215e1bfe16f"],
["function","public.messenger_cancel(id uuid)","returns text language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 500fc87a4786f61e3b0c04b6ec7edc80"],
["function","public.messenger_check_worker_secret(secret text)","returns boolean language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source f030b1f3e2f35bd31a6090bff0913473"],
["function","public.messenger_claim(worker text, batch integer, lease interval, transport text, queues text[], types text[])","returns TABLE(id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority integer, retry_count integer, max_retries integer, fence bigint, lock_expires_at timestamp with time zone, created_at timestamp with time zone, solo boolean) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 63ab462bbcb08390d5a2177426ba9843"],
["function","public.messenger_claim_one(id uuid, worker text, lease interval)","returns TABLE(id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority integer, retry_count integer, max_retries integer, fence bigint, lock_expires_at timestamp with time zone, created_at timestamp with time zone, solo boolean) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source c38a451ac46c95792ca70988e732fb49"],
["function","public.messenger_complete(id uuid, fence bigint, result jsonb, strict boolean)","returns text language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source d4c8baa9544863297e041b0774a80581"],
["function","public.messenger_complete_with(id uuid, fence bigint, function_name text, args jsonb)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 18f7e9af624085bebc282d3b25a5eaa9"],
["function","public.messenger_counters()","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source c7eee58abfb8fab5eb1c2104573b9cb9"],
["function","public.messenger_disable_webhook(subscription uuid, reason text)","returns boolean language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source de799c93fc703dc7ceaee7b22d570ad6"],
["function","public.messenger_discard_failed(ids uuid[], filter jsonb, max integer)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a6a5c1442f33d9377e868fcb9d4f1ae1"],
["function","public.messenger_dispatch(type text, payload jsonb, queue text, priority integer, available_at timestamp with time zone, delay interval, idempotency_key text, idempotency_mode text, idempotency_window interval, ordering_key text, transport text, max_retries integer, expires_at timestamp with time zone, headers jsonb, metadata jsonb)","returns SETOF messenger.dispatched language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 1c393d38dbc9b2e2e182c83db22217da"],
["function","public.messenger_dispatch_batch(messages jsonb, atomic boolean)","returns TABLE(ord integer, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamp with time zone, error_code text, error text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 64d23a8397989702fe91b325884d9a42"],
["function","public.messenger_exchange(outcomes jsonb, worker text, batch integer, lease interval, transport text, queues text[], types text[])","returns json language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 0fe22a2be2db38c541cae7332cb23524"],
["function","public.messenger_explain(id uuid)","returns TABLE(reason text, detail text, remedy text) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 428189d3ea4cd0ec2f46ce9d80942593"],
["function","public.messenger_fail(id uuid, fence bigint, error text, error_class text, error_trace text, retryable boolean, retry_after interval)","returns TABLE(outcome text, available_at timestamp with time zone) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 5e0b04ee31ee4e8789a7e3ccd3355cb5"],
["function","public.messenger_get_failed(id uuid)","returns jsonb language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source a65c7ccbf77bbb8bba0c2d53bbeaedc0"],
["function","public.messenger_get_message(id uuid)","returns jsonb language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 6931e799f2997bc4907f1acf530b7b37"],
["function","public.messenger_health()","returns jsonb language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 7d701ccefcfdfcd6fd2b6c45a5cf34d8"],
["function","public.messenger_heartbeat(leases jsonb, lease interval)","returns TABLE(id uuid, outcome text, cancel_requested boolean) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",lock_timeout=50ms} source 5e2a4e8e51747635f7362578fe66809f"],
["function","public.messenger_import_cron(jobid bigint)","returns jsonb language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 4b46768c7cec1f52fa54aa6f5a76852f"],
["function","public.messenger_list_failed(filter jsonb, cursor text, skip integer, max integer)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",enable_sort=off,jit=off} source 9d7dc08f2a34246da5df17b1bc8740f2"],
["function","public.messenger_list_messages(filter jsonb, cursor text, max integer)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2205f84e7850f49d3ec8bfd69a0d5e2e"],
["function","public.messenger_list_queues()","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source c28aaca5e0fc0cca710bdce2640893d4"],
["function","public.messenger_list_schedules(filter jsonb, cursor text, max integer)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 549e12700fe06ad72fb0f3061f014639"],
["function","public.messenger_list_transports()","returns jsonb language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source cbed9192d521e46c8912567110e4b6bf"],
["function","public.messenger_list_workers()","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\",jit=off} source 6b8bdbec6736fbeefa7bd2a8446c1f1c"],
["function","public.messenger_metrics(minutes integer, from_time timestamp with time zone, to_time timestamp with time zone)","returns jsonb language plpgsql stable invoker {\"search_path=pg_catalog, pg_temp\",TimeZone=UTC,enable_seqscan=off,enable_hashjoin=off,enable_mergejoin=off,work_mem=64MB,jit=off} source bbf0020b9ed6990fda109cb1685fd305"],
["function","public.messenger_pause(transport text, queue text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 65a7ee146e96d3e99b8ecc36e38409b6"],
["function","public.messenger_pause_schedule(name text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source e62d0ca1bd820ddf9304c292922a2b5e"],
["function","public.messenger_put_transport(name text, type text, config jsonb, enabled boolean)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 92e2eb3319278fc35da9bc743ed52dc5"],
["function","public.messenger_register(types jsonb)","returns bigint language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ab856ea6be832ba3f6b265b765eef59e"],
["function","public.messenger_release(id uuid, fence bigint)","returns text language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a5f84dd4506f75e630117173dd91619c"],
["function","public.messenger_resume(transport text, queue text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 1bae1082e8fc95cc0f6fc23f5105346a"],
["function","public.messenger_resume_schedule(name text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source eb0a045df929e6ed8cc71cdc542cfdf1"],
["function","public.messenger_retry_failed(ids uuid[], filter jsonb, payload jsonb, per_second integer, max integer)","returns TABLE(id uuid, message_id uuid, outcome text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 73f1ddc2b26a61590ecbf21a452d6218"],
["function","public.messenger_schedule(name text, type text, schedule jsonb, payload jsonb, timezone text, options jsonb)","returns public.messenger_schedules language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source d9c6a0b9f758ce1cde33342d5e402f7c"],
["function","public.messenger_schedule_preview(schedule jsonb, timezone text, from_time timestamp with time zone, count integer, options jsonb)","returns TABLE(run_at timestamp with time zone, local_time timestamp without time zone, note text) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 872cf62c9cee29c4538264896715d23b"],
["function","public.messenger_set_flag(name text, percent integer, updated_by text)","returns jsonb language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source d907af48f33cf4a188b4acc9398fd0e0"],
["function","public.messenger_settle(outcomes jsonb)","returns TABLE(id uuid, outcome text, available_at timestamp with time zone) language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 768803cd7119fff63e4f205f6a325724"],
["function","public.messenger_sign_webhook(subscription uuid, id uuid, body text)","returns TABLE(url text, signed_at bigint, signature text) language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 83e91886d3198e1c53a2182eeb7fd60e"],
["function","public.messenger_snooze(id uuid, fence bigint, delay interval)","returns text language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 6c4f0d366b18b0c1329d9429683a4f1b"],
["function","public.messenger_start(functions_url text, options jsonb)","returns jsonb language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 2ada4c698a25c5a06bcc0dedaac2b859"],
["function","public.messenger_status()","returns jsonb language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 869edbe9f2b085720bc41df4dfa0c8f6"],
["function","public.messenger_stop()","returns jsonb language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source a23d9bcf133944d4b185d3e0dafe4d55"],
["function","public.messenger_tick(batch integer)","returns jsonb language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 44fa8f37b76564af9732322a424e3c94"],
["function","public.messenger_unschedule(name text)","returns boolean language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 8bcfe91d4a7dbe6778a102f14b3a830a"],
["function","public.messenger_user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb)","returns TABLE(id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamp with time zone) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source ff1a11cf24c874bd79ad5a6bd3cf03dc"],
["function","public.messenger_verify()","returns TABLE(kind text, object text, state text, detail text) language sql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 505aa2269d2d54057c2283c884c11ef0"],
["function","public.messenger_worker_secret_digests()","returns text[] language sql stable invoker {\"search_path=pg_catalog, pg_temp\"} source 80b25ae10c3550571919125f44cd85d4"],
["function","public.update_messenger_messages_updated_at()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 688979e5a72847acff081ddf5ed99f08"],
["function","public.update_messenger_schedules_updated_at()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 688979e5a72847acff081ddf5ed99f08"],
["function","public.update_messenger_transports_updated_at()","returns trigger language plpgsql volatile invoker {\"search_path=pg_catalog, pg_temp\"} source 688979e5a72847acff081ddf5ed99f08"],
["grant","column messenger.message_types.aliases to service_role","insert,update"],
["grant","column messenger.message_types.dispatchable_by to service_role","insert,update"],
["grant","column messenger.message_types.max_retries to service_role","insert,update"],
["grant","column messenger.message_types.priority to service_role","insert,update"],
["grant","column messenger.message_types.queue_name to service_role","insert,update"],
["grant","column messenger.message_types.registered_at to service_role","insert,update"],
["grant","column messenger.message_types.retry_delay_ms to service_role","insert,update"],
["grant","column messenger.message_types.retry_jitter to service_role","insert,update"],
["grant","column messenger.message_types.retry_max_delay_ms to service_role","insert,update"],
["grant","column messenger.message_types.retry_multiplier to service_role","insert,update"],
["grant","column messenger.message_types.timeout_ms to service_role","insert,update"],
["grant","column messenger.message_types.transport_name to service_role","insert,update"],
["grant","column messenger.message_types.type to service_role","insert"],
["grant","column messenger.subscriptions.enabled to service_role","select"],
["grant","column messenger.subscriptions.event to service_role","select"],
["grant","column messenger.subscriptions.id to service_role","select"],
["grant","column messenger.subscriptions.kind to service_role","select"],
["grant","column messenger.subscriptions.message_type to service_role","select"],
["grant","column public.messenger_messages.available_at to authenticated","select"],
["grant","column public.messenger_messages.created_at to authenticated","select"],
["grant","column public.messenger_messages.id to authenticated","select"],
["grant","column public.messenger_messages.message_type to authenticated","select"],
["grant","column public.messenger_messages.processed_at to authenticated","select"],
["grant","column public.messenger_messages.progress to authenticated","select"],
["grant","column public.messenger_messages.result to authenticated","select"],
["grant","column public.messenger_messages.status to authenticated","select"],
["grant","function messenger.active_queues(only_transport text, only_queues text[], halted boolean) to service_role","execute"],
["grant","function messenger.add_worker(worker text, transport text, queues text[], types text[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.all_due_queues(at timestamp with time zone, only_transport text, only_queues text[]) to service_role","execute"],
["grant","function messenger.announce(ids uuid[], events text[]) to service_role","execute"],
["grant","function messenger.begin_poll(worker text, transport text, queues text[], types text[], at timestamp with time zone, poll text) to service_role","execute"],
["grant","function messenger.bound_waits() to service_role","execute"],
["grant","function messenger.bucket_limit(bucket integer) to service_role","execute"],
["grant","function messenger.business_function(function_name text) to service_role","execute"],
["grant","function messenger.caller_id() to service_role","execute"],
["grant","function messenger.cap_results(results jsonb[]) to service_role","execute"],
["grant","function messenger.cap_size(value jsonb) to service_role","execute"],
["grant","function messenger.check_claim(worker text, lease interval, queues text[]) to service_role","execute"],
["grant","function messenger.check_deferred(at timestamp with time zone) to service_role","execute"],
["grant","function messenger.check_filter(filter jsonb, texts text[], times text[], booleans text[], ids text[]) to service_role","execute"],
["grant","function messenger.check_page(max integer) to service_role","execute"],
["grant","function messenger.check_queue(transport text, queue text) to service_role","execute"],
["grant","function messenger.check_start(functions_url text, options jsonb) to service_role","execute"],
["grant","function messenger.check_timezone(timezone text) to service_role","execute"],
["grant","function messenger.check_types(types jsonb) to service_role","execute"],
["grant","function messenger.claim_carefully(worker text, batch integer, lease interval, transport text, queues text[], types text[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.claim_messages(worker text, batch integer, lease interval, transport text, queues text[], types text[]) to service_role","execute"],
["grant","function messenger.claim_one(message_id uuid, worker text, lease interval) to service_role","execute"],
["grant","function messenger.clip(value text, bytes integer) to service_role","execute"],
["grant","function messenger.complete(ids uuid[], fences bigint[], durations double precision[], results jsonb[], dispositions text[], may_delete boolean, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.count_rows(query text, args jsonb, bound integer) to service_role","execute"],
["grant","function messenger.cron_next(expression text, timezone text, after timestamp with time zone, dst_gap text, dst_overlap text) to service_role","execute"],
["grant","function messenger.dead_letter_conditions(filter jsonb) to service_role","execute"],
["grant","function messenger.delete_messages(ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.derive_delivery_settings() to service_role","execute"],
["grant","function messenger.describe_figures(of messenger.figures) to service_role","execute"],
["grant","function messenger.disable_webhook(subscription uuid, reason text) to service_role","execute"],
["grant","function messenger.draft_fields() to service_role","execute"],
["grant","function messenger.drop_keys(ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.due_queues(at timestamp with time zone, only_transport text, only_queues text[], runnable boolean, only_types text[], halted boolean, max_queues integer) to service_role","execute"],
["grant","function messenger.due_since(schedule public.messenger_schedules) to service_role","execute"],
["grant","function messenger.emit(event text, ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.enabled(flag text, subject text) to service_role","execute"],
["grant","function messenger.error_class_of(error_class text) to service_role","execute"],
["grant","function messenger.error_codes() to service_role","execute"],
["grant","function messenger.estimate_rows(query text, args jsonb) to service_role","execute"],
["grant","function messenger.exceeds(value jsonb, bytes integer) to service_role","execute"],
["grant","function messenger.exchange_rows(ids uuid[], fences bigint[], durations double precision[], results jsonb[], others jsonb, worker text, batch integer, lease interval, transport text, queues text[], types text[]) to service_role","execute"],
["grant","function messenger.explain(id uuid) to service_role","execute"],
["grant","function messenger.fail_without_dead_letter(ids uuid[], error_class text, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.figures_by_queue(at timestamp with time zone) to service_role","execute"],
["grant","function messenger.find_change(timezone text, low timestamp without time zone, high timestamp without time zone) to service_role","execute"],
["grant","function messenger.find_due(transport text, queue text, batch integer, types text[], at timestamp with time zone, may_be_solo boolean, careful boolean, OUT places tid[], OUT is_solo boolean) to service_role","execute"],
["grant","function messenger.find_messages(filter jsonb, before uuid, shown uuid[], wanted integer, OUT ids uuid[], OUT searched_to uuid, OUT early uuid[]) to service_role","execute"],
["grant","function messenger.fingerprint(body jsonb) to service_role","execute"],
["grant","function messenger.finish_undeliverable(ids uuid[], dispositions text[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.finish_undeliverable_singly(ids uuid[], dispositions text[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.first_id(at timestamp with time zone) to service_role","execute"],
["grant","function messenger.first_run(schedule public.messenger_schedules, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.has_many_queues() to service_role","execute"],
["grant","function messenger.has_out_of_range_number(value jsonb) to service_role","execute"],
["grant","function messenger.health() to service_role","execute"],
["grant","function messenger.hold_outcomes(ids uuid[], fences bigint[], kinds text[], rest messenger.outcome[]) to service_role","execute"],
["grant","function messenger.id_prefix(at timestamp with time zone) to service_role","execute"],
["grant","function messenger.id_random() to service_role","execute"],
["grant","function messenger.import_cron(jobid bigint) to service_role","execute"],
["grant","function messenger.in_order(claimed messenger.claimed[]) to service_role","execute"],
["grant","function messenger.is_api_call() to service_role","execute"],
["grant","function messenger.is_held_by_dead_letter(transport text, queue text, ordering_key text) to service_role","execute"],
["grant","function messenger.is_plain_payload(payload jsonb) to service_role","execute"],
["grant","function messenger.is_row_error(sqlstate text) to service_role","execute"],
["grant","function messenger.is_setting(value jsonb, kind text, lowest numeric, highest numeric) to service_role","execute"],
["grant","function messenger.is_too_deep(value jsonb) to service_role","execute"],
["grant","function messenger.is_valid_message(body jsonb, status text, priority integer, processed_at timestamp with time zone, locked_at timestamp with time zone, locked_by text, lock_expires_at timestamp with time zone, max_retries integer, retry_count integer, fence bigint, lease_losses integer) to service_role","execute"],
["grant","function messenger.known_queues(only_transport text, only_queues text[], again boolean, at timestamp with time zone, only_types text[]) to service_role","execute"],
["grant","function messenger.last_run(schedule public.messenger_schedules, before timestamp with time zone, earlier timestamp with time zone, gap interval) to service_role","execute"],
["grant","function messenger.lock_dead_letters(ids uuid[], filter jsonb, max integer) to service_role","execute"],
["grant","function messenger.lock_message(message_id uuid) to service_role","execute"],
["grant","function messenger.lock_order_keys(keys messenger.order_key[]) to service_role","execute"],
["grant","function messenger.measure_failures(kind text, ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.measured_errors(from_time timestamp with time zone, to_time timestamp with time zone) to service_role","execute"],
["grant","function messenger.measurements_set_aside() to service_role","execute"],
["grant","function messenger.message_conditions(filter jsonb) to service_role","execute"],
["grant","function messenger.messages_set_aside(at timestamp with time zone) to service_role","execute"],
["grant","function messenger.move_to_dead_letters(ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.new_id() to service_role","execute"],
["grant","function messenger.next_cron_day(fields messenger.cron_fields, from_day date) to service_role","execute"],
["grant","function messenger.next_cron_run(fields messenger.cron_fields, timezone text, after timestamp with time zone, dst_gap text, dst_overlap text) to service_role","execute"],
["grant","function messenger.next_run(schedule public.messenger_schedules, after timestamp with time zone) to service_role","execute"],
["grant","function messenger.next_wall_time(fields messenger.cron_fields, after timestamp without time zone) to service_role","execute"],
["grant","function messenger.not_rolled_up(from_time timestamp with time zone, to_time timestamp with time zone) to service_role","execute"],
["grant","function messenger.not_rolled_up_rows() to service_role","execute"],
["grant","function messenger.note_lost_leases(ids uuid[], kind text, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.note_poll(worker text, transport text, queues text[], types text[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.now() to service_role","execute"],
["grant","function messenger.open_fields(element jsonb) to service_role","execute"],
["grant","function messenger.order_keys(ids uuid[]) to service_role","execute"],
["grant","function messenger.outcome_of_error(sqlstate text, error text) to service_role","execute"],
["grant","function messenger.pack_histogram(durations bigint[]) to service_role","execute"],
["grant","function messenger.parse_cron(expression text) to service_role","execute"],
["grant","function messenger.percentiles(durations bigint[], shares double precision[]) to service_role","execute"],
["grant","function messenger.queue_figures_of(transport text, queue text) to service_role","execute"],
["grant","function messenger.raise_error(code text, what text, remedy text, message text) to service_role","execute"],
["grant","function messenger.raise_invalid_message(rule text, actual json) to service_role","execute"],
["grant","function messenger.range_parts(from_time timestamp with time zone, to_time timestamp with time zone, longest integer) to service_role","execute"],
["grant","function messenger.read_cron_field(field text, value text, lowest integer, highest integer, names text[]) to service_role","execute"],
["grant","function messenger.read_cursor(list text, filter jsonb, cursor text) to service_role","execute"],
["grant","function messenger.read_drafts(messages jsonb, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.read_interval(value jsonb, longest interval) to service_role","execute"],
["grant","function messenger.read_milliseconds(value jsonb, longest numeric) to service_role","execute"],
["grant","function messenger.read_moment(value jsonb) to service_role","execute"],
["grant","function messenger.read_options(options jsonb) to service_role","execute"],
["grant","function messenger.read_outcomes(outcomes jsonb) to service_role","execute"],
["grant","function messenger.read_schedule(schedule jsonb, timezone text, options jsonb, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.read_schedule_message(name text, type text, payload jsonb, schedule public.messenger_schedules, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.read_watermark(setting text, at timestamp with time zone, OUT ends_at timestamp with time zone, OUT times timestamp with time zone[], OUT ids uuid[]) to service_role","execute"],
["grant","function messenger.read_whole(value jsonb, lowest bigint, highest bigint) to service_role","execute"],
["grant","function messenger.reject_message(error_code text, ord integer, single boolean, subject text) to service_role","execute"],
["grant","function messenger.reject_setting(code text, field text, value jsonb, wanted text) to service_role","execute"],
["grant","function messenger.reject_waits(lock_timeout text, error text) to service_role","execute"],
["grant","function messenger.release() to service_role","execute"],
["grant","function messenger.replay_report() to service_role","execute"],
["grant","function messenger.requeue(dead_letters uuid[], payload jsonb, per_second integer, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.requeue_in_order(ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.require_primary() to service_role","execute"],
["grant","function messenger.require_writable() to service_role","execute"],
["grant","function messenger.retry_delay(message_type text, failures integer) to service_role","execute"],
["grant","function messenger.revise(message_id uuid, draft messenger.draft, at timestamp with time zone, OUT available_at timestamp with time zone, OUT error_code text) to service_role","execute"],
["grant","function messenger.roll_up_range(OUT tail bigint, OUT sweep bigint, OUT blocks bigint, OUT chunk bigint) to service_role","execute"],
["grant","function messenger.rolled_up_until(step_seconds integer) to service_role","execute"],
["grant","function messenger.route_due(at timestamp with time zone, chunk integer, ends_at timestamp with time zone) to service_role","execute"],
["grant","function messenger.route_messages(types text[], chunk integer, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.run_near_change(fields messenger.cron_fields, after timestamp without time zone, change timestamp without time zone, offset_before interval, offset_after interval, dst_gap text, dst_overlap text) to service_role","execute"],
["grant","function messenger.running_messages(depth integer, only_transport text, only_queues text[]) to service_role","execute"],
["grant","function messenger.runs_since(transport text, queue text, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.scan_due_queues(at timestamp with time zone, only_transport text, runnable boolean, only_types text[], below_transport text, below_queue text, max_queues integer) to service_role","execute"],
["grant","function messenger.scan_limit() to service_role","execute"],
["grant","function messenger.schedule_headers(name text, due_at timestamp with time zone) to service_role","execute"],
["grant","function messenger.set_message_aside(message_id uuid, error text, sqlstate text, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.settle_arrays(ids uuid[], fences bigint[], kinds text[], durations double precision[], results jsonb[], rest messenger.outcome[], at timestamp with time zone, is_part boolean) to service_role","execute"],
["grant","function messenger.settle_completed(ids uuid[], fences bigint[], durations double precision[], results jsonb[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.settle_in_parts(outcomes jsonb, ids uuid[]) to service_role","execute"],
["grant","function messenger.settle_locked(outcomes jsonb, settled messenger.settled[]) to service_role","execute"],
["grant","function messenger.settle_outcomes(outcomes jsonb, is_part boolean) to service_role","execute"],
["grant","function messenger.settle_rest(ids uuid[], rest messenger.outcome[], ords bigint[], dispositions text[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.sign_webhook(subscription uuid, id uuid, body text) to service_role","execute"],
["grant","function messenger.start(functions_url text, options jsonb) to service_role","execute"],
["grant","function messenger.status() to service_role","execute"],
["grant","function messenger.stop() to service_role","execute"],
["grant","function messenger.stop_scan() to service_role","execute"],
["grant","function messenger.store_draft(draft messenger.draft, new_id uuid, sender uuid, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.store_events(event text, events text[], ids uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.store_in_turn(messages jsonb, atomic boolean, scope text, sender uuid, single boolean, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.store_messages(messages jsonb, atomic boolean, scope text, sender uuid, single boolean) to service_role","execute"],
["grant","function messenger.store_plain(types text[], payloads jsonb[], stamp jsonb, sender uuid) to service_role","execute"],
["grant","function messenger.store_plain_batch(messages jsonb, sender uuid) to service_role","execute"],
["grant","function messenger.store_watermark(setting text, ends_at timestamp with time zone, from_times timestamp with time zone[], from_ids uuid[], batch integer, ctids tid[], took interval, at timestamp with time zone, lowest integer) to service_role","execute"],
["grant","function messenger.summarize(measurements messenger.measurements[]) to service_role","execute"],
["grant","function messenger.take(ctids tid[], worker text, lease interval, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.take_due(transport text, queue text, batch integer, types text[], worker text, lease interval, at timestamp with time zone, OUT claimed messenger.claimed[], OUT is_plain boolean) to service_role","execute"],
["grant","function messenger.take_key(scope text, draft messenger.draft, new_id uuid, sender uuid, store boolean, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.take_keys_back(dead_letters uuid[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.take_singly(ctids tid[], worker text, lease interval, at timestamp with time zone) to service_role","execute"],
["grant","function messenger.take_turns(ords integer[], ids uuid[], transports text[], queues text[], keys text[], moments timestamp with time zone[], are_stored boolean[]) to service_role","execute"],
["grant","function messenger.tick(batch integer) to service_role","execute"],
["grant","function messenger.unblock_next(keys messenger.order_key[], at timestamp with time zone) to service_role","execute"],
["grant","function messenger.unbound_waits(lock_timeout text) to service_role","execute"],
["grant","function messenger.unpack_histogram(histogram numeric) to service_role","execute"],
["grant","function messenger.user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb) to authenticated","execute"],
["grant","function messenger.user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb) to service_role","execute"],
["grant","function messenger.verify() to service_role","execute"],
["grant","function messenger.wake_worker(transport text, queue text, type text) to service_role","execute"],
["grant","function messenger.wall_time_in_gap(moment timestamp with time zone, timezone text) to service_role","execute"],
["grant","function messenger.watermark_setting(transport text, queue text, types text[]) to service_role","execute"],
["grant","function messenger.worker_secret_digests() to service_role","execute"],
["grant","function messenger.write_cursor(list text, filter jsonb, page_end jsonb) to service_role","execute"],
["grant","function public.messenger_audit() to service_role","execute"],
["grant","function public.messenger_cancel(id uuid) to service_role","execute"],
["grant","function public.messenger_check_worker_secret(secret text) to service_role","execute"],
["grant","function public.messenger_claim(worker text, batch integer, lease interval, transport text, queues text[], types text[]) to service_role","execute"],
["grant","function public.messenger_claim_one(id uuid, worker text, lease interval) to service_role","execute"],
["grant","function public.messenger_complete(id uuid, fence bigint, result jsonb, strict boolean) to service_role","execute"],
["grant","function public.messenger_complete_with(id uuid, fence bigint, function_name text, args jsonb) to service_role","execute"],
["grant","function public.messenger_counters() to service_role","execute"],
["grant","function public.messenger_disable_webhook(subscription uuid, reason text) to service_role","execute"],
["grant","function public.messenger_discard_failed(ids uuid[], filter jsonb, max integer) to service_role","execute"],
["grant","function public.messenger_dispatch(type text, payload jsonb, queue text, priority integer, available_at timestamp with time zone, delay interval, idempotency_key text, idempotency_mode text, idempotency_window interval, ordering_key text, transport text, max_retries integer, expires_at timestamp with time zone, headers jsonb, metadata jsonb) to service_role","execute"],
["grant","function public.messenger_dispatch_batch(messages jsonb, atomic boolean) to service_role","execute"],
["grant","function public.messenger_exchange(outcomes jsonb, worker text, batch integer, lease interval, transport text, queues text[], types text[]) to service_role","execute"],
["grant","function public.messenger_explain(id uuid) to service_role","execute"],
["grant","function public.messenger_fail(id uuid, fence bigint, error text, error_class text, error_trace text, retryable boolean, retry_after interval) to service_role","execute"],
["grant","function public.messenger_get_failed(id uuid) to service_role","execute"],
["grant","function public.messenger_get_message(id uuid) to service_role","execute"],
["grant","function public.messenger_health() to service_role","execute"],
["grant","function public.messenger_heartbeat(leases jsonb, lease interval) to service_role","execute"],
["grant","function public.messenger_import_cron(jobid bigint) to service_role","execute"],
["grant","function public.messenger_list_failed(filter jsonb, cursor text, skip integer, max integer) to service_role","execute"],
["grant","function public.messenger_list_messages(filter jsonb, cursor text, max integer) to service_role","execute"],
["grant","function public.messenger_list_queues() to service_role","execute"],
["grant","function public.messenger_list_schedules(filter jsonb, cursor text, max integer) to service_role","execute"],
["grant","function public.messenger_list_transports() to service_role","execute"],
["grant","function public.messenger_list_workers() to service_role","execute"],
["grant","function public.messenger_metrics(minutes integer, from_time timestamp with time zone, to_time timestamp with time zone) to service_role","execute"],
["grant","function public.messenger_pause(transport text, queue text) to service_role","execute"],
["grant","function public.messenger_pause_schedule(name text) to service_role","execute"],
["grant","function public.messenger_put_transport(name text, type text, config jsonb, enabled boolean) to service_role","execute"],
["grant","function public.messenger_register(types jsonb) to service_role","execute"],
["grant","function public.messenger_release(id uuid, fence bigint) to service_role","execute"],
["grant","function public.messenger_resume(transport text, queue text) to service_role","execute"],
["grant","function public.messenger_resume_schedule(name text) to service_role","execute"],
["grant","function public.messenger_retry_failed(ids uuid[], filter jsonb, payload jsonb, per_second integer, max integer) to service_role","execute"],
["grant","function public.messenger_schedule(name text, type text, schedule jsonb, payload jsonb, timezone text, options jsonb) to service_role","execute"],
["grant","function public.messenger_schedule_preview(schedule jsonb, timezone text, from_time timestamp with time zone, count integer, options jsonb) to service_role","execute"],
["grant","function public.messenger_set_flag(name text, percent integer, updated_by text) to service_role","execute"],
["grant","function public.messenger_settle(outcomes jsonb) to service_role","execute"],
["grant","function public.messenger_sign_webhook(subscription uuid, id uuid, body text) to service_role","execute"],
["grant","function public.messenger_snooze(id uuid, fence bigint, delay interval) to service_role","execute"],
["grant","function public.messenger_start(functions_url text, options jsonb) to service_role","execute"],
["grant","function public.messenger_status() to service_role","execute"],
["grant","function public.messenger_stop() to service_role","execute"],
["grant","function public.messenger_tick(batch integer) to service_role","execute"],
["grant","function public.messenger_unschedule(name text) to service_role","execute"],
["grant","function public.messenger_user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb) to authenticated","execute"],
["grant","function public.messenger_user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb) to service_role","execute"],
["grant","function public.messenger_verify() to service_role","execute"],
["grant","function public.messenger_worker_secret_digests() to service_role","execute"],
["grant","relation messenger.attempts to service_role","delete,insert,select,update"],
["grant","relation messenger.clock to service_role","select"],
["grant","relation messenger.delivery_settings to service_role","select"],
["grant","relation messenger.flags to service_role","delete,insert,select,update"],
["grant","relation messenger.idempotency_keys to service_role","delete,insert,select,update"],
["grant","relation messenger.measurements to service_role","insert,select"],
["grant","relation messenger.message_types to service_role","select"],
["grant","relation messenger.metric_errors to service_role","select"],
["grant","relation messenger.metrics to service_role","select"],
["grant","relation messenger.occurrences to service_role","select"],
["grant","relation messenger.ordering_keys to service_role","insert,select,update"],
["grant","relation messenger.ordering_seq to service_role","usage"],
["grant","relation messenger.pruned to service_role","insert,select"],
["grant","relation messenger.queues to service_role","delete,insert,select,update"],
["grant","relation messenger.replayed to service_role","insert,select"],
["grant","relation messenger.replays to service_role","insert,select"],
["grant","relation messenger.schedule_backoffs to service_role","delete,insert,select,update"],
["grant","relation messenger.set_aside to service_role","select"],
["grant","relation messenger.settings to service_role","select"],
["grant","relation messenger.sql_runners to service_role","select"],
["grant","relation messenger.step_errors to service_role","select"],
["grant","relation messenger.ticks to service_role","select"],
["grant","relation messenger.workers to service_role","delete,insert,select,update"],
["grant","relation public.messenger_failed_messages to service_role","delete,insert,select,update"],
["grant","relation public.messenger_failed_summary to service_role","select"],
["grant","relation public.messenger_messages to service_role","delete,insert,select,update"],
["grant","relation public.messenger_queue_depth to service_role","select"],
["grant","relation public.messenger_schedules to service_role","delete,insert,select,update"],
["grant","relation public.messenger_schedules_summary to service_role","select"],
["grant","relation public.messenger_transports to service_role","delete,insert,select,update"],
["grant","schema messenger to authenticated","usage"],
["grant","schema messenger to service_role","usage"],
["index","messenger.attempts_pkey","CREATE UNIQUE INDEX attempts_pkey ON messenger.attempts USING btree (message_id, fence)"],
["index","messenger.clock_pkey","CREATE UNIQUE INDEX clock_pkey ON messenger.clock USING btree (singleton)"],
["index","messenger.delivery_settings_pkey","CREATE UNIQUE INDEX delivery_settings_pkey ON messenger.delivery_settings USING btree (singleton)"],
["index","messenger.flags_pkey","CREATE UNIQUE INDEX flags_pkey ON messenger.flags USING btree (name)"],
["index","messenger.idempotency_keys_expires_at_idx","CREATE INDEX idempotency_keys_expires_at_idx ON messenger.idempotency_keys USING btree (expires_at)"],
["index","messenger.idempotency_keys_pkey","CREATE UNIQUE INDEX idempotency_keys_pkey ON messenger.idempotency_keys USING btree (scope, key)"],
["index","messenger.locks_pkey","CREATE UNIQUE INDEX locks_pkey ON messenger.locks USING btree (name)"],
["index","messenger.measurements_pkey","CREATE UNIQUE INDEX measurements_pkey ON messenger.measurements USING btree (id)"],
["index","messenger.message_types_pkey","CREATE UNIQUE INDEX message_types_pkey ON messenger.message_types USING btree (type)"],
["index","messenger.message_types_sql_handler_idx","CREATE INDEX message_types_sql_handler_idx ON messenger.message_types USING btree (type) WHERE (sql_handler IS NOT NULL)"],
["index","messenger.metric_errors_pkey","CREATE UNIQUE INDEX metric_errors_pkey ON messenger.metric_errors USING btree (step_seconds, at, message_type, error_class)"],
["index","messenger.metrics_pkey","CREATE UNIQUE INDEX metrics_pkey ON messenger.metrics USING btree (step_seconds, at, transport_name, message_type)"],
["index","messenger.metrics_unpacked_idx","CREATE INDEX metrics_unpacked_idx ON messenger.metrics USING btree (at) WHERE ((step_seconds > 0) AND (histogram IS NULL))"],
["index","messenger.occurrences_due_at_idx","CREATE INDEX occurrences_due_at_idx ON messenger.occurrences USING btree (due_at, schedule_id)"],
["index","messenger.occurrences_pkey","CREATE UNIQUE INDEX occurrences_pkey ON messenger.occurrences USING btree (schedule_id, due_at)"],
["index","messenger.ordering_keys_check_at_idx","CREATE INDEX ordering_keys_check_at_idx ON messenger.ordering_keys USING btree (check_at)"],
["index","messenger.ordering_keys_pkey","CREATE UNIQUE INDEX ordering_keys_pkey ON messenger.ordering_keys USING btree (transport_name, queue_name, ordering_key)"],
["index","messenger.pruned_pkey","CREATE UNIQUE INDEX pruned_pkey ON messenger.pruned USING btree (id)"],
["index","messenger.queues_pkey","CREATE UNIQUE INDEX queues_pkey ON messenger.queues USING btree (transport_name, queue_name)"],
["index","messenger.replayed_pkey","CREATE UNIQUE INDEX replayed_pkey ON messenger.replayed USING btree (replay_id, message_id)"],
["index","messenger.replayed_undecided_idx","CREATE INDEX replayed_undecided_idx ON messenger.replayed USING btree (replay_id, due_at) WHERE (outcome IS NULL)"],
["index","messenger.replays_pkey","CREATE UNIQUE INDEX replays_pkey ON messenger.replays USING btree (id)"],
["index","messenger.replays_running_idx","CREATE INDEX replays_running_idx ON messenger.replays USING btree (id) WHERE (finished_at IS NULL)"],
["index","messenger.rescue_cursors_pkey","CREATE UNIQUE INDEX rescue_cursors_pkey ON messenger.rescue_cursors USING btree (transport_name, queue_name, priority)"],
["index","messenger.scan_positions_pkey","CREATE UNIQUE INDEX scan_positions_pkey ON messenger.scan_positions USING btree (step)"],
["index","messenger.schedule_backoffs_pkey","CREATE UNIQUE INDEX schedule_backoffs_pkey ON messenger.schedule_backoffs USING btree (schedule_id)"],
["index","messenger.senders_check_at_idx","CREATE INDEX senders_check_at_idx ON messenger.senders USING btree (check_at)"],
["index","messenger.senders_pkey","CREATE UNIQUE INDEX senders_pkey ON messenger.senders USING btree (user_id)"],
["index","messenger.set_aside_pkey","CREATE UNIQUE INDEX set_aside_pkey ON messenger.set_aside USING btree (step, object, row_id)"],
["index","messenger.set_aside_retry_at_idx","CREATE INDEX set_aside_retry_at_idx ON messenger.set_aside USING btree (retry_at)"],
["index","messenger.settings_pkey","CREATE UNIQUE INDEX settings_pkey ON messenger.settings USING btree (singleton)"],
["index","messenger.sql_runners_pkey","CREATE UNIQUE INDEX sql_runners_pkey ON messenger.sql_runners USING btree (pid)"],
["index","messenger.step_errors_pkey","CREATE UNIQUE INDEX step_errors_pkey ON messenger.step_errors USING btree (step)"],
["index","messenger.subscriptions_key","CREATE UNIQUE INDEX subscriptions_key ON messenger.subscriptions USING btree (event, message_type, function_name, url) NULLS NOT DISTINCT"],
["index","messenger.subscriptions_pkey","CREATE UNIQUE INDEX subscriptions_pkey ON messenger.subscriptions USING btree (id)"],
["index","messenger.ticks_pkey","CREATE UNIQUE INDEX ticks_pkey ON messenger.ticks USING btree (id)"],
["index","messenger.wakeup_locks_pkey","CREATE UNIQUE INDEX wakeup_locks_pkey ON messenger.wakeup_locks USING btree (transport_name, queue_name)"],
["index","messenger.wakeups_pkey","CREATE UNIQUE INDEX wakeups_pkey ON messenger.wakeups USING btree (request_id)"],
["index","messenger.workers_pkey","CREATE UNIQUE INDEX workers_pkey ON messenger.workers USING btree (worker)"],
["index","public.messenger_failed_messages_failed_at_idx","CREATE INDEX messenger_failed_messages_failed_at_idx ON public.messenger_failed_messages USING btree (failed_at DESC, id)"],
["index","public.messenger_failed_messages_message_idx","CREATE INDEX messenger_failed_messages_message_idx ON public.messenger_failed_messages USING btree (message_id)"],
["index","public.messenger_failed_messages_open_idx","CREATE UNIQUE INDEX messenger_failed_messages_open_idx ON public.messenger_failed_messages USING btree (message_id) WHERE (resolved_at IS NULL)"],
["index","public.messenger_failed_messages_pkey","CREATE UNIQUE INDEX messenger_failed_messages_pkey ON public.messenger_failed_messages USING btree (id)"],
["index","public.messenger_failed_messages_resolved_at_idx","CREATE INDEX messenger_failed_messages_resolved_at_idx ON public.messenger_failed_messages USING btree (resolved_at, id) WHERE (resolved_at IS NOT NULL)"],
["index","public.messenger_failed_messages_sender_idx","CREATE INDEX messenger_failed_messages_sender_idx ON public.messenger_failed_messages USING btree (created_by) WHERE ((created_by IS NOT NULL) AND (resolved_at IS NULL))"],
["index","public.messenger_messages_claim_idx","CREATE INDEX messenger_messages_claim_idx ON public.messenger_messages USING btree (transport_name, queue_name, priority, available_at, id) WHERE (processed_at IS NULL)"],
["index","public.messenger_messages_ordering_idx","CREATE INDEX messenger_messages_ordering_idx ON public.messenger_messages USING btree (transport_name, queue_name, ordering_key, ordering_seq) WHERE ((ordering_key IS NOT NULL) AND (processed_at IS NULL))"],
["index","public.messenger_messages_pkey","CREATE UNIQUE INDEX messenger_messages_pkey ON public.messenger_messages USING btree (id)"],
["index","public.messenger_messages_sender_idx","CREATE INDEX messenger_messages_sender_idx ON public.messenger_messages USING btree (created_by, id) WHERE (created_by IS NOT NULL)"],
["index","public.messenger_messages_sender_unfinished_idx","CREATE INDEX messenger_messages_sender_unfinished_idx ON public.messenger_messages USING btree (created_by) WHERE ((created_by IS NOT NULL) AND (processed_at IS NULL))"],
["index","public.messenger_messages_unrouted_idx","CREATE INDEX messenger_messages_unrouted_idx ON public.messenger_messages USING btree (message_type) WHERE ((unrouted IS NOT NULL) AND (processed_at IS NULL))"],
["index","public.messenger_messages_waiting_idx","CREATE INDEX messenger_messages_waiting_idx ON public.messenger_messages USING btree (transport_name, queue_name, ordering_key) WHERE ((ordering_key IS NOT NULL) AND (processed_at IS NULL) AND (available_at = 'infinity'::timestamp with time zone))"],
["index","public.messenger_schedules_due_idx","CREATE INDEX messenger_schedules_due_idx ON public.messenger_schedules USING btree (next_run_at) WHERE enabled"],
["index","public.messenger_schedules_fired_idx","CREATE INDEX messenger_schedules_fired_idx ON public.messenger_schedules USING btree (updated_at, id) WHERE ((schedule_type = 'once'::text) AND (NOT enabled))"],
["index","public.messenger_schedules_name_key","CREATE UNIQUE INDEX messenger_schedules_name_key ON public.messenger_schedules USING btree (name)"],
["index","public.messenger_schedules_pkey","CREATE UNIQUE INDEX messenger_schedules_pkey ON public.messenger_schedules USING btree (id)"],
["index","public.messenger_transports_name_key","CREATE UNIQUE INDEX messenger_transports_name_key ON public.messenger_transports USING btree (name)"],
["index","public.messenger_transports_pkey","CREATE UNIQUE INDEX messenger_transports_pkey ON public.messenger_transports USING btree (id)"],
["policy","messenger.attempts.service_only","* anon,authenticated using false check false"],
["policy","messenger.clock.service_only","* anon,authenticated using false check false"],
["policy","messenger.delivery_settings.service_only","* anon,authenticated using false check false"],
["policy","messenger.flags.service_only","* anon,authenticated using false check false"],
["policy","messenger.idempotency_keys.service_only","* anon,authenticated using false check false"],
["policy","messenger.locks.service_only","* anon,authenticated using false check false"],
["policy","messenger.measurements.service_only","* anon,authenticated using false check false"],
["policy","messenger.message_types.service_only","* anon,authenticated using false check false"],
["policy","messenger.metric_errors.service_only","* anon,authenticated using false check false"],
["policy","messenger.metrics.service_only","* anon,authenticated using false check false"],
["policy","messenger.occurrences.service_only","* anon,authenticated using false check false"],
["policy","messenger.ordering_keys.service_only","* anon,authenticated using false check false"],
["policy","messenger.pruned.service_only","* anon,authenticated using false check false"],
["policy","messenger.queues.service_only","* anon,authenticated using false check false"],
["policy","messenger.replayed.service_only","* anon,authenticated using false check false"],
["policy","messenger.replays.service_only","* anon,authenticated using false check false"],
["policy","messenger.rescue_cursors.service_only","* anon,authenticated using false check false"],
["policy","messenger.scan_positions.service_only","* anon,authenticated using false check false"],
["policy","messenger.schedule_backoffs.service_only","* anon,authenticated using false check false"],
["policy","messenger.senders.service_only","* anon,authenticated using false check false"],
["policy","messenger.set_aside.service_only","* anon,authenticated using false check false"],
["policy","messenger.settings.service_only","* anon,authenticated using false check false"],
["policy","messenger.sql_runners.service_only","* anon,authenticated using false check false"],
["policy","messenger.step_errors.service_only","* anon,authenticated using false check false"],
["policy","messenger.subscriptions.service_only","* anon,authenticated using false check false"],
["policy","messenger.ticks.service_only","* anon,authenticated using false check false"],
["policy","messenger.wakeup_locks.service_only","* anon,authenticated using false check false"],
["policy","messenger.wakeups.service_only","* anon,authenticated using false check false"],
["policy","messenger.workers.service_only","* anon,authenticated using false check false"],
["policy","public.messenger_failed_messages.service_only","* anon,authenticated using false check false"],
["policy","public.messenger_messages.sender_reads_own","r authenticated using created_by = (( SELECT auth.uid() AS uid))"],
["policy","public.messenger_schedules.service_only","* anon,authenticated using false check false"],
["policy","public.messenger_transports.service_only","* anon,authenticated using false check false"],
["schema","messenger","Symphony Messenger 0.2.0: internal objects. The contract is public.messenger_*."],
["sequence","messenger.ordering_seq",null],
["table","messenger.attempts","rls"],
["table","messenger.clock","rls {fillfactor=10}"],
["table","messenger.delivery_settings","rls"],
["table","messenger.flags","rls"],
["table","messenger.idempotency_keys","rls"],
["table","messenger.locks","rls"],
["table","messenger.measurements","unlogged rls {fillfactor=100,autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=1000,autovacuum_vacuum_insert_threshold=-1,autovacuum_vacuum_cost_delay=1}"],
["table","messenger.message_types","rls"],
["table","messenger.metric_errors","rls {fillfactor=70}"],
["table","messenger.metrics","rls {fillfactor=70,autovacuum_vacuum_scale_factor=0.05,autovacuum_vacuum_cost_delay=1}"],
["table","messenger.occurrences","rls"],
["table","messenger.ordering_keys","rls"],
["table","messenger.pruned","rls"],
["table","messenger.queues","rls"],
["table","messenger.replayed","rls"],
["table","messenger.replays","rls"],
["table","messenger.rescue_cursors","rls"],
["table","messenger.scan_positions","rls"],
["table","messenger.schedule_backoffs","rls"],
["table","messenger.senders","rls"],
["table","messenger.set_aside","rls"],
["table","messenger.settings","rls"],
["table","messenger.sql_runners","unlogged rls {fillfactor=50}"],
["table","messenger.step_errors","rls"],
["table","messenger.subscriptions","rls"],
["table","messenger.ticks","unlogged rls"],
["table","messenger.wakeup_locks","rls"],
["table","messenger.wakeups","unlogged rls"],
["table","messenger.workers","unlogged rls {fillfactor=50}"],
["table","public.messenger_failed_messages","rls"],
["table","public.messenger_messages","rls {fillfactor=50,autovacuum_vacuum_scale_factor=0.01,autovacuum_vacuum_threshold=1000,autovacuum_analyze_scale_factor=0.05,autovacuum_vacuum_cost_delay=1}"],
["table","public.messenger_schedules","rls"],
["table","public.messenger_transports","rls"],
["trigger","messenger.message_types.message_types_restored","CREATE TRIGGER message_types_restored BEFORE INSERT ON messenger.message_types FOR EACH ROW WHEN (starts_with(new.type, 'symphony.'::text)) EXECUTE FUNCTION messenger.give_way_to_restored_type() always"],
["trigger","messenger.queues.queues_delivery_settings","CREATE TRIGGER queues_delivery_settings AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON messenger.queues FOR EACH STATEMENT EXECUTE FUNCTION messenger.refresh_delivery_settings()"],
["trigger","messenger.subscriptions.subscriptions_delivery_settings","CREATE TRIGGER subscriptions_delivery_settings AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON messenger.subscriptions FOR EACH STATEMENT EXECUTE FUNCTION messenger.refresh_delivery_settings()"],
["trigger","public.messenger_messages.messenger_messages_own_types_insert","CREATE TRIGGER messenger_messages_own_types_insert BEFORE INSERT ON public.messenger_messages FOR EACH ROW WHEN (starts_with(new.message_type, 'symphony.'::text)) EXECUTE FUNCTION messenger.guard_own_types()"],
["trigger","public.messenger_messages.messenger_messages_own_types_update","CREATE TRIGGER messenger_messages_own_types_update BEFORE UPDATE OF message_type, body, headers ON public.messenger_messages FOR EACH ROW WHEN (starts_with(new.message_type, 'symphony.'::text) AND (new.message_type IS DISTINCT FROM old.message_type OR new.body IS DISTINCT FROM old.body OR new.headers IS DISTINCT FROM old.headers)) EXECUTE FUNCTION messenger.guard_own_types()"],
["trigger","public.messenger_messages.messenger_messages_updated_at","CREATE TRIGGER messenger_messages_updated_at BEFORE UPDATE ON public.messenger_messages FOR EACH ROW WHEN (NOT new.updated_at IS DISTINCT FROM old.updated_at) EXECUTE FUNCTION public.update_messenger_messages_updated_at()"],
["trigger","public.messenger_schedules.messenger_schedules_updated_at","CREATE TRIGGER messenger_schedules_updated_at BEFORE UPDATE ON public.messenger_schedules FOR EACH ROW WHEN (NOT new.updated_at IS DISTINCT FROM old.updated_at) EXECUTE FUNCTION public.update_messenger_schedules_updated_at()"],
["trigger","public.messenger_transports.messenger_transports_delivery_settings","CREATE TRIGGER messenger_transports_delivery_settings AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.messenger_transports FOR EACH STATEMENT EXECUTE FUNCTION messenger.refresh_delivery_settings()"],
["trigger","public.messenger_transports.messenger_transports_restored","CREATE TRIGGER messenger_transports_restored BEFORE INSERT ON public.messenger_transports FOR EACH ROW WHEN (new.name = ANY (ARRAY['supabase'::text, 'sync'::text])) EXECUTE FUNCTION messenger.give_way_to_restored_transport() always"],
["trigger","public.messenger_transports.messenger_transports_updated_at","CREATE TRIGGER messenger_transports_updated_at BEFORE UPDATE ON public.messenger_transports FOR EACH ROW WHEN (NOT new.updated_at IS DISTINCT FROM old.updated_at) EXECUTE FUNCTION public.update_messenger_transports_updated_at()"],
["type","messenger.check_result","status text, detail text, remedy text, figures jsonb"],
["type","messenger.claimed","id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority integer, retry_count integer, max_retries integer, fence bigint, lock_expires_at timestamp with time zone, created_at timestamp with time zone, solo boolean"],
["type","messenger.cron_fields","seconds text, minutes text, hours text, days text, months text, weekdays text, last_weekdays text, nth integer, last_day boolean, first_second integer, first_minute integer, first_hour integer, elapsed boolean"],
["type","messenger.cron_run","run_at timestamp with time zone, note text"],
["type","messenger.dispatched","id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamp with time zone"],
["type","messenger.draft","ord integer, error_code text, unknown_field text, message_type text, transport_name text, queue_name text, priority integer, body jsonb, headers jsonb, metadata jsonb, scheduled_at timestamp with time zone, available_at timestamp with time zone, expires_at timestamp with time zone, max_retries integer, idempotency_key text, idempotency_mode text, idempotency_window interval, ordering_key text"],
["type","messenger.exchanged","settled messenger.settled[], claimed messenger.claimed[]"],
["type","messenger.figures","dispatched bigint, completed bigint, retried bigint, dead bigint, duration_ms double precision, durations bigint[], wait_count bigint, waited_ms double precision"],
["type","messenger.order_key","transport_name text, queue_name text, ordering_key text"],
["type","messenger.outcome","ord integer, outcome text, error text, error_class text, error_trace text, retryable boolean, delay interval, duration_ms bigint"],
["type","messenger.reason","rank integer, reason text, detail text, remedy text"],
["type","messenger.run_disposition","schedule_id uuid, due_at timestamp with time zone, error text"],
["type","messenger.run_plan","runs timestamp with time zone[], next_run_at timestamp with time zone"],
["type","messenger.settled","id uuid, outcome text, available_at timestamp with time zone"],
["view","public.messenger_failed_summary","{security_invoker=true} transport_name text, queue_name text, failed_count bigint, first_failure timestamp with time zone, last_failure timestamp with time zone"],
["view","public.messenger_queue_depth","{security_invoker=true} transport_name text, queue_name text, status text, message_count bigint, oldest_message timestamp with time zone, newest_message timestamp with time zone"],
["view","public.messenger_schedules_summary","{security_invoker=true} transport_name text, message_type text, schedule_type text, schedule_count bigint, enabled_count bigint, next_run timestamp with time zone"]
]$manifest$::jsonb $function$;
comment on function messenger.expected_manifest() is
  'The catalog of this release, as [kind, object, definition]. messenger_verify compares the database with it, '
  'and the rollback removes the objects in it.';
revoke all on function messenger.expected_manifest() from public, anon, authenticated, service_role;

-- ---- 90_manifest/10_verify.sql
-- Compares this database with the release and checks its operation. messenger.expected_manifest() is
-- generated into the migration from manifest.json.
create or replace function messenger.verify()
returns table (kind text, object text, state text, detail text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  with expected as (
    select e ->> 0 as kind, e ->> 1 as object, e ->> 2 as definition
    from jsonb_array_elements(messenger.expected_manifest()) e
  ),
  difference as (
    select coalesce(e.kind, a.kind) as kind, coalesce(e.object, a.object) as object,
      case when a.object is null then 'missing' when e.object is null then 'unexpected' else 'different' end as state,
      case
        when a.object is null then e.definition
        when e.object is null then a.definition
        else 'is ' || coalesce(a.definition, '-') || '; should be ' || coalesce(e.definition, '-')
      end as detail
    from expected e full join messenger.manifest() a on a.kind = e.kind and a.object = e.object
    where a.object is null or e.object is null or a.definition is distinct from e.definition
  ),
  operation as (
    select 'operation' as kind, c.name as object, case c.status when 'healthy' then 'ok' else c.status end as state,
    concat_ws('; ', c.detail, c.remedy) as detail
    from messenger.health_checks() c
    where c.name in ('checks', 'clock', 'clock_errors', 'own_rows', 'rights', 'pg_net', 'worker_secret', 'test_clock')
  )
  select d.kind, d.object, d.state, d.detail from difference d
  union all
  select 'catalog', 'all', 'ok', (select count(*) from expected) || ' objects as released'
  where not exists (select from difference)
  union all
  select o.kind, o.object, o.state, o.detail from operation o
$$;

create or replace function public.messenger_verify()
returns table (kind text, object text, state text, detail text)
language sql
set search_path = pg_catalog, pg_temp
as $$ select v.* from messenger.require_primary(), messenger.verify() v $$;

comment on function messenger.verify() is 'See public.messenger_verify.';
comment on function public.messenger_verify() is
  'Compares the objects of this database with the release (state: missing, unexpected or different; one row with ok '
  'if nothing differs) and checks operation: the ticker, required rows, rights, wake-ups, the worker secret, and '
  'that no test clock is installed. Raises SM_UNAVAILABLE on a read replica. Example: select * from '
  'messenger_verify() where state <> ''ok'';';
revoke all on function messenger.verify(), public.messenger_verify() from public, anon, authenticated, service_role;
grant execute on function messenger.verify(), public.messenger_verify() to service_role;

-- ---- 90_manifest/20_manifest.sql
-- The catalog as data: one row per object of this release. Definitions do not depend on the owner, the
-- Postgres version, session settings, or a restore from a dump. Expressions are printed without optional
-- parentheses, because a restored "between" loses some.
create or replace function messenger.manifest()
returns table (kind text, object text, definition text)
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set datestyle = 'ISO, MDY'
set intervalstyle = postgres
set timezone = 'UTC'
set extra_float_digits = 1
as $$
  with relation as (
    select c.oid, s.nspname || '.' || c.relname as name, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions,
    c.relacl, c.relowner, c.reltype
    from pg_catalog.pg_class c join pg_catalog.pg_namespace s on s.oid = c.relnamespace
    where s.nspname = 'messenger' or s.nspname = 'public' and c.relname like 'messenger\_%'
  ),
  routine as (
    select p.*, s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
    where s.nspname = 'messenger' or s.nspname = 'public' and (p.proname like 'messenger\_%'
      or p.proname like 'update\_messenger\_%')
  ),
  -- Rights of the API's roles and of PUBLIC; those of the owner are implied.
  granted as (
    select 'relation' as of, r.name, a.grantee, a.privilege_type from relation r,
    aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) a where r.relkind in ('r', 'v', 'S')
    union all
    select 'column', r.name || '.' || t.attname, a.grantee, a.privilege_type
    from relation r join pg_catalog.pg_attribute t on t.attrelid = r.oid, aclexplode(t.attacl) a
    union all
    select 'function', f.name, a.grantee, a.privilege_type
    from routine f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
    union all
    select 'schema', s.nspname, a.grantee, a.privilege_type
    from pg_catalog.pg_namespace s, aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
    where s.nspname = 'messenger'
  )
  select 'schema', s.nspname::text, obj_description(s.oid, 'pg_namespace') from pg_catalog.pg_namespace s
  where s.nspname = 'messenger'
  union all
  select 'sequence', r.name, null from relation r where r.relkind = 'S'
    and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_class'::regclass and d.objid = r.oid
      and d.deptype in ('a', 'i'))
  union all
  select 'table', r.name, concat_ws(' ', case r.relpersistence when 'u' then 'unlogged' end,
    case when r.relrowsecurity then 'rls' else 'no rls' end, r.reloptions::text)
  from relation r where r.relkind = 'r'
  union all
  select 'view', r.name, concat_ws(' ', r.reloptions::text,
    (select string_agg(t.attname || ' ' || format_type(t.atttypid, t.atttypmod), ', ' order by t.attnum)
    from pg_catalog.pg_attribute t where t.attrelid = r.oid and t.attnum > 0))
  from relation r where r.relkind = 'v'
  union all
  select 'type', r.name, (select string_agg(t.attname || ' ' || format_type(t.atttypid, t.atttypmod),
    ', ' order by t.attnum) from pg_catalog.pg_attribute t where t.attrelid = r.oid)
  from relation r where r.relkind = 'c'
  union all
  select 'column', r.name || '.' || t.attname,
    concat_ws(' ', format_type(t.atttypid, t.atttypmod), case when t.attnotnull then 'not null' end,
      'default ' || pg_get_expr(d.adbin, d.adrelid, true))
  from relation r join pg_catalog.pg_attribute t on t.attrelid = r.oid and t.attnum > 0 and not t.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = r.oid and d.adnum = t.attnum
  where r.relkind = 'r'
  union all
  -- Postgres 18 lists "not null" as a constraint; the column contains it already.
  select 'constraint', r.name || '.' || k.conname, pg_get_constraintdef(k.oid, true) from relation r
  join pg_catalog.pg_constraint k on k.conrelid = r.oid where k.contype <> 'n'
  union all
  select 'index', r.name, pg_get_indexdef(r.oid) from relation r where r.relkind = 'i'
  union all
  select 'trigger', r.name || '.' || g.tgname,
    concat_ws(' ', pg_get_triggerdef(g.oid, true),
      case g.tgenabled when 'A' then 'always' when 'D' then 'disabled' when 'R' then 'replica' end)
  from relation r join pg_catalog.pg_trigger g on g.tgrelid = r.oid where not g.tgisinternal
  union all
  select 'policy', r.name || '.' || p.polname,
    concat_ws(' ', p.polcmd::text, (select string_agg(q.rolname, ',' order by q.rolname) from pg_catalog.pg_roles q
      where q.oid = any (p.polroles)),
      'using ' || pg_get_expr(p.polqual, p.polrelid, true), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid, true))
  from relation r join pg_catalog.pg_policy p on p.polrelid = r.oid
  union all
  select 'function', f.name, concat_ws(' ', 'returns', pg_get_function_result(f.oid), 'language', l.lanname,
    case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
    case when f.prosecdef then 'definer' else 'invoker' end, 
      -- The path has quotes if the function was created under quote_all_identifiers.
      (select array_agg(replace(c.setting, '"', '') order by c.n)
        from unnest(f.proconfig) with ordinality as c(setting, n))::text,
    -- Line ends may differ after editing on another machine. The expected manifest cannot contain its own digest.
    'source', case when f.proname = 'expected_manifest' then 'generated' else md5(replace(f.prosrc, E'\r', '')) end)
  from routine f join pg_catalog.pg_language l on l.oid = f.prolang
  union all
  select 'grant', g.of || ' ' || g.name || ' to ' || coalesce(q.rolname, 'public'),
    string_agg(distinct lower(g.privilege_type collate "C"), ',' order by lower(g.privilege_type collate "C"))
  from granted g left join pg_catalog.pg_roles q on q.oid = g.grantee
  where coalesce(q.rolname, 'public') in ('public', 'anon', 'authenticated', 'service_role')
  group by g.of, g.name, q.rolname
$$;

comment on function messenger.manifest() is
  'Every object of this installation with its definition: tables, columns, constraints, indexes, triggers, policies, '
  'functions, types, views, and grants to the API''s roles.';
revoke all on function messenger.manifest() from public, anon, authenticated, service_role;

-- ---- The migration verifies itself.
do $$
declare
  v_relations constant text[] := array[
    'messenger.locks',
    'public.messenger_transports',
    'public.messenger_messages',
    'messenger.ordering_keys',
    'public.messenger_failed_messages',
    'public.messenger_schedules',
    'messenger.occurrences',
    'messenger.schedule_backoffs',
    'messenger.message_types',
    'messenger.attempts',
    'messenger.idempotency_keys',
    'messenger.workers',
    'messenger.settings',
    'messenger.clock',
    'messenger.rescue_cursors',
    'messenger.pruned',
    'messenger.wakeups',
    'messenger.wakeup_locks',
    'messenger.measurements',
    'messenger.metrics',
    'messenger.metric_errors',
    'messenger.queues',
    'messenger.sql_runners',
    'messenger.subscriptions',
    'messenger.delivery_settings',
    'messenger.ticks',
    'messenger.step_errors',
    'messenger.set_aside',
    'messenger.scan_positions',
    'messenger.senders',
    'messenger.replays',
    'messenger.replayed',
    'messenger.flags',
    'public.messenger_queue_depth',
    'public.messenger_failed_summary',
    'public.messenger_schedules_summary'
  ];
  v_functions constant text[] := array[
    'messenger.release',
    'messenger.is_api_call',
    'messenger.bound_waits',
    'messenger.unbound_waits',
    'messenger.reject_waits',
    'messenger.id_prefix',
    'messenger.id_random',
    'messenger.new_id',
    'messenger.now',
    'messenger.error_codes',
    'messenger.raise_error',
    'messenger.require_writable',
    'messenger.require_primary',
    'messenger.exceeds',
    'messenger.has_out_of_range_number',
    'messenger.is_too_deep',
    'messenger.clip',
    'messenger.cap_size',
    'messenger.cap_results',
    'messenger.read_moment',
    'messenger.read_interval',
    'messenger.read_milliseconds',
    'messenger.try_lock',
    'messenger.caller_id',
    'messenger.is_valid_message',
    'messenger.raise_invalid_message',
    'public.update_messenger_transports_updated_at',
    'messenger.ensure_transports',
    'messenger.give_way_to_restored_transport',
    'public.update_messenger_messages_updated_at',
    'messenger.guard_own_types',
    'public.update_messenger_schedules_updated_at',
    'messenger.ensure_singletons',
    'messenger.measure_failures',
    'messenger.derive_delivery_settings',
    'messenger.refresh_delivery_settings',
    'messenger.move_scan',
    'public.messenger_dispatch',
    'public.messenger_dispatch_batch',
    'messenger.lock_sender',
    'messenger.prune_senders',
    'messenger.user_dispatch',
    'public.messenger_user_dispatch',
    'messenger.is_plain_payload',
    'messenger.store_plain',
    'messenger.store_plain_batch',
    'messenger.reject_message',
    'messenger.store_in_turn',
    'messenger.store_messages',
    'messenger.draft_fields',
    'messenger.read_drafts',
    'messenger.take_turns',
    'messenger.store_draft',
    'messenger.revise',
    'messenger.take_key',
    'messenger.drop_keys',
    'messenger.fingerprint',
    'messenger.ensure_own_types',
    'messenger.give_way_to_restored_type',
    'public.messenger_register',
    'messenger.open_fields',
    'messenger.route_messages',
    'messenger.route_due',
    'messenger.is_setting',
    'messenger.reject_setting',
    'messenger.check_types',
    'messenger.check_start',
    'messenger.settle_completed',
    'messenger.exchange_rows',
    'public.messenger_exchange',
    'messenger.is_backend_alive',
    'messenger.is_handlers_job_running',
    'messenger.note_runner',
    'messenger.note_run',
    'messenger.sql_worker',
    'messenger.claim_for_runner',
    'messenger.work_off',
    'messenger.cancel_overdue_handlers',
    'messenger.handler_timeout',
    'messenger.defer_constraints',
    'messenger.handle_message',
    'messenger.sql_types',
    'messenger.sql_queues',
    'messenger.run_sql_handlers',
    'messenger.check_claim',
    'messenger.note_poll',
    'messenger.add_worker',
    'messenger.begin_poll',
    'messenger.claim_messages',
    'messenger.claim_carefully',
    'public.messenger_claim',
    'messenger.claim_one',
    'public.messenger_claim_one',
    'messenger.active_queues',
    'messenger.scan_due_queues',
    'messenger.due_queues',
    'messenger.known_queues',
    'messenger.take_due',
    'messenger.stop_scan',
    'messenger.find_due',
    'messenger.watermark_setting',
    'messenger.read_watermark',
    'messenger.store_watermark',
    'messenger.take',
    'messenger.in_order',
    'messenger.take_singly',
    'public.messenger_heartbeat',
    'public.messenger_complete_with',
    'messenger.lock_message',
    'public.messenger_complete',
    'public.messenger_fail',
    'public.messenger_snooze',
    'public.messenger_release',
    'messenger.settle_rest',
    'messenger.hold_outcomes',
    'messenger.settle_arrays',
    'messenger.settle_outcomes',
    'public.messenger_settle',
    'messenger.complete',
    'messenger.settle_locked',
    'messenger.outcome_of_error',
    'messenger.settle_in_parts',
    'messenger.error_class_of',
    'messenger.read_outcomes',
    'messenger.retry_delay',
    'messenger.is_row_error',
    'messenger.check_deferred',
    'messenger.set_message_aside',
    'messenger.messages_set_aside',
    'messenger.finish_undeliverable_singly',
    'messenger.note_lost_leases',
    'messenger.move_to_dead_letters',
    'messenger.fail_without_dead_letter',
    'messenger.finish_undeliverable',
    'messenger.order_keys',
    'messenger.lock_order_keys',
    'messenger.unblock_next',
    'messenger.requeue_in_order',
    'messenger.is_held_by_dead_letter',
    'messenger.unblock_stuck',
    'messenger.prune_ordering_keys',
    'messenger.announce',
    'messenger.store_events',
    'messenger.emit',
    'messenger.hmac_sha256',
    'messenger.webhook_keys',
    'messenger.on_webhook',
    'messenger.sign_webhook',
    'public.messenger_sign_webhook',
    'messenger.disable_webhook',
    'public.messenger_disable_webhook',
    'messenger.check_subscription',
    'messenger.on',
    'messenger.off',
    'messenger.deliver_event',
    'messenger.owned_function',
    'messenger.find_owned_function',
    'messenger.sql_handlers',
    'messenger.set_sql_handler',
    'messenger.business_function',
    'public.messenger_cancel',
    'messenger.lock_dead_letters',
    'public.messenger_retry_failed',
    'public.messenger_discard_failed',
    'messenger.take_keys_back',
    'messenger.requeue',
    'messenger.return_replayed',
    'messenger.watch_replay',
    'messenger.watch_replays',
    'messenger.prune_replays',
    'messenger.replay_report',
    'messenger.check_queue',
    'public.messenger_pause',
    'public.messenger_resume',
    'messenger.runs_since',
    'public.messenger_list_transports',
    'public.messenger_put_transport',
    'messenger.read_schedule_message',
    'public.messenger_schedule',
    'public.messenger_unschedule',
    'public.messenger_pause_schedule',
    'public.messenger_resume_schedule',
    'public.messenger_schedule_preview',
    'messenger.wall_time_in_gap',
    'messenger.schedule_of_cron',
    'messenger.dollar_tag',
    'messenger.import_cron',
    'public.messenger_import_cron',
    'messenger.leading_words',
    'messenger.read_token',
    'messenger.needs_no_transaction',
    'messenger.check_timezone',
    'messenger.read_whole',
    'messenger.read_options',
    'messenger.read_schedule',
    'messenger.scheduled_message',
    'messenger.expand_locked_schedules',
    'messenger.expand_schedules',
    'messenger.plan_runs',
    'messenger.runs_to_fire',
    'messenger.last_message',
    'messenger.is_unfinished',
    'messenger.store_occurrences',
    'messenger.replace_message',
    'messenger.due_schedules',
    'messenger.store_alone',
    'messenger.store_runs',
    'messenger.due_since',
    'messenger.schedule_headers',
    'messenger.next_run',
    'messenger.last_run',
    'messenger.first_run',
    'messenger.run_near_change',
    'messenger.find_change',
    'messenger.next_cron_run',
    'messenger.cron_next',
    'messenger.read_cron_field',
    'messenger.parse_cron',
    'messenger.next_cron_day',
    'messenger.next_wall_time',
    'messenger.milliseconds',
    'messenger.ticker_setting_fault',
    'messenger.start',
    'messenger.stop',
    'public.messenger_start',
    'public.messenger_stop',
    'messenger.note_step_error',
    'messenger.note_tick',
    'messenger.run_steps',
    'messenger.tick',
    'public.messenger_tick',
    'messenger.is_ticker_enabled',
    'messenger.tick_or_note_error',
    'messenger.steps',
    'messenger.run_step',
    'messenger.job_schedule',
    'messenger.job_ends_at',
    'messenger.may_end',
    'messenger.prepare_job',
    'messenger.outlive_statement_timeout',
    'messenger.ticker_command',
    'messenger.handlers_command',
    'messenger.needs_handlers_job',
    'messenger.sync_handlers_job',
    'messenger.rescue_messages',
    'messenger.move_rescue_cursor',
    'messenger.rescue',
    'messenger.unblock_keys',
    'messenger.unblock_each',
    'messenger.roll_up_range',
    'messenger.measurements_set_aside',
    'messenger.roll_up_rows',
    'messenger.roll_up_ranges',
    'messenger.count_deleted',
    'messenger.roll_up',
    'messenger.bucket_limit',
    'messenger.add_counts',
    'messenger.summarize',
    'messenger.steps_of',
    'messenger.add_metrics',
    'messenger.add_metric_errors',
    'messenger.rolled_up_until',
    'messenger.roll_up_step',
    'messenger.pack_old_metrics',
    'messenger.roll_up_steps',
    'messenger.prune_metrics',
    'messenger.pack_histogram',
    'messenger.unpack_histogram',
    'messenger.prune',
    'messenger.find_finished_messages',
    'messenger.delete_messages',
    'messenger.find_resolved_dead_letters',
    'messenger.find_spent_keys',
    'messenger.find_fired_schedules',
    'messenger.find_old_occurrences',
    'messenger.prune_workers',
    'messenger.prune_counts',
    'messenger.prune_wakeups',
    'messenger.prune_ticker_history',
    'messenger.wake',
    'messenger.send_wakeup',
    'messenger.try_send_wakeup',
    'messenger.wakeup_fault',
    'messenger.wake_worker',
    'messenger.active_workers',
    'messenger.make_wakeup_locks',
    'messenger.prune_wakeup_locks',
    'messenger.read_secret',
    'messenger.worker_secret_digests',
    'public.messenger_worker_secret_digests',
    'public.messenger_check_worker_secret',
    'messenger.ensure_worker_secret',
    'messenger.row_ids',
    'messenger.uuids_of',
    'messenger.add_figures',
    'messenger.is_set_aside',
    'messenger.without_set_aside',
    'messenger.key_join',
    'messenger.delete_rows',
    'messenger.write_rows',
    'messenger.set_row_aside',
    'messenger.write_each',
    'messenger.is_lock_error',
    'messenger.forget_set_aside',
    'messenger.health_checks',
    'messenger.health',
    'public.messenger_health',
    'messenger.ticks_per_minute',
    'messenger.health_clock',
    'messenger.health_clock_errors',
    'messenger.health_set_aside',
    'messenger.health_sql_handlers',
    'messenger.health_test_clock',
    'messenger.health_oldest_due',
    'messenger.due_types',
    'messenger.health_no_handler',
    'messenger.health_workers',
    'messenger.health_transports',
    'messenger.health_dead_letters',
    'messenger.health_own_rows',
    'messenger.health_rights',
    'messenger.health_registration',
    'messenger.health_schedules',
    'messenger.growth_limits',
    'messenger.check_growth',
    'messenger.health_growth',
    'messenger.wakeup_figures',
    'messenger.check_pg_net',
    'messenger.health_pg_net',
    'messenger.health_worker_secret',
    'messenger.health_webhook_secrets',
    'messenger.error_rate',
    'messenger.health_error_rate',
    'messenger.queue_figures',
    'messenger.status',
    'public.messenger_status',
    'messenger.unknown_message',
    'messenger.explain',
    'public.messenger_explain',
    'messenger.dispatch_again',
    'messenger.reason_completed',
    'messenger.reason_failed',
    'messenger.reason_invalid_payload',
    'messenger.reason_expired',
    'messenger.reason_cancelled',
    'messenger.reason_discarded',
    'messenger.reason_running',
    'messenger.reason_lease_lost',
    'messenger.reason_cancel_requested',
    'messenger.reason_alone',
    'messenger.reason_locked',
    'messenger.reason_ordering_key',
    'messenger.reason_ordering_dead_letter',
    'messenger.reason_no_handler',
    'messenger.reason_sql_handler_gone',
    'messenger.reason_clock_stopped',
    'messenger.needs_wakeup',
    'messenger.reason_no_wakeups',
    'messenger.reason_worker_unreachable',
    'messenger.reason_no_worker',
    'messenger.reason_ready',
    'messenger.reason_paused',
    'messenger.reason_transport_disabled',
    'messenger.reason_transport_missing',
    'messenger.reason_transport_type',
    'messenger.due_before',
    'messenger.reason_waiting_turn',
    'messenger.make_due',
    'messenger.reason_delayed',
    'messenger.reason_backing_off',
    'messenger.reason_snoozed',
    'messenger.reason_expires',
    'messenger.moment',
    'messenger.is_waiting',
    'messenger.is_handed_out',
    'public.messenger_counters',
    'messenger.percentiles',
    'messenger.describe_figures',
    'public.messenger_metrics',
    'messenger.range_parts',
    'messenger.not_rolled_up_rows',
    'messenger.not_rolled_up',
    'messenger.measured_errors',
    'messenger.dead_letter_conditions',
    'public.messenger_list_failed',
    'public.messenger_get_failed',
    'messenger.first_id',
    'messenger.message_conditions',
    'messenger.scan_limit',
    'messenger.find_messages',
    'public.messenger_list_messages',
    'public.messenger_get_message',
    'messenger.all_due_queues',
    'messenger.running_messages',
    'messenger.queue_figures_of',
    'messenger.has_many_queues',
    'messenger.figures_by_queue',
    'public.messenger_list_queues',
    'public.messenger_list_workers',
    'public.messenger_list_schedules',
    'public.messenger_audit',
    'messenger.check_filter',
    'messenger.check_page',
    'messenger.write_cursor',
    'messenger.read_cursor',
    'messenger.count_rows',
    'messenger.estimate_rows',
    'messenger.wakeup_responses',
    'messenger.has_worker_secret',
    'messenger.call_worker',
    'messenger.ticker_fault',
    'messenger.last_tick_at',
    'messenger.is_ticker_scheduled',
    'messenger.is_ticker_stopped',
    'messenger.own_functions',
    'messenger.enabled',
    'public.messenger_set_flag',
    'messenger.expected_manifest',
    'messenger.verify',
    'public.messenger_verify',
    'messenger.manifest'
  ];
  v_wrong text;
begin
  select string_agg(n, ', ') into v_wrong from unnest(v_relations) n where to_regclass(n) is null;
  if v_wrong is not null then
    raise exception 'symphony migration: missing %', v_wrong;
  end if;
  select string_agg(n, ', ') into v_wrong from unnest(v_functions) n
  where (
    select count(*) from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
    where s.nspname || '.' || p.proname = n) <> 1;
  if v_wrong is not null then
    raise exception 'symphony migration: not defined exactly once: %', v_wrong;
  end if;
  select string_agg(c.oid::regclass::text, ', ') into v_wrong
  from pg_catalog.pg_class c where c.oid = any (v_relations::regclass[]) and c.relkind = 'r' and not c.relrowsecurity;
  if v_wrong is not null then
    raise exception 'symphony migration: without row level security: %', v_wrong;
  end if;
  select string_agg(p.oid::regprocedure::text, ', ') into v_wrong
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
  where s.nspname || '.' || p.proname = any (v_functions)
    and (not coalesce(p.proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']
      or has_function_privilege('anon', p.oid, 'execute'));
  if v_wrong is not null then
    raise exception 'symphony migration: open to anon, or without a pinned search_path: %', v_wrong;
  end if;
end $$;

-- PostgREST reloads its schema cache.
notify pgrst, 'reload schema';

reset check_function_bodies;
reset client_min_messages;
reset quote_all_identifiers;
reset standard_conforming_strings;
