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
