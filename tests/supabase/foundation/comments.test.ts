// Comments of the catalog: every table, column, view, function and type of ours has one.
import assert from "node:assert/strict";
import { test, useProject } from "../../project.ts";

const project = useProject();

// Public objects are named messenger_* or update_messenger_*; schema messenger is ours as a whole.
const RELATIONS = `
  select c.oid, c.relkind, c.oid::regclass::text as name
  from pg_class c
  where c.relnamespace = 'messenger'::regnamespace
    or c.relnamespace = 'public'::regnamespace and c.relname like 'messenger\\_%'`;

/** For each kind of object a query of the name and comment of every one of ours. */
const OBJECTS = {
  table:
    `select r.name, obj_description(r.oid, 'pg_class') as comment from (${RELATIONS}) r where r.relkind in ('r', 'p')`,
  view:
    `select r.name, obj_description(r.oid, 'pg_class') as comment from (${RELATIONS}) r where r.relkind in ('v', 'm')`,
  column: `
    select r.name || '.' || a.attname as name, col_description(r.oid, a.attnum) as comment
    from (${RELATIONS}) r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    where r.relkind in ('r', 'p')`,
  function: `
    select p.oid::regprocedure::text as name, obj_description(p.oid, 'pg_proc') as comment
    from pg_proc p
    where p.pronamespace = 'messenger'::regnamespace or p.pronamespace = 'public'::regnamespace
      and (p.proname like 'messenger\\_%' or p.proname like 'update\\_messenger\\_%')`,
  type: `
    select t.oid::regtype::text as name, obj_description(t.oid, 'pg_type') as comment
    from pg_type t left join pg_class c on c.oid = t.typrelid
    where t.typnamespace = 'messenger'::regnamespace and (t.typtype in ('d', 'e', 'r') or c.relkind = 'c')`,
};

for (const [kind, query] of Object.entries(OBJECTS)) {
  test(`comments · every ${kind} has one`, async () => {
    const objects = await project().sql.unsafe<{ name: string; comment: string | null }[]>(query);
    assert(objects.length > 0);
    assert.deepEqual(objects.filter(({ comment }) => !comment?.trim()).map(({ name }) => name), []);
  });
}
