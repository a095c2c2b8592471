-- Parsing of outcomes that workers report.

-- A handler's own error class must not be mistaken for a reserved one.
create or replace function messenger.error_class_of(error_class text)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when error_class in ('Expired', 'Cancelled', 'Discarded', 'LeaseExpired') then 'Handler' || error_class
    else left(coalesce(nullif(error_class, ''), 'Error'), 200) end;
end $$;

-- Only outcomes other than completed: most batches have none.
create or replace function messenger.read_outcomes(outcomes jsonb)
returns messenger.outcome[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array_agg(row(
      v.ord, v.outcome,
      case when v.outcome = 'failed' then messenger.clip(coalesce(v.error, 'no error text was given'), 8192) end,
      case when v.outcome = 'failed' then messenger.error_class_of(v.error_class) end,
      case when v.outcome = 'failed' then messenger.clip(v.error_trace, 8192) end,
      coalesce(v.retryable, true),
      make_interval(secs => messenger.read_milliseconds(v.delay_ms, 3155760000000) / 1000), -- 100 years
      messenger.read_milliseconds(v.duration_ms, 1e15)::bigint)::messenger.outcome order by v.ord)
    from rows from (jsonb_to_recordset(outcomes) as (
      outcome text, error text, error_class text, error_trace text, retryable boolean, delay_ms jsonb,
      duration_ms jsonb)
    ) with ordinality as v(outcome, error, error_class, error_trace, retryable, delay_ms, duration_ms, ord)
    where v.outcome <> 'completed'
  );
end $$;

comment on function messenger.error_class_of(text) is
  'The class under which an error is stored: Error if there is none, Handler<Name> if the name is reserved; at most '
  '200 characters.';
comment on function messenger.read_outcomes(jsonb) is
  'The outcomes of messenger_settle other than completed, in order; error texts are cut to 8 KB.';
revoke all on function
  messenger.error_class_of(text),
  messenger.read_outcomes(jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.error_class_of(text),
  messenger.read_outcomes(jsonb)
to service_role;
