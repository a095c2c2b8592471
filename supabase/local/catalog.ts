// The schema cache: functions and tables of schema public and the settings of roles, read again after changes.
import type { Pool } from "./connection.ts";

export interface Parameter {
  name: string;
  type: string;
  required: boolean;
}

export interface Routine {
  name: string;
  parameters: Parameter[];
  readOnly: boolean;
  returns: "void" | "scalar" | "composite";
  set: boolean;
}

export interface Relation {
  name: string;
  /** Column names with their types, in order. */
  columns: Record<string, string>;
}

export interface Snapshot {
  routines: Map<string, Routine[]>;
  relations: Map<string, Relation>;
  /** Settings such as statement_timeout that PostgREST applies when it switches to a role. */
  settings: Map<string, Record<string, string>>;
}

export interface Catalog {
  current(): Promise<Snapshot>;
  /** Discards the snapshot, so that the next request reads again. */
  invalidate(): void;
}

export function createCatalog(pool: Pool): Catalog {
  let snapshot: Promise<Snapshot> | undefined;
  return {
    current() {
      if (snapshot) return snapshot;
      const reading = readSnapshot(pool);
      reading.catch(() => {
        if (snapshot === reading) snapshot = undefined;
      });
      return snapshot = reading;
    },
    invalidate() {
      snapshot = undefined;
    },
  };
}

async function readSnapshot(pool: Pool): Promise<Snapshot> {
  // An empty search_path makes format_type qualify every type that is not built in.
  const [, , routines, relations, settings] = await pool.use((connection) =>
    Promise.all([
      connection.query("begin read only"),
      connection.query("select set_config('search_path', '', true)"),
      connection.query<Routine>(ROUTINES),
      connection.query<Relation>(RELATIONS),
      connection.query<{ role: string; settings: Record<string, string> }>(SETTINGS),
      connection.query("commit"),
    ])
  );
  return {
    routines: Map.groupBy(routines, ({ name }) => name),
    relations: new Map(relations.map((relation) => [relation.name, relation])),
    settings: new Map(settings.map(({ role, settings }) => [role, settings])),
  };
}

const ROUTINES = `
select
    p.proname as name,
    p.provolatile <> 'v' as "readOnly",
    p.proretset as "set",
    case
        when p.prorettype = 'pg_catalog.void'::pg_catalog.regtype then 'void'
        when t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false) then 'composite'
        else 'scalar'
    end as returns,
    coalesce((
        select json_agg(json_build_object(
            'name', coalesce(a.name, ''),
            'type', format_type(a.type, null),
            'required', a.input_ordinal <= p.pronargs - p.pronargdefaults
        ) order by a.input_ordinal)
        from (
            select u.name, u.type, row_number() over (order by u.ordinal) as input_ordinal
            from unnest(p.proargnames, p.proargmodes, coalesce(p.proallargtypes, p.proargtypes::oid[]))
                with ordinality as u (name, mode, type, ordinal)
            where coalesce(u.mode, 'i') in ('i', 'b', 'v') and u.type is not null
        ) as a
    ), '[]') as parameters
from pg_proc as p
join pg_type as t on t.oid = p.prorettype
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
    and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)`;

const RELATIONS = `
select c.relname as name, json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod) order by a.attnum) as columns
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f')
group by c.oid`;

const SETTINGS = `
select
    r.rolname as role,
    json_object_agg(split_part(s.setting, '=', 1), substr(s.setting, strpos(s.setting, '=') + 1)) as settings
from pg_db_role_setting as d
join pg_roles as r on r.oid = d.setrole
cross join unnest(d.setconfig) as s (setting)
where d.setdatabase = 0 and pg_has_role('authenticator', r.oid, 'member') and r.rolname <> 'authenticator'
    and split_part(s.setting, '=', 1) <> 'search_path'
group by r.rolname`;
