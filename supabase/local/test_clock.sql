-- For tests only: makes messenger.now() movable for every session at once. Never part of a migration.
create table if not exists messenger.test_clock (
    one boolean primary key default true check (one),
    skew interval not null default '0'
);
insert into messenger.test_clock default values on conflict do nothing;
alter table messenger.test_clock owner to postgres;
alter table messenger.test_clock enable row level security;
revoke all on messenger.test_clock from public, anon, authenticated, service_role;

-- Keeps the signature, volatility and grants of the released function. It reads
-- the table as its owner, because callers may not.
create or replace function messenger.now() returns timestamptz
language sql
volatile parallel safe security definer
set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() + t.skew from messenger.test_clock as t $$;

-- Sets the test clock `skew` ahead of real time (absolute, not added to an earlier
-- skew); null is real time. Returns the new time.
create or replace function messenger.set_clock(skew interval) returns timestamptz
language sql
volatile security definer
set search_path = pg_catalog, pg_temp
as $$
update messenger.test_clock as t set skew = coalesce(set_clock.skew, '0');
select messenger.now();
$$;
alter function messenger.set_clock(interval) owner to postgres;
revoke all on function messenger.set_clock(interval) from public, anon, authenticated;
grant execute on function messenger.set_clock(interval) to service_role;
