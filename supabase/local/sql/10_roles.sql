-- The roles of a hosted project; supabase_admin is the cluster's bootstrap superuser, postgres is not a superuser.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role postgres login createdb createrole replication bypassrls;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, authenticator to postgres;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;

-- Owning the database makes postgres the owner of schema public
-- (pg_database_owner) and lets it create trusted extensions.
alter database postgres owner to postgres;
grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres;
