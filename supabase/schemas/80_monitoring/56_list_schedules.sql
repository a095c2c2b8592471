-- Lists schedules by page, in order of their names, each with its last message.
create or replace function public.messenger_list_schedules(
  filter jsonb default '{}', cursor text default null, max int default 100
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_filter jsonb := coalesce(filter, '{}');
  v_max int := messenger.check_page(coalesce(max, 100));
  v_conditions text;
  v_after text;
  v_rows jsonb;
  v_total record;
begin
  perform messenger.check_filter(v_filter, '{type,name}', '{}', '{enabled}');
  v_conditions := concat_ws(' and ', 'true',
    case when v_filter ? 'type' then 's.message_type = $1 ->> ''type''' end,
    case when v_filter ? 'name' then 'starts_with(s.name, $1 ->> ''name'')' end,
    case when v_filter ? 'enabled' then 's.enabled = ($1 ->> ''enabled'')::boolean' end);
  v_after := messenger.read_cursor('schedules', v_filter, cursor) #>> '{}';
  execute format($query$
    select coalesce(jsonb_agg(to_jsonb(s) || jsonb_build_object('last_message_id', o.message_id, 'last_message_status',
      m.status) order by s.name), '[]')
    from (
      select * from public.messenger_schedules s where ($2 is null or s.name > $2) and %s order by s.name limit $3
    ) s
    left join lateral (select x.message_id from messenger.occurrences x where x.schedule_id = s.id
      order by x.due_at desc limit 1) o on true
    left join public.messenger_messages m on m.id = o.message_id$query$, v_conditions)
  into v_rows using v_filter, v_after, v_max + 1;
  select * into v_total from messenger.count_rows('select from public.messenger_schedules s where ' || v_conditions,
    v_filter);
  return jsonb_build_object(
    'schedules', case when jsonb_array_length(v_rows) > v_max then v_rows - v_max else v_rows end,
    'next_cursor', case when jsonb_array_length(v_rows) > v_max then messenger.write_cursor('schedules', v_filter,
      v_rows -> v_max - 1 -> 'name') end,
    'total', v_total.n, 'estimated', v_total.estimated);
end $$;

comment on function public.messenger_list_schedules(jsonb, text, int) is
  'Schedules in order of their names: {"schedules": [columns of messenger_schedules, last_message_id, '
  'last_message_status], "next_cursor", "total", "estimated"}. filter: type, enabled, name (a prefix). max: 1 to 1000. '
  'Raises SM_FILTER, SM_UNKNOWN_FIELD, SM_BATCH. Example: select messenger_list_schedules(''{"enabled": true}'');';
revoke all on function public.messenger_list_schedules(jsonb, text, int) from public, anon, authenticated;
grant execute on function public.messenger_list_schedules(jsonb, text, int) to service_role;
