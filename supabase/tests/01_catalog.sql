-- The contract's objects by name: four tables, three views, three trigger functions, and the columns of a message.
-- Runs with `supabase test db`, and with pg_prove as role postgres; everything is rolled back.
begin;
set local client_min_messages = warning;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(31);

select has_table('public', name, format('there is a table %s', name))
from unnest(array['messenger_transports', 'messenger_messages', 'messenger_failed_messages',
  'messenger_schedules']) as name;
select has_view('public', name, format('there is a view %s', name))
from unnest(array['messenger_queue_depth', 'messenger_failed_summary', 'messenger_schedules_summary']) as name;
select set_eq(
  $$ select c.relname::text from pg_class c where c.relnamespace = 'public'::regnamespace
    and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname like 'messenger\_%' $$,
  array['messenger_transports', 'messenger_messages', 'messenger_failed_messages', 'messenger_schedules',
    'messenger_queue_depth', 'messenger_failed_summary', 'messenger_schedules_summary'],
  'the API sees no other relation of the bus'
);

select has_function('public', name, array[]::name[], format('there is a function %s()', name))
from unnest(array['update_messenger_messages_updated_at', 'update_messenger_transports_updated_at',
  'update_messenger_schedules_updated_at']) as name;
select trigger_is(
  'public', 'messenger_' || name, 'messenger_' || name || '_updated_at',
  'public', 'update_messenger_' || name || '_updated_at',
  format('%s keep their updated_at', name))
from unnest(array['messages', 'transports', 'schedules']) as name;

select columns_are('public', 'messenger_messages', array[
  'id', 'transport_name', 'queue_name', 'message_type', 'body', 'headers', 'metadata', 'priority', 'status',
  'scheduled_at', 'available_at', 'expires_at',
  'created_at', 'processed_at', 'updated_at', 'retry_count', 'max_retries', 'last_error', 'error_class', 'fence',
  'locked_at', 'locked_by', 'lock_expires_at',
  'lease_losses', 'cancel_requested_at', 'idempotency_key', 'ordering_key', 'ordering_seq', 'result', 'progress',
  'created_by', 'unrouted'
], 'a message has these columns and no other');
select col_is_pk('public', 'messenger_messages', 'id', 'the primary key of a message is its id');
select col_type_is('public', 'messenger_messages', name, type, format('messenger_messages.%s is %s', name, type))
from (values
  ('id', 'uuid'), ('body', 'jsonb'), ('priority', 'integer'), ('status', 'text'),
  ('available_at', 'timestamp with time zone'),
  ('processed_at', 'timestamp with time zone'), ('retry_count', 'integer'), ('fence', 'bigint'), ('result', 'jsonb'),
  ('created_by', 'uuid')
) as expected(name, type);
select col_default_is('public', 'messenger_messages', name, value,
  format('the default of messenger_messages.%s is %s', name, value))
from (values ('status', 'pending'), ('priority', '5'), ('max_retries', '3'),
  ('queue_name', 'default')) as expected(name, value);

select is_empty(
  $$ select v.object, v.state, v.detail from messenger_verify() v where v.kind <> 'operation' and v.state <> 'ok' $$,
  'every object is as in this release'
);

select * from finish();
rollback;
