-- All deliberate errors: code, HTTP status, message, hint. A test compares codes and statuses with shared/errors.ts.
create or replace function messenger.error_codes()
returns table (code text, status int, message text, hint text)
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  values
    ('SM_BODY', 400, 'a message must be a JSON object', 'send {"type": ..., "payload": {...}}'),
    ('SM_TYPE', 400,
      'the message type is missing or malformed',
      'use a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens'),
    ('SM_QUEUE', 400,
      'the queue name is malformed',
      'use up to 63 lower-case letters, digits, underscores or hyphens, the first a letter or digit'),
    ('SM_TRANSPORT', 400,
      'the transport does not exist, is disabled, or is of a type that is not configured',
      'list the transports with select name, type, enabled from messenger_transports; if supabase or sync is '
      'missing, select messenger_start() creates it'),
    ('SM_PRIORITY', 400, 'the priority must be a whole number from 1 to 10', '10 goes first; the default is 5'),
    ('SM_MAX_RETRIES', 400,
      'max_retries must be a whole number from 0 to 100',
      'the default is 3, which allows four deliveries'),
    ('SM_AVAILABLE_AT', 400,
      'available_at must be a timestamp with a zone, before the year 10000',
      'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z'),
    ('SM_DELAY', 400,
      'the delay must be an interval with a unit, from zero to 100 years, and must not be combined with available_at',
      'write the unit, for example ''5 seconds'''),
    ('SM_EXPIRES_AT', 400,
      'expires_at must be a timestamp with a zone, in the future and after the message becomes available',
      'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z, or omit it'),
    ('SM_IDEMPOTENCY_KEY', 400,
      'the idempotency key must have 1 to 255 bytes and no control characters; its window must be an interval with a '
      'unit, from zero to one year; a window or a mode needs a key',
      'use a short stable name of the action that must happen once, for example order-1234-receipt'),
    ('SM_IDEMPOTENCY_MODE', 400,
      'this idempotency mode does not exist',
      'use ignore, replace, reschedule, throttle or debounce'),
    ('SM_IDEMPOTENCY_MISMATCH', 409,
      'this idempotency key was used for a message of another type, queue or payload',
      'use a new key for a different message'),
    ('SM_ORDERING_KEY', 400,
      'the ordering key must have 1 to 255 bytes and no control characters',
      'name the entity whose messages must keep their order, for example customer-1234'),
    ('SM_PAYLOAD_NOT_OBJECT', 400, 'the payload must be a JSON object', 'wrap the value: {"value": ...}'),
    ('SM_HEADERS_NOT_OBJECT', 400, 'headers must be a JSON object', 'use {"name": "value"}'),
    ('SM_METADATA_NOT_OBJECT', 400, 'metadata must be a JSON object', 'use {"name": "value"}'),
    ('SM_PAYLOAD_TOO_LARGE', 413, 'the payload is larger than 256 KB', 'store the data and send its id'),
    ('SM_HEADERS_TOO_LARGE', 413, 'headers or metadata are larger than 16 KB', 'move the data into the payload'),
    ('SM_BATCH_TOO_LARGE', 413, 'a batch may have at most 1000 elements and 8 MB', 'send several batches'),
    ('SM_NUMBER_RANGE', 422, 'a number lies outside the range of a double', 'send it as a string'),
    ('SM_DEPTH', 400, 'the JSON is nested deeper than 64 levels', 'flatten it'),
    ('SM_UNKNOWN_FIELD', 400, 'an unknown field', 'remove it, or check its spelling'),
    ('SM_FILTER', 400,
      'the filter or argument is malformed',
      'a filter is a JSON object with values of the types that the function''s comment names, and {} matches all; '
      'write timestamps in ISO 8601 with a zone; use a cursor only with the list and filter that returned it'),
    ('SM_BATCH', 400,
      'the batch must have at least one element and at most 1000',
      'pass a JSON array, or a number from 1 to 1000'),
    ('SM_WORKER', 400,
      'the worker name must have 1 to 200 characters and no control characters',
      'name the process, for example edge-1'),
    ('SM_LEASE', 400, 'the lease must be longer than zero and at most 12 hours', 'use for example ''60 seconds'''),
    ('SM_OUTCOME', 400,
      'an outcome must be an object with id, fence and outcome: completed, failed, snoozed or released',
      'see the comment on messenger_settle'),
    ('SM_CRON', 400,
      'the cron expression is not understood',
      'use 5 fields (minute hour day month weekday) or 6 (second first), for example 0 9 * * mon-fri, or one of '
      '@hourly @daily @midnight @weekly @monthly @yearly @annually'),
    ('SM_CRON_NEVER', 400,
      'the cron expression never fires',
      'use a day that its month has (31 2 is 31 February); with dst_gap skip, use a time that lies outside the gap'),
    ('SM_INTERVAL', 400,
      'the interval must be a whole number of milliseconds from 1000 (1 second) to 31622400000 (366 days)',
      'use for example {"interval": 60000} for one minute'),
    ('SM_TIMEZONE', 400,
      'the time zone is not an IANA name',
      'use a name such as Europe/Berlin or UTC, see select name from pg_timezone_names; abbreviations such as EST do '
      'not follow daylight saving time'),
    ('SM_SCHEDULE', 400,
      'the schedule is malformed',
      'pass {"cron": ...}, {"interval": ms, "startAt"?} or {"at": ...}, and options named as the columns of '
      'messenger_schedules'),
    ('SM_SETTING', 400, 'the setting is malformed or out of range', 'use a value of the documented type and range'),
    ('SM_UNAUTHENTICATED', 401, 'the call has no signed-in user', 'send a user''s access token'),
    ('SM_TYPE_FORBIDDEN', 403,
      'the caller may not dispatch or register this message type',
      'users: dispatch it from a server, or define it with dispatchableBy: "user"; types that begin with symphony. '
      'are reserved for the bus: choose another name'),
    ('SM_FIELD_FORBIDDEN', 403,
      'the caller may not set this field',
      'users: dispatch from a server to set it; the header x-symphony-user is set by the bus only'),
    ('SM_NOT_FOUND', 404, 'it does not exist', 'check the name or id'),
    ('SM_CONFLICT', 409, 'the current state does not allow this', 'read the current state, then decide again'),
    ('SM_STALE_LEASE', 409,
      'the lease on this message is no longer held',
      'another worker holds the message or it is settled: undo your work, and send no outcome'),
    ('SM_RATE', 429,
      'this user has too many unfinished messages and open dead letters',
      'wait until some have finished; an operator can resolve dead letters or raise max_unfinished_per_user'),
    ('SM_UNAVAILABLE', 503, 'the call cannot be completed at the moment', 'try again in one second')
$$;

-- what precedes the message and names the element or field, for example "message 3". remedy replaces the hint.
create or replace function messenger.raise_error(
  code text, what text default null, remedy text default null, message text default null
)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_error record;
begin
  select r.status, r.message, r.hint into strict v_error from messenger.error_codes() r where r.code = raise_error.code;
  raise exception using
    errcode = 'PT' || v_error.status,
    message = concat_ws(': ', nullif(what, ''), coalesce(raise_error.message, v_error.message)),
    detail = code,
    hint = coalesce(remedy, v_error.hint);
end $$;

-- The error of Postgres itself is only "cannot execute INSERT in a read-only transaction". During recovery every
-- transaction is read only.
create or replace function messenger.require_writable()
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    raise exception using errcode = 'PT503', detail = 'SM_UNAVAILABLE',
      message = 'this database is a read replica, and Symphony Messenger works on the primary database only',
      hint = 'connect to the primary database; on a replica only messages, dead letters and schedules can be read';
  elsif current_setting('transaction_read_only') = 'on' then
    raise exception using errcode = 'PT503', detail = 'SM_UNAVAILABLE', message = 'this transaction is read only',
      hint = 'begin it read write; if default_transaction_read_only is set for the session, role or database, reset it';
  end if;
end $$;

-- For functions that only read. Workers, ticks and wake-ups are in unlogged tables, which a replica does not have.
create or replace function messenger.require_primary()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    perform messenger.require_writable();
  end if;
  return true;
end $$;

comment on function messenger.error_codes() is 'All errors of the bus: code (SM_...), HTTP status, message, hint.';
comment on function messenger.raise_error(text, text, text, text) is
  'Raises the error with this code as SQLSTATE PT<status>, detail = code. Its message is preceded by what; message and '
  'remedy replace the message and hint of messenger.error_codes(). Never returns; the result type allows a call inside '
  'an expression. Example: '
  'perform messenger.raise_error(''SM_QUEUE'', ''message 3'').';
comment on function messenger.require_writable() is
  'Raises SM_UNAVAILABLE on a read replica and in a read-only transaction.';
comment on function messenger.require_primary() is 'Raises SM_UNAVAILABLE on a read replica; otherwise returns true.';
revoke all on function
  messenger.error_codes(),
  messenger.raise_error(text, text, text, text),
  messenger.require_writable(),
  messenger.require_primary()
from public, anon, authenticated;
grant execute on function
  messenger.error_codes(),
  messenger.raise_error(text, text, text, text),
  messenger.require_writable(),
  messenger.require_primary()
to service_role;
