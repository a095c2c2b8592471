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
