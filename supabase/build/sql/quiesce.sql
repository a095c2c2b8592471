-- ---- Transactions that are writing messages end first: they run the functions of the earlier release.
-- A writer that stays open stops the upgrade after 10 s (or this session's lock_timeout), with everything as it was.
do $$
declare
  v_timeout constant text := current_setting('lock_timeout');
begin
  perform set_config('lock_timeout', case v_timeout when '0' then '10s' else v_timeout end, true);
  lock table public.messenger_messages, messenger.clock in access exclusive mode;
  perform set_config('lock_timeout', v_timeout, true);
exception when lock_not_available then
  raise exception using errcode = 'lock_not_available',
    message = 'another transaction is writing messages and has not ended in time; nothing was changed',
    hint = 'end it (select pid, state, query from pg_stat_activity where state <> ''idle''), then run the upgrade again';
end $$;
