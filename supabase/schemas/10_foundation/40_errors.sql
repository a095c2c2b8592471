-- Every deliberate error, once: code, HTTP status, sentence, remedy. shared/errors.ts carries the same codes and statuses (a test compares).
create or replace function messenger.error_codes()
returns table (code text, status int, message text, hint text)
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  values
    ('SM_BODY', 400, 'a message must be a JSON object', 'send {"type": ..., "payload": {...}}'),
    ('SM_TYPE', 400, 'the message type is missing or malformed', 'use a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens'),
    ('SM_QUEUE', 400, 'the queue name is malformed', 'use up to 63 lower-case letters, digits, underscores or hyphens, the first a letter or digit'),
    ('SM_TRANSPORT', 400, 'the transport does not exist, is disabled, or is of a type that is not configured', 'see select name, type, enabled from messenger_transports; where supabase or sync is missing, select messenger_start() makes it again'),
    ('SM_PRIORITY', 400, 'the priority must be a whole number from 1 to 10', '10 goes first; 5 is the default'),
    ('SM_MAX_RETRIES', 400, 'max_retries must be a whole number from 0 to 100', '3 is the default: four deliveries at most'),
    ('SM_AVAILABLE_AT', 400, 'available_at must be a moment with a zone, before the year 10000', 'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z'),
    ('SM_DELAY', 400, 'the delay must be an interval with a unit, from zero to 100 years, and not be combined with available_at', 'for example ''5 seconds''; a number without a unit is none'),
    ('SM_EXPIRES_AT', 400, 'expires_at must lie in the future and after the message becomes available, as a moment with a zone', 'use ISO 8601 with a zone, or leave it out'),
    ('SM_IDEMPOTENCY_KEY', 400, 'the idempotency key must be 1 to 255 bytes without control characters, its window an interval with a unit, from zero to a year; a window or a mode needs a key', 'use a short stable name of the thing to be done once, for example order-1234-receipt'),
    ('SM_IDEMPOTENCY_MODE', 400, 'this idempotency mode does not exist', 'use ignore, replace, reschedule, throttle or debounce'),
    ('SM_IDEMPOTENCY_MISMATCH', 409, 'this idempotency key was used for a message of another type, queue or payload', 'use a new key for a different message'),
    ('SM_ORDERING_KEY', 400, 'the ordering key must be 1 to 255 bytes without control characters', 'name the thing whose messages must keep their order, for example customer-1234'),
    ('SM_PAYLOAD_NOT_OBJECT', 400, 'the payload must be a JSON object', 'wrap the value: {"value": ...}'),
    ('SM_HEADERS_NOT_OBJECT', 400, 'headers must be a JSON object', 'use {"name": "value"}'),
    ('SM_METADATA_NOT_OBJECT', 400, 'metadata must be a JSON object', 'use {"name": "value"}'),
    ('SM_PAYLOAD_TOO_LARGE', 413, 'the payload is larger than 256 KB', 'store the data and send its id'),
    ('SM_HEADERS_TOO_LARGE', 413, 'headers or metadata are larger than 16 KB', 'move the data into the payload'),
    ('SM_BATCH_TOO_LARGE', 413, 'a batch takes at most 1000 elements and 8 MB', 'send several batches'),
    ('SM_NUMBER_RANGE', 422, 'a number lies outside the range of a double', 'send it as a string'),
    ('SM_DEPTH', 400, 'the JSON is nested deeper than 64 levels', 'flatten it'),
    ('SM_UNKNOWN_FIELD', 400, 'an unknown field', 'remove it, or check its spelling'),
    ('SM_FILTER', 400, 'what is asked for is malformed', 'a filter is a JSON object with values of the types its function''s comment names, {} means all; moments are ISO 8601 with a zone; a cursor goes with the list and filter it came from'),
    ('SM_BATCH', 400, 'the batch must have at least one element and at most 1000', 'pass a JSON array, or a number from 1 to 1000'),
    ('SM_WORKER', 400, 'the worker name must have 1 to 200 characters, none of them a control character', 'name the process, for example edge-1'),
    ('SM_LEASE', 400, 'the lease must be longer than zero and at most 12 hours', 'for example ''60 seconds'''),
    ('SM_OUTCOME', 400, 'an outcome must be an object with id, fence and outcome: completed, failed, snoozed or released', 'see the comment on messenger_settle'),
    ('SM_CRON', 400, 'the cron expression is not understood', 'use 5 fields (minute hour day month weekday) or 6 (second first), for example 0 9 * * mon-fri, or one of @hourly @daily @midnight @weekly @monthly @yearly @annually'),
    ('SM_CRON_NEVER', 400, 'the cron expression never fires', 'name a day that exists; 31 2 is no date, and with dst_gap skip a time in the gap is none'),
    ('SM_INTERVAL', 400, 'the interval must be a whole number of milliseconds from 1000 (a second) to 31622400000 (366 days)', 'for example {"interval": 60000} for a minute'),
    ('SM_TIMEZONE', 400, 'the time zone is not an IANA name', 'use a name such as Europe/Berlin or UTC, see select name from pg_timezone_names; abbreviations such as EST never change with the seasons'),
    ('SM_SCHEDULE', 400, 'the schedule is malformed', 'pass {"cron": ...}, {"interval": ms, "startAt"?} or {"at": ...}, and options named as the columns of messenger_schedules'),
    ('SM_SETTING', 400, 'the setting is malformed or out of bounds', 'use a value of the documented type and range'),
    ('SM_UNAUTHENTICATED', 401, 'nobody is signed in', 'send a user''s access token'),
    ('SM_TYPE_FORBIDDEN', 403, 'the caller may not dispatch or register this message type',
     'users: dispatch it from a server, or define it with dispatchableBy: "user"; types that begin with symphony. belong to the bus: choose another name'),
    ('SM_FIELD_FORBIDDEN', 403, 'the caller may not set this field',
     'users: dispatch from a server to set it; the header x-symphony-user is set by the bus only'),
    ('SM_NOT_FOUND', 404, 'there is nothing of this name', 'check its spelling'),
    ('SM_CONFLICT', 409, 'this cannot be done as things stand', 'look at what is there, and decide again'),
    ('SM_STALE_LEASE', 409, 'the lease on this message is no longer held', 'another worker has it or it is settled: undo your work, do not settle it'),
    ('SM_RATE', 429, 'this user has too many unfinished messages and open dead letters',
     'wait until some have finished; an operator can resolve dead letters or raise max_unfinished_per_user'),
    ('SM_UNAVAILABLE', 503, 'this cannot be done right now', 'try again in a second')
$$;

-- "what" is put before the sentence and names the place: "message 3". "remedy" replaces the hint where a better one is known.
create or replace function messenger.raise_error(code text, what text default null, remedy text default null)
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
    message = concat_ws(': ', nullif(what, ''), v_error.message),
    detail = code,
    hint = coalesce(remedy, v_error.hint);
end $$;

-- Postgres itself says only that it "cannot execute INSERT in a read-only transaction". In recovery each transaction is
-- read only.
create or replace function messenger.require_writable()
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    raise exception using errcode = 'PT503', detail = 'SM_UNAVAILABLE',
      message = 'this database is a read replica, and Symphony Messenger works in the primary alone',
      hint = 'connect to the primary database; a replica can only be queried for messages, dead letters and schedules';
  elsif current_setting('transaction_read_only') = 'on' then
    raise exception using errcode = 'PT503', detail = 'SM_UNAVAILABLE', message = 'this transaction is read only',
      hint = 'begin it read write; where default_transaction_read_only is set for the session, role or database, reset it';
  end if;
end $$;

-- For functions that only read: workers, ticks and wake-ups are in unlogged tables, which a replica does not have.
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

comment on function messenger.error_codes() is 'The errors of the bus: code, HTTP status, sentence, remedy.';
comment on function messenger.raise_error(text, text, text) is
  'Raises the error with this code as SQLSTATE PT<status>, detail = code, hint = remedy or the one of messenger.error_codes(). Never returns.';
comment on function messenger.require_writable() is
  'Raises SM_UNAVAILABLE on a read replica and in a read-only transaction.';
comment on function messenger.require_primary() is 'Raises SM_UNAVAILABLE on a read replica; else true.';
revoke all on function messenger.error_codes(), messenger.raise_error(text, text, text), messenger.require_writable(),
  messenger.require_primary()
  from public, anon, authenticated;
grant execute on function messenger.error_codes(), messenger.raise_error(text, text, text), messenger.require_writable(),
  messenger.require_primary()
  to service_role;
