-- The rules that each row of messenger_messages satisfies. Its only CHECK constraint calls them.

-- One call instead of six expressions: Postgres parses the stored text of a CHECK expression again at every statement.
-- An insert of one row takes 26 us of server CPU with this call, 48 us with the six expressions, and 16 us with none;
-- of a thousand, each costs 2 us more. 1.6 us of that are the SET clause, on PostgreSQL 15.
-- As in a CHECK constraint, a condition that is null is satisfied.
create or replace function messenger.is_valid_message(
  body jsonb,
  status text,
  priority int,
  processed_at timestamptz,
  locked_at timestamptz,
  locked_by text,
  lock_expires_at timestamptz,
  max_retries int,
  retry_count int,
  fence bigint,
  lease_losses int
)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when jsonb_typeof(body) <> 'object' then
      messenger.raise_invalid_message('body', json_build_object('body', jsonb_typeof(body)))
    when status not in ('pending', 'processing', 'completed', 'failed') then
      messenger.raise_invalid_message('status', json_build_object('status', status))
    when priority not between 1 and 10 then
      messenger.raise_invalid_message('priority', json_build_object('priority', priority))
    when (processed_at is null) <> (status in ('pending', 'processing')) then
      messenger.raise_invalid_message(
        'processed', json_build_object('status', status, 'processed_at', processed_at))
    when num_nonnulls(locked_at, locked_by, lock_expires_at) <> case when status = 'processing' then 3 else 0 end then
      messenger.raise_invalid_message('lease', json_build_object(
        'status', status, 'locked_at', locked_at, 'locked_by', locked_by, 'lock_expires_at', lock_expires_at))
    when max_retries not between 0 and 100 or retry_count not between 0 and max_retries + 1 or fence < retry_count
      or lease_losses < 0 then
      messenger.raise_invalid_message('deliveries', json_build_object(
        'max_retries', max_retries, 'retry_count', retry_count, 'fence', fence, 'lease_losses', lease_losses))
    else true
  end;
end $$;

-- actual has only values that may be printed. A caller's text is cut, because an update can set one of any length.
create or replace function messenger.raise_invalid_message(rule text, actual json)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
begin
  select r.requirement, r.hint into strict v_rule
  from (values
    ('body', 'the body must be a JSON object', 'wrap the value: {"value": ...}'),
    ('status',
      'the status must be pending, processing, completed or failed',
      'cancelled and discarded messages have the status failed and an error_class'),
    ('priority', 'the priority must be a whole number from 1 to 10', '10 goes first; the default is 5'),
    ('processed',
      'processed_at must be set if the status is completed or failed, and null if it is pending or processing',
      'set status and processed_at in one statement, or call the function for it, for example messenger_cancel or '
      'messenger_retry_failed'),
    ('lease',
      'locked_at, locked_by and lock_expires_at must all be set if the status is processing, and all be null otherwise',
      'set them and the status in one statement, or call the function for it: messenger_claim begins a lease, '
      'messenger_release ends it'),
    ('deliveries',
      'max_retries must be from 0 to 100, retry_count from 0 to max_retries + 1, fence at least retry_count, and '
      'lease_losses at least 0',
      'to deliver a message once more, call messenger_retry_failed, which resets its counters')
  ) as r(name, requirement, hint)
  where r.name = rule;
  raise exception using
    errcode = 'check_violation',
    schema = 'public',
    table = 'messenger_messages',
    constraint = format('messenger_messages_%s_check', rule),
    message = format('a row of messenger_messages violates the rule "%s": %s; found %s', rule, v_rule.requirement,
      (select string_agg(f.key || ' ' || coalesce(left(f.value, 100), 'null'), ', ') from json_each_text(actual) f)),
    hint = v_rule.hint;
end $$;

comment on function messenger.is_valid_message(
  jsonb, text, int, timestamptz, timestamptz, text, timestamptz, int, int, bigint, int
) is
  'True if these columns of a row of messenger_messages satisfy all rules. Otherwise raises check_violation (23514) '
  'with the table and, as constraint, messenger_messages_<rule>_check; rules are body, status, priority, processed, '
  'lease and deliveries.';
comment on function messenger.raise_invalid_message(text, json) is
  'Raises the check_violation of a rule of messenger_messages, with the columns and their values; of a body only the '
  'JSON type. Never returns; the result type allows a call inside an expression.';
-- service_role writes the table, so it needs both.
revoke all on function
  messenger.is_valid_message(jsonb, text, int, timestamptz, timestamptz, text, timestamptz, int, int, bigint, int),
  messenger.raise_invalid_message(text, json)
from public, anon, authenticated;
grant execute on function
  messenger.is_valid_message(jsonb, text, int, timestamptz, timestamptz, text, timestamptz, int, int, bigint, int),
  messenger.raise_invalid_message(text, json)
to service_role;
