-- Schema auth as far as policies need it: functions that read the token of
-- the request, and a table of users to refer to.
create schema auth;
grant usage on schema auth to anon, authenticated, service_role, postgres;

create table auth.users (
    id uuid primary key,
    email text unique,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
alter table auth.users enable row level security;
grant all on table auth.users to postgres;

create function auth.uid() returns uuid
language sql stable
as $$
select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
)::uuid
$$;

create function auth.role() returns text
language sql stable
as $$
select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
)
$$;

create function auth.email() returns text
language sql stable
as $$
select coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
)
$$;

create function auth.jwt() returns jsonb
language sql stable
as $$
select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
)::jsonb
$$;
