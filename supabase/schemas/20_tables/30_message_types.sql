-- What the code said of its message types: route, retry policy, who may dispatch. SQL decides by these rows.
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
  -- As quote_ident writes it: what is no name would raise wherever it is looked up, in every tick.
  constraint message_types_sql_handler_check check (sql_handler ~ '^([a-z_][a-z0-9_]*|"([^"]|"")+")\.([a-z_][a-z0-9_]*|"([^"]|"")+")$'),
  constraint message_types_timeout_check check (timeout_ms > 0),
  -- Or a type's SQL handler would be that of the bus's own messages.
  constraint message_types_aliases_check check (array_to_string(aliases, ' ') !~ '(^| )symphony\.')
);

comment on table messenger.message_types is 'Message types as registered from code (messenger_register). A type without a row gets the defaults of these columns.';
comment on column messenger.message_types.retry_jitter is 'Share of the delay that is added at random: the wait lies in [delay, delay * (1 + jitter)].';
comment on column messenger.message_types.sql_handler is 'Function that handles the type inside the database; set by postgres only.';

alter table messenger.message_types enable row level security;
drop policy if exists service_only on messenger.message_types;
create policy service_only on messenger.message_types for all to anon, authenticated using (false) with check (false);
revoke all on messenger.message_types from public, anon, authenticated, service_role;
grant select on messenger.message_types to service_role;
grant insert (type, transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier, retry_max_delay_ms, retry_jitter, timeout_ms, aliases, registered_at),
  update (transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier, retry_max_delay_ms, retry_jitter, timeout_ms, aliases, registered_at)
  on messenger.message_types to service_role;
