// Planted bugs of the ticker under settings of its session: timeouts and isolation levels that must not affect it.
import { fn, type Mutant } from "./mutant.ts";

const settings = ["supabase/ticker/ticker_settings.test.ts"];

export const TICKER_SETTINGS: Mutant[] = [
  {
    name: "statement_timeout ends the ticker's minute",
    breaks: "The ticker outlives the statement_timeout of its role and database.",
    statement: fn("messenger.outlive_statement_timeout"),
    find: "perform pg_sleep(extract(epoch from timeout_at - clock_timestamp()) + 0.1);",
    replace: "",
    noticedBy: settings,
  },
  {
    name: "the ticker is serializable if the database's default is",
    breaks: "A tick continues if a row has changed since its snapshot.",
    statement: fn("messenger.prepare_job"),
    find: "set_config('default_transaction_isolation', 'read committed', false),\n    ",
    replace: "",
    noticedBy: settings,
  },
  {
    name: "a slow tick loses the next second, too",
    breaks: "A tick that is longer than a second is followed by the next at once.",
    statement: fn("messenger.ticker_command"),
    find: "perform pg_sleep(extract(epoch from v_next_at - clock_timestamp()));",
    replace: "perform pg_sleep(extract(epoch from date_trunc('second', clock_timestamp()) + interval '1 " +
      "second' - clock_timestamp()));",
    noticedBy: settings,
  },
  {
    name: "health checks the last tick only",
    breaks: "Health counts the ticks of the last minutes.",
    statement: fn("messenger.health_clock"),
    find: "if v_pace.per_minute < 55 and",
    replace: "if false and",
    noticedBy: settings,
  },
  {
    name: "health does not name the setting that stops the ticker",
    breaks: "Health names the setting that stops the ticker, and the remedy.",
    statement: fn("messenger.ticker_setting_fault"),
    find: "if messenger.milliseconds(v_setting.value) between 1 and 99 then",
    replace: "if false then",
    noticedBy: settings,
  },
];
