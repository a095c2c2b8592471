-- Lists dead letters by page, newest first, and returns a single one in full.
create or replace function messenger.dead_letter_conditions(filter jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return concat_ws(' and ',
    case filter ->> 'resolved' when 'true' then 'f.resolved_at is not null' else 'f.resolved_at is null' end,
    case when filter ? 'transport' then 'f.transport_name = $1 ->> ''transport''' end,
    case when filter ? 'queue' then 'f.queue_name = $1 ->> ''queue''' end,
    case when filter ? 'type' then 'f.message_type = $1 ->> ''type''' end,
    case when filter ? 'error_class' then 'f.error_class = $1 ->> ''error_class''' end,
    case when filter ? 'from' then 'f.failed_at >= ($1 ->> ''from'')::timestamptz' end,
    case when filter ? 'to' then 'f.failed_at < ($1 ->> ''to'')::timestamptz' end);
end $$;

create or replace function public.messenger_list_failed(
  filter jsonb default '{}', cursor text default null, skip int default 0, max int default 50
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_sort = off
set jit = off
as $$
declare
  v_filter jsonb := coalesce(filter, '{}');
  v_max int := messenger.check_page(coalesce(max, 50));
  v_skip int := coalesce(skip, 0);
  v_conditions text;
  v_position jsonb;
  v_rows jsonb;
  v_more boolean;
  v_last jsonb;
  v_total record;
begin
  perform messenger.check_filter(v_filter, '{transport,queue,type,error_class}', '{from,to}', '{resolved}');
  if v_skip not between 0 and 10000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'skip must be a number from 0 to 10000',
      remedy => 'pass next_cursor of the previous page as cursor instead');
  end if;
  v_conditions := messenger.dead_letter_conditions(v_filter);
  v_position := coalesce(messenger.read_cursor('failed', v_filter, cursor),
    '["infinity", "00000000-0000-0000-0000-000000000000"]');
  execute format($query$
    select coalesce(jsonb_agg(to_jsonb(r) - 'n' order by r.n) filter (where r.n <= $4), '[]'), count(*) > $4
    from (
      select row_number() over (order by f.failed_at desc, f.id) as n, f.id, f.message_id, f.transport_name,
        f.queue_name, f.message_type, left(f.error, 500) as error, f.error_class,
        jsonb_array_length(f.attempts) as attempt_count, f.retry_count, f.max_retries, f.failed_at, f.created_at,
        f.idempotency_key, f.resolved_at, f.resolution
      from (
        select * from (
          select * from public.messenger_failed_messages f
          where f.failed_at <= ($2 ->> 0)::timestamptz
            and (f.failed_at < ($2 ->> 0)::timestamptz or f.id > ($2 ->> 1)::uuid)
          order by f.failed_at desc, f.id limit messenger.scan_limit()
        ) f
        where %s offset $3 limit $4 + 1
      ) f
    ) r$query$, v_conditions)
  into v_rows, v_more using v_filter, v_position, v_skip, v_max;
  if v_more then
    v_last := jsonb_build_array(v_rows -> -1 -> 'failed_at', v_rows -> -1 -> 'id');
  else
    select jsonb_build_array(f.failed_at, f.id) into v_last
    from public.messenger_failed_messages f
    where f.failed_at <= (v_position ->> 0)::timestamptz
      and (f.failed_at < (v_position ->> 0)::timestamptz or f.id > (v_position ->> 1)::uuid)
    order by f.failed_at desc, f.id offset messenger.scan_limit() - 1 limit 1;
  end if;
  select * into v_total from messenger.count_rows('select from public.messenger_failed_messages f where '
    || v_conditions, v_filter);
  return jsonb_build_object('messages', v_rows, 'next_cursor',
    case when v_last is not null then messenger.write_cursor('failed', v_filter, v_last) end,
    'searched_to', case when not v_more then v_last -> 0 end, 'total', v_total.n, 'estimated', v_total.estimated);
end $$;

create or replace function public.messenger_get_failed(id uuid)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select to_jsonb(f) from public.messenger_failed_messages f where f.id = messenger_get_failed.id $$;

comment on function messenger.dead_letter_conditions(jsonb) is
  'A filter of messenger_list_failed as SQL conditions on "f"; its values are read from $1.';
comment on function public.messenger_list_failed(jsonb, text, int, int) is
  'Dead letters without bodies, traces and attempts, newest first: {"messages", "next_cursor", "searched_to", "total", '
  '"estimated"}. filter: transport, queue, type, error_class, from and to (failed_at; to is exclusive), resolved '
  '(true: retried or discarded ones; default: open ones). skip (0 to 10000) leaves out the first rows, max is 1 to '
  '1000. As in messenger_list_messages, a call scans at most 20,000 rows. Raises SM_FILTER, SM_UNKNOWN_FIELD, '
  'SM_BATCH. Example: select messenger_list_failed(''{"queue": "email"}'', max => 20);';
comment on function public.messenger_get_failed(uuid) is
  'One dead letter with all its columns; null if there is none. Example: select '
  'messenger_get_failed(''01890a5d-ac96-774b-bcce-b302099a8057'');';
revoke all on function
  messenger.dead_letter_conditions(jsonb),
  public.messenger_list_failed(jsonb, text, int, int),
  public.messenger_get_failed(uuid)
from public, anon, authenticated;
grant execute on function
  messenger.dead_letter_conditions(jsonb),
  public.messenger_list_failed(jsonb, text, int, int),
  public.messenger_get_failed(uuid)
to service_role;
