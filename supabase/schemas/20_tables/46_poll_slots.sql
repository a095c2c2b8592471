-- Slots of waiting polls: a waiting poll holds a connection and a snapshot, so at most two wait at a time.
-- Unlogged, so that locking a row writes no log.
create unlogged table if not exists messenger.poll_slots (
  slot int not null,
  constraint poll_slots_pkey primary key (slot),
  constraint poll_slots_slot_check check (slot in (1, 2))
);

comment on table messenger.poll_slots is
  'Two rows, inserted by the first poll that would wait. A poll that waits inside the database locks one of them.';
comment on column messenger.poll_slots.slot is 'Number of the slot.';

alter table messenger.poll_slots enable row level security;
drop policy if exists service_only on messenger.poll_slots;
create policy service_only on messenger.poll_slots for all to anon, authenticated using (false) with check (false);
revoke all on messenger.poll_slots from public, anon, authenticated, service_role;
grant select, insert, update on messenger.poll_slots to service_role;
