-- Unblocking ordering keys one by one where they cannot all be unblocked together.

create or replace function messenger.unblock_keys(row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('unblocked', messenger.unblock_next(
    array(select jsonb_populate_record(null::messenger.order_key, x.row_id::jsonb) from unnest(row_ids) x(row_id)), at));
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
  return coalesce((messenger.write_each('unblock', 'messenger.order_key', v_rows, at, ends_at) ->> 'unblocked')::bigint, 0);
end $$;

comment on function messenger.unblock_keys(text[], timestamptz) is 'messenger.unblock_next for ordering keys as JSON objects.';
comment on function messenger.unblock_each(messenger.order_key[], timestamptz, timestamptz) is
  'messenger.unblock_next for ordering keys, one whose message cannot be written set aside. Returns how many were looked at and let go.';
revoke all on function messenger.unblock_keys(text[], timestamptz), messenger.unblock_each(messenger.order_key[], timestamptz, timestamptz)
  from public, anon, authenticated, service_role;
