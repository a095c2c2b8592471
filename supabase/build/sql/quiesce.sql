-- ---- Wait for the end of transactions that use Symphony Messenger, because they run functions of the earlier release.
-- Each attempt ends before a transaction that needs a table locked here would be taken for a deadlock, and lets it
-- finish. A transaction that stays open stops the upgrade after 10 s (or the lock_timeout of this session), without any
-- change.
do $$
declare
  v_timeout constant text := current_setting('lock_timeout');
  v_end constant timestamptz := clock_timestamp() + case v_timeout when '0' then '10 s' else v_timeout end::interval;
begin
  loop
    begin
      perform set_config('lock_timeout', '250ms', true);
      lock table @TABLES@ in access exclusive mode;
      exit;
    exception when lock_not_available then
      if clock_timestamp() > v_end then
        raise exception using errcode = 'lock_not_available',
          message = 'another transaction that uses Symphony Messenger is still open; nothing was changed',
          hint = 'end it (select pid, state, query from pg_stat_activity where state <> ''idle''), then run the '
            'upgrade again';
      end if;
    end;
    perform pg_sleep(0.02);
  end loop;
  perform set_config('lock_timeout', v_timeout, true);
end $$;
