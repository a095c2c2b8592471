-- Lists the stand-ins as installed, so that a migration's `create extension if
-- not exists` is a notice, as on a hosted project.
insert into pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
select
    pg_catalog.pg_nextoid('pg_catalog.pg_extension', 'oid', 'pg_catalog.pg_extension_oid_index'),
    e.name, 10, e.schema::regnamespace, false, e.version
from (values ('pg_net', 'net', '0.20.4'), ('supabase_vault', 'vault', '0.3.1')) as e (name, schema, version);
