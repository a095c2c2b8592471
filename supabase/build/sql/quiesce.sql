-- ---- Transactions that are writing messages end first: they run the functions of the earlier release.
-- A writer that stays open stops the upgrade after 10 s, with everything as it was.
do $$
begin
  perform set_config('lock_timeout', '10s', true);
  lock table public.messenger_messages, messenger.clock in access exclusive mode;
  perform set_config('lock_timeout', '0', true);
exception when lock_not_available then
  raise exception using errcode = 'lock_not_available',
    message = 'a transaction has held messages for 10 s; nothing was changed',
    hint = 'end it (select pid, state, query from pg_stat_activity where state <> ''idle''), then run the upgrade again';
end $$;
