-- ---- Installed jobs get the commands of this release: their texts call functions by name.
do $$
begin
  if to_regclass('cron.job') is not null then
    if exists (select from cron.job j where j.jobname = 'symphony-clock') then
      perform cron.schedule('symphony-clock', messenger.job_schedule(), messenger.ticker_command());
      perform messenger.sync_handlers_job();
    end if;
  end if;
end $$;
