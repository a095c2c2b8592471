-- What each claim and settle must know of transports, queues and subscriptions, in one row: reading those tables costs
-- 25 us more of 570.

create table if not exists messenger.delivery_settings (
  singleton boolean not null default true,
  deleting text[] not null,
  halted text[] not null,
  has_subscribers boolean not null,
  constraint delivery_settings_pkey primary key (singleton),
  constraint delivery_settings_singleton_check check (singleton)
);

comment on table messenger.delivery_settings is
  'Derived from messenger_transports, messenger.queues and messenger.subscriptions by triggers. Without a row, the '
  'next claim or settle derives it.';
comment on column messenger.delivery_settings.singleton is 'Always true: the table has at most one row.';
comment on column messenger.delivery_settings.deleting is
  'Names of the transports that delete messages on completion (retention 0).';
comment on column messenger.delivery_settings.halted is
  'What hands out no message: names of transports, and paused queues as transport/queue.';
comment on column messenger.delivery_settings.has_subscribers is
  'Whether a subscription to the event completed exists.';

alter table messenger.delivery_settings enable row level security;
drop policy if exists service_only on messenger.delivery_settings;
create policy service_only on messenger.delivery_settings for all to anon, authenticated using (false)
with check (false);
revoke all on messenger.delivery_settings from public, anon, authenticated, service_role;
grant select on messenger.delivery_settings to service_role;

-- The lock comes first, in a statement of its own: the next statement then sees what the previous holder committed.
create or replace function messenger.derive_delivery_settings()
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deleting text[];
  v_halted text[];
  v_has_subscribers boolean;
begin
  insert into messenger.delivery_settings values (true, '{}', '{}', false)
  on conflict on constraint delivery_settings_pkey do update set singleton = true;
  v_deleting := array(
    select t.name from public.messenger_transports t where (t.config ->> 'retention')::interval = '0' order by t.name);
  v_halted := array(
    select t.name from public.messenger_transports t where not (t.enabled and t.type in ('supabase', 'sync'))
    union all
    select q.transport_name || '/' || q.queue_name from messenger.queues q where q.paused_at is not null
    order by 1);
  v_has_subscribers := exists (select from messenger.subscriptions s where s.event = 'completed');
  update messenger.delivery_settings d
  set deleting = v_deleting, halted = v_halted, has_subscribers = v_has_subscribers;
end $$;

create or replace function messenger.refresh_delivery_settings()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.derive_delivery_settings();
  return null;
end $$;

create or replace trigger messenger_transports_delivery_settings
after insert or update or delete or truncate on public.messenger_transports
for each statement execute function messenger.refresh_delivery_settings();
create or replace trigger queues_delivery_settings
after insert or update or delete or truncate on messenger.queues
for each statement execute function messenger.refresh_delivery_settings();
create or replace trigger subscriptions_delivery_settings
after insert or update or delete or truncate on messenger.subscriptions
for each statement execute function messenger.refresh_delivery_settings();

comment on function messenger.derive_delivery_settings() is
  'Writes messenger.delivery_settings from the tables it is derived from.';
comment on function messenger.refresh_delivery_settings() is
  'Trigger function: derives messenger.delivery_settings after a change of the tables it is derived from.';
revoke all on function messenger.derive_delivery_settings(), messenger.refresh_delivery_settings()
from public, anon, authenticated, service_role;
grant execute on function messenger.derive_delivery_settings() to service_role;
