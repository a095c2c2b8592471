-- Explain: why a message is not running. One function per reason, found by its name: messenger.reason_<name>(message
-- public.messenger_messages, at timestamptz) returns setof messenger.reason.

create or replace function messenger.unknown_message(id uuid)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 0, 'unknown', 'there is no message with this id'
      || case when f.id is null then ': it was never dispatched to this database, its transaction was rolled back, or '
        'it finished and was pruned'
              else format(' any more; its dead letter of %s still exists',
                messenger.moment(f.failed_at, messenger.now())) end,
    case when f.resolved_at is null and f.id is not null
      then format('select * from messenger_retry_failed(array[%L::uuid])', f.id) end
  from (select) one
  left join lateral (
    select x.id, x.failed_at, x.resolved_at from public.messenger_failed_messages x
    where x.message_id = unknown_message.id order by x.resolved_at nulls first limit 1
  ) f on true
$$;

-- Definer: reasons read Vault, pg_net and pg_cron. A reason that raises must not hide the others.
create or replace function messenger.explain(id uuid)
returns table (reason text, detail text, remedy text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_column
declare
  v_id uuid := id;
  v_now timestamptz := messenger.now();
  v_message public.messenger_messages;
  v_function record;
  v_found messenger.reason[];
  v_reasons messenger.reason[] := array[]::messenger.reason[];
begin
  v_message := (select m from public.messenger_messages m where m.id = v_id);
  if v_message.id is null then
    return query select r.reason, r.detail, r.remedy from messenger.unknown_message(v_id) r;
    return;
  end if;
  for v_function in select * from messenger.own_functions('reason',
    'public.messenger_messages, timestamp with time zone', 'messenger.reason') loop
    begin
      execute format('select array_agg(r) from %s($1, $2) r', v_function.function) into v_found using v_message, v_now;
    exception when others then
      v_found := array[row(95, 'unexplained', v_function.function || ' raised: ' || sqlerrm,
        'select * from messenger_verify() where state <> ''ok''')::messenger.reason];
    end;
    v_reasons := v_reasons || v_found;
  end loop;
  return query select r.reason, r.detail, r.remedy
    from unnest(v_reasons) with ordinality as r(rank, reason, detail, remedy, n) order by r.rank, r.n;
end $$;

create or replace function public.messenger_explain(id uuid)
returns table (reason text, detail text, remedy text)
language sql
set search_path = pg_catalog, pg_temp
as $$ select e.* from messenger.require_primary(), messenger.explain(id) e $$;

comment on function messenger.explain(uuid) is 'See public.messenger_explain.';
comment on function public.messenger_explain(uuid) is
  'Why a message is not running, or how it ended: one row per reason with reason (a name, see '
  'docs/troubleshooting.md), detail and remedy (SQL or a command to run; null if nothing needs fixing). The reason '
  'that delays the message comes first. Returns the reason unknown if there is no such message. Raises SM_UNAVAILABLE '
  'on a read replica. Example: select * from messenger_explain(''01890a5d-ac96-774b-bcce-b302099a8057'');';
comment on function messenger.unknown_message(uuid) is
  'The reason for an id without a message, with its dead letter if there is one.';
revoke all on function
  messenger.explain(uuid),
  public.messenger_explain(uuid),
  messenger.unknown_message(uuid)
from public, anon, authenticated, service_role;
grant execute on function messenger.explain(uuid), public.messenger_explain(uuid) to service_role;
