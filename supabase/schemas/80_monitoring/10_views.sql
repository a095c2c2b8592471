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
