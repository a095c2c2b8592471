-- Changes to tables of 0.1.0 that the definitions of 0.2.0 need: columns, constraints, data.
alter table public.messenger_failed_messages add column if not exists created_by uuid;
update public.messenger_failed_messages f set created_by = m.created_by
from public.messenger_messages m
where m.id = f.message_id and f.resolved_at is null and m.created_by is not null;

-- Aliases that imitate the bus's own types had no effect except on SQL handlers; they are removed.
update messenger.message_types k
set aliases = array(select a from unnest(k.aliases) a where not starts_with(a, 'symphony.'))
where array_to_string(k.aliases, ' ') ~ '(^| )symphony\.';
alter table messenger.message_types drop constraint if exists message_types_aliases_check;
alter table messenger.message_types add constraint message_types_aliases_check
  check (array_to_string(aliases, ' ') !~ '(^| )symphony\.');

-- Rows of the bus's own types that code had registered are deleted and inserted again with their own policy.
delete from messenger.message_types k
where starts_with(k.type, 'symphony.') and k.sql_handler is distinct from 'messenger.deliver_event';

-- Positions of scans are stored in a new table, messenger.scan_positions; the scans start again from the beginning.
alter table messenger.clock drop column if exists prune_after, drop column if exists prune_keys_after;

-- Unfinished messages that a user may have dispatched are marked as a user's: 0.1.0 does not distinguish them from a
-- service's dispatch in a user's transaction.
update public.messenger_messages m set headers = m.headers || jsonb_build_object('x-symphony-user', m.created_by)
where m.created_by is not null and m.processed_at is null;
update public.messenger_failed_messages f set headers = f.headers || jsonb_build_object('x-symphony-user', f.created_by)
where f.created_by is not null and f.resolved_at is null;
update public.messenger_messages m set headers = m.headers || jsonb_build_object('x-symphony-user', m.created_by)
where m.created_by is not null
  and exists (select from public.messenger_failed_messages f where f.message_id = m.id and f.resolved_at is null);

-- Metrics of five minutes and of days. Existing rows keep their durations; the ticker rolls them
-- up from now on, including the hours of 90 days.
alter table messenger.metrics add column if not exists histogram numeric;
alter table messenger.metrics drop constraint if exists metrics_step_check;
alter table messenger.metrics add constraint metrics_step_check check (step_seconds in (0, 60, 300, 3600, 86400));
alter table messenger.metric_errors drop constraint if exists metric_errors_step_check;
alter table messenger.metric_errors add constraint metric_errors_step_check
  check (step_seconds in (60, 300, 3600, 86400));

-- Durations of transports now require a unit. Postgres has taken a number without one for seconds, so it stays that.
update public.messenger_transports t
set config = t.config || (
  select jsonb_object_agg(c.key, (c.value #>> '{}') || ' seconds') from jsonb_each(t.config) c
  where c.key in ('retention', 'failed_retention', 'idempotency_window')
    and c.value #>> '{}' ~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*$')
where concat_ws('|', t.config ->> 'retention', t.config ->> 'failed_retention', t.config ->> 'idempotency_window')
  ~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*([|]|$)';
alter table public.messenger_transports drop constraint if exists messenger_transports_config_check;
alter table public.messenger_transports add constraint messenger_transports_config_check check (
  jsonb_typeof(config) = 'object'
  and concat_ws('|', config ->> 'retention', config ->> 'failed_retention', config ->> 'idempotency_window')
    !~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*(ago\s*)?([|]|$)'
  and coalesce((config ->> 'retention')::interval between '0' and '100 years', true)
  and coalesce((config ->> 'failed_retention')::interval between '0' and '100 years', true)
  and coalesce((config ->> 'idempotency_window')::interval between '0' and '1 year', true)
  and coalesce(config ->> 'ordering_dead_letter' in ('block', 'continue'), true)
);

alter table messenger.measurements add column if not exists deleted_count int not null default 0;

alter table public.messenger_messages add column if not exists unrouted text[];

-- One constraint replaces six, which are dropped with the other objects that are gone. Adding it as not valid and
-- validating it later would save nothing: all tables are locked until this transaction ends.
-- include 10_foundation/80_message_rules.sql
alter table public.messenger_messages add constraint messenger_messages_check check (
  messenger.is_valid_message(
    body, status, priority, processed_at, locked_at, locked_by, lock_expires_at, max_retries, retry_count, fence,
    lease_losses)
);
