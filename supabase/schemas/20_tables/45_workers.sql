-- Who asks for messages, and when last: a worker is awake when it asked within two poll intervals.
-- Unlogged: a poll that claims nothing then commits without waiting for the disk, and after a crash nobody is awake anyway.
create unlogged table if not exists messenger.workers (
  worker text not null,
  transport_name text,
  queues text[],
  types text[],
  started_at timestamptz not null,
  polled_at timestamptz not null,
  constraint workers_pkey primary key (worker)
) with (fillfactor = 50);

comment on table messenger.workers is 'Workers by name with their last poll; null transport, queues or types mean all.';

alter table messenger.workers enable row level security;
drop policy if exists service_only on messenger.workers;
create policy service_only on messenger.workers for all to anon, authenticated using (false) with check (false);
revoke all on messenger.workers from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.workers to service_role;
