-- Lists, creates and changes transports. A message refers to its transport by name.
create or replace function public.messenger_list_transports()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('transports', coalesce(jsonb_agg(to_jsonb(t) order by t.name), '[]'))
  from public.messenger_transports t
$$;

create or replace function public.messenger_put_transport(
  name text, type text default null, config jsonb default null, enabled boolean default null
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type text;
  v_config jsonb;
  v_invalid text;
  v_row jsonb;
begin
  perform messenger.require_writable();
  if name is null or name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform messenger.raise_error('SM_TRANSPORT',
      'the name must have 1 to 63 lower-case letters, digits, underscores or hyphens, and begin with a letter or digit',
      'choose another name');
  end if;
  select t.type, t.config into v_type, v_config from public.messenger_transports t
  where t.name = messenger_put_transport.name;
  if messenger_put_transport.name in ('supabase', 'sync') and type <> v_type then
    perform messenger.raise_error('SM_TRANSPORT',
      'the type of ' || quote_ident(messenger_put_transport.name) || ' cannot be changed',
      'leave type out, or put a transport with another name');
  elsif type not in ('sync', 'supabase', 'redis', 'rabbitmq', 'sqs') then
    perform messenger.raise_error('SM_TRANSPORT', 'there is no type ' || quote_ident(left(type, 60)),
      'use sync, supabase, redis, rabbitmq or sqs');
  elsif jsonb_typeof(config) <> 'object' then
    perform messenger.raise_error('SM_TRANSPORT', 'config must be a JSON object', 'pass {} for the defaults');
  end if;
  if coalesce(type, v_type, 'supabase') in ('sync', 'supabase') then
    select k into v_invalid from jsonb_object_keys(coalesce(config, v_config)) k
    where k not in ('retention', 'failed_retention', 'idempotency_window', 'ordering_dead_letter') order by k limit 1;
    if found then
      perform messenger.raise_error('SM_UNKNOWN_FIELD', 'config.' || left(v_invalid, 100),
        'the fields are retention, failed_retention, idempotency_window and ordering_dead_letter');
    end if;
  end if;
  select c.key into v_invalid from jsonb_each(config) c
  where c.key in ('retention', 'failed_retention', 'idempotency_window') and c.value not in ('0', 'null')
    and messenger.read_interval(
      c.value, case c.key when 'idempotency_window' then interval '1 year' else '100 years' end) is null
  order by c.key limit 1;
  if found then
    perform messenger.raise_error('SM_TRANSPORT',
      format('config.%s must be an interval with a unit, from zero to %s', v_invalid,
        case v_invalid when 'idempotency_window' then '1 year' else '100 years' end),
      'add a unit, for example "7 days"');
  elsif config ->> 'ordering_dead_letter' not in ('block', 'continue') then
    perform messenger.raise_error('SM_TRANSPORT', 'config.ordering_dead_letter must be block or continue',
      'default: continue');
  end if;
  begin
    insert into public.messenger_transports as t (name, type, config, enabled)
    values (messenger_put_transport.name, coalesce(messenger_put_transport.type, v_type, 'supabase'),
      coalesce(messenger_put_transport.config, '{}'), coalesce(messenger_put_transport.enabled, true))
    on conflict on constraint messenger_transports_name_key do update
    set type = coalesce(messenger_put_transport.type, t.type),
        config = coalesce(messenger_put_transport.config, t.config),
        enabled = coalesce(messenger_put_transport.enabled, t.enabled), updated_at = messenger.now()
    returning to_jsonb(t) into v_row;
  exception when check_violation or data_exception then
    perform messenger.raise_error('SM_TRANSPORT', 'config is malformed',
      'retention and failed_retention must be intervals with a unit from zero to 100 years, for example "7 days"; '
      'idempotency_window one from zero to 1 year; ordering_dead_letter must be block or continue');
  end;
  return v_row;
end $$;

comment on function public.messenger_list_transports() is
  'All transports: {"transports": [columns of messenger_transports]}. Their config refers to secrets by name and '
  'contains none. Example: select messenger_list_transports();';
comment on function public.messenger_put_transport(text, text, jsonb, boolean) is
  'Creates a transport (defaults: type supabase, config {}, enabled) or changes the given fields of an existing '
  'one, and returns its row. config replaces the whole config. The types of the transports supabase and sync '
  'cannot be changed. Raises SM_TRANSPORT, SM_UNKNOWN_FIELD. Example: select '
  'messenger_put_transport(''supabase'', config => ''{"retention": "14 days"}'');';
revoke all on function
  public.messenger_list_transports(),
  public.messenger_put_transport(text, text, jsonb, boolean)
from public, anon, authenticated;
grant execute on function
  public.messenger_list_transports(),
  public.messenger_put_transport(text, text, jsonb, boolean)
to service_role;
