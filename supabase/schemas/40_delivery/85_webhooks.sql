-- Webhooks: subscribing a URL and signing requests to it by the Standard Webhooks scheme. The secret never leaves the
-- database.

-- Every Supabase project has pgcrypto, but not all have it in the same schema.
create or replace function messenger.hmac_sha256(data bytea, key bytea)
returns bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_digest bytea;
begin
  select e.extnamespace::regnamespace::text into v_schema from pg_catalog.pg_extension e where e.extname = 'pgcrypto';
  if v_schema is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'webhooks are signed with pgcrypto, which is not installed',
      hint = 'create extension pgcrypto schema extensions';
  end if;
  execute format('select %s.hmac($1, $2, ''sha256'')', v_schema) into v_digest using data, key;
  return v_digest;
end $$;

-- The secret's own key and, during a rotation, its successor's. Executable by the owner only.
create or replace function messenger.webhook_keys(secret_name text)
returns setof bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret text;
begin
  if to_regclass('vault.decrypted_secrets') is not null then
    for v_secret in
      select s.decrypted_secret from vault.decrypted_secrets s where s.name in (secret_name, secret_name || '_next')
      order by s.name
    loop
      if coalesce(v_secret, '') !~ '^whsec_([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
        or length(v_secret) not between 38 and 94 then
        raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
          message = 'secret_name: the value of ' || quote_ident(secret_name) || ' in Vault is not a webhook secret',
          hint = 'store whsec_ and 24 to 64 random bytes in base64: '
            '''whsec_'' || encode(extensions.gen_random_bytes(32), ''base64'')';
      end if;
      return next decode(substr(v_secret, 7), 'base64');
    end loop;
  end if;
  if not found then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'secret_name: Vault has no secret ' || quote_ident(left(secret_name, 100)),
      hint = 'select vault.create_secret('
        '''whsec_'' || encode(extensions.gen_random_bytes(32), ''base64''), ''symphony_webhook_...'')';
  end if;
end $$;

create or replace function messenger.on_webhook(event text, url text, secret_name text, message_type text default null)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
begin
  perform messenger.check_subscription(event, message_type);
  perform messenger.ensure_own_types();
  -- The worker checks the address at each delivery, because the address of a host name may change.
  if coalesce(length(url) > 2000 or url !~ '^(https://[][A-Za-z0-9.:_-]+|'
    'http://(localhost|127\.0\.0\.1|\[::1\]|host\.docker\.internal)(:[0-9]{1,5})?)([/?#][!-\[\]-~]*)?$', true)
  then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'url must be an https:// URL of at most 2000 ASCII characters, without user name and password',
      hint = 'for development, http://localhost and http://host.docker.internal are accepted too, '
        'and called if SYMPHONY_WEBHOOK_ALLOW_PRIVATE is true';
  elsif coalesce(not starts_with(secret_name, 'symphony_webhook_'), true) then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'secret_name must begin with symphony_webhook_',
      hint = 'store the secret in Vault under such a name; no other secret may sign a webhook';
  end if;
  -- Raises an error for a secret that does not exist or cannot sign.
  perform messenger.hmac_sha256('', k.key) from messenger.webhook_keys(secret_name) as k(key);
  insert into messenger.subscriptions as s (event, message_type, url, secret_name)
  values (event, message_type, url, secret_name)
  on conflict on constraint subscriptions_key do update
  set secret_name = excluded.secret_name, enabled = true, disabled_reason = null
  returning s.id into v_id;
  return v_id;
end $$;

-- Definer: service_role cannot read the secret. The time is the database's, as in all functions.
create or replace function messenger.sign_webhook(subscription uuid, id uuid, body text)
returns table (url text, signed_at bigint, signature text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_subscription messenger.subscriptions;
  v_id uuid := id;
  v_body text := body;
  v_now bigint := extract(epoch from messenger.now());
begin
  select * into v_subscription from messenger.subscriptions s
  where s.id = subscription and s.enabled and s.kind = 'webhook';
  if not found then
    return;
  end if;
  return query
  select v_subscription.url, v_now,
    string_agg('v1,' || encode(
      messenger.hmac_sha256(convert_to(concat_ws('.', v_id, v_now, v_body), 'UTF8'), k.key), 'base64'), ' ')
  from messenger.webhook_keys(v_subscription.secret_name) as k(key);
end $$;

create or replace function public.messenger_sign_webhook(subscription uuid, id uuid, body text)
returns table (url text, signed_at bigint, signature text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.sign_webhook(subscription, id, body) $$;

-- Definer: service_role may disable a webhook whose receiver has ended it, and change nothing else of it.
create or replace function messenger.disable_webhook(subscription uuid, reason text)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.require_writable();
  update messenger.subscriptions s
  set enabled = false, disabled_reason = messenger.clip(coalesce(reason, 'no reason was given'), 1000)
  where s.id = subscription and s.kind = 'webhook' and s.enabled;
  return found;
end $$;

create or replace function public.messenger_disable_webhook(subscription uuid, reason text)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.disable_webhook(subscription, reason) $$;

comment on function messenger.hmac_sha256(bytea, bytea) is
  'HMAC-SHA-256 by pgcrypto, in the schema where it is installed. SM_NOT_FOUND if it is not installed.';
comment on function messenger.webhook_keys(text) is
  'The keys of a webhook secret in Vault and of its successor. SM_NOT_FOUND if there is none, SM_FIELD_FORBIDDEN if it '
  'is not a webhook secret.';
comment on function messenger.on_webhook(text, text, text, text) is
  'Subscribes a URL to an event (see messenger.on). For postgres only. '
  'Requests are signed with the secret whsec_<base64> that Vault holds under secret_name, which must begin with '
  'symphony_webhook_. A worker posts the same JSON that a subscribed function receives. '
  'Example: select messenger.on_webhook(''dead'', ''https://example.com/hook'', ''symphony_webhook_ops''). '
  'Returns the subscription''s id, the same for the same event, type and URL; subscribing again enables it again, with '
  'the secret named then. Errors: SM_NOT_FOUND, SM_FIELD_FORBIDDEN, SM_TYPE.';
comment on function messenger.sign_webhook(uuid, uuid, text) is 'Implements public.messenger_sign_webhook.';
comment on function public.messenger_sign_webhook(uuid, uuid, text) is
  'The URL of a webhook and its signature at this time for the message id and body: url, signed_at (webhook-timestamp, '
  'in seconds) and signature (webhook-signature). No row if the subscription is gone or disabled.';
comment on function messenger.disable_webhook(uuid, text) is 'Implements public.messenger_disable_webhook.';
comment on function public.messenger_disable_webhook(uuid, text) is
  'Disables a webhook whose receiver wants no more requests, and stores the reason. Returns false if there is no '
  'enabled webhook with this id.';
revoke all on function
  messenger.hmac_sha256(bytea, bytea),
  messenger.webhook_keys(text),
  messenger.on_webhook(text, text, text, text),
  messenger.sign_webhook(uuid, uuid, text),
  public.messenger_sign_webhook(uuid, uuid, text),
  messenger.disable_webhook(uuid, text),
  public.messenger_disable_webhook(uuid, text)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.sign_webhook(uuid, uuid, text),
  public.messenger_sign_webhook(uuid, uuid, text),
  messenger.disable_webhook(uuid, text),
  public.messenger_disable_webhook(uuid, text)
to service_role;
