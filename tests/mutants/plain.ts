// Planted bugs of the tests that decide whether a message is plain: payloads, and the elements of a batch.
import { fn, type Mutant } from "./mutant.ts";

const batch = fn("messenger.store_plain_batch");
const payload = fn("messenger.is_plain_payload");
const plain = ["supabase/dispatch/plain_dispatch.test.ts"];

export const PLAIN: readonly Mutant[] = [
  {
    name: "a plain payload need not be an object",
    breaks: "SM_PAYLOAD_NOT_OBJECT: a payload is an object.",
    statement: payload,
    find: "jsonb_typeof(payload) = 'object' and",
    replace: "",
    noticedBy: plain,
  },
  {
    name: "small payloads may have numbers out of range",
    breaks: "SM_NUMBER_RANGE: a number that a double cannot hold is rejected.",
    statement: payload,
    find: "and octet_length(payload::text) <= 300",
    replace: "",
    noticedBy: plain,
  },
  {
    name: "larger payloads may have numbers out of range",
    breaks: "SM_NUMBER_RANGE: a number that a double cannot hold is rejected.",
    statement: payload,
    find: "not messenger.has_out_of_range_number(payload) and",
    replace: "",
    noticedBy: plain,
  },
  {
    name: "plain payloads have no limit of depth",
    breaks: "SM_DEPTH: a payload has at most 64 levels.",
    statement: payload,
    find: "and not messenger.is_too_deep(payload)",
    replace: "",
    noticedBy: plain,
  },
  {
    name: "plain payloads have no limit of size",
    breaks: "SM_PAYLOAD_TOO_LARGE: a payload has at most 256 KB.",
    statement: payload,
    find: "pg_column_size(payload) <= 6000",
    replace: "pg_column_size(payload) <= 6000000",
    noticedBy: plain,
  },
  {
    name: "only the first element of a batch is checked",
    breaks: "Each element has the rules of a dispatch.",
    statement: batch,
    find: "if not v_are_plain then",
    replace: "if false then",
    noticedBy: plain,
  },
  {
    name: "an element with a further field is stored without it",
    breaks: "Every given field is stored, and an unknown one is rejected.",
    statement: batch,
    find: "and e - '{type,payload}'::text[] = '{}' and case",
    replace: "and case",
    noticedBy: plain,
  },
  {
    name: "the payload of a small element need not be an object",
    breaks: "SM_PAYLOAD_NOT_OBJECT: a payload is an object.",
    statement: batch,
    find: "then coalesce(jsonb_typeof(e -> 'payload'), 'object') = 'object'",
    replace: "then true",
    noticedBy: plain,
  },
  {
    name: "the payload of a larger element is not checked",
    breaks: "Each element has the rules of a dispatch.",
    statement: batch,
    find: "else messenger.is_plain_payload(e -> 'payload') end",
    replace: "else true end",
    noticedBy: plain,
  },
  {
    name: "small elements may have numbers out of range",
    breaks: "SM_NUMBER_RANGE: a number that a double cannot hold is rejected.",
    statement: batch,
    find: "and octet_length(e::text) <= 300",
    replace: "",
    noticedBy: plain,
  },
  {
    name: "an unregistered type in a plain batch is dropped",
    breaks: "P1: a dispatch that returns has stored its message.",
    statement: batch,
    find: "where k.type is null or t.name is null",
    replace: "where k.type is not null and t.name is null",
    noticedBy: plain,
  },
  {
    name: "a disabled transport in a plain batch drops its element",
    breaks: "SM_TRANSPORT: a disabled transport accepts no message.",
    statement: batch,
    find: "where k.type is null or t.name is null",
    replace: "where k.type is null",
    noticedBy: plain,
  },
  {
    name: "one of the bus's own types in a plain batch is dropped",
    breaks: "SM_TYPE_FORBIDDEN: a dispatch of the bus's own types is rejected.",
    statement: batch,
    find: "and not starts_with(k.type, 'symphony.')",
    replace: "",
    noticedBy: plain,
  },
];
