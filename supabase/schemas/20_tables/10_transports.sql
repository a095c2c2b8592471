-- How messages travel. One row names a transport; secrets stay in Vault or the environment.
create table if not exists public.messenger_transports (
  id uuid not null default gen_random_uuid(),
  name text not null,
  type text not null,
  config jsonb not null default '{}',
  enabled boolean not null default true,
  created_at timestamptz not null default messenger.now(),
  updated_at timestamptz not null default messenger.now(),
  constraint messenger_transports_pkey primary key (id),
  constraint messenger_transports_name_key unique (name),
  constraint messenger_transports_name_check check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  constraint messenger_transports_type_check check (type in ('sync', 'supabase', 'redis', 'rabbitmq', 'sqs')),
  -- The pattern is a number without a unit, as in messenger.read_interval.
  constraint messenger_transports_config_check check (
    jsonb_typeof(config) = 'object'
    and concat_ws('|', config ->> 'retention', config ->> 'failed_retention', config ->> 'idempotency_window')
      !~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*(ago\s*)?([|]|$)'
    and coalesce((config ->> 'retention')::interval between '0' and '100 years', true)
    and coalesce((config ->> 'failed_retention')::interval between '0' and '100 years', true)
    and coalesce((config ->> 'idempotency_window')::interval between '0' and '1 year', true)
    and coalesce(config ->> 'ordering_dead_letter' in ('block', 'continue'), true)
  )
);

comment on table public.messenger_transports is 'Transports by name. sync: handled where it is dispatched; supabase: this database is the queue.';
comment on column public.messenger_transports.config is
  'Intervals as text with a unit: retention (finished messages, 7 days; 0 deletes on completion), failed_retention (resolved dead letters, 30 days), idempotency_window (24 hours); at most 100 years, the window 1 year. ordering_dead_letter: block or continue (the default), whether an open dead letter holds up its ordering key. No secrets.';

create or replace function public.update_messenger_transports_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_transports_updated_at() is 'Sets updated_at where the statement did not.';

create or replace trigger messenger_transports_updated_at
before update on public.messenger_transports
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_transports_updated_at();

create or replace function messenger.ensure_transports()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.messenger_transports (name, type)
  select d.name, d.name from unnest(array['supabase', 'sync']) as d(name)
  where not exists (select from public.messenger_transports t where t.name = d.name)
  on conflict on constraint messenger_transports_name_key do nothing;
end $$;
comment on function messenger.ensure_transports() is 'Makes the transports supabase and sync where they are missing.';

-- A data-only restore brings rows that the migration has made already. Those of the migration, which nobody has
-- changed, give way to them: a restored row brings an older created_at, where an ordinary insert takes the default.
create or replace function messenger.give_way_to_restored_transport()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from public.messenger_transports t
  where t.name = new.name and t.id <> new.id and new.created_at < messenger.now() - interval '1 second'
    and t.type = t.name and t.enabled and t.config = '{}';
  return new;
end $$;
comment on function messenger.give_way_to_restored_transport() is
  'Deletes a transport of the migration''s when its restored row is inserted.';

create or replace trigger messenger_transports_restored
before insert on public.messenger_transports
for each row when (new.name in ('supabase', 'sync'))
execute function messenger.give_way_to_restored_transport();
-- Dumps of the Supabase CLI are restored with session_replication_role = replica.
alter table public.messenger_transports enable always trigger messenger_transports_restored;

do $$ begin perform messenger.ensure_transports(); end $$;

alter table public.messenger_transports enable row level security;
drop policy if exists service_only on public.messenger_transports;
create policy service_only on public.messenger_transports for all to anon, authenticated using (false) with check (false);
revoke all on public.messenger_transports from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_transports to service_role;
revoke all on function messenger.ensure_transports(), messenger.give_way_to_restored_transport(),
  public.update_messenger_transports_updated_at() from public, anon, authenticated, service_role;
