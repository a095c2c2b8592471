-- The secret that doors of the clock ask for. It lives in Vault and opens nothing else, because any SQL role may read pg_net's queue.

-- Definer, so that service_role needs no rights on Vault.
create or replace function messenger.worker_secret_digests()
returns text[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('vault.decrypted_secrets') is null then
    return array[]::text[];
  end if;
  return array(
    select encode(sha256(convert_to(s.decrypted_secret, 'UTF8')), 'hex')
    from vault.decrypted_secrets s
    where s.name in ('symphony_worker_secret', 'symphony_worker_secret_next') and s.decrypted_secret <> ''
    order by s.name
  );
end $$;

create or replace function public.messenger_worker_secret_digests()
returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select messenger.worker_secret_digests() $$;

-- Digests are compared, so the duration of a comparison reveals nothing about the secret.
create or replace function public.messenger_check_worker_secret(secret text)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    encode(sha256(convert_to(messenger_check_worker_secret.secret, 'UTF8')), 'hex') = any (messenger.worker_secret_digests()), false)
$$;

-- Made here and never shown: 244 random bits from the server's strong source.
create or replace function messenger.ensure_worker_secret()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('vault.secrets') is null then
    return false;
  end if;
  if not exists (select from vault.decrypted_secrets s where s.name = 'symphony_worker_secret') then
    perform vault.create_secret(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'symphony_worker_secret',
      'Symphony Messenger: the clock shows it to the worker and scheduler doors');
  end if;
  return true;
end $$;

comment on function messenger.worker_secret_digests() is 'See public.messenger_worker_secret_digests.';
comment on function public.messenger_worker_secret_digests() is
  'SHA-256 in lower-case hex of the worker secrets in Vault, symphony_worker_secret and, during a rotation, symphony_worker_secret_next: edge functions compare with them.';
comment on function public.messenger_check_worker_secret(text) is
  'True for the secret in Vault under symphony_worker_secret, or symphony_worker_secret_next during a rotation; otherwise false.';
comment on function messenger.ensure_worker_secret() is 'Creates the worker secret where there is none. False where there is no Vault.';
revoke all on function messenger.worker_secret_digests(), public.messenger_worker_secret_digests(), public.messenger_check_worker_secret(text),
  messenger.ensure_worker_secret() from public, anon, authenticated, service_role;
grant execute on function messenger.worker_secret_digests(), public.messenger_worker_secret_digests(),
  public.messenger_check_worker_secret(text) to service_role;
