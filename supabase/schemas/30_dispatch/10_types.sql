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
