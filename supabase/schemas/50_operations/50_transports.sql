-- Transports are listed, made and changed here; a message finds its transport by name.
create or replace function public.messenger_list_transports()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('transports', coalesce(jsonb_agg(to_jsonb(t) order by t.name), '[]')) from public.messenger_transports t
$$;

create or replace function public.messenger_put_transport(name text, type text default null, config jsonb default null, enabled boolean default null)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known text;
  v_config jsonb;
  v_odd text;
  v_row jsonb;
begin
  perform messenger.require_writable();
  if name is null or name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform messenger.raise_error('SM_TRANSPORT', 'a name has up to 63 lower-case letters, digits, underscores or hyphens');
  end if;
  select t.type, t.config into v_known, v_config from public.messenger_transports t where t.name = messenger_put_transport.name;
  if messenger_put_transport.name in ('supabase', 'sync') and type <> v_known then
    perform messenger.raise_error('SM_TRANSPORT', 'the type of ' || quote_ident(messenger_put_transport.name) || ' stays as it is');
  elsif type not in ('sync', 'supabase', 'redis', 'rabbitmq', 'sqs') then
    perform messenger.raise_error('SM_TRANSPORT', 'there is no type ' || quote_ident(left(type, 60)));
  elsif jsonb_typeof(config) <> 'object' then
    perform messenger.raise_error('SM_TRANSPORT', 'config must be a JSON object');
  end if;
  if coalesce(type, v_known, 'supabase') in ('sync', 'supabase') then
    select k into v_odd from jsonb_object_keys(coalesce(config, v_config)) k
    where k not in ('retention', 'failed_retention', 'idempotency_window', 'ordering_dead_letter') order by k limit 1;
    if found then
      perform messenger.raise_error('SM_UNKNOWN_FIELD', 'config.' || left(v_odd, 100));
    end if;
  end if;
  select c.key into v_odd from jsonb_each(config) c
  where c.key in ('retention', 'failed_retention', 'idempotency_window') and c.value not in ('0', 'null')
    and messenger.read_interval(c.value, case c.key when 'idempotency_window' then interval '1 year' else '100 years' end) is null
  order by c.key limit 1;
  if found then
    perform messenger.raise_error('SM_TRANSPORT',
      format('config.%s must be an interval with a unit, from zero to %s', v_odd, case v_odd when 'idempotency_window' then '1 year' else '100 years' end),
      'for example "7 days"; a number without a unit is none');
  elsif config ->> 'ordering_dead_letter' not in ('block', 'continue') then
    perform messenger.raise_error('SM_TRANSPORT', 'config.ordering_dead_letter must be block or continue', 'continue is the default');
  end if;
  begin
    insert into public.messenger_transports as t (name, type, config, enabled)
    values (messenger_put_transport.name, coalesce(messenger_put_transport.type, v_known, 'supabase'), coalesce(messenger_put_transport.config, '{}'), coalesce(messenger_put_transport.enabled, true))
    on conflict on constraint messenger_transports_name_key do update
    set type = coalesce(messenger_put_transport.type, t.type), config = coalesce(messenger_put_transport.config, t.config),
        enabled = coalesce(messenger_put_transport.enabled, t.enabled), updated_at = messenger.now()
    returning to_jsonb(t) into v_row;
  exception when check_violation or data_exception then
    perform messenger.raise_error('SM_TRANSPORT', 'config: retention and failed_retention are intervals such as "7 days" from zero to 100 years, idempotency_window to 1 year, ordering_dead_letter is block or continue');
  end;
  return v_row;
end $$;

comment on function public.messenger_list_transports() is 'All transports: {"transports": [columns of messenger_transports]}. Their config names secrets, it holds none.';
comment on function public.messenger_put_transport(text, text, jsonb, boolean) is
  'Makes a transport (type supabase, config {}, enabled) or changes what is given of it, and answers its row. config replaces the whole config. The types of supabase and sync stay.';
revoke all on function public.messenger_list_transports(), public.messenger_put_transport(text, text, jsonb, boolean) from public, anon, authenticated;
grant execute on function public.messenger_list_transports(), public.messenger_put_transport(text, text, jsonb, boolean) to service_role;
