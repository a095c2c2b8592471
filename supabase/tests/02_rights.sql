-- Rights of anon, authenticated and service_role: only those granted by name, for all default privileges.
begin;
set local client_min_messages = warning;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(45);

-- Runs a statement as a role, with a user's token if sub is given. Returns 'allowed', or the SQLSTATE of the error.
create function pg_temp.attempt(as_role text, statement text, sub uuid default null)
returns text
language plpgsql
as $$
begin
  perform set_config('request.jwt.claims',
    case when sub is null then '' else json_build_object('sub', sub, 'role', as_role)::text end, true);
  perform set_config('role', as_role, true);
  execute statement;
  perform set_config('role', 'none', true);
  return 'allowed';
exception when others then
  return sqlstate;  -- the role was reset with the savepoint
end $$;

select table_privs_are('public', relation, 'anon', array[]::text[], format('anon has no right on %s', relation))
from unnest(array['messenger_transports', 'messenger_messages', 'messenger_failed_messages', 'messenger_schedules',
  'messenger_queue_depth', 'messenger_failed_summary', 'messenger_schedules_summary']) as relation;
select table_privs_are('public', relation, 'authenticated', array[]::text[],
  format('authenticated has no right on the whole of %s', relation))
from unnest(array['messenger_transports', 'messenger_messages', 'messenger_failed_messages', 'messenger_schedules',
  'messenger_queue_depth', 'messenger_failed_summary', 'messenger_schedules_summary']) as relation;
select table_privs_are('public', relation, 'service_role', array['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  format('service_role reads and writes %s', relation))
from unnest(array['messenger_transports', 'messenger_messages', 'messenger_failed_messages',
  'messenger_schedules']) as relation;
select table_privs_are('public', relation, 'service_role', array['SELECT'], format('service_role reads %s', relation))
from unnest(array['messenger_queue_depth', 'messenger_failed_summary', 'messenger_schedules_summary']) as relation;

select set_eq(
  $$ select a.attname::text from pg_attribute a
     where a.attrelid = 'public.messenger_messages'::regclass and a.attnum > 0
     and has_column_privilege('authenticated', a.attrelid, a.attnum, 'select') $$,
  array['id', 'message_type', 'status', 'progress', 'result', 'created_at', 'available_at', 'processed_at'],
  'authenticated reads the state of messages, not their contents or errors'
);
select is_empty(
  $$ select a.attname from pg_attribute a where a.attrelid = 'public.messenger_messages'::regclass and a.attnum > 0
     and has_column_privilege('authenticated', a.attrelid, a.attnum, 'insert, update, references') $$,
  'authenticated writes no column of a message'
);
select is_empty(
  $$ select c.oid::regclass from pg_class c where c.relkind = 'r' and not c.relrowsecurity
     and (c.relnamespace = 'messenger'::regnamespace or c.relnamespace = 'public'::regnamespace
       and c.relname like 'messenger\_%') $$,
  'row level security is on for every table'
);
select is_empty(
  $$ select c.oid::regclass from pg_class c
     where c.relkind in ('r', 'v', 'S') and c.relnamespace = 'messenger'::regnamespace
     and (has_table_privilege('anon', c.oid, 'select, insert, update, delete')
       or has_table_privilege('authenticated', c.oid, 'select, insert, update, delete')) $$,
  'neither anon nor authenticated can access a table of schema messenger'
);

select schema_privs_are('messenger', 'anon', array[]::text[], 'anon may not use schema messenger');
select schema_privs_are('messenger', 'authenticated', array['USAGE'],
  'authenticated may use schema messenger and create nothing in it');
select schema_privs_are('messenger', 'service_role', array['USAGE'],
  'service_role may use schema messenger and create nothing in it');

create temporary table routine on commit drop as
select p.oid, p.pronamespace::regnamespace || '.' || p.proname as name, p.prosecdef,
  p.pronamespace = 'public'::regnamespace as in_public, p.proconfig
from pg_proc p
where p.pronamespace = 'messenger'::regnamespace or p.pronamespace = 'public'::regnamespace
  and (p.proname like 'messenger\_%' or p.proname like 'update\_messenger\_%');

select is_empty($$ select name from routine where has_function_privilege('anon', oid, 'execute') $$,
  'anon may call nothing');
select set_eq(
  $$ select name from routine where has_function_privilege('authenticated', oid, 'execute') $$,
  array['public.messenger_user_dispatch', 'messenger.user_dispatch'],
  'authenticated may call the dispatch for users and nothing else'
);
select is_empty(
  $$ select name from routine
     where name like 'public.messenger\_%' and not has_function_privilege('service_role', oid, 'execute')
     and name <> 'public.messenger_start' $$,
  'service_role may call the functions of the contract, except the one that starts the ticker'
);
select is_empty($$ select name from routine where prosecdef and in_public $$,
  'no function of the API runs with its owner''s rights');
select is_empty(
  $$ select name from routine where not coalesce(proconfig, '{}') && array['search_path=pg_catalog, pg_temp'] $$,
  'every function pins its search_path'
);

-- The rights in effect, with two users and one message of each.
insert into messenger.message_types (type, dispatchable_by) values ('PgtapOwn', 'user'), ('PgtapInner', 'service');
select is(pg_temp.attempt('anon', format('select %s', call)), '42501', format('anon is rejected: %s', call))
from unnest(array['messenger_dispatch(''PgtapOwn'')', 'messenger_user_dispatch(''PgtapOwn'')',
  'messenger_claim(''pgtap'')', 'messenger_health()']) as call;
select is(pg_temp.attempt('authenticated', $$select messenger_dispatch('PgtapOwn')$$,
  '00000000-0000-4000-8000-00000000000a'), '42501', 'a user may not dispatch as a service');
select is(pg_temp.attempt('authenticated', $$select messenger_user_dispatch('PgtapInner')$$,
  '00000000-0000-4000-8000-00000000000a'), 'PT403', 'a user may not dispatch a type of the services');
select is(pg_temp.attempt('authenticated', $$select messenger_user_dispatch('PgtapOwn')$$), 'PT401',
  'the dispatch for users requires a user');
select is(pg_temp.attempt('authenticated', $$select messenger_user_dispatch('PgtapOwn')$$,
  '00000000-0000-4000-8000-00000000000a'), 'allowed', 'a user may dispatch a type that users may dispatch');
select is(pg_temp.attempt('authenticated', $$select messenger_user_dispatch('PgtapOwn')$$,
  '00000000-0000-4000-8000-00000000000b'), 'allowed', 'another user may do so too');
select is(
  pg_temp.attempt('authenticated',
    $$do 'begin if (select count(*) from messenger_messages) <> 1 then raise ''not one''; end if; end'$$,
    '00000000-0000-4000-8000-00000000000a'),
  'allowed', 'a user sees the one message of their own'
);
select is(pg_temp.attempt('authenticated', 'select body from messenger_messages',
  '00000000-0000-4000-8000-00000000000a'), '42501', 'a user may not read the contents of messages');
select is(pg_temp.attempt('service_role', $$select messenger_dispatch('PgtapInner')$$), 'allowed',
  'a service may dispatch');

select * from finish();
rollback;
