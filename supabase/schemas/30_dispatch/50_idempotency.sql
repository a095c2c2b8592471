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
