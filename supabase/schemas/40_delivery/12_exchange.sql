-- Exchange: settle and claim in one round trip and one commit, as workers call it.

-- Returns JSON: a composite type of schema messenger would be unknown to the API's generated types.
create or replace function public.messenger_exchange(
  outcomes jsonb, worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settled messenger.settled[] := messenger.settle_outcomes(outcomes);
begin
  -- json, which is built as text, costs 3.1 us per row; jsonb, which is built as a tree and printed, 7.5.
  return row_to_json(row(
    v_settled, messenger.claim_messages(worker, batch, lease, transport, queues, types))::messenger.exchanged);
end $$;

comment on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) is
  'messenger_settle and messenger_claim in one transaction: {"settled": [...], "claimed": [...]}, with the rows of '
  'those functions. Example: select messenger_exchange(''[]'', ''worker-1'', batch => 10).';
revoke all on function
  public.messenger_exchange(jsonb, text, int, interval, text, text[], text[])
from public, anon, authenticated;
grant execute on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) to service_role;
