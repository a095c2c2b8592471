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
