// Planted bugs of definitions, settings, names and durations: the checks of input.
import { fn, type Mutant } from "./mutant.ts";

const check_claim = fn("messenger.check_claim");
const isValid = fn("messenger.is_valid_message");
const settle = fn("messenger.settle_outcomes");
const claims = ["supabase/delivery/claim.test.ts"];
const limits = ["supabase/delivery/settle_limits.test.ts"];
const registers = ["supabase/dispatch/register.test.ts"];
const route = fn("messenger.route_messages");
const routes = ["supabase/dispatch/routing.test.ts"];
const rules = ["supabase/foundation/message_rules.test.ts"];
const starts = ["supabase/ticker/start.test.ts"];

export const DEFINING: readonly Mutant[] = [
  {
    name: "control characters in a worker's name",
    breaks: "A claim rejects a worker's name with control characters.",
    statement: check_claim,
    find: "or worker ~ '[\\x01-\\x1f\\x7f]'",
    replace: "",
    noticedBy: claims,
  },
  {
    name: "claims accept any queue name",
    breaks: "A claim rejects every queue name that dispatch rejects.",
    statement: check_claim,
    find: "elsif queues::text !~",
    replace: "elsif false and queues::text !~",
    noticedBy: claims,
  },
  {
    name: "a queue named null cannot be claimed",
    breaks: "A claim accepts every queue name that dispatch accepts.",
    statement: check_claim,
    find: '{0,62}|"null")(,',
    replace: "{0,62})(,",
    noticedBy: claims,
  },
  {
    name: "a negative delay loses the settle",
    breaks: "A duration out of range is clamped, and the outcome is recorded.",
    statement: fn("messenger.read_milliseconds"),
    find: "then least(greatest(value::numeric, 0), longest)",
    replace: "then least(value::numeric, longest)",
    noticedBy: limits,
  },
  {
    name: "a duration that is no number loses the settle",
    breaks: "A duration that is no number is ignored.",
    statement: settle,
    find: "when 'string' then messenger.read_milliseconds(e -> 'duration_ms', 1e9)",
    replace: "when 'string' then (e ->> 'duration_ms')::double precision",
    noticedBy: limits,
  },
  {
    name: "register leaves range checks to the table",
    breaks: "A value out of range is rejected with a code, the type and the field.",
    statement: fn("public.messenger_register"),
    find: "perform messenger.check_types(v_types);",
    replace: "",
    noticedBy: registers,
  },
  {
    name: "only the first of many bad aliases is rejected",
    breaks: "Each alias is checked.",
    statement: fn("messenger.check_types"),
    find: "where not messenger.is_setting(a.value, 'type', null, null)",
    replace: "where false",
    noticedBy: registers,
  },
  {
    name: "a text is accepted as a number",
    breaks: "Settings have exact JSON types.",
    statement: fn("messenger.is_setting"),
    find: "coalesce(jsonb_typeof(value) = 'number' and value between",
    replace: "coalesce(jsonb_typeof(value) <> 'number' or value between",
    noticedBy: registers,
  },
  {
    name: "start leaves range checks to the table",
    breaks: "messenger_start rejects a value out of range with SM_SETTING and the option.",
    statement: fn("messenger.start"),
    find: "perform messenger.check_start(v_url, v_options);",
    replace: "",
    noticedBy: starts,
  },
  {
    name: "messages stored before their type keep the default route",
    breaks: "A message dispatched before its type was registered gets the type's route.",
    statement: fn("public.messenger_register"),
    find: "perform messenger.route_messages(\n" +
      "      array(select e ->> 'type' from jsonb_array_elements(v_types) e), 1000, messenger.now());",
    replace: "null;",
    noticedBy: routes,
  },
  {
    name: "the type's route overrides the dispatch",
    breaks: "Options of the dispatch are kept.",
    statement: fn("messenger.open_fields"),
    find: "where not coalesce(element ? f.field, false)",
    replace: "",
    noticedBy: routes,
  },
  {
    name: "a message with a key changes its queue",
    breaks: "The queue is part of idempotency and ordering keys.",
    statement: route,
    find:
      "set queue_name = case when 'queue' = any (m.unrouted) and num_nonnulls(m.idempotency_key, m.ordering_key) = 0",
    replace: "set queue_name = case when 'queue' = any (m.unrouted)",
    noticedBy: routes,
  },
  {
    name: "routing forgets used retries",
    breaks: "A message never has more retries used than it may have.",
    statement: route,
    find: "greatest(k.max_retries, m.retry_count)",
    replace: "k.max_retries",
    noticedBy: routes,
  },
  {
    name: "routing waits for locked messages",
    breaks: "A registration waits for no lock that a user can hold.",
    statement: route,
    find: "for no key update skip locked",
    replace: "",
    noticedBy: routes,
  },
  {
    name: "the ticker routes no messages",
    breaks: "A message whose dispatch did not see the registration is routed by the ticker.",
    statement: fn("messenger.run_step"),
    find: "when 'route' then perform messenger.route_due(at, 200, ends_at);",
    replace: "when 'route' then perform true;",
    noticedBy: routes,
  },
  {
    name: "a pending message may have a lease",
    breaks: "Only a processing message has a lease, whoever writes the row.",
    statement: isValid,
    find: "'processing' then 3 else 0 end",
    replace: "'processing' then 3 end",
    noticedBy: rules,
  },
  {
    name: "a finished message may lack its time",
    breaks: "processed_at is null exactly while a message is unfinished, whoever writes the row.",
    statement: isValid,
    find: "(processed_at is null)",
    replace: "(status operator(pg_catalog.<>) 'done')",
    noticedBy: rules,
  },
  {
    name: "the counters of a message are not compared",
    breaks: "A message has no more failed deliveries than claims, whoever writes the row.",
    statement: isValid,
    find: "or fence < retry_count",
    replace: "",
    noticedBy: rules,
  },
  {
    name: "the rules use the caller's search_path",
    breaks: "The rules of a message hold under any search_path of the writer.",
    statement: isValid,
    find: "set search_path = pg_catalog, pg_temp",
    replace: "",
    noticedBy: rules,
  },
  {
    name: "the error of a rule prints the body",
    breaks: "The error of a rule never contains the content of a body.",
    statement: isValid,
    find: "'body', jsonb_typeof(body)))",
    replace: "'body', body))",
    noticedBy: rules,
  },
];
