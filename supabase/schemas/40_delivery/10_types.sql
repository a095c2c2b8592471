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
