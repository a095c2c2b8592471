-- Message types as the code has registered them: route, retry policy, who may dispatch.
create table if not exists messenger.message_types (
  type text not null,
  transport_name text,
  queue_name text,
  priority int,
  dispatchable_by text not null default 'service',
  max_retries int not null default 3,
  retry_delay_ms bigint not null default 1000,
  retry_multiplier double precision not null default 2,
  retry_max_delay_ms bigint not null default 600000,
  retry_jitter double precision not null default 0.2,
  timeout_ms bigint,
  aliases text[] not null default '{}',
  sql_handler text,
  registered_at timestamptz not null default messenger.now(),
  constraint message_types_pkey primary key (type),
  constraint message_types_type_check check (type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'),
  constraint message_types_route_check check (queue_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$' and priority between 1 and 10),
  constraint message_types_dispatchable_check check (dispatchable_by in ('service', 'user')),
  constraint message_types_retry_check check (
    max_retries between 0 and 100 and retry_delay_ms between 0 and 86400000000 and retry_multiplier between 1 and 100
    and retry_max_delay_ms between 0 and 86400000000 and retry_jitter between 0 and 1
  ),
  -- As quote_ident writes it: a text that is not a name would raise an error in every tick that looks it up.
  constraint message_types_sql_handler_check check (
    sql_handler ~ '^([a-z_][a-z0-9_]*|"([^"]|"")+")\.([a-z_][a-z0-9_]*|"([^"]|"")+")$'
  ),
  constraint message_types_timeout_check check (timeout_ms > 0),
  -- Otherwise a type's SQL handler would also handle the bus's own messages.
  constraint message_types_aliases_check check (array_to_string(aliases, ' ') !~ '(^| )symphony\.')
);

-- Dispatches that wake a worker, and ticks, look for types with an SQL handler. Without the index they read all types:
-- 2 ms for 10,000.
create index if not exists message_types_sql_handler_idx on messenger.message_types (type)
where sql_handler is not null;

comment on table messenger.message_types is
  'Message types as registered by messenger_register. For a type without a row the defaults of these columns apply.';
comment on column messenger.message_types.type is
  'Name of the type; types that begin with symphony. belong to the bus.';
comment on column messenger.message_types.transport_name is 'Transport of dispatches that name none; null: supabase.';
comment on column messenger.message_types.queue_name is 'Queue of dispatches that name none; null: default.';
comment on column messenger.message_types.priority is 'Priority, 1 to 10, of dispatches that give none; null: 5.';
comment on column messenger.message_types.dispatchable_by is
  'service or user: whether signed-in users may dispatch it.';
comment on column messenger.message_types.max_retries is
  'Failed deliveries after which the next failure is final, 0 to 100.';
comment on column messenger.message_types.retry_delay_ms is 'Milliseconds before the first retry.';
comment on column messenger.message_types.retry_multiplier is
  'Factor by which the delay grows with each further retry, 1 to 100.';
comment on column messenger.message_types.retry_max_delay_ms is
  'Upper limit of the delay in milliseconds, before jitter.';
comment on column messenger.message_types.retry_jitter is
  'Share of the delay that is added at random: the wait is in [delay, delay * (1 + jitter)].';
comment on column messenger.message_types.timeout_ms is 'Milliseconds after which a handler has failed; null: 30 s.';
comment on column messenger.message_types.aliases is 'Former names, whose messages are handled as this type.';
comment on column messenger.message_types.sql_handler is
  'Function, as schema.name, that handles the type inside the database with the rights of the owner of the bus; null: '
  'a worker handles it. Set by messenger.set_sql_handler, by postgres only.';
comment on column messenger.message_types.registered_at is 'When the row was last changed by a registration.';

alter table messenger.message_types enable row level security;
drop policy if exists service_only on messenger.message_types;
create policy service_only on messenger.message_types for all to anon, authenticated using (false) with check (false);
revoke all on messenger.message_types from public, anon, authenticated, service_role;
grant select on messenger.message_types to service_role;
-- Every column but sql_handler.
grant
  insert (
    type, transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier,
    retry_max_delay_ms, retry_jitter, timeout_ms, aliases, registered_at
  ),
  update (
    transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier,
    retry_max_delay_ms, retry_jitter, timeout_ms, aliases, registered_at
  )
on messenger.message_types to service_role;
