-- The bus's own locks are rows, because any role of the project can take an advisory lock and keep it.
create table if not exists messenger.locks (
  name text not null,
  constraint locks_pkey primary key (name)
);
comment on table messenger.locks is
  'One row per activity that must run once at a time. Rows are locked and never changed; a missing row is created on '
  'demand.';
comment on column messenger.locks.name is 'The activity, for example roll_up.';

-- The insert waits only for a session that is inserting the same row.
create or replace function messenger.try_lock(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from messenger.locks l where l.name = try_lock.name for update skip locked;
  if found then
    return true;
  elsif exists (select from messenger.locks l where l.name = try_lock.name) then
    return false;
  end if;
  insert into messenger.locks (name) values (try_lock.name) on conflict on constraint locks_pkey do nothing;
  return found;
end $$;

comment on function messenger.try_lock(text) is
  'Takes the lock of this name until the transaction ends. Returns false, without waiting, if another transaction '
  'holds it.';
alter table messenger.locks enable row level security;
drop policy if exists service_only on messenger.locks;
create policy service_only on messenger.locks for all to anon, authenticated using (false) with check (false);
revoke all on messenger.locks from public, anon, authenticated, service_role;
revoke all on function messenger.try_lock(text) from public, anon, authenticated, service_role;
