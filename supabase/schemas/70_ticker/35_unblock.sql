-- Unblocks ordering keys one by one if they cannot be unblocked together.

create or replace function messenger.unblock_keys(row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('unblocked', messenger.unblock_next(
    array(select jsonb_populate_record(null::messenger.order_key, x.row_id::jsonb) from unnest(row_ids) x(row_id)),
    at));
end $$;

create or replace function messenger.unblock_each(keys messenger.order_key[], at timestamptz, ends_at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows text[] := array(select to_jsonb(k)::text from unnest(keys) k);
begin
  v_rows := messenger.without_set_aside('unblock', 'messenger.order_key', v_rows, at);
  return coalesce(
    (messenger.write_each('unblock', 'messenger.order_key', v_rows, at, ends_at) ->> 'unblocked')::bigint, 0);
end $$;

comment on function messenger.unblock_keys(text[], timestamptz) is
  'messenger.unblock_next for ordering keys as JSON objects. Returns {"unblocked": number of messages}.';
comment on function messenger.unblock_each(messenger.order_key[], timestamptz, timestamptz) is
  'messenger.unblock_next for ordering keys. A key whose message cannot be written is set aside. '
  'Returns the number of messages unblocked.';
revoke all on function
  messenger.unblock_keys(text[], timestamptz),
  messenger.unblock_each(messenger.order_key[], timestamptz, timestamptz)
from public, anon, authenticated, service_role;
