-- Deliveries that ended badly, kept until the message finishes for good; a dead letter copies them.
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

comment on table messenger.attempts is 'One row a failed delivery. Its fence tells a repeated failure report (already) from a late one (stale).';

alter table messenger.attempts enable row level security;
drop policy if exists service_only on messenger.attempts;
create policy service_only on messenger.attempts for all to anon, authenticated using (false) with check (false);
revoke all on messenger.attempts from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.attempts to service_role;
