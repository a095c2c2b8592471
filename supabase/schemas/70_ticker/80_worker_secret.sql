-- The secret with which the ticker authenticates to the edge functions worker and scheduler. It is stored in Vault and
-- grants nothing else, because any SQL role may read pg_net's queue.

-- A secret cannot be read if it was encrypted with another key of Vault, as in a database restored into another
-- project: Vault then raises, or decrypts to null.
create or replace function messenger.read_secret(name text, out is_there boolean, out secret text, out fault text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  is_there := false;
  if to_regclass('vault.decrypted_secrets') is null then
    return;
  end if;
  is_there := exists (select from vault.secrets s where s.name = read_secret.name);
  if is_there then
    select nullif(s.decrypted_secret, '') into secret from vault.decrypted_secrets s where s.name = read_secret.name;
    fault := case when secret is null then 'it decrypts to nothing' end;
  end if;
exception when others then
  fault := sqlerrm;
end $$;

-- Definer, so that service_role needs no rights on Vault. Each secret is read separately: one
-- that cannot be decrypted must not hide the other.
create or replace function messenger.worker_secret_digests()
returns text[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select encode(sha256(convert_to(r.secret, 'UTF8')), 'hex')
    from unnest(array['symphony_worker_secret', 'symphony_worker_secret_next']) with ordinality as s(name, n)
    cross join lateral messenger.read_secret(s.name) r
    where r.secret is not null
    order by s.n
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
    encode(sha256(convert_to(messenger_check_worker_secret.secret, 'UTF8')),
      'hex') = any (messenger.worker_secret_digests()), false)
$$;

-- Generated here and never shown: 244 random bits from the server's strong random source. A secret that cannot be read
-- is replaced, but only by one that can.
create or replace function messenger.ensure_worker_secret(out is_readable boolean, out fault text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := 'symphony_worker_secret';
  v_secret record := messenger.read_secret(v_name);
begin
  is_readable := v_secret.secret is not null;
  if is_readable or to_regclass('vault.secrets') is null then
    fault := case when not is_readable then 'there is no Vault: create extension supabase_vault' end;
    return;
  end if;
  begin
    delete from vault.secrets s where s.name = v_name;
    perform vault.create_secret(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), v_name,
      'Symphony Messenger: authenticates the ticker to the edge functions worker and scheduler');
    v_secret := messenger.read_secret(v_name);
    is_readable := v_secret.secret is not null;
    if not is_readable then
      raise exception '%', v_secret.fault;
    end if;
  exception when others then
    fault := 'Vault cannot store the worker secret: ' || sqlerrm;
  end;
end $$;

comment on function messenger.worker_secret_digests() is 'See public.messenger_worker_secret_digests.';
comment on function public.messenger_worker_secret_digests() is
  'SHA-256 digests, in lower-case hex, of the worker secrets in Vault: symphony_worker_secret and, during a '
  'rotation, symphony_worker_secret_next. Edge functions compare a caller''s secret with them. Example: '
  'select messenger_worker_secret_digests();';
comment on function public.messenger_check_worker_secret(text) is
  'True if the secret is stored in Vault as symphony_worker_secret or, during a rotation, as '
  'symphony_worker_secret_next; otherwise false. Example: select messenger_check_worker_secret(''...'');';
comment on function messenger.read_secret(text) is
  'A secret of Vault by name: is_there, secret (its value, or null) and fault (why it cannot be read, or null).';
comment on function messenger.ensure_worker_secret() is
  'Creates the worker secret if there is none that can be read. Returns is_readable and, if it is false, fault.';
revoke all on function
  messenger.read_secret(text),
  messenger.worker_secret_digests(),
  public.messenger_worker_secret_digests(),
  public.messenger_check_worker_secret(text),
  messenger.ensure_worker_secret()
from public, anon, authenticated, service_role;
grant execute on function
  messenger.worker_secret_digests(),
  public.messenger_worker_secret_digests(),
  public.messenger_check_worker_secret(text)
to service_role;
